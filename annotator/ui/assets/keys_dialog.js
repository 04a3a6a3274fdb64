// Help and the re-mapping of keys: every action with its keys, a recorder for a new key, and the reset.
// Knows nothing of the effect of actions.

import { keycaps, make } from "./elements.js";
import { ACTIONS, DEFAULT_KEYS, keyName, keyPieces, refusal } from "./keys.js";

const FIXED = [
  [["a–z"], "Any letter: type a tag, wherever you are"],
  [["1–9"], "With an empty box: take that proposal; with text they are text"],
  [["Shift", "1–9"], "Take everything down to that proposal"],
  [["Alt", "1–9"], "Take that proposal and save; with text: take that completion"],
  [["Alt", "Shift", "1–9"], "Take that proposal or completion, and save"],
  [["/"], "Type a tag that begins with a digit"],
  [[","], "With text: adds it as typed; pasted commas and line breaks separate tags too"],
  [["Enter"], "With text: take the completion"],
  [["Tab"], "With text: put the completion into the box and type on"],
  [["Shift", "Enter"], "With text: exactly what was typed"],
  [["Esc"], "Clear the box, or close"],
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
        make("span", { class: "key-caps" }, ...(isRecording ? ["press a key…"] : writeKeys(keys[action] ?? []))),
        make("span", {}, ACTIONS[action]),
        make("button", { type: "button", class: "quiet", "aria-label": `Change the key of: ${ACTIONS[action]}`, onclick: () => record(action) }, isRecording ? "Esc keeps it" : "Change"),
      );
    });
    const fixed = FIXED.map(([caps, text]) => make("div", { class: "key-row" }, make("span", { class: "key-caps" }, ...keycaps(caps)), make("span", {}, text)));
    table.replaceChildren(...rows, ...fixed);
  }

  function record(action) {
    recording = action;
    note.textContent = `Press the new key for “${ACTIONS[action]}”. Esc keeps the old one.`;
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
    const reason = name === "Escape" ? "The key stays as it was." : refusal(keys, action, name);
    if (reason) {
      note.textContent = reason;
      draw();
    } else change({ ...keys, [action]: [name] }, `${keyPieces(name).join(" ")} is the new key for “${ACTIONS[action]}”.`);
    table.querySelector(`[data-action="${action}"] button`)?.focus();
  }

  const box = make("input", { type: "checkbox", id: "show-expected" });
  box.checked = showExpected;
  box.addEventListener("change", async () => {
    try {
      await setShowExpected(box.checked);
      note.textContent = box.checked ? "The dashed line is drawn." : "No dashed line is drawn: you decide alone.";
    } catch (error) {
      box.checked = !box.checked;
      note.textContent = error.message;
    }
  });

  const refused = make("div", { class: "setting never-proposed", id: "never-proposed" });

  function drawRefused(tags) {
    refused.hidden = !tags.length;
    refused.replaceChildren("Never proposed here: ", ...tags.map((tag) => make("button", { type: "button", class: "chip", title: `Propose “${tag}” again`, dataset: { tag }, onclick: () => giveBack(tag) }, tag, make("span", { "aria-hidden": "true" }, " ×"))));
  }

  async function giveBack(tag) {
    try {
      drawRefused(await proposeAgain(tag));
      note.textContent = `“${tag}” is proposed again.`;
    } catch (error) {
      note.textContent = error.message;
    }
  }

  draw();
  drawRefused(neverProposed);
  return dialogs.open({
    id: "keys",
    title: "Keys",
    wide: true,
    body: [
      note,
      table,
      make("label", { class: "setting" }, box, " Draw a dashed line below the proposals that are more likely right than wrong"),
      refused,
      make("div", { class: "dialog-buttons" }, make("button", { type: "button", id: "reset-keys", onclick: () => change(DEFAULT_KEYS, "All keys are as they came.") }, "Reset all keys")),
    ],
    onkey,
  });
}

const HINT = "Letters always go to the add box; digits take proposals while it is empty. Any other key can be changed.";

function writeKeys(names) {
  return names.flatMap((name, index) => [...(index ? [" or "] : []), ...keycaps(keyPieces(name))]);
}
