// The buttons under the list and the keys that are always shown. Knows nothing of the draft.

import { keycaps, make } from "./elements.js";
import { isMac, keyPieces } from "./keys.js";

const BUTTONS = [
  ["previous", "‹", "Photo before"],
  ["next", "›", "Photo after, without saving"],
  ["undo", "Undo", "Undo"],
  ["skip", "Skip", "Skip: comes again at the end"],
  ["save", "Save, next", "Save and go to the next photo"],
];
// Pairs share a hint: their common modifier is written once.
const HINTS = [
  [["up", "down"], "select"],
  [["take_selected"], "take"],
  [["drop"], "drop"],
  [["cut_up", "cut_down"], "cut line"],
  [["move_up", "move_down"], "move"],
  [["previous", "next"], "photo"],
  [["undo"], "undo"],
];

export function createHints(actions, hints, run) {
  const buttons = BUTTONS.map(([action, label, title]) =>
    make("button", { type: "button", id: `action-${action}`, class: action === "save" ? "save" : "", title, "aria-label": title, dataset: { action }, onclick: () => run(action) }, label),
  );
  actions.append(...buttons);

  return {
    render(keys) {
      for (const button of buttons) {
        const name = keys[button.dataset.action]?.[0];
        button.title = name ? `${button.getAttribute("aria-label")} (${keyPieces(name).join(" ")})` : button.getAttribute("aria-label");
        if (button.dataset.action === "save") button.replaceChildren("Save, next ", ...(name ? keycaps(keyPieces(name)) : []));
      }
      const first = [
        make("span", { class: "hint" }, ...keycaps(["1"]), "–", ...keycaps(["9"]), " take"),
        make("span", { class: "hint" }, ...keycaps(["⇧", "1"]), "–", ...keycaps(["9"]), " down to"),
        make("span", { class: "hint" }, ...keycaps([isMac() ? "⌥" : "Alt", "1"]), "–", ...keycaps(["9"]), " take, save"),
      ];
      const rest = HINTS.map(([names, text]) => make("span", { class: "hint" }, ...keycaps(shared(names.map((name) => keys[name]?.[0]))), ` ${text}`));
      hints.replaceChildren(...first, ...rest);
    },
    busy(isBusy) {
      for (const button of buttons) button.disabled = isBusy;
    },
  };
}

function shared(names) {
  const known = names.filter(Boolean).map((name) => keyPieces(name).map((piece) => (piece === "Shift" ? "⇧" : piece)));
  if (known.length < 2) return known.flat();
  const [one, other] = known;
  const sameStart = one.length === other.length && one.slice(0, -1).every((piece, index) => piece === other[index]);
  return sameStart ? [...one, other.at(-1)] : [...one, ...other];
}
