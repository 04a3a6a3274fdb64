// Help and the re-mapping of keys: every action with its keys, a recorder for a new key, and the reset.
// Knows nothing of the effect of actions.

import { keycaps, make } from "./elements.js";
import { ACTIONS, DEFAULT_KEYS, keyName, keyPieces, refusal } from "./keys.js";
import { own } from "./names.js";
import { phrase } from "./texts.js";

const FIXED = [
  [["a–z"], phrase("keys.letters")],
  [["1–9"], phrase("keys.digits")],
  [["Shift", "1–9"], phrase("keys.down_to")],
  [["Alt", "1–9"], phrase("keys.alt")],
  [["Alt", "Shift", "1–9"], phrase("keys.alt_shift")],
  [["/"], phrase("keys.slash")],
  [[","], phrase("keys.comma")],
  [["Enter"], phrase("keys.enter")],
  [["Tab"], phrase("keys.tab")],
  [["Shift", "Enter"], phrase("keys.shift_enter")],
  [["Escape"], phrase("keys.escape")],
];

/**
 * store(keys) -> the stored keys, or throws; onChange(keys) after they were stored; setShowExpected(shown) switches the
 * expected line on or off, or throws; proposeAgain(tag) -> the tags that are still never proposed, or throws.
 */
export function showKeys(dialogs, { keys: initial, store, onChange, showExpected, setShowExpected, neverProposed = [], proposeAgain }) {
  let keys = initial;
  let recording = null;
  const note = make("p", { class: "key-note", role: "status", "aria-live": "polite" }, HINT);
  const table = make("div", { class: "key-table" });

  function draw() {
    const rows = Object.keys(ACTIONS).map((action) => {
      const isRecording = recording === action;
      return make(
        "div",
        { class: isRecording ? "key-row recording" : "key-row", dataset: { action } },
        make("span", { class: "key-caps" }, ...(isRecording ? [phrase("keys.press")] : writeKeys(keys[action] ?? []))),
        make("span", {}, ACTIONS[action]),
        make("button", { type: "button", class: "quiet", "aria-label": phrase("keys.change_label", { action: ACTIONS[action] }), onclick: () => record(action) }, isRecording ? phrase("keys.keeps", { key: keyPieces("Escape")[0] }) : phrase("keys.change")),
      );
    });
    const fixed = FIXED.map(([caps, text]) => make("div", { class: "key-row" }, make("span", { class: "key-caps" }, ...keycaps(caps.flatMap((name) => keyPieces(name)))), make("span", {}, text)));
    table.replaceChildren(...rows, ...fixed);
  }

  function record(action) {
    recording = action;
    note.textContent = phrase("keys.recording", { action: ACTIONS[action], key: keyPieces("Escape")[0] });
    draw();
    table.querySelector(`[data-action="${action}"] button`).focus();
  }

  async function change(wanted, sentence) {
    try {
      keys = await store(wanted);
      note.textContent = sentence;
      onChange(keys);
    } catch (error) {
      note.textContent = error.message;
    }
    draw();
  }

  function onkey(event) {
    if (!recording) return;
    const name = keyName(event);
    event.preventDefault();
    if (!name) return;
    const action = recording;
    recording = null;
    const reason = name === "Escape" ? phrase("keys.stays") : refusal(keys, action, name);
    if (reason) {
      note.textContent = reason;
      draw();
    } else change({ ...keys, [action]: [name] }, phrase("keys.changed", { key: keyPieces(name).join(" "), action: ACTIONS[action] }));
    table.querySelector(`[data-action="${action}"] button`)?.focus();
  }

  const box = make("input", { type: "checkbox", id: "show-expected" });
  box.checked = showExpected;
  box.addEventListener("change", async () => {
    try {
      await setShowExpected(box.checked);
      note.textContent = phrase(box.checked ? "keys.line_drawn" : "keys.line_not_drawn");
    } catch (error) {
      box.checked = !box.checked;
      note.textContent = error.message;
    }
  });

  const refused = make("div", { class: "setting never-proposed", id: "never-proposed" });

  function drawRefused(tags) {
    refused.hidden = !tags.length;
    refused.replaceChildren(phrase("keys.never"), " ", ...tags.map((tag) => make("button", { type: "button", class: "chip", title: phrase("keys.propose_again", { tag }), dataset: { tag }, onclick: () => giveBack(tag) }, own(tag), make("span", { "aria-hidden": "true" }, " ×"))));
  }

  async function giveBack(tag) {
    try {
      drawRefused(await proposeAgain(tag));
      note.textContent = phrase("keys.proposed_again", { tag });
    } catch (error) {
      note.textContent = error.message;
    }
  }

  draw();
  drawRefused(neverProposed);
  return dialogs.open({
    id: "keys",
    title: phrase("keys.title"),
    wide: true,
    body: [
      note,
      table,
      make("label", { class: "setting" }, box, " ", phrase("keys.draw_line")),
      refused,
      make("div", { class: "dialog-buttons" }, make("button", { type: "button", id: "reset-keys", onclick: () => change(DEFAULT_KEYS, phrase("keys.reset_done")) }, phrase("keys.reset"))),
    ],
    onkey,
  });
}

const HINT = phrase("keys.hint");

function writeKeys(names) {
  return names.flatMap((name, index) => [...(index ? [` ${phrase("keys.or")} `] : []), ...keycaps(keyPieces(name))]);
}
