// The box in which tags are typed: inline completion, the list of completions, and the keys that belong to text.
// Knows nothing of the ranked list; it requests completions and returns one tag at a time.

import { cleanTag, tagKey } from "./draft.js";
import { make } from "./elements.js";
import { digitOf } from "./keys.js";

/**
 * complete(text) -> [{ tag, score, source }], or null if a newer call was made; fallback(text) -> the same, from the
 * tags on the page; onAdd(tag, numKeys, saves) -> whether the tag was accepted, and if `saves` the list is saved after
 * it; onChange() after the text changed; isAccept(name) -> whether that key also saves.
 */
export function createAddBox(elements, { complete, fallback, onAdd, onChange, isAccept }) {
  const { input, ghost, literal, hint, list } = elements;
  let completions = [];
  let highlighted = -1; // -1: the typed text itself
  let numKeys = 0;
  let isLiteral = false;

  function show() {
    const text = input.value;
    const choice = completions[highlighted]?.tag ?? "";
    const continues = choice.toLowerCase().startsWith(text.toLowerCase());
    ghost.replaceChildren(
      make("span", { class: "ghost-typed" }, text),
      text && continues ? choice.slice(text.length) : text && choice ? `  → ${choice}` : "",
    );
    hint.textContent = text ? (choice && tagKey(choice) !== tagKey(text) ? "Enter · exact: Shift Enter" : "Enter adds") : "";
    literal.hidden = !isLiteral || Boolean(text);
    list.replaceChildren(...completions.map(({ tag, source }, index) => completionRow(tag, source, index, highlighted, text)));
    list.hidden = !text || completions.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    input.setAttribute("aria-controls", list.hidden ? "tag-list" : "completions");
    onChange();
  }

  function offer(candidates, text) {
    const key = prefixKey(text);
    const isExact = ({ tag }) => tagKey(tag) === tagKey(text);
    const exact = candidates.filter(isExact);
    completions = [...exact, ...candidates.filter((candidate) => !isExact(candidate))];
    // Enter takes only a completion that continues the typed text; others must be selected with the arrow keys.
    highlighted = completions.findIndex(({ tag }) => tagKey(tag).startsWith(key));
    // A screen keyboard has no Shift Enter, so the typed text itself is a row that can be tapped.
    if (completions.length && !exact.length) completions.push({ tag: cleanTag(text), source: "typed" });
  }

  async function changed() {
    const text = input.value;
    if (!text.trim()) {
      completions = [];
      highlighted = -1;
      if (!text) numKeys = 0;
      show();
      return;
    }
    offer(completions.filter(({ tag, source }) => source !== "typed" && tagKey(tag).startsWith(prefixKey(text))), text);
    show();
    let found;
    try {
      found = await complete(text);
    } catch {
      found = fallback(text); // the server does not answer: complete from the tags on the page
    }
    if (found === null || input.value !== text) return;
    offer(found, text);
    show();
  }

  function clear() {
    input.value = "";
    isLiteral = false;
    numKeys = 0;
    completions = [];
    highlighted = -1;
    show();
  }

  function add(tag, saves = false) {
    // Refused while a photo is being saved; the text is kept.
    if (onAdd(tag, numKeys, saves)) clear();
  }

  /** The completion that a digit selects: only directly after letters, so that "route 66" can be typed. */
  function numbered(event) {
    const digit = isLiteral || !/(^|\s)\p{L}+$/u.test(input.value) ? null : digitOf(event);
    const completion = digit && !digit.downTo ? completions[digit.number - 1] : null;
    return completion && completion.source !== "typed" ? { tag: completion.tag, saves: digit.saves } : null;
  }

  input.addEventListener("input", changed);
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-tag]");
    if (row) add(row.dataset.tag);
  });

  return {
    clear,
    isEmpty: () => input.value === "" && !isLiteral,
    hasText: () => input.value !== "",
    focus: () => input.focus({ preventScroll: true }),
    activeRow: () => (list.hidden || highlighted < 0 ? null : `completion-${highlighted + 1}`),
    /** "/" in the empty box: the next characters are text, even a digit. */
    startLiteral() {
      isLiteral = true;
      show();
    },
    /** A key press while the box holds text or waits for a digit. True when it was used here. */
    handleKey(event, name) {
      if (!event.repeat) numKeys += 1;
      if (name === "Escape" || (name === "Backspace" && input.value === "")) {
        clear();
        return true;
      }
      if (!input.value.trim()) return false;
      const choice = numbered(event);
      if (choice) {
        if (!event.repeat) add(choice.tag, choice.saves);
        return true;
      }
      if (name === "Tab") {
        // The completion goes into the box, to be continued: "bak" becomes "baked ", before "potato".
        input.value = `${completions[highlighted]?.tag ?? input.value.trimEnd()} `;
        changed();
        return true;
      }
      if (["Enter", "Shift+Enter"].includes(name) || isAccept(name)) {
        const tag = (name !== "Shift+Enter" && completions[highlighted]?.tag) || cleanTag(input.value);
        if (!event.repeat) add(tag, isAccept(name));
        return true;
      }
      if (name === "ArrowDown" || name === "ArrowUp") {
        highlighted = Math.max(-1, Math.min(completions.length - 1, highlighted + (name === "ArrowDown" ? 1 : -1)));
        show();
        return true;
      }
      return false;
    },
  };
}

function completionRow(tag, source, index, highlighted, text) {
  const at = tagKey(tag).indexOf(tagKey(text));
  const plain = at < 0 || tag.length !== tagKey(tag).length;
  const end = at + tagKey(text).length;
  const parts = plain ? [tag] : [tag.slice(0, at), make("b", {}, tag.slice(at, end)), tag.slice(end)];
  const labels = { project: "used here", model: "model", words: "word", typed: "as typed", meaning: "near in meaning" };
  const number = source !== "typed" && index < 9 ? String(index + 1) : "";
  return make(
    "li",
    { id: `completion-${index + 1}`, role: "option", "aria-selected": String(index === highlighted), dataset: { tag }, title: tag },
    make("span", { class: "number", "aria-hidden": "true" }, number),
    make("span", { class: "tag" }, ...parts),
    make("span", { class: "soft" }, labels[source] ?? ""),
  );
}

function prefixKey(text) {
  return text.trimStart().replace(/\s+/gu, " ").normalize("NFKC").toLowerCase();
}
