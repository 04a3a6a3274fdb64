// The command palette: every action by its name, with its key; typing narrows the list. Knows nothing of what the
// actions do.

import { keycaps, make } from "./elements.js";
import { keyPieces } from "./keys.js";
import { phrase } from "./texts.js";

const NOTHING = phrase("palette.nothing");

/**
 * commands: [{ id, label, group, keys: names of keys, words: further words to find it by, run }], in the order in which
 * they are listed. Resolves once the palette is closed; the chosen command runs after that.
 */
export async function showPalette(dialogs, commands) {
  const input = make("input", { id: "palette-input", type: "text", role: "combobox", "aria-label": phrase("palette.find"), "aria-autocomplete": "list", "aria-expanded": "true", "aria-controls": "palette-list", placeholder: phrase("palette.placeholder"), autocomplete: "off", spellcheck: "false", oninput: () => choose(0) });
  const list = make("div", { id: "palette-list", class: "palette-list", role: "listbox", "aria-label": phrase("palette.list") });
  const note = make("p", { class: "soft palette-note", role: "status" });
  let found = commands;
  let chosen = 0;

  function choose(index) {
    found = matching(commands, input.value);
    chosen = Math.max(0, Math.min(found.length - 1, index));
    draw();
  }

  function draw() {
    const groups = [...new Set(found.map(({ group }) => group))];
    list.replaceChildren(
      ...groups.map((group) =>
        make("div", { role: "group", "aria-label": group, class: "palette-group" }, make("div", { class: "palette-heading", "aria-hidden": "true" }, group), ...found.map((command, index) => (command.group === group ? item(command, index) : null))),
      ),
    );
    note.textContent = found.length ? "" : NOTHING;
    input.setAttribute("aria-activedescendant", found.length ? `palette-${chosen + 1}` : "");
    list.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }

  function item(command, index) {
    const caps = command.keys.slice(0, 1).flatMap((name) => keycaps(keyPieces(name)));
    return make("div", { id: `palette-${index + 1}`, role: "option", class: "palette-item", "aria-selected": String(index === chosen), dataset: { command: command.id }, onclick: () => dialogs.close(command) }, make("span", {}, command.label), make("span", { class: "caps" }, ...caps));
  }

  function onkey(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -8, PageDown: 8 };
    if (event.key in steps) {
      event.preventDefault();
      choose(chosen + steps[event.key]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (!event.repeat && found.length) dialogs.close(found[chosen]);
    }
  }

  found = ordered(commands);
  commands = found;
  draw();
  const command = await dialogs.open({ id: "palette", title: phrase("palette.title"), wide: true, body: [input, note, list], onkey, focus: input });
  command?.run();
}

/** The commands in their groups, each group where its first command is. */
function ordered(commands) {
  const groups = [...new Set(commands.map(({ group }) => group))];
  return groups.flatMap((group) => commands.filter((command) => command.group === group));
}

/** The commands that have every word of a text, as the beginning of one of their own words. */
export function matching(commands, text) {
  const words = wordsOf(text);
  return commands.filter(({ label, words: more = "", keys = [] }) => {
    const own = [...wordsOf(`${label} ${more}`), ...keys.map((name) => name.toLowerCase())];
    return words.every((word) => own.some((other) => (UNSPACED.test(word) ? other.includes(word) : other.startsWith(word))));
  });
}

// Scripts that put no spaces between words.
const UNSPACED = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u;

const wordsOf = (text) => text.normalize("NFKC").toLowerCase().split(/[^\p{L}\p{N}+?]+/u).filter(Boolean);
