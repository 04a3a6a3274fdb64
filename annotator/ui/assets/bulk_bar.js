// The bar below the library's grid: how many photos are selected, and changes of all of them. Each change is shown before
// it is made, on the first photos, and is taken back in one step. Knows nothing of the grid.

import { CallError, newestOnly } from "./calls.js";
import { count, formatNumber, make } from "./elements.js";
import { createProgress, ended } from "./transfers.js";

const WAIT_MS = 250;
const AT_ONCE = 5000; // photos of one call; a change of more is several, which one Undo takes back
const KINDS = {
  add: { label: "Add tag", verb: "Add", done: "added to" },
  remove: { label: "Remove tag", verb: "Remove", done: "removed from" },
  replace: { label: "Replace tag", verb: "Replace", done: "replaced on" },
  first: { label: "Put first", verb: "Put first", done: "put first on" },
  suggest: { label: "Take suggestions", verb: "Start" },
};
const CERTAINTY = 80; // percent, at first

/**
 * handlers: ids() are the selected photos; tags() some tags to offer; changed(ids) after a change or its undo; clear();
 * exportThem(); mayEdit() tells whether this person may change many photos.
 */
export function createBulkBar(root, { call, say, ids, tags, changed, clear, exportThem, mayEdit }) {
  const number = make("b", { id: "bulk-count", role: "status" });
  const offered = make("datalist", { id: "bulk-tags" });
  const buttons = Object.entries(KINDS).map(([kind, { label }]) => make("button", { type: "button", id: `bulk-${kind}`, "aria-expanded": "false", onclick: () => (shown === kind ? hidePanel() : showPanel(kind)) }, label));
  const tagBox = make("input", { id: "bulk-tag", type: "text", maxlength: "500", list: "bulk-tags", autocomplete: "off", spellcheck: "false", oninput: changedText });
  const tagField = make("label", { class: "bulk-field" });
  const newBox = make("input", { id: "bulk-new", type: "text", maxlength: "200", list: "bulk-tags", autocomplete: "off", spellcheck: "false", oninput: changedText });
  const newField = make("label", { class: "bulk-field" }, make("span", {}, "by"), newBox);
  const leastBox = make("input", { id: "bulk-least", type: "number", min: "5", max: "100", step: "5", value: CERTAINTY, oninput: changedText });
  const leastField = make("label", { class: "bulk-field" }, make("span", {}, "Suggestions that are at least so many percent sure"), leastBox);
  const progress = createProgress("bulk", () => planned && call("cancel_transfer", { transfer_id: planned }).catch(tell));
  const label = make("span", {});
  tagField.append(label, tagBox);
  const note = make("p", { class: "soft", id: "bulk-note", role: "status" });
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const rows = make("ul", { class: "bulk-rows" });
  const apply = make("button", { type: "submit", class: "strong", id: "bulk-apply", disabled: true });
  const panel = make(
    "form",
    { class: "bulk-panel", id: "bulk-panel", hidden: true, "aria-label": "Change the selected photos", onsubmit: (event) => (event.preventDefault(), carryOut()) },
    make("div", { class: "bulk-fields" }, tagField, newField, leastField),
    note,
    trouble,
    progress.element,
    rows,
    make("div", { class: "dialog-buttons" }, make("button", { type: "button", onclick: () => hidePanel() }, "Cancel"), apply),
  );
  root.append(offered, panel, make("div", { class: "bulk-buttons" }, number, ...buttons, make("button", { type: "button", id: "bulk-export", onclick: exportThem }, "Export…"), make("button", { type: "button", id: "bulk-clear", "aria-label": "Select none", title: "Select none (Esc)", onclick: clear }, "×")));
  const preview = newestOnly((payload) => call("edit_tags", { ...payload, is_dry_run: true }));
  let planned = ""; // the transfer that ranks photos, or has ranked them
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
    if (shown !== "suggest") timer = setTimeout(look, WAIT_MS);
    else offerToLook();
  }

  /** Ranking takes time, so it begins with a press; the next one then starts the photos. */
  function offerToLook() {
    if (planned) call("cancel_transfer", { transfer_id: planned }).catch(() => {}); // it may have ended
    planned = "";
    rows.replaceChildren();
    note.textContent = "Photos that are not tagged get these tags as a start; you save each when you have seen it.";
    apply.textContent = `Look at ${count(ids().length, "photo")}`;
    apply.disabled = !leastBox.checkValidity() || !leastBox.value;
  }

  async function lookForSuggestions() {
    const image_ids = ids();
    const { transfer_id } = await call("begin_import");
    planned = transfer_id;
    const running = await call("plan_suggestions", { transfer_id, photos: { image_ids, state: "all" }, least: Number(leastBox.value) / 100 });
    const answer = await ended(call, running, (now) => progress.show(now, "Looking"), () => planned === transfer_id);
    progress.hide();
    if (planned !== transfer_id) return;
    if (answer.state !== "ready") {
      offerToLook();
      trouble.textContent = answer.problem;
      return;
    }
    const { num_planned, num_left_out } = answer;
    note.textContent = `${count(num_planned, "photo")} ${num_planned === 1 ? "is" : "are"} started${num_left_out ? `, ${formatNumber(num_left_out)} ${num_left_out === 1 ? "stays" : "stay"}: tagged or started already, or nothing is that certain` : ""}.`;
    rows.replaceChildren(...answer.rows.map(({ name, tags: found }) => make("li", {}, make("span", { class: "soft" }, name), make("span", {}, found.join(", ")))));
    apply.textContent = `Start ${count(num_planned, "photo")}`;
    apply.disabled = !num_planned;
    if (!num_planned) planned = "";
  }

  async function startThem() {
    const [image_ids, transfer_id] = [ids(), planned];
    const running = await call("carry_out_import", { transfer_id });
    const answer = await ended(call, running, () => {}, () => true);
    if (answer.state !== "done") throw new CallError({ kind: "failed", message: answer.problem });
    planned = "";
    hidePanel();
    changed(image_ids);
    say(`${count(answer.num_planned, "photo")} started with suggestions.`, () => undo([answer.change_id], image_ids));
  }

  async function suggest() {
    apply.disabled = true;
    trouble.textContent = "";
    try {
      await (planned ? startThem() : lookForSuggestions());
    } catch (error) {
      progress.hide();
      tell(error);
    }
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
    if (shown === "suggest") return apply.disabled ? undefined : suggest();
    const wanted = payload();
    if (!wanted || apply.disabled) return undefined;
    apply.disabled = true;
    const { done } = KINDS[shown];
    const [image_ids, named, made] = [wanted.photos.image_ids, words(tagBox.value).join(", "), []];
    let num = 0;
    const tellDone = (sentence) => say(sentence, made.length && (() => undo(made, image_ids)));
    try {
      for (let from = 0; from < image_ids.length; from += AT_ONCE) {
        if (from) note.textContent = `${formatNumber(from)} of ${count(image_ids.length, "photo")}…`;
        const part = { image_ids: image_ids.slice(from, from + AT_ONCE), state: "all" };
        const answer = await call("edit_tags", { ...wanted, photos: part, is_dry_run: false });
        num += answer.num_lists + answer.num_drafts;
        if (answer.change_id) made.push(answer.change_id);
      }
      hidePanel();
      changed(image_ids);
      tellDone(`“${named}” ${done} ${count(num, "photo")}.`);
    } catch (error) {
      tell(error);
      apply.disabled = false;
      if (made.length) tellDone(`“${named}” ${done} ${count(num, "photo")} before it stopped.`);
    }
    return undefined;
  }

  /** Take changes back, the newest first. */
  async function undo(change_ids, image_ids) {
    let [num, kept] = [0, 0];
    try {
      for (const change_id of change_ids.toReversed()) {
        const { num_undone, num_kept } = await call("undo_change", { change_id });
        num += num_undone;
        kept += num_kept;
      }
      say(`Taken back on ${count(num, "photo")}.${kept ? ` ${count(kept, "photo")} changed since ${kept === 1 ? "stays" : "stay"} as ${kept === 1 ? "it is" : "they are"}.` : ""}`);
    } catch (error) {
      if (error.kind === undefined) throw error;
      say(num ? `Taken back on ${count(num, "photo")}, then it stopped: ${error.message}` : error.message);
    }
    changed(image_ids);
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
    tagField.hidden = kind === "suggest";
    leastField.hidden = kind !== "suggest";
    rows.replaceChildren();
    note.textContent = "";
    offered.replaceChildren(...tags().map((value) => make("option", { value })));
    tagBox.value = newBox.value = "";
    apply.textContent = KINDS[kind].verb;
    changedText();
    (kind === "suggest" ? leastBox : tagBox).focus();
  }

  /** Close the panel; return whether it was open. */
  function hidePanel() {
    if (!shown) return false;
    const button = buttons.find(({ id }) => id === `bulk-${shown}`);
    if (planned) call("cancel_transfer", { transfer_id: planned }).catch(() => {}); // it may have ended
    planned = "";
    progress.hide();
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
