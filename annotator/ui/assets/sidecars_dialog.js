// Sidecars that are not in step with the saved lists: both lists side by side, and whose counts. Knows nothing of XMP.

import { make } from "./elements.js";
import { own, tagNodes } from "./names.js";
import { phrase, plural } from "./texts.js";

/** call(name, payload); settled(image_id) is called after a choice. */
export function showSidecars(dialogs, { call, settled }) {
  const note = make("p", { class: "soft" }, phrase("common.loading"));
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const rows = make("ul", { class: "sidecar-list" });
  let isBusy = false;

  function draw({ items, num_written, num_changed, num_failed }) {
    const parts = [plural("sidecars.in_step", num_written)];
    if (num_changed) parts.push(plural("sidecars.changed", num_changed));
    if (num_failed) parts.push(plural("sidecars.failed", num_failed));
    note.textContent = phrase("common.sentence", { parts: parts.join("; ") });
    rows.replaceChildren(...items.map(row));
  }

  function row(item) {
    const list = (title, tags) => make("p", {}, make("b", {}, title), " ", ...tagNodes(tags));
    const choose = (take, label) => make("button", { type: "button", dataset: { take }, onclick: () => settle(item.image_id, take) }, label);
    return make(
      "li",
      { dataset: { image: item.image_id, state: item.state } },
      make("b", {}, own(item.file_name)),
      ...(item.state === "changed"
        ? [list(phrase("sidecars.saved"), item.saved), list(phrase("sidecars.found"), item.found), make("div", { class: "dialog-buttons" }, choose("ours", phrase("sidecars.ours")), choose("theirs", phrase("sidecars.theirs")))]
        : [make("p", { class: "soft" }, item.reason)]),
    );
  }

  async function settle(image_id, take) {
    if (isBusy) return;
    isBusy = true;
    trouble.textContent = "";
    try {
      draw(await call("settle_sidecar", { image_id, take }));
      settled(image_id);
    } catch (error) {
      if (error.kind === undefined) throw error;
      trouble.textContent = error.message;
    } finally {
      isBusy = false;
    }
  }

  call("sidecars", {}).then(draw, (error) => (note.textContent = error.message));
  return dialogs.open({ id: "sidecars", title: phrase("sidecars.title"), wide: true, body: [note, trouble, rows] });
}
