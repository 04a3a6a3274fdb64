// The bar below the library's grid: how many photos are selected, and changes of all of them. Each change is shown before
// it is made, on the first photos, and is taken back in one step. Knows nothing of the grid.

import { ROOT } from "./address.js";
import { CallError, newestOnly } from "./calls.js";
import { make } from "./elements.js";
import { formatList, formatNumber } from "./formats.js";
import { keyPieces } from "./keys.js";
import { own, tagNodes } from "./names.js";
import { phrase, plural } from "./texts.js";
import { changeRow, createProgress, ended } from "./transfers.js";

const WAIT_MS = 250;
const AT_ONCE = 5000; // photos of one call; a change of more is several, which one Undo takes back
const KINDS = {
  add: { label: phrase("bulk.add"), hint: phrase("bulk.add_hint"), verb: phrase("bulk.add_verb"), apply: "bulk.add_apply", done: "bulk.add_done", stopped: "bulk.add_stopped" },
  remove: { label: phrase("bulk.remove"), hint: phrase("bulk.remove_hint"), verb: phrase("bulk.remove_verb"), apply: "bulk.remove_apply", done: "bulk.remove_done", stopped: "bulk.remove_stopped" },
  replace: { label: phrase("bulk.replace"), hint: phrase("bulk.replace_hint"), verb: phrase("bulk.replace_verb"), apply: "bulk.replace_apply", done: "bulk.replace_done", stopped: "bulk.replace_stopped" },
  first: { label: phrase("bulk.first"), hint: phrase("bulk.first_hint"), verb: phrase("bulk.first_verb"), apply: "bulk.first_apply", done: "bulk.first_done", stopped: "bulk.first_stopped" },
  suggest: { label: phrase("bulk.suggest"), hint: "", verb: phrase("bulk.suggest_verb") },
  assign: { label: phrase("bulk.assign"), hint: "", verb: phrase("bulk.assign") },
};
/** What suggestions become -> the texts about it. */
const SUGGESTED = {
  draft: { all: "bulk.planned", some: "bulk.planned_some", rest: "bulk.planned_rest", apply: "bulk.start" },
  suggested: { all: "bulk.save_planned", some: "bulk.save_planned_some", rest: "bulk.save_planned_rest", apply: "bulk.save_apply" },
};
const EVERYBODY = "";
const CERTAINTY = 80; // percent, at first

/**
 * handlers: ids() are the selected photos; whenPicked() is a promise that ends when those still being selected are among them;
 * tags() some tags to offer; changed(ids) after a change or its undo; clear(); exportThem(); orderThem() opens the order rules; mayEdit() tells whether this person may change many photos, mayTag() and
 * mayAssign() whether they may put them off or assign them.
 */
