// Tests of the page's list model, run with: node --test tests/annotator/ui/page_draft.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";

import * as list from "../../../annotator/ui/assets/draft.js";
import { toCsv } from "../../../annotator/ui/assets/effort_dialog.js";
import { actionOf, DEFAULT_KEYS, digitOf, keyName, keyPieces, refusal } from "../../../annotator/ui/assets/keys.js";
import { createPagedItems } from "../../../annotator/ui/assets/paged_items.js";
import { createStillness, STILL_MS } from "../../../annotator/ui/assets/stillness.js";
import { createSweep } from "../../../annotator/ui/assets/sweep.js";

const proposal = (tag, score = 0.5) => ({ tag, score, source: "looks", why: `${tag} is seen.`, evidence: [] });
const proposals = (...tags) => tags.map((tag) => proposal(tag));
const open = (kept = [], proposed = ["water", "tree", "river", "dock"], dropped = []) =>
  list.openDraft({ kept, dropped, proposals: proposals(...proposed) });
const proposed = (draft) => draft.proposals.map(({ tag }) => tag);
const selected = (draft) => list.tagAt(draft, draft.selected);

test("a photo opens with its first proposal selected", () => {
  assert.equal(selected(open(["dog"])), "water");
});

test("a photo without proposals opens with nothing selected", () => {
  assert.equal(open([], []).selected, null);
});

test("taking a proposal makes it the last kept tag and selects it", () => {
  const draft = list.take(open(["dog"]), 1);
  assert.deepEqual(draft.kept, ["dog", "tree"]);
  assert.deepEqual(proposed(draft), ["water", "river", "dock"]);
  assert.equal(selected(draft), "tree");
});

test("taking without following keeps the selection among the proposals", () => {
  const draft = list.take(open(), 0, { follow: false });
  assert.equal(selected(draft), "tree");
  assert.equal(draft.selected.zone, "proposed");
});

test("taking a proposal that is not there changes nothing", () => {
  const draft = open();
  assert.equal(list.take(draft, 9), draft);
});

test("taking down to a proposal takes all above it in order", () => {
  assert.deepEqual(list.takeDownTo(open(["dog"]), 2).kept, ["dog", "water", "tree", "river"]);
});

test("taking down to a number beyond the list takes what there is", () => {
  assert.deepEqual(list.takeDownTo(open(), 8).kept, ["water", "tree", "river", "dock"]);
});

test("a typed tag is cleaned and becomes the last kept tag", () => {
  const draft = list.add(open(["dog"]), "  red \t boat ");
  assert.deepEqual(draft.kept, ["dog", "red boat"]);
  assert.equal(selected(draft), "red boat");
});

test("a typed tag that is kept in another spelling is only selected", () => {
  const draft = list.add(open(["dog", "Lake"]), "LAKE");
  assert.deepEqual(draft.kept, ["dog", "Lake"]);
  assert.equal(selected(draft), "Lake");
  assert.equal(list.canUndo(draft), false);
});

test("a typed tag that is proposed leaves the proposals", () => {
  const draft = list.add(open(), "RIVER");
  assert.deepEqual(draft.kept, ["river"]);
  assert.ok(!proposed(draft).includes("river"));
});

test("an empty or overlong tag is not added", () => {
  const draft = open();
  assert.equal(list.add(draft, "   "), draft);
  assert.equal(list.add(draft, "x".repeat(101)), draft);
});

test("a dropped kept tag is remembered and not proposed again", () => {
  const draft = list.withProposals(list.drop(open(["dog", "lake"]), { zone: "kept", index: 1 }), proposals("lake", "tree"));
  assert.deepEqual(draft.kept, ["dog"]);
  assert.deepEqual(draft.dropped, ["lake"]);
  assert.deepEqual(proposed(draft), ["tree"]);
});

test("a refused proposal is remembered and the next one is selected", () => {
  const draft = list.drop(open(), { zone: "proposed", index: 0 });
  assert.deepEqual(draft.dropped, ["water"]);
  assert.equal(selected(draft), "tree");
});

test("typing a dropped tag takes it back", () => {
  const draft = list.add(list.drop(open(), { zone: "proposed", index: 0 }), "water");
  assert.deepEqual(draft.kept, ["water"]);
  assert.deepEqual(draft.dropped, []);
});

