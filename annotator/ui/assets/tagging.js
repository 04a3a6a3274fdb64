// The state of tagging: the open photo, its draft, and the effect of each command on them; every edit is sent to the
// server. The views only show it. Knows nothing of DOM nodes or keys.

import { newestOnly } from "./calls.js";
import * as list from "./draft.js";
import { formatList, formatNumber } from "./formats.js";
import { phrase, plural } from "./texts.js";

const RETRY_MS = 3000;
const noExclusions = () => ({ neighbours: new Map(), sources: new Set() });

/**
 * call(name, payload), proposing, localDrafts and effort are other parts of the page; `views` are callbacks:
 * changed(tagging), opened(photo), edited(before, after), say(text, undo), trouble(name, text, buttons), clear(name),
 * askStale(versions).
 * whenStill(run) runs once no key was pressed for a while.
 */
export class Tagging {
  constructor({ call, createProposing, localDrafts, effort, whenStill, views }) {
    this.call = call;
    this.localDrafts = localDrafts;
    this.effort = effort;
    this.whenStill = whenStill;
    this.views = views;
    this.state = null; // of the project, from the operation state
    this.numAsked = 0; // calls of the operation state
    this.shownState = 0; // number of the call whose answer is `state`
    this.photo = null;
    this.draft = null;
    this.neighbours = null;
    this.fields = []; // beside the tags, with what is proposed for each
    this.order = null; // the kept tags as the project's order rules save them; null without such rules
    this.exclusions = noExclusions(); // evidence left out for this photo
    this.shown = []; // the proposals with which the photo opened
    this.revision = 0;
    this.lastImageId = null;
    this.isAway = false; // the server did not answer, so it does not have this list
    this.renumbers = false; // the next answer numbers all proposals anew: the user changed what they are made from
    this.asksToSave = false; // the list is empty, and saving it needs the same key again
    this.isInList = false; // the user selects rows now; at rest, the first proposal or the newest tag is selected
    this.phase = "loading"; // loading, tagging, busy, done
    this.complete = newestOnly((text) => call("complete", { image_id: this.photo.image_id, text, kept: this.draft.kept }));
    this.proposing = createProposing({
      call,
      onAnswer: (request, answer, isNewest) => this.#proposed(request, answer, isNewest),
      onError: (request, error, isNewest) => this.#notProposed(request, error, isNewest),
    });
  }

  // ---- Opening photos

  /** Get the counts; an answer that comes after that of a later call is left out. */
  async refreshState() {
    const mine = (this.numAsked += 1);
    const state = await this.call("state");
    if (mine < this.shownState) return;
    this.shownState = mine;
    this.state = state;
    this.views.changed(this);
  }

  /** Refresh the counts; a server that does not answer is reported elsewhere. */
  refreshQuietly() {
    this.refreshState().catch((error) => {
      if (error.kind === undefined) throw error;
    });
  }

  openImage(image_id) {
    return this.#go("open", { image_id });
  }

  step(by) {
    if (this.photo) return this.#go("step", { image_id: this.photo.image_id, by });
    // With every photo tagged, going back opens the photo that was saved last.
    return this.lastImageId === null ? undefined : this.openImage(this.lastImageId);
  }

  skip() {
    if (!this.photo) return undefined;
    return this.#go("skip", { image_id: this.photo.image_id }, () => this.views.say(phrase("tagging.put_off")), true);
  }

