// The box in which tags are typed: inline completion, the list of completions, and the keys that belong to text. With
// text in it, every digit is text, and Alt with a digit takes that completion (with Shift: and saves). Commas and line breaks separate tags.
// Knows nothing of the ranked list; it requests completions and returns tags.

import { cleanTag, tagKey } from "./draft.js";
import { make } from "./elements.js";
import { digitOf, keyPieces } from "./keys.js";
import { FORWARD, phrase } from "./texts.js";

const SEPARATORS = /[,，、\r\n]/u;
const [ALT] = keyPieces("Alt+1");

/**
 * complete(text) -> [{ tag, score, source }], or null if a newer call was made; fallback(text) -> the same, from the
 * tags on the page; onAdd(tag, numKeys, saves) -> whether the tag was accepted, and if `saves` the list is saved after
 * it; onAddSeveral(tags, numKeys) -> the same for several; onChange() after the text changed; isAccept(name) -> whether that key also saves.
 */
export function createAddBox(elements, { complete, fallback, onAdd, onAddSeveral, onChange, isAccept }) {
  const { input, ghost, literal, list } = elements;
  const rowId = (index) => `${list.id.replace(/s$/u, "")}-${index + 1}`;
  const controlled = input.getAttribute("aria-controls"); // what the box controls while no completion is shown
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
      text && continues ? choice.slice(text.length) : text && choice ? `  ${FORWARD > 0 ? "→" : "←"} ${choice}` : "",
    );
    literal.hidden = !isLiteral || Boolean(text);
    list.replaceChildren(...completions.map(({ tag, source, place = "" }, index) => completionRow(rowId(index), tag, source, index, highlighted, text, place)));
    list.hidden = !text || completions.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    input.setAttribute("aria-controls", list.hidden ? controlled : list.id);
    onChange();
  }

  function offer(candidates, text) {
    const key = prefixKey(text);
    const exact = candidates.filter(({ tag }) => tagKey(tag) === tagKey(text));
    completions = [...candidates];
    // Enter takes only a completion that continues the typed text; others must be selected with the arrow keys. After a
    // space no letter says how the tag goes on, so Enter takes the text itself.
    highlighted = key.endsWith(" ") ? -1 : completions.findIndex(({ tag }) => tagKey(tag).startsWith(key));
    // A screen keyboard has no Shift Enter, so the typed text itself is a row that can be tapped.
    if (completions.length && !exact.length) completions.push({ tag: cleanTag(text), source: "typed" });
  }

  /** Add all tags but the last of a separated text; that one stays in the box, unless `addsLast`. */
  function separate(text, addsLast) {
    const parts = text.split(SEPARATORS);
    const last = addsLast ? "" : parts.pop();
    const tags = parts.map(cleanTag).filter(Boolean);
    if (tags.length && !onAddSeveral(tags, numKeys)) return; // refused while a photo is being saved
    clear();
    if (!last.trim()) return;
    input.value = last.trimStart();
    changed();
  }

  async function changed(event) {
    const text = input.value;
    if (!event?.isComposing && SEPARATORS.test(text)) return separate(text, false);
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

  function paste(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!SEPARATORS.test(text)) return; // the browser pastes it
    event.preventDefault();
    separate(input.value.slice(0, input.selectionStart) + text + input.value.slice(input.selectionEnd), true);
  }

  input.addEventListener("input", changed);
  input.addEventListener("compositionend", () => changed());
  input.addEventListener("paste", paste);
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-tag]");
    if (row) add(row.dataset.tag);
  });

  return {
    clear,
    /** What Enter would add now, or "". */
    choice: () => (input.value.trim() ? (completions[highlighted]?.tag ?? cleanTag(input.value)) : ""),
    isEmpty: () => input.value === "" && !isLiteral,
    hasText: () => input.value !== "",
    focus: () => input.focus({ preventScroll: true }),
    activeRow: () => (list.hidden || highlighted < 0 ? null : rowId(highlighted)),
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
      const digit = digitOf(event);
      if (digit?.saves) {
        // Alt with a digit takes that completion, with Shift it also saves; a number without one does nothing.
        const completion = completions[digit.number - 1];
        if (!event.repeat && completion && completion.source !== "typed") add(completion.tag, digit.withShift);
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

function completionRow(id, tag, source, index, highlighted, text, place) {
  const at = tagKey(tag).indexOf(tagKey(text));
  const plain = at < 0 || tag.length !== tagKey(tag).length;
  const end = at + tagKey(text).length;
  const parts = plain ? [tag] : [tag.slice(0, at), make("b", {}, tag.slice(at, end)), tag.slice(end)];
  const labels = { project: phrase("completion.project"), model: phrase("completion.model"), words: phrase("completion.words"), typed: phrase("completion.typed"), meaning: phrase("completion.meaning") };
  const number = source !== "typed" && index < 9 ? `${ALT} ${index + 1}` : "";
  return make(
    "li",
    { id, role: "option", "aria-selected": String(index === highlighted), dataset: { tag }, title: tag },
    make("span", { class: "number", "aria-hidden": "true" }, number),
    make("bdi", { class: "tag", lang: "" }, ...parts),
    place && make("bdi", { class: "soft completion-place", lang: "" }, place),
    make("span", { class: "soft" }, labels[source] ?? ""),
  );
}

function prefixKey(text) {
  return text.trimStart().replace(/\s+/gu, " ").normalize("NFKC").toLowerCase();
}