test("dropping a row above the selected one keeps the same tag selected", () => {
  const start = list.select(open(["a", "b", "c"]), { zone: "kept", index: 2 });
  assert.equal(selected(list.drop(start, { zone: "kept", index: 0 })), "c");
});

test("moving up a proposal keeps it as the last tag", () => {
  const draft = list.move(list.select(open(["dog"]), { zone: "proposed", index: 1 }), -1);
  assert.deepEqual(draft.kept, ["dog", "tree"]);
});

test("a kept tag moves by one and stays selected", () => {
  const draft = list.move(list.select(open(["a", "b", "c"]), { zone: "kept", index: 2 }), -1);
  assert.deepEqual(draft.kept, ["a", "c", "b"]);
  assert.equal(selected(draft), "c");
});

test("the first tag cannot move up and the lowest step of a kept tag is below the cut line", () => {
  const first = list.select(open(["a", "b"]), { zone: "kept", index: 0 });
  assert.equal(list.move(first, -1), first);
  const down = list.move(list.select(open(["a", "b"]), { zone: "kept", index: 1 }), 1);
  assert.deepEqual(down.kept, ["a"]);
  assert.equal(proposed(down)[0], "b");
  assert.equal(selected(down), "b");
});

test("a tag moved below the line stays first whatever is proposed next", () => {
  const given = list.moveCut(open(["dog", "my own word"]), -1);
  const draft = list.withProposals(given, proposals("tree", "sky"));
  assert.deepEqual(proposed(draft), ["my own word", "tree", "sky"]);
});

test("the cut line up and down again is no change of the list", () => {
  const start = open(["dog", "lake"]);
  const back = list.moveCut(list.moveCut(start, -1), 1);
  assert.deepEqual(back.kept, start.kept);
  assert.deepEqual(proposed(back), proposed(start));
});

test("the cut line stops at both ends", () => {
  const draft = open(["dog"]);
  assert.deepEqual(list.setCut(draft, -5).kept, []);
  assert.equal(list.setCut(draft, 99).proposals.length, 0);
  assert.equal(list.moveCut(list.setCut(draft, 0), -1).kept.length, 0);
});

test("a row can be dragged across the line in both directions", () => {
  const taken = list.place(open(["a", "b"]), { zone: "proposed", index: 2 }, { zone: "kept", index: 1 });
  assert.deepEqual(taken.kept, ["a", "river", "b"]);
  const given = list.place(taken, { zone: "kept", index: 0 }, { zone: "proposed", index: 1 });
  assert.deepEqual(given.kept, ["river", "b"]);
  assert.ok(proposed(given).includes("a"));
  assert.deepEqual(given.dropped, []);
});

test("new proposals leave a selected proposal selected by name, and a first place whose tag is gone first", () => {
  const third = list.select(open(), { zone: "proposed", index: 2 });
  assert.equal(selected(list.withProposals(third, proposals("sky", "river", "water"))), "river");
  assert.equal(selected(list.withProposals(open(), proposals("sky", "tree"))), "tree");
});

const numbers = (draft) => draft.proposals.map(({ tag, number }) => `${tag} ${number}`);

test("a proposal keeps its number while the photo is open, and new ones wait below", () => {
  const taken = list.take(open(), 1);
  assert.deepEqual(numbers(taken), ["water 1", "river 3", "dock 4"]);
  const answered = list.withProposals(taken, proposals("sky", "dock", "water", "boat"));
  assert.deepEqual(numbers(answered), ["water 1", "dock 4", "sky 0", "boat 0"]);
  assert.equal(list.indexOfNumber(answered, 4), 1);
  assert.equal(list.indexOfNumber(answered, 2), -1);
});

test("free numbers are given to the best proposals without one, and no other number changes", () => {
  const answered = list.withProposals(list.take(open(), 1), proposals("sky", "dock", "water", "boat"));
  const filled = list.fillNumbers(answered);
  assert.deepEqual(numbers(filled), ["water 1", "sky 2", "boat 3", "dock 4"]);
  assert.equal(list.fillNumbers(filled), filled);
  assert.deepEqual(numbers(list.undo(filled)), ["water 1", "tree 2", "river 3", "dock 4"]);
});

test("nine proposals have numbers, and numbering anew follows the ranks", () => {
  const many = [..."abcdefghijkl"];
  const draft = open([], many);
  assert.deepEqual(draft.proposals.map(({ number }) => number), [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0]);
  const again = list.withProposals(draft, proposals(...many.reverse()), 0, { renumbers: true });
  assert.deepEqual(numbers(again).slice(0, 2), ["l 1", "k 2"]);
});