  async #go(operation, payload, then = () => {}, freshStrip = false) {
    if (this.phase === "busy") return;
    const from = this.#busy();
    try {
      await this.proposing.idle();
      const answer = await this.call(operation, payload);
      this.views.clear();
      this.show(answer, freshStrip);
      then();
    } catch (error) {
      this.phase = from;
      this.#failed(error, "go", () => this.#go(operation, payload, then, freshStrip));
    }
  }

  /** Show the answer of an operation: a photo, or that none is left. */
  show(answer, freshStrip = false) {
    this.effort.reset();
    if (answer.done) {
      this.photo = null;
      this.draft = null;
      this.phase = "done";
      if (answer.ingest) this.state = answer;
      this.views.changed(this);
      this.refreshQuietly();
      return;
    }
    const here = this.localDrafts.find(this.state.project, answer);
    this.photo = answer;
    this.lastImageId = answer.image_id;
    this.revision = here?.revision ?? answer.revision;
    this.renumbers = false;
    this.asksToSave = false;
    this.isInList = false;
    this.draft = list.openDraft({ ...answer, ...here });
    this.neighbours = answer.neighbours;
    this.order = answer.order ?? null;
    this.fields = answer.fields ?? [];
    this.exclusions = noExclusions();
    this.shown = answer.proposals.map(({ tag, score, source }) => ({ tag, score, source }));
    this.phase = "tagging";
    this.views.opened(answer, freshStrip);
    this.views.changed(this);
    if (here) {
      this.views.say(phrase("tagging.restored"));
      this.#tell();
    }
  }

  /** Switch to another tagger, from this photo on. */
  async chooseTagger(name) {
    try {
      await this.call("set_tagger", { tagger: name });
      await this.refreshState();
      if (this.draft) this.#renumber();
    } catch (error) {
      this.#failed(error, "tagger", () => this.chooseTagger(name));
      this.views.changed(this);
    }
  }

  /** Switch the expected line on or off. */
  async setShowExpected(shown) {
    await this.call("set_show_expected", { shown });
    await this.refreshState();
    if (this.draft) this.#renumber();
  }

  /** Never propose a tag in this project, or propose it again. */
  async setNeverProposed(tag, never) {
    await this.call("set_never_proposed", { tag, never });
    if (never && this.draft) this.draft = list.withoutProposal(this.draft, tag);
    await this.refreshState();
    if (this.draft) this.#tell();
  }

  /** Never propose the selected proposal in this project. */
  async neverSelected() {
    const { selected } = this.draft;
    const tag = list.tagAt(this.draft, selected);
    if (tag === null || selected.zone === "kept") return this.views.say(phrase("tagging.no_proposal"));
    try {
      await this.setNeverProposed(tag, true);
      this.views.say(phrase("tagging.never", { tag }));
    } catch (error) {
      this.#failed(error, "never", () => this.neverSelected());
    }
    return undefined;
  }

  // ---- Editing

  takeNumber(number, { saves = false } = {}) {
    const index = list.indexOfNumber(this.draft, number);
    if (index < 0) return this.views.say(this.#emptyNumber(number));
    this.edit(list.take(this.draft, index), "take", this.draft.proposals[index].tag, number);
    return saves ? this.save() : undefined;
  }

  /** Take the proposals above the expected line, and save. Without that line, nothing is saved. */
  accept() {
    const num_taken = list.numExpected(this.draft);
    if (!num_taken) return this.views.say(phrase("tagging.no_line"));
    this.#takeFirst(num_taken);
    return this.save();
  }

  /** Take all proposals from the first down to the one with this number. */
  takeDownTo(number) {
    const index = list.indexOfNumber(this.draft, number);
    if (index < 0) this.views.say(this.#emptyNumber(number));
    else this.#takeFirst(index + 1);
  }

  #takeFirst(num_taken) {
    const tags = this.draft.proposals.slice(0, num_taken).map(({ tag }) => tag);
    this.edit(list.takeDownTo(this.draft, num_taken - 1), "take_down_to", tags.length, ...tags);
  }

  #emptyNumber(number) {
    const comes = this.draft.proposals.some((proposal) => !proposal.number);
    return phrase(comes ? "tagging.empty_number" : "tagging.no_number", { num: formatNumber(number) });
  }

  takeSelected() {
    const { selected } = this.draft;
    const tag = list.tagAt(this.draft, selected);
    if (tag === null) return;
    if (selected.zone === "kept") this.views.say(phrase("tagging.kept_below", { tag }));
    else this.edit(list.take(this.draft, selected.index, { follow: false }), "take", tag, selected.index + 1);
  }

  /** Take a visible tag: a proposal or a neighbour's tag. */
  takeTag(tag, action = "take") {
    if (this.#isKept(tag)) return;
    const number = list.indexOfTag(this.draft.proposals.map((proposal) => proposal.tag), tag) + 1;
    this.edit(list.add(this.draft, tag), action, tag, ...(number ? [number] : []));
  }

  /** Add several typed or pasted tags in one edit; those that are kept already stay where they are. */
  addSeveral(texts, numKeys) {
    const tags = texts.map(list.cleanTag).filter((tag) => tag && tag.length <= list.MAX_TAG_LENGTH && list.indexOfTag(this.draft.kept, tag) < 0);
    if (tags.length) this.edit(list.addAll(this.draft, tags), "type", tags.join(", "), numKeys);
    else this.views.say(phrase("tagging.too_long"));
  }

  addTyped(text, numKeys, { saves = false } = {}) {
    const tag = list.cleanTag(text);
    if (!tag || this.#isKept(tag)) return undefined;
    this.edit(list.add(this.draft, tag), "type", tag, numKeys);
    return saves ? this.save() : undefined;
  }

  #isKept(tag) {
    const index = list.indexOfTag(this.draft.kept, tag);
    if (index < 0) return false;
    this.select({ zone: "kept", index });
    this.views.say(phrase("tagging.kept_already", { tag: this.draft.kept[index] }));
    return true;
  }

  dropTag(tag) {
    const place = this.#placeOf(tag);
    if (place) this.edit(list.drop(this.draft, place), "drop", tag);
  }

  dropSelected() {
    const tag = list.tagAt(this.draft, this.draft.selected);
    if (tag !== null) this.dropTag(tag);
  }

  /** Give a kept tag back: it is a proposal again, at the number that it had. */
  unkeepTag(tag) {
    const place = this.#placeOf(tag);
    if (place?.zone !== "kept") return;
    this.placeTag(tag, { zone: "proposed", index: 0 });
    const { past } = this.draft;
    this.views.say(phrase("tagging.unkept", { tag }), () => (this.draft?.past === past ? this.undo() : this.views.say(phrase("tagging.changed_since"))));
  }

  unkeepSelected() {
    const tag = list.tagAt(this.draft, this.draft.selected);
    if (tag !== null) this.unkeepTag(tag);
  }

  /** Leave the list: the first proposal is selected again. Returns whether a row was being selected. */
  leaveList() {
    const wasInList = this.isInList;
    if (wasInList && this.draft) {
      this.isInList = false;
      this.draft = list.select(this.draft, { zone: "proposed", index: 0 });
      this.views.changed(this);
    }
    return wasInList;
  }

  placeTag(tag, to) {
    const from = this.#placeOf(tag);
    if (from) this.#moved(tag, from, list.place(this.draft, from, to));
  }

  moveSelected(by) {
    const tag = list.tagAt(this.draft, this.draft.selected);
    if (tag !== null) this.#moved(tag, this.draft.selected, list.move(this.draft, by));
  }

  #moved(tag, from, next) {
    if (next === this.draft) return;
    const to = list.indexOfTag(next.kept, tag);
    // Positions of kept tags count from 0; -1 is below the cut line.
    this.edit(next, "move", tag, from.zone === "kept" ? from.index : -1, to);
  }

  setCut(num_kept) {
    this.edit(list.setCut(this.draft, num_kept), "cut", num_kept);
  }

  moveCut(by) {
    const next = list.moveCut(this.draft, by);
    this.edit(next, "cut", next.kept.length);
  }

  select(place) {
    this.asksToSave = false;
    this.isInList = true;
    this.draft = list.select(this.draft, place);
    this.views.changed(this);
  }

  selectTag(tag) {
    const place = this.#placeOf(tag);
    if (place) this.select(place);
  }

  moveSelection(by) {
    this.asksToSave = false;
    this.isInList = true;
    this.draft = list.moveSelection(this.draft, by);
    this.views.changed(this);
  }

  undo() {
    if (this.draft && list.canUndo(this.draft)) {
      this.edit(list.undo(this.draft), "undo");
      return undefined;
    }
    return this.undoSave();
  }

  /** Take the last save back, and show its photo. */
  undoSave() {
    return this.#go("undo", {}, () => {
      this.views.say(this.photo?.undone ?? phrase("tagging.save_undone"));
      this.refreshQuietly();
    }, true);
  }

  redo() {
    this.edit(list.redo(this.draft), "redo");
  }

  /** Show a changed draft at once, then send it to the server. */
  edit(next, ...action) {
    if (next === this.draft || this.phase !== "tagging") return;
    this.asksToSave = false;
    if (!["move", "cut"].includes(action[0])) this.isInList = false;
    this.views.edited(this.draft, next);
    this.draft = next;
    this.effort.record(...action);
    this.#tell();
    this.views.changed(this);
  }

  // ---- Excluding evidence

  switchSource(name) {
    const sources = new Set(this.exclusions.sources);
    if (!sources.delete(name)) sources.add(name);
    this.#exclude({ ...this.exclusions, sources }, "switch_source", name);
  }

  switchNeighbour(image_id, name) {
    const neighbours = new Map(this.exclusions.neighbours);
    if (!neighbours.delete(Number(image_id))) neighbours.set(Number(image_id), name);
    this.#exclude({ ...this.exclusions, neighbours }, "switch_neighbour", Number(image_id));
  }

  restoreEvidence() {
    this.#exclude(noExclusions(), "switch_all_back");
  }

  #exclude(exclusions, ...action) {
    if (this.phase !== "tagging" || this.photo.read_only) return;
    this.exclusions = exclusions;
    this.effort.record(...action);
    this.#renumber();
    this.views.changed(this);
  }

  #placeOf(tag) {
    const index = list.indexOfTag([...this.draft.kept, ...this.draft.proposals.map((proposal) => proposal.tag)], tag);
    return index < 0 ? null : list.placeAt(this.draft, index);
  }

  /** The current list, as the payload of a call. */
  request() {
    const { kept, dropped } = this.draft;
    const { neighbours, sources } = this.exclusions;
    return {
      image_id: this.photo.image_id, kept, dropped, revision: this.revision,
      without_neighbours: [...neighbours.keys()], without_sources: [...sources],
    };
  }

  /** The payload of a call about one tag of this photo, with the exclusions. */
  question(tag) {
    const { image_id, without_neighbours, without_sources } = this.request();
    return { image_id, tag, without_neighbours, without_sources };
  }

  /** Ask for proposals that are numbered anew: the user changed what they are made from, not the list. */
  #renumber() {
    this.renumbers = true;
    this.#tell();
  }

  #tell() {
    const request = this.request();
    this.localDrafts.keep(this.state.project, this.photo, request);
    this.proposing.send(request);
  }

  #proposed(request, answer, isNewest) {
    if (request.image_id !== this.photo?.image_id || !isNewest) return;
    this.localDrafts.forget(this.state.project, this.photo);
    this.#back();
    if (this.phase !== "tagging") return;
    this.draft = list.withProposals(this.draft, answer.proposals, answer.num_expected, { renumbers: this.renumbers });
    this.renumbers = false;
    this.neighbours = answer.neighbours ?? this.neighbours;
    this.order = answer.order ?? null;
    this.fields = answer.fields ?? [];
    this.views.changed(this);
    this.whenStill(() => this.#fillNumbers(request.image_id));
  }

  #fillNumbers(image_id) {
    if (this.phase !== "tagging" || this.photo.image_id !== image_id) return;
    const next = list.fillNumbers(this.draft);
    if (next === this.draft) return;
    this.draft = next;
    this.views.changed(this);
  }

  #notProposed(request, error, isNewest) {
    if (request.image_id !== this.photo?.image_id || !isNewest || this.phase !== "tagging") return;
    // A stale list is reported when it is saved; until then editing continues.
    if (error.kind === "stale") return;
    this.#failed(error, "away", () => this.#tell());
    if (error.kind === "unreachable") this.#retryLater(request);
  }

  #retryLater(request) {
    this.isAway = true;
    setTimeout(() => {
      const isOpen = this.phase === "tagging" && this.photo?.image_id === request.image_id;
      if (this.isAway && isOpen) this.#tell();
    }, RETRY_MS);
  }

  #back() {
    if (!this.isAway) return;
    this.isAway = false;
    this.views.clear("away");
    this.views.clear("save");
    this.views.say(phrase("tagging.answers_again"));
    this.refreshQuietly();
  }

  // ---- Saving

  /** Save the list; one without tags only if this is asked for twice in a row. */
  saveOrAsk() {
    if (this.draft.kept.length || this.asksToSave) return this.save();
    this.asksToSave = true;
    return this.views.say(phrase("tagging.nothing_kept"));
  }

  /** Save the list; with `members`, { image_id, revision } each, for all of these too. */
  async save(revision = this.revision, members = []) {
    if (this.phase !== "tagging") return;
    const { photo, draft } = this;
    const from = this.#busy();
    const effort = this.effort.report();
    try {
      await this.proposing.discard();
      const answer = await this.call(members.length ? "save_group" : photo.save_as, {
        image_id: photo.image_id, revision, kept: draft.kept, dropped: draft.dropped,
        shown: this.shown, tagger: photo.tagger, ...effort, ...(members.length ? { members } : {}),
      });
      this.#saved(photo, draft, answer);
      // Without one, the list is saved all the same, and the next photo could not be brought with the answer.
      this.show(answer.next ?? (await this.call("open", { image_id: null })));
      if (answer.group?.left_out.length) this.#leftOut(answer.group.left_out);
    } catch (error) {
      this.phase = from;
      if (error.kind === "stale") await this.#stale(error, members);
      else {
        this.#failed(error, "save", () => this.save(revision, members));
        if (error.kind === "unreachable") this.#retryLater(photo);
      }
    }
  }

  #leftOut(leftOut) {
    const each = leftOut.map(({ file_name, reason }) => phrase("import.file_problem", { name: file_name, problem: reason }));
    this.views.trouble("group", phrase("tagging.left_out", { photos: each.join(" ") }), [{ label: phrase("tagging.all_right"), run: () => this.views.clear("group") }]);
  }

  #saved(photo, draft, { now_common: nowCommon = [], group = null, respelled = [] } = {}) {
    this.localDrafts.forget(this.state.project, photo);
    this.isAway = false;
    // A photo whose save was undone has a revision but no saved tags; it is counted again.
    const countedBefore = photo.state === "saved" || photo.saved.length > 0;
    // Changes by others meanwhile, and which photos had no tags, are known to the server only.
    if (photo.wasStale || photo.asked_of || countedBefore || !draft.kept.length) this.refreshQuietly();
    else if (this.state) this.state.num_saved += 1;
    const along = group?.saved ?? [];
    if (this.state) this.state.num_saved += along.length;
    this.views.clear();
    this.views.saved(photo, nowCommon, along);
    const saved = draft.kept.map((tag) => respelled.find(({ typed }) => typed === list.cleanTag(tag))?.saved ?? tag);
    this.views.say(savedText(saved, along.length), () => this.undoSave());
    const kept = respelled.filter(({ was_saved, typed, saved: name }) => was_saved && list.tagKey(typed) === list.tagKey(name));
    if (kept.length) this.views.trouble("respelled", kept.map(whyRespelled).join(" "), []);
  }

  async #stale({ message, details }, members) {
    const { revision, tags, user, saved_at } = details;
    this.photo = { ...this.photo, wasStale: true };
    this.refreshQuietly();
    if (list.sameTags(tags, this.draft.kept)) {
      // The database has the same list: the answer to an earlier call was lost, or two people agree.
      this.#saved(this.photo, this.draft);
      await this.openImage(null);
      return;
    }
    this.views.changed(this);
    const choice = await this.views.askStale({
      message, theirs: tags, user, isMe: user === this.state.user, saved_at, mine: this.draft.kept,
    });
    if (choice === null) return;
    this.revision = revision;
    if (choice === "mine") {
      await this.save(revision, members);
      return;
    }
    const kept = choice === "merge" ? list.merge(tags, this.draft.kept) : tags;
    this.edit(list.replaceKept(this.draft, kept), choice);
    if (choice === "theirs") await this.openImage(null);
    else this.views.say(phrase("tagging.merged"));
  }

  // ---- Waiting and errors

  #busy() {
    const before = this.phase;
    this.phase = "busy";
    this.views.changed(this);
    return before === "busy" ? "tagging" : before;
  }

  #failed(error, name, retry) {
    this.views.changed(this);
    if (error.kind === undefined) throw error;
    if (error.kind === "request") {
      this.views.say(error.message);
      return;
    }
    const away = error.kind === "unreachable";
    const sentence = !away ? error.message : phrase(name === "go" ? "server.silent" : "tagging.not_saved");
    this.views.trouble(name, sentence, [{ label: phrase("tagging.try_again"), run: retry }]);
  }
}

/** Why a tag keeps the spelling that it had on the photo. */
function whyRespelled({ typed, saved, num_photos }) {
  return plural("tagging.respelled", num_photos, { typed, saved, command: `annotator tags PROJECT rename "${saved}" "${typed}"` });
}

function savedText(tags, num_along) {
  if (!tags.length) return phrase("tagging.saved_empty");
  return num_along ? plural("tagging.saved_along", num_along + 1, { tags: formatList(tags) }) : phrase("tagging.saved", { tags: formatList(tags) });
}
