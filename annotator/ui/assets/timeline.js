// The time line of a photo, a panel: who made which change, when, and from which proposal; one key restores an earlier
// list, as a new entry. Knows nothing of how events are stored.

import { newestOnly } from "./calls.js";
import { make } from "./elements.js";
import { formatList, formatNumber, formatTime } from "./formats.js";
import { keyPieces } from "./keys.js";
import { own } from "./names.js";
import { phrase, phraseNodes } from "./texts.js";

/** Kind of an entry -> its text; with people: a text that names them too. */
const KINDS = {
  added: "timeline.added",
  save: "timeline.save",
  undo: "timeline.undo",
  rename: "timeline.rename",
  skip: "timeline.skip",
  taken_up: "timeline.taken_up",
  asked: "timeline.asked",
  answer: "timeline.answer",
  take_back: "timeline.take_back",
  reopen: "timeline.reopen",
  sent_back: "timeline.sent_back",
  accept: "timeline.accept",
  restore: "timeline.restore",
  import: "timeline.import",
  suggest: "timeline.suggest",
  reorder: "timeline.reorder",
  edit: "timeline.edit",
};
const WITH_PEOPLE = { asked: "timeline.asked_people", answer: "timeline.answer_people", sent_back: "timeline.sent_back_people", accept: "timeline.accept_people" };

/** call(name, payload); say(text); show(photo) shows the restored photo; leave() gives the focus back. */
export function createTimeline(root, { call, say, show, leave }) {
  const rows = make("ol", { class: "timeline-list", id: "timeline-list", role: "listbox", "aria-label": phrase("timeline.label"), tabindex: "0" });
  const trouble = make("p", { class: "review-trouble", role: "alert" });
  const restoring = make("button", { type: "button", id: "timeline-restore", onclick: () => restore() }, phrase("timeline.restore_button"), " ", make("kbd", {}, ...keyPieces("Enter")));
  root.append(rows, make("div", { class: "timeline-foot" }, restoring, trouble));
  const ask = newestOnly((image_id) => call("timeline", { image_id }));
  let photo = null; // the photo that is shown, and its newest entries and revision
  let entries = [];
  let revision = 0;
  let chosen = 0;
  let isBusy = false;

  function draw() {
    rows.replaceChildren(...entries.map((entry, index) => row(entry, index, index === chosen, () => select(index))));
    restoring.disabled = !entries[chosen]?.can_restore;
    rows.setAttribute("aria-activedescendant", rows.children[chosen]?.id ?? "");
    const now = rows.children[chosen];
    if (now && now.offsetTop < rows.scrollTop) rows.scrollTop = now.offsetTop;
    else if (now && now.offsetTop + now.offsetHeight > rows.scrollTop + rows.clientHeight) rows.scrollTop = now.offsetTop + now.offsetHeight - rows.clientHeight;
  }

  function select(index) {
    chosen = Math.max(0, Math.min(entries.length - 1, index));
    draw();
  }

  async function load({ image_id }) {
    trouble.textContent = "";
    let answer;
    try {
      answer = await ask(image_id);
    } catch (error) {
      if (error.kind === undefined) throw error;
      trouble.textContent = error.message;
      return;
    }
    if (!answer) return; // a newer one was asked for
    photo = { image_id };
    ({ revision } = answer);
    entries = answer.entries.reverse(); // newest first
    chosen = Math.max(0, entries.findIndex(({ can_restore }) => can_restore));
    draw();
  }

  async function restore() {
    const entry = entries[chosen];
    if (isBusy || !entry?.can_restore) return;
    isBusy = true;
    try {
      const restored = await call("restore", { image_id: photo.image_id, entry_id: entry.id, revision });
      show(restored);
      say(phrase("timeline.restored", { time: formatTime(entry.at), tags: formatList(entry.tags) || phrase("common.no_tags") }));
      leave();
    } catch (error) {
      if (error.kind === undefined) throw error;
      trouble.textContent = error.message;
    } finally {
      isBusy = false;
    }
  }

  rows.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const steps = { ArrowUp: -1, ArrowDown: 1, Home: -entries.length, End: entries.length };
    const presses = { Enter: () => event.repeat || restore(), Escape: leave };
    if (event.key in steps) use(event, () => select(chosen + steps[event.key]));
    else if (event.key in presses) use(event, presses[event.key]);
  });

  return {
    /** Show what happened to a photo; with `focus`, its keys work at once. */
    async open(shown, { focus = false } = {}) {
      if (photo?.image_id !== shown.image_id) {
        entries = [];
        draw();
      }
      if (focus) rows.focus({ preventScroll: true });
      await load(shown);
    },
  };
}

function use(event, then) {
  event.preventDefault();
  event.stopPropagation(); // the keys of the page do something else
  then();
}

function row(entry, index, isChosen, onclick) {
  const { kind, user, at, tags, tagger, note, people, is_current, can_restore } = entry;
  return make(
    "li",
    { class: "timeline-entry", id: `timeline-${index + 1}`, role: "option", "aria-selected": String(isChosen), dataset: { kind, id: entry.id, can: can_restore ? "restore" : "" }, onclick },
    make("div", {}, ...whatHappened(kind, user, people), make("span", { class: "soft" }, ` · ${formatTime(at)}`), is_current ? make("span", { class: "timeline-now" }, phrase("timeline.now")) : null),
    note ? make("p", { class: "timeline-note" }, phrase("common.quoted", { text: note })) : null,
    ...changed(entry, tagger),
    tags === null || !isChosen ? null : make("p", { class: "soft" }, ...(tags.length ? tags.flatMap((tag, index) => [`${index ? "  " : ""}${formatNumber(index + 1)} `, own(tag)]) : [phrase("common.no_tags")])),
  );
}

function whatHappened(kind, user, people) {
  const who = user ? make("b", {}, own(user)) : phrase("timeline.it");
  if (people.length && WITH_PEOPLE[kind]) return phraseNodes(WITH_PEOPLE[kind], { user: who, people: formatList(people) });
  return KINDS[kind] ? phraseNodes(KINDS[kind], { user: who }) : [who, ` ${kind}`];
}

/** The changes of the list, one line for each kind. */
function changed({ changes, dropped, kind }, tagger) {
  if (!changes) return [];
  const added = changes.added.map(({ tag, place, proposal }) => proposal ? phrase("timeline.added_proposal", { tag, place: formatNumber(place), rank: formatNumber(proposal.rank), source: proposal.source }) : phrase("timeline.added_tag", { tag, place: formatNumber(place) }));
  const moved = changes.moved.map(({ tag, from, to }) => phrase("timeline.moved", { tag, from: formatNumber(from), to: formatNumber(to) }));
  const lines = [["+", added], ["−", changes.removed], ["↕", moved]];
  if (dropped.length && kind !== "undo") lines.push([phrase("timeline.refused"), dropped]);
  const found = lines.filter(([, items]) => items.length).map(([sign, items]) => make("p", { class: "timeline-change", dataset: { sign } }, make("span", { class: "sign" }, sign), ` ${formatList(items)}`));
  if (tagger && added.length) found.push(make("p", { class: "soft" }, phrase("timeline.tagger", { tagger })));
  return found;
}