test("a tag that is given back has its number again, or the first free one", () => {
  const taken = list.take(open(), 2);
  assert.deepEqual(numbers(list.setCut(taken, 0)), ["river 3", "water 1", "tree 2", "dock 4"]);
  const filled = list.fillNumbers(list.withProposals(taken, proposals("water", "tree", "dock", "sky")));
  assert.deepEqual(numbers(list.setCut(filled, 0)), ["river 5", "water 1", "tree 2", "sky 3", "dock 4"]);
  const moved = list.place(taken, { zone: "kept", index: 0 }, { zone: "proposed", index: 1 });
  assert.deepEqual(numbers(moved), ["water 1", "river 3", "tree 2", "dock 4"]);
});

test("several tags are added by one edit, and undone by one", () => {
  const draft = list.addAll(open(["dog"]), ["red boat", "DOG", "river", ""]);
  assert.deepEqual(draft.kept, ["dog", "red boat", "river"]);
  assert.deepEqual(proposed(draft), ["water", "tree", "dock"]);
  assert.deepEqual(list.undo(draft).kept, ["dog"]);
  assert.equal(list.canUndo(list.undo(draft)), false);
});

test("a tag that is never proposed leaves the proposals without an edit", () => {
  const draft = list.withoutProposal(open(), "WATER");
  assert.deepEqual(proposed(draft), ["tree", "river", "dock"]);
  assert.deepEqual(draft.dropped, []);
  assert.equal(list.canUndo(draft), false);
  assert.equal(selected(draft), "tree");
});

test("what waits for stillness runs a second after the last press, and only the newest of it", () => {
  let time = 0;
  let timer = null;
  const stillness = createStillness({ now: () => time, later: (run, ms) => (timer = { run, at: time + ms }), never: () => { timer = null; } });
  const ran = [];
  stillness.whenStill(() => ran.push("at once"));
  assert.equal(timer.at, 0);
  timer.run();
  stillness.pressed();
  time = 300;
  stillness.whenStill(() => ran.push("old"));
  stillness.whenStill(() => ran.push("new"));
  assert.equal(timer.at, STILL_MS);
  time = 900;
  stillness.pressed();
  assert.equal(timer.at, 900 + STILL_MS);
  timer.run();
  assert.deepEqual(ran, ["at once", "new"]);
  stillness.pressed();
  assert.equal(timer.at, 900 + STILL_MS); // nothing waits
});

test("new proposals never show a tag twice or a kept one", () => {
  const draft = list.withProposals(open(["Dog"]), proposals("dog", "sky", "Sky"));
  assert.deepEqual(proposed(draft), ["sky"]);
});

test("the expected line stands below the first proposals that are expected", () => {
  const draft = list.openDraft({ proposals: proposals("water", "tree", "river"), num_expected: 2 });
  assert.equal(list.numExpected(draft), 2);
  assert.equal(list.numExpected(open()), 0);
  assert.equal(list.numExpected(list.openDraft({ proposals: proposals("water"), num_expected: 1 })), 1);
  // Until the server has answered, the line stays between the same rows.
  assert.equal(list.numExpected(list.take(draft, 0)), 1);
  assert.equal(list.numExpected(list.take(draft, 2)), 2);
  assert.equal(list.numExpected(list.drop(draft, { zone: "proposed", index: 0 })), 1);
  assert.equal(list.numExpected(list.withProposals(draft, proposals("tree", "river"), 0)), 0);
});

test("a tag moved below the cut line is not expected, nor anything after it", () => {
  const kept = list.take(list.openDraft({ proposals: proposals("water", "tree"), num_expected: 2 }), 0);
  const given = list.setCut(kept, 0);
  assert.deepEqual(proposed(given), ["water", "tree"]);
  assert.equal(list.numExpected(given), 0);
  assert.equal(list.numExpected(list.withProposals(given, proposals("water", "tree"), 2)), 0);
  assert.equal(list.numExpected(list.place(kept, { zone: "kept", index: 0 }, { zone: "proposed", index: 0 })), 0);
});