export function createBulkBar(root, { call, say, ids, whenPicked, tags, changed, clear, exportThem, orderThem, mayEdit, mayTag, mayAssign }) {
  const number = make("b", { id: "bulk-count", role: "status" });
  const offered = make("datalist", { id: "bulk-tags" });
  const buttons = Object.entries(KINDS).map(([kind, { label }]) => make("button", { type: "button", id: `bulk-${kind}`, "aria-expanded": "false", onclick: () => (shown === kind ? hidePanel() : showPanel(kind)) }, label));
  const tagBox = make("input", { id: "bulk-tag", type: "text", maxlength: "500", list: "bulk-tags", autocomplete: "off", spellcheck: "false", oninput: changedText });
  const tagField = make("label", { class: "bulk-field" });
  const newBox = make("input", { id: "bulk-new", type: "text", maxlength: "200", list: "bulk-tags", autocomplete: "off", spellcheck: "false", oninput: changedText });
  const newField = make("label", { class: "bulk-field" }, make("span", {}, phrase("bulk.by")), newBox);
  const leastBox = make("input", { id: "bulk-least", type: "number", min: "5", max: "100", step: "5", value: CERTAINTY, oninput: changedText });
  const leastField = make("label", { class: "bulk-field" }, make("span", {}, phrase("bulk.least")), leastBox);
  const becomesBox = make("select", { id: "bulk-becomes", onchange: changedText }, make("option", { value: "draft" }, phrase("bulk.becomes_start")), make("option", { value: "suggested" }, phrase("bulk.becomes_list")));
  const becomesField = make("label", { class: "bulk-field" }, make("span", {}, phrase("bulk.becomes")), becomesBox);
  const personBox = make("select", { id: "bulk-person", onchange: changedText });
  const personField = make("label", { class: "bulk-field" }, make("span", {}, phrase("bulk.to")), personBox);
  const putOff = make("button", { type: "button", id: "bulk-put-off", onclick: putThemOff }, phrase("bulk.put_off"));
  const progress = createProgress("bulk", () => planned && call("cancel_transfer", { transfer_id: planned }).catch(tell));
  const label = make("span", {});
  tagField.append(label, tagBox);
  const note = make("p", { class: "soft", id: "bulk-note", role: "status" });
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const rows = make("ul", { class: "bulk-rows" });
  const apply = make("button", { type: "submit", class: "strong", id: "bulk-apply", disabled: true });
  const panel = make(
    "form",
    { class: "bulk-panel", id: "bulk-panel", hidden: true, "aria-label": phrase("bulk.change"), onsubmit: (event) => (event.preventDefault(), carryOut()) },
    make("div", { class: "bulk-fields" }, tagField, newField, leastField, becomesField, personField),
    note,
    trouble,
    progress.element,
    rows,
    make("div", { class: "dialog-buttons" }, make("button", { type: "button", onclick: () => hidePanel() }, phrase("common.cancel")), apply),
  );
  const ordering = make("button", { type: "button", id: "bulk-order", onclick: () => whenPicked().then(orderThem) }, phrase("menu.order"));
  root.append(offered, panel, make("div", { class: "bulk-buttons" }, number, ...buttons, ordering, putOff, make("button", { type: "button", id: "bulk-export", onclick: () => whenPicked().then(exportThem) }, phrase("menu.export")), make("button", { type: "button", id: "bulk-clear", "aria-label": phrase("bulk.none"), title: phrase("key.label", { label: phrase("bulk.none"), key: keyPieces("Escape")[0] }), onclick: clear }, "×")));
  const preview = newestOnly((payload) => call("edit_tags", { ...payload, is_dry_run: true }));
  let planned = ""; // the transfer that ranks photos, or has ranked them
  let running = null; // a change that is being made part by part: { isCancelled, cancel() }
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
    if (running) return;
    apply.disabled = true;
    trouble.textContent = "";
    clearTimeout(timer);
    if (shown === "suggest") offerToLook();
    else if (shown === "assign") offerToAssign();
    else timer = setTimeout(look, WAIT_MS);
  }

  /** Photos that were put off come again once no other is left. */
  async function putThemOff() {
    await whenPicked();
    const image_ids = ids();
    hidePanel();
    try {
      const { image_ids: done, num_left_out } = await call("put_off", { photos: { image_ids, state: "all" } });
      changed(done);
      const rest = num_left_out ? plural("bulk.put_off_rest", num_left_out) : "";
      const sentence = done.length ? plural("bulk.put_off_done", done.length) : phrase("bulk.put_off_none");
      say([sentence, rest].filter(Boolean).join(" "), done.length ? () => takeUp(done) : null);
    } catch (error) {
      if (error.kind === undefined) throw error;
      say(error.message);
    }
  }

  async function takeUp(image_ids) {
    try {
      const { image_ids: done } = await call("put_off", { photos: { image_ids, state: "all" }, back: true });
      say(plural("bulk.taken_up", done.length));
      changed(done);
    } catch (error) {
      if (error.kind === undefined) throw error;
      say(error.message);
    }
  }

  async function loadPeople() {
    try {
      const response = await fetch(`${ROOT}api/v1/users`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ do: "list" }) });
      const answer = await response.json();
      if (answer.error) throw new CallError(answer.error);
      const people = answer.users.filter(({ role, disabled }) => role !== "viewer" && !disabled);
      const chosen = personBox.value;
      personBox.replaceChildren(...people.map(({ name }) => make("option", { value: name }, name)), make("option", { value: EVERYBODY }, phrase("bulk.everybody")));
      if (people.some(({ name }) => name === chosen)) personBox.value = chosen;
      offerToAssign();
    } catch (error) {
      tell(error.kind === undefined ? new CallError({ kind: "unreachable", message: phrase("server.silent") }) : error);
    }
  }

  function offerToAssign() {
    if (shown !== "assign" || !personBox.options.length) return;
    const person = personBox.value;
    note.textContent = person ? phrase("bulk.assign_one", { person }) : phrase("bulk.assign_all");
    apply.textContent = plural("bulk.assign_apply", ids().length);
    apply.disabled = false;
  }

  async function assignThem() {
    const [image_ids, person] = [ids(), personBox.value];
    apply.disabled = true;
    try {
      const { before } = await call("assign", { users: person ? [person] : [], image_ids, tells_before: true });
      hidePanel();
      changed(image_ids);
      say(person ? plural("bulk.assigned", image_ids.length, { person }) : plural("bulk.assigned_all", image_ids.length), () => assignBack(before, image_ids));
    } catch (error) {
      tell(error);
      apply.disabled = false;
    }
  }

  async function assignBack(before, image_ids) {
    try {
      for (const [user, theirs] of Object.entries(before)) await call("assign", { users: user ? [user] : [], image_ids: theirs });
      say(plural("bulk.taken_back", image_ids.length));
    } catch (error) {
      if (error.kind === undefined) throw error;
      say(error.message);
    }
    changed(image_ids);
  }

  /** Ranking takes time, so it begins with a press; the next one then starts or saves the photos. */
  function offerToLook() {
    if (planned) call("cancel_transfer", { transfer_id: planned }).catch(() => {}); // it may have ended
    planned = "";
    rows.replaceChildren();
    note.textContent = phrase(becomesBox.value === "suggested" ? "bulk.save_note" : "bulk.suggest_note");
    apply.textContent = plural("bulk.look", ids().length);
    apply.disabled = !leastBox.checkValidity() || !leastBox.value;
  }

  async function lookForSuggestions() {
    const image_ids = ids();
    const { transfer_id } = await call("begin_import");
    planned = transfer_id;
    const kind = becomesBox.value;
    const begun = await call("plan_suggestions", { transfer_id, photos: { image_ids, state: "all" }, least: Number(leastBox.value) / 100, kind });
    const answer = await ended(call, begun, (now) => progress.show(now, "progress.looking"), () => planned === transfer_id);
    progress.hide();
    if (planned !== transfer_id) return;
    if (answer.state !== "ready") {
      offerToLook();
      trouble.textContent = answer.problem;
      return;
    }
    const { num_planned, num_left_out } = answer;
    const texts = SUGGESTED[kind];
    note.textContent = num_left_out ? plural(texts.some, num_planned, { rest: plural(texts.rest, num_left_out) }) : plural(texts.all, num_planned);
    rows.replaceChildren(...answer.rows.map(({ name, tags: found, thumbnail_url }) => make("li", { class: "bulk-sample" }, make("img", { src: thumbnail_url, alt: "", decoding: "async" }), make("span", {}, ...tagNodes(found)), make("span", { class: "soft" }, own(name)))));
    apply.textContent = plural(texts.apply, num_planned);
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
    say(plural("bulk.started", answer.num_planned), () => undo(answer.change_ids, image_ids));
  }

  /** Save the photos with their suggestions; what was saved before it was cancelled or failed is told, and taken back, too. */
  async function saveThem() {
    const [image_ids, transfer_id] = [ids(), planned];
    running = { isCancelled: false, cancel: () => call("cancel_transfer", { transfer_id }).catch(() => {}) }; // it may have ended
    let answer;
    try {
      const begun = await call("carry_out_import", { transfer_id });
      answer = await ended(call, begun, (now) => progress.show(now, "progress.writing"), () => true);
    } finally {
      running = null;
      progress.hide();
    }
    const { state, problem, num_written = 0, change_ids = [] } = answer;
    planned = "";
    if (state === "failed") {
      offerToLook();
      trouble.textContent = problem;
    } else hidePanel();
    if (change_ids.length) changed(image_ids);
    if (state === "failed" && !change_ids.length) return;
    say(plural(state === "done" ? "bulk.saved" : "bulk.saved_stopped", num_written), change_ids.length ? () => undo(change_ids, image_ids) : null);
  }

  async function suggest() {
    apply.disabled = true;
    trouble.textContent = "";
    try {
      if (!planned) await lookForSuggestions();
      else await (becomesBox.value === "suggested" ? saveThem() : startThem());
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
      rows.replaceChildren(...answer.rows.slice(0, 3).map(({ name, before, after }) => changeRow(name, before, after)));
      apply.textContent = plural(KINDS[shown].apply, num);
      apply.disabled = !num;
    } catch (error) {
      tell(error);
    }
  }

  async function carryOut() {
    if (shown === "suggest") return apply.disabled ? undefined : suggest();
    if (shown === "assign") return apply.disabled ? undefined : assignThem();
    const wanted = payload();
    if (!wanted || apply.disabled) return undefined;
    apply.disabled = true;
    const { done, stopped } = KINDS[shown];
    const [image_ids, named, made] = [wanted.photos.image_ids, formatList(words(tagBox.value)), []];
    let [from, num] = [0, 0];
    running = { isCancelled: false };
    const tellDone = (sentence) => say(sentence, made.length && (() => undo(made, image_ids)));
    try {
      for (; from < image_ids.length && !running.isCancelled; from += AT_ONCE) {
        if (from) note.textContent = plural("bulk.so_far", image_ids.length, { done: formatNumber(from) });
        const part = { image_ids: image_ids.slice(from, from + AT_ONCE), state: "all" };
        const answer = await call("edit_tags", { ...wanted, photos: part, is_dry_run: false });
        num += answer.num_lists + answer.num_drafts;
        if (answer.change_id) made.push(answer.change_id);
      }
      running = null;
      hidePanel();
      changed(image_ids);
      tellDone(plural(from < image_ids.length ? stopped : done, num, { tags: named }));
    } catch (error) {
      running = null;
      tell(error);
      apply.disabled = false;
      if (!made.length) return undefined;
      changed(image_ids);
      tellDone(plural(stopped, num, { tags: named }));
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
      say([plural("bulk.taken_back", num), kept ? plural("bulk.taken_back_rest", kept) : ""].filter(Boolean).join(" "));
    } catch (error) {
      if (error.kind === undefined) throw error;
      say(num ? plural("bulk.taken_back_stopped", num, { problem: error.message }) : error.message);
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
    if (running) return;
    shown = kind;
    panel.hidden = false;
    for (const button of buttons) button.setAttribute("aria-expanded", String(button.id === `bulk-${kind}`));
    label.textContent = KINDS[kind].hint;
    newField.hidden = kind !== "replace";
    tagField.hidden = ["suggest", "assign"].includes(kind);
    personField.hidden = kind !== "assign";
    leastField.hidden = becomesField.hidden = kind !== "suggest";
    rows.replaceChildren();
    note.textContent = "";
    offered.replaceChildren(...tags().map((value) => make("option", { value })));
    tagBox.value = newBox.value = "";
    apply.textContent = KINDS[kind].verb;
    changedText();
    if (kind === "assign") loadPeople();
    ({ suggest: leastBox, assign: personBox }[kind] ?? tagBox).focus();
  }

  /** Close the panel, or end the change that is being made; return whether there was either. */
  function hidePanel() {
    if (running) {
      running.isCancelled = true; // it ends after the part that is being changed
      running.cancel?.();
      return true;
    }
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
      number.textContent = plural("bulk.selected", num);
      ordering.hidden = !mayEdit();
      for (const button of buttons) button.hidden = !(button.id === "bulk-assign" ? mayAssign() : mayEdit());
      putOff.hidden = !mayTag();
      if (running) return;
      if (!num) hidePanel();
      else if (shown) changedText();
    },
  };
}

/** What a change does, in a sentence. */
function effect({ num_lists, num_drafts, num_closed, num_photos }) {
  const num_same = num_photos - num_lists - num_drafts - num_closed;
  const parts = [
    num_lists && plural("bulk.effect_lists", num_lists),
    num_drafts && plural("bulk.effect_drafts", num_drafts),
    num_same && plural("bulk.effect_same", num_same),
    num_closed && plural("bulk.effect_closed", num_closed),
  ].filter(Boolean);
  return phrase("common.sentence", { parts: formatList(parts) });
}
