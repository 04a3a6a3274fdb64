// Sidecars that are not in step with the saved lists: both lists side by side, and whose counts. Knows nothing of XMP.

import { count, make } from "./elements.js";

/** call(name, payload); settled(image_id) is called after a choice. */
export function showSidecars(dialogs, { call, settled }) {
  const note = make("p", { class: "soft" }, "Loading…");
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const rows = make("ul", { class: "sidecar-list" });
  let isBusy = false;

  function draw({ items, num_written, num_changed, num_failed }) {
    const parts = [`${count(num_written, "sidecar")} in step`];
    if (num_changed) parts.push(`${num_changed} changed by another program, not overwritten`);
    if (num_failed) parts.push(`${num_failed} could not be written`);
    note.textContent = `${parts.join("; ")}.`;
    rows.replaceChildren(...items.map(row));
  }

  function row(item) {
    const list = (title, tags) => make("p", {}, make("b", {}, `${title}: `), tags.join(", ") || "no tags");
    const choose = (take, label) => make("button", { type: "button", dataset: { take }, onclick: () => settle(item.image_id, take) }, label);
    return make(
      "li",
      { dataset: { image: item.image_id, state: item.state } },
      make("b", {}, item.file_name),
      ...(item.state === "changed"
        ? [list("Saved here", item.saved), list("In the sidecar", item.found), make("div", { class: "dialog-buttons" }, choose("ours", "Keep ours"), choose("theirs", "Take theirs"))]
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
  return dialogs.open({ id: "sidecars", title: "Sidecars", wide: true, body: [note, trouble, rows] });
}
