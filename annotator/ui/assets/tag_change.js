// One change of a tag: what is asked for, what it would do (the number of photos, three lists before and after), the
// button that makes it, and its undo. Knows nothing of the list of tags.

import { newestOnly } from "./calls.js";
import { count, make } from "./elements.js";

const TYPING_MS = 250; // wait before a preview
const MOST_OFFERED = 20;

/** Kind -> title, the field to fill in (none: nothing is asked), the button, and what is said afterwards. */
const KINDS = {
  rename: { title: (old) => `Rename ${old}`, field: "New name", verb: "Rename", said: (old, wanted) => `“${old}” is now “${wanted}”` },
  merge: { title: (old, wanted) => `Merge ${old} into ${wanted || "another tag"}`, field: "Into the tag", verb: "Merge", offers: true, said: (old, wanted) => `“${old}” was merged into “${wanted}”` },
  alias: { title: (_, wanted) => `Another word for ${wanted}`, field: "Other word", isOld: true, verb: "Add the alias", said: (old, wanted) => `“${old}” now means “${wanted}”` },
  parent: { title: (old) => `The tag above ${old}`, field: "Parent; empty: none", mayBeEmpty: true, verb: "Set the parent", offers: true, said: (old, wanted) => (wanted ? `“${old}” is now below “${wanted}”` : `“${old}” has no parent any more`) },
  delete: { title: (old) => `Delete ${old} everywhere`, verb: "Delete", isDanger: true, said: (old) => `“${old}” was deleted` },
  never: { title: (old) => `Never propose ${old}`, verb: "Never propose it", said: (old) => `“${old}” is never proposed` },
  propose: { title: (old) => `Propose ${old} again`, verb: "Propose it again", said: (old) => `“${old}” is proposed again` },
};