test("each edit can be undone and redone, with what was proposed then", () => {
  const start = open(["dog"]);
  const edits = [(d) => list.take(d, 0), (d) => list.add(d, "cat"), (d) => list.drop(d, { zone: "kept", index: 0 }), (d) => list.moveCut(d, -1)];
  const states = [start];
  for (const edit of edits) states.push(edit(states.at(-1)));
  let draft = states.at(-1);
  for (const state of states.slice(0, -1).reverse()) {
    draft = list.undo(draft);
    assert.deepEqual([draft.kept, draft.dropped, proposed(draft)], [state.kept, state.dropped, proposed(state)]);
  }
  assert.equal(list.canUndo(draft), false);
  assert.equal(list.undo(draft), draft);
  for (const state of states.slice(1)) {
    draft = list.redo(draft);
    assert.deepEqual([draft.kept, draft.dropped], [state.kept, state.dropped]);
  }
  assert.equal(list.redo(draft), draft);
});

test("an edit after an undo clears the redo history", () => {
  const draft = list.add(list.undo(list.take(open(), 0)), "cat");
  assert.equal(list.redo(draft), draft);
});

test("no edit changes the draft it was given", () => {
  const draft = open(["a", "b"], ["c", "d"], ["e"]);
  const before = JSON.stringify(draft);
  for (const edit of [
    () => list.take(draft, 0), () => list.takeDownTo(draft, 1), () => list.add(draft, "x"), () => list.setCut(draft, 0),
    () => list.drop(draft, { zone: "kept", index: 0 }), () => list.withProposals(draft, proposals("z")),
    () => list.place(draft, { zone: "kept", index: 0 }, { zone: "kept", index: 1 }), () => list.replaceKept(draft, ["q"]),
  ]) edit();
  assert.equal(JSON.stringify(draft), before);
});

test("random edits never keep a tag twice, nor show one that is kept or refused", () => {
  let seed = 7;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  const words = [..."abcdefghij"];
  let draft = open([], words.slice(0, 6));
  for (let step = 0; step < 3000; step += 1) {
    const at = list.placeAt(draft, random(draft.kept.length + draft.proposals.length + 1));
    const edits = [
      () => list.take(draft, random(6)), () => list.add(draft, words[random(10)]), () => list.drop(draft, at),
      () => list.place(draft, at, { zone: random(2) ? "kept" : "proposed", index: random(4) }), () => list.moveCut(draft, random(3) - 1),
      () => list.undo(draft), () => list.redo(draft), () => list.select(draft, at), () => list.move(draft, random(2) ? 1 : -1),
      () => list.withProposals(draft, proposals(...words.filter(() => random(2)))), () => list.moveSelection(draft, random(3) - 1),
    ];
    draft = edits[random(edits.length)]();
    const shown = [...draft.kept, ...proposed(draft)];
    assert.equal(new Set(shown).size, shown.length);
    assert.ok(!draft.kept.some((tag) => draft.dropped.includes(tag)));
    if (draft.selected) assert.notEqual(selected(draft), null);
  }
});

test("merging keeps their order first and adds only what they lack", () => {
  assert.deepEqual(list.merge(["a", "B"], ["b", "c"]), ["a", "B", "c"]);
});

const press = (key, options = {}) => ({ key, code: "", ctrlKey: false, altKey: false, shiftKey: false, metaKey: false, ...options });

test("key presses have the names of key maps", () => {
  assert.equal(keyName(press("z", { ctrlKey: true }), false), "Ctrl+Z");
  assert.equal(keyName(press("Z", { ctrlKey: true, shiftKey: true }), false), "Ctrl+Shift+Z");
  assert.equal(keyName(press("z", { metaKey: true }), true), "Ctrl+Z");
  assert.equal(keyName(press("?", { shiftKey: true }), false), "?");
  assert.equal(keyName(press(" ", { ctrlKey: true }), false), "Ctrl+Space");
  assert.equal(keyName(press("я", { ctrlKey: true, code: "KeyZ" }), false), "Ctrl+Z");
  assert.equal(keyName(press("Shift", { shiftKey: true }), false), "");
});

test("digits take one, with Shift all down to it, and with Alt one and save", () => {
  assert.deepEqual(digitOf(press("3", { code: "Digit3" })), { number: 3, downTo: false, saves: false });
  assert.deepEqual(digitOf(press("#", { code: "Digit3", shiftKey: true })), { number: 3, downTo: true, saves: false });
  // On a Mac, Alt changes the character.
  const saving = { number: 3, downTo: false, saves: true };
  assert.deepEqual(digitOf(press("£", { code: "Digit3", altKey: true })), { ...saving, withShift: false });
  assert.deepEqual(digitOf(press("#", { code: "Digit3", altKey: true, shiftKey: true })), { ...saving, withShift: true });
  // The digits beside it write characters by their codes.
  assert.equal(digitOf(press("3", { code: "Numpad3", altKey: true })), null);
  assert.equal(digitOf(press("3", { code: "Digit3", ctrlKey: true })), null);
  assert.equal(digitOf(press("0", { code: "Digit0" })), null);
});

