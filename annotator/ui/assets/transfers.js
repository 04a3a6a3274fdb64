// What the dialogs of export and import share: the options of a format, the progress of the work on the server, and the
// lists of what is left out. Knows nothing of any one format.

import { make } from "./elements.js";
import { formatNumber } from "./formats.js";
import { own, tagNodes } from "./names.js";
import { FORWARD, phrase, plural } from "./texts.js";

const POLL_MS = 300;
const pause = () => new Promise((resolve) => setTimeout(resolve, POLL_MS));

/** For a dialog's onkey: Enter on a list of choices submits the form, as it does on every other control. */
export function submitsOnEnter(form) {
  return (event) => {
    if (event.key !== "Enter" || event.isComposing || !event.target.closest?.("select")) return;
    event.preventDefault();
    if (!event.repeat) form.requestSubmit();
  };
}

/** A labelled control: field("Format", select) */
export function field(label, control, hint = "") {
  return make("label", { class: "transfer-field" }, make("span", {}, label), control, hint && make("span", { class: "soft small" }, hint));
}

export function select(id, entries, onchange) {
  return make("select", { id, onchange }, ...entries.map(([value, label]) => make("option", { value }, label)));
}

/** The options of a format as controls: { element, show(format), values() }; values() holds those that differ. */
export function createOptions(id, onchange) {
  const element = make("details", { class: "transfer-options", id, hidden: true });
  let controls = [];

  function show({ options }) {
    controls = options.map((option) => {
      const isSwitch = typeof option.default === "boolean";
      const type = isSwitch ? "checkbox" : typeof option.default === "number" ? "number" : "text";
      const input = make("input", { type, name: option.name, step: type === "number" ? "any" : null, autocomplete: "off", spellcheck: "false", onchange, oninput: isSwitch ? null : onchange });
      if (isSwitch) input.checked = option.default;
      else input.value = String(option.default);
      return { option, input };
    });
    element.hidden = !options.length;
    element.open = false;
    element.replaceChildren(make("summary", {}, phrase("transfer.options")), ...controls.map(({ option, input }) => field(option.name, input, option.what)));
  }

  function values() {
    const changed = {};
    for (const { option, input } of controls) {
      const value = typeof option.default === "boolean" ? input.checked : typeof option.default === "number" ? Number(input.value) : input.value;
      if (value !== option.default) changed[option.name] = value;
    }
    return changed;
  }

  return { element, show, values };
}

/** Ask how far a transfer is until its work has ended: resolves to its last state. `isWanted()` false ends the asking. */
export async function ended(call, transfer, onProgress, isWanted) {
  let state = transfer;
  while (state.state === "running" && isWanted()) {
    onProgress(state);
    await pause();
    if (isWanted()) state = await call("transfer", { transfer_id: state.transfer_id });
  }
  return state;
}

/** A progress bar with a sentence and a button that cancels: { element, show(state, the key of a text), hide() }. */
export function createProgress(id, oncancel) {
  const bar = make("progress", { "aria-label": phrase("transfer.progress") });
  const text = make("span", { class: "soft" });
  const button = make("button", { type: "button", id: `${id}-cancel`, onclick: oncancel }, phrase("common.cancel"));
  const element = make("div", { class: "transfer-progress", id: `${id}-progress`, hidden: true }, bar, text, button);
  return {
    element,
    show({ num_done, num_photos }, work, mayCancel = true) {
      element.hidden = false;
      button.hidden = !mayCancel;
      if (num_photos) {
        bar.max = num_photos;
        bar.value = num_done;
      } else bar.removeAttribute("value");
      text.textContent = num_photos ? phrase(work, { done: formatNumber(num_done), all: formatNumber(num_photos) }) : phrase(`${work}.open`, { done: formatNumber(num_done) });
    },
    hide: () => (element.hidden = true),
  };
}

/** The first rows, and what is left out and why. */
export function previewOf({ rows = [], left_out = [], num_left_out = 0, notes = [], num_notes = 0 }) {
  const table = make(
    "table",
    { class: "transfer-rows" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, phrase("transfer.photo")), make("th", { scope: "col" }, phrase("transfer.tags")))),
    make("tbody", {}, ...rows.map(({ name, tags }) => make("tr", {}, make("td", {}, own(name)), make("td", {}, ...tagNodes(tags))))),
  );
  return [rows.length ? table : "", reasons("transfer.left_out", "left-out", left_out, num_left_out), reasons("transfer.to_know", "notes", notes, num_notes)];
}

function reasons(heading, kind, items, total) {
  if (!total) return "";
  const more = total - items.length;
  return make(
    "div",
    { class: "transfer-reasons", dataset: { kind } },
    make("h3", {}, plural(heading, total)),
    make("ul", {}, ...items.map(({ photo, reason }) => make("li", {}, make("b", {}, own(photo)), ` ${reason}`))),
    more > 0 && make("p", { class: "soft" }, phrase("transfer.more", { num: formatNumber(more) })),
  );
}

/** A photo's list before and after a change, as a row of a list. */
export function changeRow(name, before, after) {
  const arrow = make("span", { role: "img", "aria-label": phrase("common.becomes") }, FORWARD > 0 ? "→" : "←");
  return make("li", {}, make("span", { class: "soft" }, own(name)), make("span", {}, ...tagNodes(before)), arrow, make("span", {}, ...tagNodes(after)));
}