/** done({ sentence, undo, tag }): the change was made; cancelled(): it was given up. */
export function createTagChange({ call, done, cancelled }) {
  let form = null;
  let kind = "";
  let old = "";
  let wanted = "";
  let details = null;
  let preview = null; // what the change would do, for the present text
  let timer = null;
  let isBusy = false;
  let input, title, what, trouble, go, swap, offers;
  const ask = newestOnly((payload) => call("preview_tag_change", payload));
  const find = newestOnly((query) => call("list_tags", { query, limit: MOST_OFFERED }));

  /** The element of a change: `details` are those of the tag that is shown. */
  function start(newKind, newOld, newWanted, ofTag) {
    [kind, old, wanted, details] = [newKind, newOld, newWanted, ofTag];
    const { field, isOld, isDanger, offers: hasOffers } = KINDS[kind];
    title = make("h3", { id: "tag-change-title" });
    offers = make("datalist", { id: "tag-change-offers" });
    input = field ? make("input", { id: "tag-change-text", type: "text", maxlength: "100", autocomplete: "off", autocapitalize: "off", spellcheck: "false", list: hasOffers ? "tag-change-offers" : null, oninput: typed }) : null;
    if (input) input.value = isOld ? old : wanted;
    what = make("div", { id: "tag-change-preview", class: "tags-preview", role: "status" });
    trouble = make("p", { class: "review-trouble", role: "alert" });
    go = make("button", { type: "submit", id: "tag-change-go", class: isDanger ? "strong danger" : "strong", disabled: true }, KINDS[kind].verb);
    swap = make("button", { type: "button", id: "tag-change-swap", hidden: kind !== "merge" || !wanted, onclick: exchange }, "Swap");
    form = make(
      "form",
      { class: "tags-form", "aria-labelledby": "tag-change-title", onsubmit: (event) => (event.preventDefault(), submit()) },
      title,
      input && make("label", { class: "transfer-field" }, make("span", {}, field), input, offers),
      what,
      trouble,
      make("div", { class: "dialog-buttons" }, make("button", { type: "button", id: "tag-change-cancel", onclick: () => cancel() }, "Cancel"), swap, go),
    );
    drawTitle();
    look();
    return form;
  }

  function drawTitle() {
    title.textContent = KINDS[kind].title(old, wanted);
  }

  function typed() {
    clearTimeout(timer);
    if (KINDS[kind].isOld) old = input.value.trim();
    else wanted = input.value.trim();
    drawTitle();
    forget();
    timer = setTimeout(look, TYPING_MS);
  }

  /** What was shown no longer counts. */
  function forget() {
    preview = null;
    go.disabled = true;
    go.textContent = KINDS[kind].verb;
    swap.hidden = kind !== "merge" || !wanted;
    trouble.textContent = "";
  }

  function exchange() {
    [old, wanted] = [wanted, old];
    input.value = wanted;
    drawTitle();
    forget();
    look();
  }

  /** Show what the change would do. */
  async function look() {
    clearTimeout(timer);
    const mine = form;
    if (input && KINDS[kind].offers) offer(input.value.trim());
    if (!isComplete()) {
      what.replaceChildren(make("p", { class: "soft" }, "Nothing changes before you have seen what will."));
      return;
    }
    if (kind === "never" || kind === "propose") {
      const { num_photos } = details;
      show({ old, new: "", num_photos: 0, rows: [], notes: [num_photos ? `${count(num_photos, "photo")} with “${old}” keep it.` : "", kind === "never" ? "It is left out of the suggestions of all photos; typing it still works." : "It can be among the suggestions again."].filter(Boolean) });
      return;
    }
    try {
      const answer = await ask({ kind, old, new: kind === "delete" ? "" : wanted });
      if (answer && mine === form && mine?.isConnected) show(answer);
    } catch (error) {
      if (error.kind === undefined) throw error;
      if (mine !== form) return;
      what.replaceChildren();
      trouble.textContent = error.message;
    }
  }

  function isComplete() {
    if (!input || KINDS[kind].mayBeEmpty) return kind !== "parent" || wanted !== details.parent;
    if (kind === "rename" && wanted === old) return false;
    return Boolean(input.value.trim());
  }

  async function offer(text) {
    try {
      const answer = text ? await find(text) : { items: [] };
      if (answer) offers.replaceChildren(...answer.items.filter(({ tag }) => tag !== old).map(({ tag, num_photos }) => make("option", { value: tag }, count(num_photos, "photo"))));
    } catch (error) {
      if (error.kind === undefined) throw error; // the preview tells what is wrong with the server
    }
  }

  function show(answer) {
    preview = answer;
    const { num_photos, num_refusals = 0, num_emptied = 0, rows, notes } = answer;
    go.disabled = false;
    go.textContent = num_photos ? `${KINDS[kind].verb} on ${count(num_photos, "photo")}` : KINDS[kind].verb;
    const sentences = [
      num_photos ? `${count(num_photos, "photo")} ${num_photos === 1 ? "changes" : "change"}.` : "No photo changes.",
      num_refusals ? `On ${count(num_refusals, "photo")} only the refused tags change.` : "",
      num_emptied ? `${count(num_emptied, "photo")} ${num_emptied === 1 ? "is" : "are"} left without tags.` : "",
      ...notes,
    ];
    what.replaceChildren(
      make("p", {}, sentences.filter(Boolean).join(" ")),
      rows.length ? make("table", { class: "transfer-rows" }, make("thead", {}, make("tr", {}, ...["Photo", "Before", "After"].map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows.map(rowOf))) : "",
    );
  }

  /** The first Enter shows what would change, the next one makes it so. */
  async function submit() {
    if (isBusy) return;
    if (!preview) return look();
    isBusy = true;
    go.disabled = true;
    trouble.textContent = "";
    try {
      await (kind === "never" || kind === "propose" ? mark() : carryOut());
    } catch (error) {
      if (error.kind === undefined) throw error;
      trouble.textContent = error.message;
      if (error.kind === "stale") await look();
      else go.disabled = false;
    } finally {
      isBusy = false;
    }
  }

  async function carryOut() {
    const [from, into] = [preview.old, preview.new];
    const { change_id, num_photos } = await call("change_tag", { kind, old: from, new: into, seen_event: preview.seen_event });
    const shown = { rename: into, merge: into, alias: into }[kind] ?? from;
    const before = { alias: into }[kind] ?? from;
    close();
    await done({
      sentence: `${KINDS[kind].said(from, into)}${num_photos ? ` on ${count(num_photos, "photo")}` : ""}.`,
      tag: shown,
      async undo() {
        const { num_undone, num_kept } = await call("undo_change", { change_id });
        const on = num_undone + num_kept ? ` on ${count(num_undone, "photo")}` : "";
        return { sentence: `Undone${on}${num_kept ? `; ${count(num_kept, "photo")} changed since and ${num_kept === 1 ? "stays" : "stay"}` : ""}.`, tag: before };
      },
    });
  }

  async function mark() {
    const tag = old;
    const never = kind === "never";
    await call("set_never_proposed", { tag, never });
    const sentence = `${KINDS[kind].said(tag)}.`;
    close();
    await done({ sentence, tag, undo: async () => (await call("set_never_proposed", { tag, never: !never }), { sentence: `Undone: “${tag}” is ${never ? "proposed again" : "never proposed"}.`, tag }) });
  }

  function close() {
    clearTimeout(timer);
    form?.remove();
    form = null;
    preview = null;
  }

  function cancel() {
    close();
    cancelled();
  }

  return {
    start,
    close,
    cancel,
    isOpen: () => Boolean(form?.isConnected),
    /** Give the focus to the text, or to the form where there is none: an Enter that was meant for the button before does nothing. */
    focus() {
      if (input) {
        input.focus();
        input.select();
      } else form.querySelector("#tag-change-cancel").focus();
    },
  };
}

/** A photo's list before and after; the tags that only one of them has are set off. */
function rowOf({ name, before, after }) {
  const list = (tags, others) => make("td", {}, ...(tags.length ? tags.flatMap((tag, index) => [index ? ", " : "", others.includes(tag) ? tag : make("b", {}, tag)]) : ["no tags"]));
  return make("tr", {}, make("td", {}, name), list(before, after), list(after, before));
}