test("every default key belongs to one action and would be accepted", () => {
  for (const [action, names] of Object.entries(DEFAULT_KEYS)) {
    for (const name of names) {
      assert.equal(actionOf(name, DEFAULT_KEYS), action);
      assert.equal(refusal(DEFAULT_KEYS, action, name), null, `${action}: ${name}`);
    }
  }
});

test("a clash, a bare letter, a digit and a text key are refused with a sentence", () => {
  for (const name of ["Enter", "A", "Shift+A", "3", "Escape", "Tab"]) assert.match(refusal(DEFAULT_KEYS, "drop", name), /[a-z].*[.]$/u);
});

test("a key is written in short pieces", () => {
  assert.deepEqual(keyPieces("Ctrl+ArrowRight", false), ["Ctrl", "→"]);
  assert.deepEqual(keyPieces("+", false), ["+"]);
});

const sweepOf = (numLikely, note = "") => {
  const offer = document.createElement("div");
  const asked = [];
  const shown = [];
  const items = [{ image_id: 1, revision: 1, kept: [], dropped: [], image_url: "", file_name: "1.jpg" }];
  const call = async (name, { tag }) => (asked.push(tag), { tag, num_likely: numLikely[tag] ?? 0, note, items });
  const dialogs = { open: async ({ title, body }) => shown.push([title, ...body.filter(Boolean).map((part) => part.textContent)]) };
  const sweep = createSweep(offer, dialogs, { call, say: () => {}, done: () => {} });
  const press = async (number) => (offer.querySelectorAll("button")[number].click(), new Promise((run) => setTimeout(run, 20)));
  return { offer, asked, shown, press, ...sweep };
};

test("all tags that came to enough photos are offered, one after the other", async () => {
  const { offer, shown, press, propose } = sweepOf({ lake: 3, boat: 1, river: 2 });
  await propose(["lake", "dock", "boat"]);
  assert.match(offer.textContent, /^lake: 3 saved photos may need it/);
  await press(1);
  assert.match(offer.textContent, /^boat: 1 saved photo may need it/);
  await propose(["river"]);
  assert.match(offer.textContent, /^river: 2 saved photos/);
  await press(0);
  assert.match(shown[0][0], /river/);
  assert.match(offer.textContent, /^boat: 1 saved photo/);
  await press(1);
  assert.ok(offer.hidden);
});

test("the likely photos are fetched for each offer, when it is shown", async () => {
  const { asked, press, propose } = sweepOf({ lake: 3, boat: 1 });
  await propose(["lake", "boat"]);
  assert.deepEqual(asked, ["lake"]);
  await press(0);
  assert.deepEqual(asked, ["lake", "boat"]);
});

test("a look through photos in no order says so", async () => {
  const unknown = sweepOf({}, "The order means nothing.");
  await unknown.lookFor("sdfgh");
  assert.equal(unknown.shown[0][1], "The order means nothing.");
  const known = sweepOf({});
  await known.lookFor("lake");
  assert.equal(known.shown[0][1], "");
});

test("no text of a table runs as a formula in a spreadsheet, and numbers stay numbers", () => {
  const line = (value) => toCsv(["tag"], [{ tag: value }]).split("\r\n")[1];
  assert.equal(line("=1+1"), "'=1+1");
  assert.equal(line('x;"=1+1;'), `"x;'""=1+1;"`);
  assert.equal(line("\uff1d1"), "'\uff1d1");
  assert.equal(line("\u200b=1"), "'\u200b=1");
  assert.equal(line("a-b"), "a-b");
  assert.equal(line(-1.5), "-1.5");
});

