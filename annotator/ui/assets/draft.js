// The ranked list of one photo while it is edited: kept tags, dropped tags, proposals, the selected row, and the history
// of edits. Pure functions from the old draft to the new one.
// Knows nothing of the DOM, of keys, or of the server.

export const MAX_TAG_LENGTH = 100;
// Proposals with a number; a digit takes the one whose number it is.
export const NUM_NUMBERED = 9;
// As in datasets/tags.py: characters without a glyph, those of them that change no character beside them, and digits and
// letters in circles, which normalisation would make plain.
const INVISIBLE =
  /[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e001f}\u{e0080}-\u{e0fff}]/gu;
const MEANINGLESS =
  /[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|(?:^|(?<=[\0-\x7f]))[\u200c\u200d]+|[\u200c\u200d]+(?=$|[\0-\x7f])|(?:^|(?<=[A-Za-z ]))[\ufe00-\ufe0f]+|(?<![\u{1f3f4}\u{e0020}-\u{e007f}])[\u{e0020}-\u{e007f}]+/gu;
const ENCLOSED = /([\u2460-\u24ff\u3200-\u32bf\u{1f100}-\u{1f2ff}])/u;

/** The stored spelling of a typed tag: NFC, no invisible characters, white space collapsed, case unchanged. */
export function cleanTag(text) {
  return text.replace(MEANINGLESS, "").normalize("NFC").split(/\s+/u).filter(Boolean).join(" ");
}

/** The key that is equal for all spellings of a tag. */
export function tagKey(tag) {
  const visible = tag.replace(INVISIBLE, "").split(/\s+/u).filter(Boolean).join(" ");
  return visible.split(ENCLOSED).map((part, at) => (at % 2 ? part : part.normalize("NFKC")).toLowerCase()).join("");
}

export function indexOfTag(tags, tag) {
  const key = tagKey(tag);
  return tags.findIndex((other) => tagKey(other) === key);
}

/** The draft of a newly opened photo. The first proposal is selected, so that one key takes or drops it. */
export function openDraft({ kept = [], dropped = [], proposals = [], num_expected = 0 }) {
  const draft = {
    kept: [...kept], // above the cut line, most important first
    dropped: [...dropped], // not proposed again for this photo
    released: [], // moved below the cut line by the user: they precede the server's proposals
    proposals: [], // below the cut line, best first; those with a `number` from 1 first, 0: none
    numbers: new Map(), // tag key -> the number that the tag last had
    selected: null, // { zone: "kept" | "proposed", index } or null
    // Tag key -> the latest proposal of the tag, for its score and reason.
    known: new Map(kept.map((tag) => [tagKey(tag), { ...typed(tag), source: "kept" }])),
    past: [],
    future: [],
  };
  return withProposals(draft, proposals, num_expected, { renumbers: true });
}

/**
 * Replace the proposals by the server's newest, of which the first `num_expected` are more likely right than wrong. The
 * user's own rows stay as they are. A tag that has a number keeps it, and new tags come below; with `renumbers` all are
 * numbered anew. Numbers that became free stay so until `fillNumbers`.
 */
export function withProposals(draft, offered, num_expected = 0, { renumbers = false } = {}) {
  const proposals = offered.map((proposal, index) => ({ ...proposal, isExpected: index < num_expected, number: 0 }));
  const known = new Map(draft.known);
  for (const proposal of proposals) known.set(tagKey(proposal.tag), proposal);
  const released = draft.released.map((tag) => ({ ...(known.get(tagKey(tag)) ?? typed(tag)), isExpected: false }));
  const present = new Map(renumbers ? [] : draft.proposals.map(({ tag, number }) => [tagKey(tag), number]));
  const rows = proposable(draft, [...released, ...proposals]).map((row) => ({ ...row, number: present.get(tagKey(row.tag)) ?? 0 }));
  return arranged({ ...draft, known }, renumbers ? filled(rows) : rows, draft);
}

/** Give each free number to the best proposal without one. */
export function fillNumbers(draft) {
  const rows = filled(draft.proposals);
  return rows === draft.proposals ? draft : arranged(draft, rows, draft);
}

/** The index of the proposal with this number, or -1. */
export function indexOfNumber(draft, number) {
  return draft.proposals.findIndex((proposal) => proposal.number === number);
}

/** The newest proposal of a tag, or else whether it was saved before or typed. */
export function describe(draft, tag) {
  return draft.known.get(tagKey(tag)) ?? typed(tag);
}

/** Take proposal `index` (from 0). It becomes the last kept tag. */
export function take(draft, index, { follow = true } = {}) {
  return takeRange(draft, index, index + 1, follow);
}

/** Take every proposal from the first down to `index`. */
export function takeDownTo(draft, index) {
  return takeRange(draft, 0, Math.min(index + 1, draft.proposals.length), true);
}

/** The number of proposals above the expected line. */
export function numExpected(draft) {
  const first = draft.proposals.findIndex(({ isExpected }) => !isExpected);
  return first < 0 ? draft.proposals.length : first;
}

/** Add several typed tags as the last kept ones, in one edit. */
export function addAll(draft, texts) {
  const next = texts.reduce(add, draft);
  return next.past === draft.past ? next : { ...next, past: pastOf(draft) };
}

/** Add a typed tag as the last kept one. A tag that is already kept is only selected. */
export function add(draft, text) {
  const tag = cleanTag(text);
  if (!tag || tag.length > MAX_TAG_LENGTH) return draft;
  const present = indexOfTag(draft.kept, tag);
  if (present >= 0) return select(draft, { zone: "kept", index: present });
  const proposed = indexOfTag(draft.proposals.map((proposal) => proposal.tag), tag);
  if (proposed >= 0) return take(draft, proposed);
  return edit(draft, {
    kept: [...draft.kept, tag],
    dropped: without(draft.dropped, [tag]),
    selected: { zone: "kept", index: draft.kept.length },
  });
}

/** Take a tag out of the proposals for good, without an edit that can be undone. */
export function withoutProposal(draft, tag) {
  const proposals = draft.proposals.filter((proposal) => tagKey(proposal.tag) !== tagKey(tag));
  const next = { ...draft, proposals, released: without(draft.released, [tag]) };
  return { ...next, selected: clamp(next, draft.selected) };
}

/** Drop the row at `place`, a kept tag or a proposal; it is not proposed again. */
export function drop(draft, place) {
  const tag = tagAt(draft, place);
  if (tag === null) return draft;
  const after = {
    kept: without(draft.kept, [tag]),
    dropped: [...without(draft.dropped, [tag]), tag],
    released: without(draft.released, [tag]),
    proposals: draft.proposals.filter((proposal) => tagKey(proposal.tag) !== tagKey(tag)),
  };
  const selected = samePlace(draft.selected, place) ? place : shifted(draft.selected, place);
  return edit(draft, { ...after, selected: clamp(after, selected) });
}

/** Move the row at `from` to `to`; across the cut line, this keeps the tag or makes it a proposal again. */
export function place(draft, from, to) {
  const tag = tagAt(draft, from);
  if (tag === null || samePlace(from, to) || (from.zone === "proposed" && to.zone === "proposed")) return draft;
  const kept = without(draft.kept, [tag]);
  const proposals = draft.proposals.filter((proposal) => tagKey(proposal.tag) !== tagKey(tag));
  let released = without(draft.released, [tag]);
  if (to.zone === "kept") kept.splice(to.index, 0, tag);
  else {
    proposals.splice(to.index, 0, givenBack(draft, tag, proposals));
    released = [tag, ...released];
  }
  const zone = to.zone === "kept" ? kept : proposals;
  const selected = { zone: to.zone, index: Math.min(to.index, zone.length - 1) };
  return edit(draft, { kept, proposals, released, dropped: without(draft.dropped, [tag]), selected });
}

/** Move the selected tag up (-1) or down (1) by one. The first proposal moves up to the end of the kept tags. */
export function move(draft, by) {
  const from = draft.selected;
  if (!from) return draft;
  if (from.zone === "proposed") {
    return by < 0 ? place(draft, from, { zone: "kept", index: draft.kept.length }) : draft;
  }
  const index = from.index + by;
  if (index < 0) return draft;
  if (index >= draft.kept.length) return place(draft, from, { zone: "proposed", index: 0 });
  return place(draft, from, { zone: "kept", index });
}

/** Put the cut line after the first `count` rows of kept tags and proposals together. */
export function setCut(draft, count) {
  const target = Math.max(0, Math.min(count, draft.kept.length + draft.proposals.length));
  if (target === draft.kept.length) return draft;
  if (target > draft.kept.length) {
    const next = takeRange(draft, 0, target - draft.kept.length, true);
    return { ...next, selected: draft.selected ? followed(draft, next) : next.selected };
  }
  const given = draft.kept.slice(target);
  const back = given.reduce((rows, tag) => [...rows, givenBack(draft, tag, [...rows, ...draft.proposals])], []);
  const next = edit(draft, {
    kept: draft.kept.slice(0, target),
    proposals: [...back, ...draft.proposals],
    released: [...given, ...draft.released],
  });
  return { ...next, selected: followed(draft, next) };
}

export function moveCut(draft, by) {
  return setCut(draft, draft.kept.length + by);
}

/** Select a row, or the row `by` steps from the selected one. */
export function select(draft, target) {
  return { ...draft, selected: clamp(draft, target) };
}

export function moveSelection(draft, by) {
  const num_rows = draft.kept.length + draft.proposals.length;
  if (num_rows === 0) return draft;
  const current = draft.selected ? position(draft, draft.selected) : by > 0 ? -1 : num_rows;
  return { ...draft, selected: placeAt(draft, Math.max(0, Math.min(num_rows - 1, current + by))) };
}

export function canUndo(draft) {
  return draft.past.length > 0;
}

export function undo(draft) {
  return travel(draft, "past", "future");
}

export function redo(draft) {
  return travel(draft, "future", "past");
}

/** Replace the kept tags in one undoable edit (used after a stale save). */
export function replaceKept(draft, kept) {
  const next = edit(draft, { kept: [...kept], dropped: without(draft.dropped, kept), released: [] });
  return withProposals(next, next.proposals, 0);
}

/** All of theirs, then the tags of mine that are not in theirs. */
export function merge(theirs, mine) {
  return [...theirs, ...without(mine, theirs)];
}

export function sameTags(one, other) {
  return one.length === other.length && one.every((tag, index) => tag === other[index]);
}

/** The tag at a place, or null. */
export function tagAt(draft, at) {
  if (!at) return null;
  return (at.zone === "kept" ? draft.kept[at.index] : draft.proposals[at.index]?.tag) ?? null;
}

/** Convert a place to its row number among all rows, and back. */
export function position(draft, at) {
  return at.zone === "kept" ? at.index : draft.kept.length + at.index;
}

export function placeAt(draft, row) {
  const { length } = draft.kept;
  return row < length ? { zone: "kept", index: row } : { zone: "proposed", index: row - length };
}

// Edits of one photo that can be undone.
const MAX_HISTORY = 200;

function typed(tag) {
  return { tag, score: null, source: "typed", why: "", evidence: [] };
}

function takeRange(draft, from, to, follow) {
  const taken = draft.proposals.slice(from, to).map((proposal) => proposal.tag);
  if (taken.length === 0) return draft;
  const after = {
    kept: [...draft.kept, ...taken],
    proposals: [...draft.proposals.slice(0, from), ...draft.proposals.slice(to)],
    released: without(draft.released, taken),
    dropped: without(draft.dropped, taken),
  };
  const last = { zone: "kept", index: after.kept.length - 1 };
  return edit(draft, { ...after, selected: follow ? last : clamp(after, draft.selected) });
}

function edit(draft, changes) {
  return { ...draft, ...changes, past: pastOf(draft), future: [] };
}

function pastOf(draft) {
  return [...draft.past.slice(1 - MAX_HISTORY), snapshot(draft)];
}

/** A tag that becomes a proposal again: with the number that it had, or the first free one. */
function givenBack(draft, tag, rows) {
  const free = freeNumbers(rows);
  const had = draft.numbers.get(tagKey(tag));
  return { ...describe(draft, tag), isExpected: false, number: free.includes(had) ? had : (free[0] ?? 0) };
}

function freeNumbers(rows) {
  const used = new Set(rows.map(({ number }) => number));
  return Array.from({ length: NUM_NUMBERED }, (_, index) => index + 1).filter((number) => !used.has(number));
}

function filled(rows) {
  const free = freeNumbers(rows);
  if (!free.length || rows.every(({ number }) => number)) return rows;
  return rows.map((row) => (row.number ? row : { ...row, number: free.shift() ?? 0 }));
}

/** The draft with these proposals: the user's own rows, then by number, then those without one. */
function arranged(draft, rows, before) {
  const own = new Set(draft.released.map(tagKey));
  const place = ({ tag, number }) => (own.has(tagKey(tag)) ? -1 : number || NUM_NUMBERED + 1);
  const proposals = [...rows].sort((one, other) => place(one) - place(other));
  const numbers = new Map(draft.numbers);
  for (const { tag, number } of proposals) if (number) numbers.set(tagKey(tag), number);
  const next = { ...draft, proposals, numbers };
  return { ...next, selected: reselect(next, before.selected, tagAt(before, before.selected)) };
}

function snapshot({ kept, dropped, released, proposals, selected }) {
  return { kept, dropped, released, proposals, selected };
}

function travel(draft, from, to) {
  const target = draft[from].at(-1);
  if (!target) return draft;
  return { ...draft, ...target, [from]: draft[from].slice(0, -1), [to]: [...draft[to], snapshot(draft)] };
}

function proposable(draft, proposals) {
  const seen = new Set([...draft.kept, ...draft.dropped].map(tagKey));
  return proposals.filter(({ tag }) => !seen.has(tagKey(tag)) && seen.add(tagKey(tag)));
}

function reselect(draft, selected, tag) {
  // A selected first proposal stays the first one, whichever tag that is. Any other selection follows its tag.
  if (!selected) return draft.proposals.length ? { zone: "proposed", index: 0 } : null;
  if (selected.zone === "proposed" && selected.index > 0 && tag !== null) {
    const index = indexOfTag(draft.proposals.map((proposal) => proposal.tag), tag);
    if (index >= 0) return { zone: "proposed", index };
  }
  return clamp(draft, selected);
}

function followed(before, after) {
  const tag = tagAt(before, before.selected);
  if (tag === null) return clamp(after, before.selected);
  const index = indexOfTag([...after.kept, ...after.proposals.map((proposal) => proposal.tag)], tag);
  return index >= 0 ? placeAt(after, index) : clamp(after, before.selected);
}

function clamp({ kept, proposals }, at) {
  const lengths = { kept: kept.length, proposed: proposals.length };
  const zone = at && lengths[at.zone] ? at.zone : lengths.proposed ? "proposed" : "kept";
  if (!lengths[zone]) return null;
  const index = at ? (zone === at.zone ? at.index : at.zone === "kept" ? 0 : lengths[zone] - 1) : 0;
  return { zone, index: Math.max(0, Math.min(index, lengths[zone] - 1)) };
}

function shifted(selected, removed) {
  if (!selected || selected.zone !== removed.zone || selected.index <= removed.index) return selected;
  return { ...selected, index: selected.index - 1 };
}

function samePlace(one, other) {
  return Boolean(one && other) && one.zone === other.zone && one.index === other.index;
}

function without(tags, removed) {
  const keys = new Set(removed.map(tagKey));
  return tags.filter((tag) => !keys.has(tagKey(tag)));
}
