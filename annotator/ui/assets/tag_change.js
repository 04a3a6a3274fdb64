// One change of a tag: what is asked for, what it would do (the number of photos, three lists before and after), the
// button that makes it, and its undo. Knows nothing of the list of tags.

import { newestOnly } from "./calls.js";
import { make } from "./elements.js";
import { countPhotos } from "./formats.js";
import { own } from "./names.js";
import { phrase, plural } from "./texts.js";

const TYPING_MS = 250; // wait before a preview
const MOST_OFFERED = 20;

/** Kind -> title, the field to fill in (none: nothing is asked), the button, and what is said afterwards. */
const KINDS = {
  rename: { title: (old) => phrase("change.rename_title", { tag: old }), field: phrase("change.rename_field"), verb: phrase("change.rename_verb"), on: "change.rename_on", said: "change.renamed" },
  merge: { title: (old, wanted) => (wanted ? phrase("change.merge_title", { tag: old, into: wanted }) : phrase("change.merge_title_open", { tag: old })), field: phrase("change.merge_field"), verb: phrase("change.merge_verb"), on: "change.merge_on", offers: true, said: "change.merged" },
  alias: { title: (_, wanted) => phrase("change.alias_title", { tag: wanted }), field: phrase("change.alias_field"), isOld: true, verb: phrase("change.alias_verb"), on: "change.alias_on", said: "change.aliased" },
  parent: { title: (old) => phrase("change.parent_title", { tag: old }), field: phrase("change.parent_field"), mayBeEmpty: true, verb: phrase("change.parent_verb"), on: "change.parent_on", offers: true, said: "change.parented" },
  delete: { title: (old) => phrase("change.delete_title", { tag: old }), verb: phrase("change.delete_verb"), on: "change.delete_on", isDanger: true, said: "change.deleted" },
  never: { title: (old) => phrase("change.never_title", { tag: old }), verb: phrase("change.never_verb"), said: "change.nevered" },
  propose: { title: (old) => phrase("change.propose_title", { tag: old }), verb: phrase("change.propose_verb"), said: "change.proposed" },
};

/** What is said after a change on so many photos; without a photo, the sentence ends before that. */
function saidText(kind, old, wanted, num_photos = 0) {
  const key = kind === "parent" && !wanted ? "change.parent_removed" : KINDS[kind].said;
  return num_photos ? plural(`${key}.photos`, num_photos, { tag: old, into: wanted }) : phrase(key, { tag: old, into: wanted });
}

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
    swap = make("button", { type: "button", id: "tag-change-swap", hidden: kind !== "merge" || !wanted, onclick: exchange }, phrase("change.swap"));
    form = make(
      "form",
      { class: "tags-form", "aria-labelledby": "tag-change-title", onsubmit: (event) => (event.preventDefault(), submit()) },
      title,
      input && make("label", { class: "transfer-field" }, make("span", {}, field), input, offers),
      what,
      trouble,
      make("div", { class: "dialog-buttons" }, make("button", { type: "button", id: "tag-change-cancel", onclick: () => cancel() }, phrase("common.cancel")), swap, go),
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
      what.replaceChildren(make("p", { class: "soft" }, phrase("change.nothing")));
      return;
    }
    if (kind === "never" || kind === "propose") {
      const { num_photos } = details;
      show({ old, new: "", num_photos: 0, rows: [], notes: [num_photos ? plural("change.keep_it", num_photos, { tag: old }) : "", phrase(kind === "never" ? "change.never_note" : "change.propose_note")].filter(Boolean) });
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
      if (answer) offers.replaceChildren(...answer.items.filter(({ tag }) => tag !== old).map(({ tag, num_photos }) => make("option", { value: tag }, countPhotos(num_photos))));
    } catch (error) {
      if (error.kind === undefined) throw error; // the preview tells what is wrong with the server
    }
  }

  function show(answer) {
    preview = answer;
    const { num_photos, num_refusals = 0, num_emptied = 0, rows, notes } = answer;
    go.disabled = false;
    go.textContent = num_photos ? plural(KINDS[kind].on, num_photos) : KINDS[kind].verb;
    const sentences = [
      num_photos ? plural("change.changes", num_photos) : phrase("change.no_photo"),
      num_refusals ? plural("change.refusals", num_refusals) : "",
      num_emptied ? plural("change.emptied", num_emptied) : "",
      ...notes,
    ];
    what.replaceChildren(
      make("p", {}, sentences.filter(Boolean).join(" ")),
      rows.length ? make("table", { class: "transfer-rows" }, make("thead", {}, make("tr", {}, ...[phrase("transfer.photo"), phrase("change.before"), phrase("change.after")].map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows.map(rowOf))) : "",
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
      sentence: saidText(kind, from, into, num_photos),
      tag: shown,
      async undo() {
        const { num_undone, num_kept } = await call("undo_change", { change_id });
        return { sentence: undoneText(num_undone, num_kept), tag: before };
      },
    });
  }

  async function mark() {
    const tag = old;
    const never = kind === "never";
    await call("set_never_proposed", { tag, never });
    const sentence = saidText(kind, tag, "");
    close();
    await done({ sentence, tag, undo: async () => (await call("set_never_proposed", { tag, never: !never }), { sentence: phrase(never ? "change.never_undone" : "change.propose_undone", { tag }), tag }) });
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

function undoneText(num_undone, num_kept) {
  if (!(num_undone + num_kept)) return phrase("change.undone");
  if (!num_kept) return plural("import.undone", num_undone);
  return plural("change.undone_some", num_undone, { rest: plural("change.undone_rest", num_kept) });
}

/** A photo's list before and after; the tags that only one of them has are set off. */
function rowOf({ name, before, after }) {
  const list = (tags, others) => make("td", {}, ...(tags.length ? tags.flatMap((tag, index) => [index ? phrase("list.separator") : "", others.includes(tag) ? own(tag) : make("b", {}, own(tag))]) : [phrase("common.no_tags")]));
  return make("tr", {}, make("td", {}, own(name)), list(before, after), list(after, before));
}
