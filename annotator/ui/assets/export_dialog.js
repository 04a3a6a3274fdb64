// The export: a format and its options, which photos, the first five as they are written, then the whole with progress,
// what is left out and why, and the download. Knows nothing of any one format.

import { ROOT } from "./address.js";
import { newestOnly } from "./calls.js";
import { make } from "./elements.js";
import { formatList, formatNumber, formatSize } from "./formats.js";
import { phrase, plural } from "./texts.js";
import { createOptions, createProgress, ended, field, previewOf, select, submitsOnEnter } from "./transfers.js";

const WAIT_MS = 250; // after the last change, before the preview is asked for
const STATES = [["saved", phrase("state.saved")], ["unsaved", phrase("state.unsaved")], ["empty", phrase("state.empty")], ["all", phrase("state.all")]];

/** found: { query, state } of the library; photo: the open photo or null; picked: ids of the photos selected there. */
export function showExport(dialogs, { call, found, photo, picked = [] }) {
  const hasSearch = Boolean(found.query || found.state !== "all");
  const among = [picked.length && ["picked", plural("among.picked", picked.length)], ["all", phrase("among.all")], hasSearch && ["found", phrase("among.found", { search: formatList([found.query && phrase("common.quoted", { text: found.query }), found.state !== "all" && stateName(found.state)].filter(Boolean)) })], photo && ["photo", phrase("among.photo", { name: photo.file_name })]];
  const format = select("export-format", [], chooseFormat);
  const summary = make("p", { class: "soft small" });
  const options = createOptions("export-options", changed);
  const photos = select("export-photos", among.filter(Boolean), changed);
  const state = select("export-state", STATES, changed);
  const tag = make("input", { id: "export-tag", type: "text", maxlength: "100", autocomplete: "off", spellcheck: "false", oninput: changed });
  const query = make("input", { id: "export-query", type: "text", maxlength: "500", autocomplete: "off", spellcheck: "false", oninput: changed });
  const note = make("p", { id: "export-note", role: "status" }, phrase("common.loading"));
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const shown = make("div", { id: "export-preview", class: "transfer-preview" });
  const progress = createProgress("export", cancel);
  const write = make("button", { type: "submit", class: "strong", id: "export-write", disabled: true }, phrase("export.write"));
  const link = make("a", { id: "export-download", class: "button strong", download: true, hidden: true });
  const form = make(
    "form",
    { class: "transfer", onsubmit: (event) => (event.preventDefault(), start()) },
    field(phrase("transfer.format"), format),
    summary,
    options.element,
    make("div", { class: "transfer-grid" }, field(phrase("transfer.photos"), photos), field(phrase("export.state"), state), field(phrase("export.tag"), tag), field(phrase("export.text"), query)),
    note,
    trouble,
    progress.element,
    shown,
    make("div", { class: "dialog-buttons" }, link, write),
  );
  const preview = newestOnly((payload) => call("preview_export", payload));
  let formats = [];
  let running = null; // the transfer while the server works
  let timer = 0;
  let isOpen = true;

  function payload() {
    const chosen = { format: format.value, options: options.values(), state: state.value, tag: tag.value.trim(), query: query.value.trim() };
    if (photos.value === "found") chosen.found = found;
    if (photos.value === "picked") chosen.image_ids = picked;
    if (photos.value === "photo") chosen.image_ids = [photo.image_id];
    return chosen;
  }

  function chooseFormat() {
    const chosen = formats.find(({ name }) => name === format.value);
    summary.textContent = phrase("export.survives", { summary: chosen.summary, order: chosen.survives.order, scores: chosen.survives.scores, who: chosen.survives.who });
    options.show(chosen);
    changed();
  }

  function changed() {
    clearTimeout(timer);
    link.hidden = true;
    write.hidden = false;
    write.disabled = true;
    timer = setTimeout(look, WAIT_MS);
  }

  async function look() {
    trouble.textContent = "";
    try {
      const answer = await preview(payload());
      if (!answer || running) return;
      note.textContent = answer.num_photos ? plural("export.preview", answer.num_photos, { first: formatNumber(answer.rows.length) }) : phrase("export.no_photo");
      write.textContent = plural("export.write_photos", answer.num_photos);
      write.disabled = !answer.num_photos;
      const files = answer.files.filter(({ text }) => text).map(({ name, text }) => make("pre", { tabindex: "0", "aria-label": name || phrase("export.file") }, name ? `${name}\n` : "", text));
      shown.replaceChildren(...previewOf(answer), ...files);
    } catch (error) {
      tell(error);
    }
  }

  function tell(error) {
    if (error.kind === undefined) throw error;
    note.textContent = "";
    shown.replaceChildren();
    trouble.textContent = error.message;
  }

  async function start() {
    if (running || write.disabled) return;
    clearTimeout(timer);
    write.disabled = true;
    trouble.textContent = "";
    link.hidden = true;
    try {
      running = await call("start_export", payload());
      finish(await ended(call, running, (now) => progress.show(now, "progress.writing"), () => isOpen));
    } catch (error) {
      tell(error);
    } finally {
      running = null;
      progress.hide();
    }
  }

  function finish({ state: now, problem, transfer_id, num_written, num_bytes, file_name, ...answer }) {
    if (now !== "ready") {
      write.disabled = false;
      if (now === "failed") trouble.textContent = problem;
      note.textContent = now === "cancelled" ? phrase("export.cancelled") : "";
      if (isOpen) write.focus();
      return;
    }
    note.textContent = answer.num_left_out ? plural("export.written_some", num_written, { left_out: formatNumber(answer.num_left_out) }) : plural("export.written", num_written);
    shown.replaceChildren(...previewOf(answer));
    write.hidden = true;
    link.hidden = false;
    link.href = `${ROOT}api/v1/exported?transfer_id=${encodeURIComponent(transfer_id)}`;
    link.download = file_name;
    link.textContent = phrase("export.download", { name: file_name, size: formatSize(num_bytes) });
    link.focus();
  }

  function cancel() {
    if (running) call("cancel_transfer", { transfer_id: running.transfer_id }).catch(tell);
  }

  async function load() {
    try {
      formats = (await call("formats")).formats.filter(({ writes }) => writes);
      format.replaceChildren(...formats.map(({ name }) => make("option", { value: name }, name)));
      format.focus();
      chooseFormat();
    } catch (error) {
      tell(error);
    }
  }

  load();
  return dialogs.open({ id: "export-dialog", title: phrase("export.title"), wide: true, body: [form], onkey: submitsOnEnter(form) }).then((result) => {
    isOpen = false;
    clearTimeout(timer);
    cancel();
    return result;
  });
}

// "not tagged" in the middle of a line; a state that the dialog does not offer has its name of the library.
const stateName = (state) => phrase(`state.small.${state}`);
