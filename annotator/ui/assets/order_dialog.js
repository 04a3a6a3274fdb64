// Order rules: tags that come first, classes in order, pairs, the most tags of a list. What they change is shown on the first
// photos; then they are applied to saved lists, with one Undo, or to every list that is saved from now on. Knows nothing of the library.

import { newestOnly } from "./calls.js";
import { make } from "./elements.js";
import { countPhotos, formatList } from "./formats.js";
import { phrase, plural } from "./texts.js";
import { changeRow, field, select, submitsOnEnter } from "./transfers.js";

const WAIT_MS = 300; // after the last change, before the preview is asked for
const SHOWN = 5;

const words = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);
const lines = (text) => text.split("\n").map(words).filter(({ length }) => length);
const written = (lists) => lists.map((list) => list.join(", ")).join("\n");

/**
 * found: { query, state } of the library; picked: ids of the photos selected there; mayChange: whether this person may
 * change many photos and the project; changed() after saved lists changed.
 */
export function showOrderRules(dialogs, { call, found, picked = [], mayChange, say, changed }) {
  const among = [picked.length && ["picked", plural("among.picked", picked.length)], ["all", phrase("order.all")], found.query && ["found", phrase("among.found", { search: phrase("common.quoted", { text: found.query }) })]];
  const photos = select("order-photos", among.filter(Boolean), edited);
  const pinned = make("input", { id: "order-pinned", type: "text", maxlength: "5000", autocomplete: "off", spellcheck: "false", oninput: edited });
  const classes = make("textarea", { id: "order-classes", rows: "3", spellcheck: "false", oninput: edited });
  const before = make("textarea", { id: "order-before", rows: "3", spellcheck: "false", oninput: edited });
  const most = make("input", { id: "order-most", type: "number", min: "0", max: "1000", value: "0", oninput: edited });
  const always = make("input", { id: "order-always", type: "checkbox", onchange: keepRules });
  const note = make("p", { id: "order-note", role: "status" }, phrase("common.loading"));
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const rows = make("ul", { class: "bulk-rows", id: "order-rows" });
  const apply = make("button", { type: "submit", class: "strong", id: "order-apply", disabled: true }, phrase("order.apply"));
  const form = make(
    "form",
    { class: "transfer", onsubmit: (event) => (event.preventDefault(), carryOut()) },
    make(
      "div",
      { class: "order-grid" },
      field(phrase("order.first"), pinned, phrase("order.first_hint")),
      field(phrase("order.most"), most, phrase("order.most_hint")),
      field(phrase("order.classes"), classes, phrase("order.classes_hint")),
      field(phrase("order.pairs"), before, phrase("order.pairs_hint")),
    ),
    make("label", { class: "order-always" }, always, " ", phrase("order.always")),
    field(phrase("transfer.photos"), photos),
    note,
    trouble,
    rows,
    make("div", { class: "dialog-buttons" }, apply),
  );
  const preview = newestOnly((payload) => call("reorder", { ...payload, is_dry_run: true }));
  let timer = 0;

  const rules = () => ({ pinned: words(pinned.value), classes: lines(classes.value), before: lines(before.value), most: Number(most.value) });
  const isEmpty = (values) => !values.pinned.length && !values.classes.length && !values.before.length && !values.most;

  function payload() {
    const chosen = photos.value === "picked" ? { image_ids: picked, state: "all" } : photos.value === "found" ? { found } : { state: "saved" };
    return { ...rules(), photos: chosen };
  }

  function edited() {
    apply.disabled = true;
    clearTimeout(timer);
    timer = setTimeout(look, WAIT_MS);
  }

  async function look() {
    trouble.textContent = "";
    rows.replaceChildren();
    const wanted = payload();
    const pair = wanted.before.find(({ length }) => length !== 2);
    if (pair) {
      tell({ kind: "invalid", message: phrase("order.no_pair", { tags: formatList(pair) }) });
      return;
    }
    try {
      if (isEmpty(wanted)) {
        note.textContent = phrase("order.no_rule");
        if (always.checked) await store();
        return;
      }
      const answer = await preview(wanted);
      if (!answer) return;
      note.textContent = plural("order.changes", answer.num_changed, { photos: countPhotos(answer.num_photos) });
      rows.replaceChildren(...answer.rows.slice(0, SHOWN).map((row) => changeRow(row.name, row.before, row.after)));
      apply.textContent = plural("order.apply_photos", answer.num_changed);
      apply.disabled = !mayChange || !answer.num_changed;
      if (always.checked) await store();
    } catch (error) {
      tell(error);
    }
  }

  async function store() {
    await call("set_order_rules", always.checked ? rules() : {});
  }

  async function keepRules() {
    try {
      await store();
      note.textContent = always.checked ? phrase("order.kept") : phrase("order.not_kept");
    } catch (error) {
      always.checked = !always.checked;
      tell(error);
    }
  }

  async function carryOut() {
    if (apply.disabled) return;
    apply.disabled = true;
    try {
      const answer = await call("reorder", { ...payload(), is_dry_run: false });
      changed();
      say(plural("order.applied", answer.num_changed), answer.change_id && (() => undo(answer.change_id)));
      await look();
    } catch (error) {
      tell(error);
    }
  }

  async function undo(change_id) {
    try {
      const { num_undone } = await call("undo_change", { change_id });
      say(plural("bulk.taken_back", num_undone));
    } catch (error) {
      if (error.kind === undefined) throw error;
      say(error.message);
    }
    changed();
  }

  function tell(error) {
    if (error.kind === undefined) throw error;
    note.textContent = "";
    rows.replaceChildren();
    trouble.textContent = error.message;
  }

  async function load() {
    try {
      const { order_rules: kept } = await call("order_rules");
      pinned.value = (kept.pinned ?? []).join(", ");
      classes.value = written(kept.classes ?? []);
      before.value = written(kept.before ?? []);
      most.value = kept.most ?? 0;
      always.checked = Object.keys(kept).length > 0;
      always.disabled = !mayChange;
      pinned.focus();
      await look();
    } catch (error) {
      tell(error);
    }
  }

  load();
  return dialogs.open({ id: "order-dialog", title: phrase("order.title"), wide: true, body: [form], onkey: submitsOnEnter(form) }).then((result) => {
    clearTimeout(timer);
    return result;
  });
}
