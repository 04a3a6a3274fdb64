// The buttons under the list, and one line of what the keys do now: at rest, while text is typed, on a kept tag. What a
// key does can be pressed there too, so that a kept tag is moved and un-kept by touch. Knows nothing of the draft.

import { icon, keycaps, make } from "./elements.js";
import { keyPieces } from "./keys.js";
import { own } from "./names.js";
import { phrase, phraseNodes, plural } from "./texts.js";

const LEFT = ["m10 3-5 5 5 5"];
const RIGHT = ["m6 3 5 5-5 5"];
const BACK = ["M3 6h6.5a3.5 3.5 0 0 1 0 7H6", "M5.5 3.5 3 6l2.5 2.5"];
const BUTTONS = [
  ["previous", () => [icon(LEFT)], phrase("action.previous")],
  ["next", () => [icon(RIGHT)], phrase("action.next")],
  ["undo", () => [icon(BACK)], phrase("common.undo")],
  ["skip", () => [phrase("hint.put_off")], phrase("hint.skip")],
  ["save", () => [phrase("hint.save")], phrase("action.save")],
];

/** Context -> hints of [actions, text]; "digits" and other texts in quotes are keys that cannot be changed. */
const HINTS = {
  rest: [[["“1”", "“9”"], phrase("hint.keep")], [["drop"], phrase("hint.refuse")], [["up"], phrase("hint.kept_tags")], [["palette"], phrase("hint.actions")]],
  typing: [[["“Enter”"], phrase("hint.add")], [["“Tab”"], phrase("hint.write_out")], [["“Shift+Enter”"], phrase("completion.typed")]],
  kept: [[["move_up"], phrase("hint.up")], [["move_down"], phrase("hint.down")], [["unkeep"], phrase("hint.unkeep")], [["drop"], phrase("hint.refuse")], [["“Escape”"], phrase("hint.back")]],
};

/** Where the window is short and wide, the buttons that open other photos are under the photo. */
const SHORT = "(max-height: 640px) and (min-width: 600px)";

/** `actions`, `foot` and `hints` are the places of the buttons, of those that may lie under the photo, and of the keys. */
export function createHints(actions, foot, hints, run) {
  const buttons = BUTTONS.map(([action, content, title]) =>
    make("button", { type: "button", id: `action-${action}`, class: action, title, "aria-label": title, dataset: { action }, onclick: () => run(action) }, ...content()),
  );
  const save = buttons.at(-1);
  const isShort = window.matchMedia(SHORT);
  const layOut = () => {
    (isShort.matches ? foot : actions).append(...buttons.slice(0, -1));
    actions.append(save);
  };
  isShort.addEventListener("change", layOut);
  layOut();
  let keys = {};
  let shown = { context: "rest", addition: "", label: phrase("hint.save") };
  let drawn = "";

  function draw() {
    const state = JSON.stringify([shown, keys]);
    if (state === drawn) return;
    drawn = state;
    hints.replaceChildren(...HINTS[shown.context].map(([names, text]) => hint(names, text)).filter(Boolean));
    hints.dataset.context = shown.context;
    const key = keys.save?.[0];
    save.replaceChildren(make("span", { class: "save-label" }, shown.label), ...(key ? [make("span", { class: "caps" }, ...keycaps(keyPieces(key)))] : []));
    save.setAttribute("aria-label", phrase("hint.save_label", { label: shown.label }));
    save.title = key ? phrase("key.label", { label: phrase("action.save"), key: keyPieces(key).join(" ") }) : phrase("action.save");
  }

  function hint(names, text) {
    const isFixed = names[0].startsWith("“");
    const pieces = isFixed ? names.map((name) => keyPieces(name.slice(1, -1))) : names.map((name) => keys[name]?.[0]).filter(Boolean).map((name) => keyPieces(name));
    const words = text === phrase("hint.add") && shown.addition ? phraseNodes("hint.keep_tag", { tag: own(shown.addition) }) : [text];
    const caps = make("span", { class: "caps" }, ...pieces.flatMap((one, index) => [...(index ? ["–"] : []), ...keycaps(one)]));
    if (isFixed) return make("span", { class: "hint" }, caps, " ", ...words);
    return make("button", { type: "button", class: "hint", dataset: { action: names[0] }, onclick: () => run(names[0]) }, caps, " ", make("span", {}, ...words));
  }

  return {
    /** The keys were read or changed. */
    setKeys(newKeys) {
      keys = newKeys;
      for (const button of buttons.slice(0, -1)) {
        const name = keys[button.dataset.action]?.[0];
        button.title = name ? phrase("key.label", { label: button.getAttribute("aria-label"), key: keyPieces(name).join(" ") }) : button.getAttribute("aria-label");
      }
      draw();
    },
    /** What can be done now: { context, addition: the tag that Enter would add, num_kept, accepts }. */
    show({ context, addition = "", num_kept = 0, accepts = false }) {
      const label = num_kept ? plural(accepts ? "hint.accept_tags" : "hint.save_tags", num_kept) : phrase("hint.save_empty");
      shown = { context, addition, label };
      draw();
    },
    busy(isBusy) {
      for (const button of buttons) button.disabled = isBusy;
    },
  };
}
