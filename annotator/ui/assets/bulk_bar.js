// The bar below the library's grid: how many photos are selected, and changes of all of them. Each change is shown before
// it is made, on the first photos, and is taken back in one step. Knows nothing of the grid.

import { newestOnly } from "./calls.js";
import { count, formatNumber, make } from "./elements.js";

const WAIT_MS = 250;
const KINDS = {
  add: { label: "Add tag", verb: "Add", done: "added to" },
  remove: { label: "Remove tag", verb: "Remove", done: "removed from" },
  replace: { label: "Replace tag", verb: "Replace", done: "replaced on" },
  first: { label: "Put first", verb: "Put first", done: "put first on" },
};

/**
 * handlers: ids() are the selected photos; tags() some tags to offer; changed(ids) after a change or its undo; clear();
 * exportThem(); mayEdit() tells whether this person may change many photos.
 */
export function createBulkBar(root, { call, say, ids, tags, changed, clear, exportThem, mayEdit }) {
  const number = make("b", { id: "bulk-count", role: "status" });
  const offered = make("datalist", { id: "bulk-tags" });
  const buttons = Object.entries(KINDS).map(([kind, { label }]) => make("button", { type: "button", id: `bulk-${kind}`, "aria-expanded": "false", onclick: () => (shown === kind ? hidePanel() : showPanel(kind)) }, label));
  const tagBox = make("input", { id: "bulk-tag", type: "text", maxlength: "500", list: "bulk-tags", autocomplete: "off", spellcheck: "false", oninput: changedText });
  const newBox = make("input", { id: "bulk-new", type: "text", maxlength: "200", list: "bulk-tags", autocomplete: "off", spellcheck: "false", oninput: changedText });
  const newField = make("label", { class: "bulk-field" }, make("span", {}, "by"), newBox);
  const label = make("span", {});
  const note = make("p", { class: "soft", id: "bulk-note", role: "status" });
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const rows = make("ul", { class: "bulk-rows" });
  const apply = make("button", { type: "submit", class: "strong", id: "bulk-apply", disabled: true });
  const panel = make(
    "form",
    { class: "bulk-panel", id: "bulk-panel", hidden: true, "aria-label": "Change the selected photos", onsubmit: (event) => (event.preventDefault(), carryOut()) },
    make("div", { class: "bulk-fields" }, make("label", { class: "bulk-field" }, label, tagBox), newField),
    note,
    trouble,
    rows,
    make("div", { class: "dialog-buttons" }, make("button", { type: "button", onclick: () => hidePanel() }, "Cancel"), apply),
  );
  root.append(offered, panel, make("div", { class: "bulk-buttons" }, number, ...buttons, make("button", { type: "button", id: "bulk-export", onclick: exportThem }, "Export…"), make("button", { type: "button", id: "bulk-clear", "aria-label": "Select none", title: "Select none (Esc)", onclick: clear }, "×")));
  const preview = newestOnly((payload) => call("edit_tags", { ...payload, is_dry_run: true }));
  let shown = null; // the kind of change whose panel is open
  let timer = 0;

  const words = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);

  /** The request; null as long as a tag is missing. */
  function payload() {
    const photos = { image_ids: ids(), state: "all" };
    const named = words(tagBox.value);
    if (!named.length) return null;
    if (shown !== "replace") return { photos, [shown]: named };
    const [by] = words(newBox.value);
    return by ? { photos, replace: Object.fromEntries(named.map((old) => [old, by])) } : null;
  }

  function changedText() {
    apply.disabled = true;
    trouble.textContent = "";
    clearTimeout(timer);
    timer = setTimeout(look, WAIT_MS);
  }

  async function look() {
    const wanted = shown && payload();
    if (!wanted) {
      note.textContent = "";
      rows.replaceChildren();
      return;
    }
    try {
      const answer = await preview(wanted);
      if (!answer || !shown) return;
      const num = answer.num_lists + answer.num_drafts;
      note.textContent = effect(answer);
      rows.replaceChildren(...answer.rows.slice(0, 3).map(({ name, before, after }) => make("li", {}, make("span", { class: "soft" }, name), make("span", {}, before.join(", ") || "no tags"), make("span", { "aria-label": "becomes" }, "→"), make("span", {}, after.join(", ") || "no tags"))));
      apply.textContent = `${KINDS[shown].verb} on ${count(num, "photo")}`;
      apply.disabled = !num;
    } catch (error) {
      tell(error);
    }
  }

  async function carryOut() {
    const wanted = payload();
    if (!wanted || apply.disabled) return;
    apply.disabled = true;
    const { done } = KINDS[shown];
    try {
      const answer = await call("edit_tags", { ...wanted, is_dry_run: false });
      hidePanel();
      changed(wanted.photos.image_ids);
      const num = answer.num_lists + answer.num_drafts;
      say(`“${words(tagBox.value).join(", ")}” ${done} ${count(num, "photo")}.`, answer.change_id && (() => undo(answer.change_id, wanted.photos.image_ids)));
    } catch (error) {
      tell(error);
      apply.disabled = false;
    }
  }

  async function undo(change_id, image_ids) {
    try {
      const { num_undone, num_kept } = await call("undo_change", { change_id });
      say(`Taken back on ${count(num_undone, "photo")}.${num_kept ? ` ${count(num_kept, "photo")} changed since ${num_kept === 1 ? "stays" : "stay"} as ${num_kept === 1 ? "it is" : "they are"}.` : ""}`);
      changed(image_ids);
    } catch (error) {
      if (error.kind === undefined) throw error;
      say(error.message);
    }
  }

  function tell(error) {
    if (error.kind === undefined) throw error;
    note.textContent = "";
    rows.replaceChildren();
    trouble.textContent = error.message;
  }

  function showPanel(kind) {
    shown = kind;
    panel.hidden = false;
    for (const button of buttons) button.setAttribute("aria-expanded", String(button.id === `bulk-${kind}`));
    label.textContent = kind === "replace" ? "Replace" : `${KINDS[kind].label}, or several with commas`;
    newField.hidden = kind !== "replace";
    offered.replaceChildren(...tags().map((value) => make("option", { value })));
    tagBox.value = newBox.value = "";
    apply.textContent = KINDS[kind].verb;
    changedText();
    tagBox.focus();
  }

  /** Close the panel; return whether it was open. */
  function hidePanel() {
    if (!shown) return false;
    const button = buttons.find(({ id }) => id === `bulk-${shown}`);
    shown = null;
    clearTimeout(timer);
    panel.hidden = true;
    for (const each of buttons) each.setAttribute("aria-expanded", "false");
    button.focus();
    return true;
  }

  return {
    hidePanel,
    /** Show the bar for so many selected photos; none hides it. */
    render(num) {
      root.hidden = num === 0;
      number.textContent = `${formatNumber(num)} selected`;
      for (const button of buttons) button.hidden = !mayEdit();
      if (!num) hidePanel();
      else if (shown) changedText();
    },
  };
}

/** What a change does, in a sentence. */
function effect({ num_lists, num_drafts, num_closed, num_photos }) {
  const num_same = num_photos - num_lists - num_drafts - num_closed;
  const parts = [
    num_lists && `${count(num_lists, "tagged photo")} ${num_lists === 1 ? "changes" : "change"}`,
    num_drafts && `${count(num_drafts, "photo")} not tagged yet ${num_drafts === 1 ? "is" : "are"} started with it`,
    num_same && `${count(num_same, "photo")} ${num_same === 1 ? "stays" : "stay"} as ${num_same === 1 ? "it is" : "they are"}`,
    num_closed && `${count(num_closed, "photo")} of others ${num_closed === 1 ? "stays" : "stay"}`,
  ].filter(Boolean);
  return `${parts.join(", ")}.`;
}
