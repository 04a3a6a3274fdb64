// Decides what a key press is: text for the add box, a digit, a command, or none of these.
// Knows nothing of the effect of commands.

import { actionOf, digitOf, isTextKey, keyName } from "./keys.js";

// Held down, these repeat; every other command needs a new press, so that no photo is saved unseen.
const REPEATABLE = new Set(["up", "down", "move_up", "move_down", "cut_up", "cut_down", "previous", "next"]);

export function createKeyboard({ getKeys, run, takeNumber, addBox, escape, browse, dialogs, effort }) {
  function onkeydown(event) {
    // 229: the press belongs to an input method, even if isComposing is not set yet.
    if (event.isComposing || event.keyCode === 229 || event.defaultPrevented) return;
    const name = keyName(event);
    if (!name) return;
    if (!event.repeat) effort.key();
    if (dialogs.isOpen()) return;
    if (browse.isOpen()) {
      const action = actionOf(name, getKeys());
      if (action === "browse") use(event, () => browse.hide());
      else if (["palette", "export", "import"].includes(action)) use(event, () => event.repeat || run(action));
      else if (!event.target.closest?.(".header") || name === "Escape") browse.handleKey(event, name);
      return;
    }
    // A select element uses most keys itself, letters included.
    if (event.target.closest?.("select") && name !== "Escape") return;
    if (["Enter", "Space"].includes(name) && event.target.closest?.("button, a, summary")) return;
    if (addBox.isEmpty()) onEmptyBox(event, name);
    else onText(event, name);
  }

  function onText(event, name) {
    if (addBox.handleKey(event, name)) return event.preventDefault();
    if (isTextKey(event, name)) return addBox.focus();
    return command(event, name);
  }

  function onEmptyBox(event, name) {
    const digit = digitOf(event);
    if (digit) return use(event, () => event.repeat || takeNumber(digit));
    if (name === "/") return use(event, () => (addBox.startLiteral(), addBox.focus()));
    if (name === "Escape") return use(event, escape);
    if (name === "Backspace") return event.preventDefault();
    if (command(event, name)) return undefined;
    if ([...event.key].length === 1 && !event.ctrlKey && !event.metaKey) addBox.focus();
    return undefined;
  }

  function command(event, name) {
    const action = actionOf(name, getKeys());
    if (!action) return false;
    event.preventDefault();
    if (!event.repeat || REPEATABLE.has(action)) run(action);
    return true;
  }

  document.addEventListener("keydown", onkeydown);
}

function use(event, then) {
  event.preventDefault();
  then();
}