test("keys and spellings treat invisible and enclosed characters as the server does", () => {
  const family = "\u{1f468}\u200d\u{1f469}";
  for (const [one, other] of [["dog\u200b", "Dog"], ["\u2764\ufe0f", "\u2764"], ["zwan\u00adzig", "zwanzig"], [family, "\u{1f468}\u{1f469}"], ["\uff24\uff2f\uff27", "dog"]])
    assert.equal(list.tagKey(one), list.tagKey(other));
  const flag = (letters) => `\u{1f3f4}${[...letters].map((letter) => String.fromCodePoint(0xe0000 + letter.codePointAt(0))).join("")}\u{e007f}`;
  for (const [one, other] of [["\u2460", "1"], ["\u24b6", "a"], [flag("gbeng"), flag("gbsct")]]) assert.notEqual(list.tagKey(one), list.tagKey(other));
  assert.equal(list.tagKey("\u24b6"), list.tagKey("\u24d0"));
  assert.equal(list.cleanTag("\ufeffdog\u200b \u200dcat\ufe0f"), "dog cat");
  assert.equal(list.cleanTag(family), family);
  assert.equal(list.cleanTag(flag("gbeng")), flag("gbeng"));
});

/** A list of 25 numbers on a server that answers when it is told to; what was asked for, and what came. */
function listOfNumbers(options = {}) {
  const [asked, came, failures] = [[], [], []];
  const items = createPagedItems({
    fetchPage: (offset, limit) => new Promise((resolve, reject) => {
      const page = Array.from({ length: Math.max(0, Math.min(limit, 25 - offset)) }, (_, index) => offset + index);
      asked.push({ offset, answer: () => resolve({ total: 25, items: page }), fail: (error) => reject(error) });
    }),
    arrived: (answer, isFirst) => came.push([answer.items[0], isFirst]),
    failed: (error) => failures.push(error.kind),
    size: 10,
    ...options,
  });
  return { items, asked, came, failures, offsets: () => asked.map(({ offset }) => offset) };
}
const ofServer = (kind) => Object.assign(new Error(kind), { kind });

test("a page of a long list is fetched once, and told as the first one or another", async () => {
  const { items, asked, came, offsets } = listOfNumbers();
  const first = items.restart(12);
  items.load(19);
  assert.deepEqual(offsets(), [10]);
  assert.equal(items.at(12), null);
  asked[0].answer();
  await first;
  assert.deepEqual([items.at(12), items.total()], [12, 25]);
  const last = items.load(24);
  asked[1].answer();
  await last;
  assert.deepEqual([items.at(24), items.at(25), items.at(30)], [24, null, null]);
  assert.deepEqual(came, [[10, true], [20, false]]);
  await items.load(11);
  assert.deepEqual(offsets(), [10, 20]);
});

test("of too many pages of a long list, the one that was used longest ago is dropped", async () => {
  const { items, asked } = listOfNumbers({ most: 2 });
  const fetched = async (index) => {
    const page = items.load(index);
    asked.at(-1).answer();
    await page;
  };
  await fetched(0);
  await fetched(10);
  assert.equal(items.at(0), 0);
  await fetched(20);
  assert.deepEqual([items.at(0), items.at(10), items.at(20)], [0, null, 20]);
});

test("an answer for a long list that was begun anew or stopped meanwhile is dropped", async () => {
  const { items, asked, came, failures } = listOfNumbers();
  const old = items.restart();
  const isOfNow = items.ofNow();
  const now = items.restart(20, { keepsTotal: true });
  asked[0].answer();
  await old;
  assert.deepEqual([isOfNow(), came, items.at(0)], [false, [], null]);
  asked[1].answer();
  await now;
  assert.deepEqual(came, [[20, true]]);
  const late = items.load(0);
  items.stop();
  asked[2].fail(ofServer("unreachable"));
  await late;
  assert.deepEqual([failures, items.at(20), items.total()], [[], 20, 25]);
  items.restart();
  assert.equal(items.total(), 0);
});

test("a page of a long list that did not come can be fetched again; another error is not hidden", async () => {
  const { items, asked, failures, offsets } = listOfNumbers();
  const failed = items.restart();
  asked[0].fail(ofServer("store"));
  await failed;
  assert.deepEqual(failures, ["store"]);
  const wrong = items.load(0);
  asked[1].fail(new TypeError("no function"));
  assert.equal(await wrong.catch((error) => error.message), "no function");
  assert.deepEqual([failures, offsets()], [["store"], [0, 0]]);
});

test("only the pages where a long list comes to rest are fetched", async () => {
  const { items, asked, offsets } = listOfNumbers();
  const first = items.restart();
  asked[0].answer();
  await first;
  items.need(0, 15);
  items.need(18, 25);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(offsets(), [0, 10, 20]);
});
