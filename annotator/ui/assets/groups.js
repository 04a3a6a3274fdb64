// Similar photos, tagged together: a hint beside the open photo, and a panel with the list, proposals for all of them,
// and the photos to tick. One key saves the list for the open photo and all ticked ones. The list is that of the page:
// edits here are edits there. Knows nothing of how the photos were found.

import { createAddBox } from "./add_box.js";
import { newestOnly } from "./calls.js";
import { NUM_NUMBERED, tagKey } from "./draft.js";
import { keycaps, make } from "./elements.js";
import { formatNumber, formatShare } from "./formats.js";
import { actionOf, digitOf, isTextKey, keyName, keyPieces } from "./keys.js";
import { own } from "./names.js";
import { createStillness } from "./stillness.js";
import { phrase, phraseNodes, plural } from "./texts.js";

const HINT_MS = 200; // photos opened for less time are not looked up
const AGAIN_MS = 120; // several ticks in a row cause one request

export function createGroups(dialogs, { call, say, tagging, effort, getKeys, run, onFound, isTouch = false }) {
  const label = make("span", {}, phrase("drawer.alike"));
  const caps = make("span", { class: "group-key" });
  const button = make("button", { type: "button", class: "quiet", id: "group-open", title: phrase("action.group"), onclick: () => run("group") }, label, " ", caps);
  const hint = newestOnly((image_id) => call("look_alikes", { image_id }));
  let timer = 0;

  /** Show beside a photo how many near duplicates it has, once it has been open for a moment. */
  function follow(photo) {
    clearTimeout(timer);
    button.hidden = true;
    label.textContent = phrase("drawer.alike");
    button.classList.remove("found");
    onFound(0);
    if (!(photo.read_only || photo.asked_of || photo.probe)) timer = setTimeout(() => ask(photo), HINT_MS);
  }

  async function ask(photo) {
    try {
      const answer = await hint(photo.image_id);
      if (!answer?.num_near || tagging.photo?.image_id !== photo.image_id) return;
      label.textContent = plural("group.more", answer.num_near);
      button.classList.add("found");
      button.hidden = false;
      onFound(answer.num_near);
    } catch (error) {
      if (error.kind === undefined) throw error; // only a hint; a server that does not answer is reported elsewhere
    }
  }

  async function open() {
    const { photo } = tagging;
    if (photo.read_only) return say(phrase("group.read_only"));
    const { items, note } = await call("look_alikes", { image_id: photo.image_id });
    if (tagging.photo?.image_id !== photo.image_id || tagging.phase !== "tagging") return undefined;
    if (!items.length) return say(note ?? phrase("group.none"));
    return panel(photo, items);
  }

  async function panel(photo, items) {
    const ticked = new Set(items.filter((item) => item.is_near));
    let numbered = Array(NUM_NUMBERED).fill(null); // the proposal at each number; null where one was taken
    let offers = []; // the newest answer
    const stillness = createStillness();
    let current = 0;
    let again = 0;
    const propose = newestOnly(() => call("propose_group", { ...tagging.request(), members: [...ticked].map((item) => item.image_id) }));

    const kept = make("ol", { class: "group-kept", "aria-label": phrase("group.kept_label") });
    const offered = make("div", { class: "group-offered", role: "group", "aria-label": phrase("group.offered_label") });
    const trouble = make("p", { class: "group-note", role: "status" });
    const field = addField();
    const addBox = createAddBox(field, {
      complete: async (text) => (await tagging.complete(text))?.completions ?? null,
      fallback: (text) => offers.filter(({ tag }) => tagKey(tag).startsWith(tagKey(text))).slice(0, NUM_NUMBERED),
      onAdd: (tag, numKeys, saves) => (tagging.addTyped(tag, numKeys), changed(), saves && finish(), true),
      onAddSeveral: (tags, numKeys) => (tagging.addSeveral(tags, numKeys), changed(), true),
      isAccept: (name) => getKeys().accept.includes(name),
      onChange: () => pointAt(),
    });
    const all = make("button", { type: "button", id: "group-all", onclick: () => tickAll() });
    const save = make("button", { type: "button", class: "strong", id: "group-save", onclick: () => finish() });
    const cells = items.map((item, index) => cellOf(item, index, () => (moveTo(index), toggle(index))));
    const grid = make("div", { class: "group-grid", id: "group-grid", role: "listbox", "aria-multiselectable": "true", "aria-label": phrase("group.grid_label") }, ...sections(items, cells));
    const body = make(
      "div",
      { class: "group", onmousedown: (event) => event.target.closest("input") || event.preventDefault() }, // keeps the keyboard focus in the panel
      make("div", { class: "group-top" }, make("img", { class: "group-lead", src: photo.thumbnail_url, alt: photo.file_name }), make("div", { class: "group-lists" }, kept, offered, field.element)),
      grid,
      make("div", { class: "group-foot" }, make("span", { class: "group-keys soft" }, ...phraseNodes("group.keys", { space: make("kbd", {}, ...keyPieces("Space")), back: make("kbd", {}, ...keyPieces("Backspace")) })), trouble, all, save),
    );

    /** The row that a screen reader is told of: the completion while text is typed, else the photo in hand. */
    function pointAt() {
      const id = addBox?.activeRow() ?? cells[current].id;
      field.input.setAttribute("aria-activedescendant", id);
      if (field.list.hidden) field.input.setAttribute("aria-controls", "group-grid");
    }

    function render() {
      const tags = tagging.draft.kept;
      kept.replaceChildren(...(tags.length ? tags.map((tag) => make("li", {}, make("button", { type: "button", class: "quiet", title: phrase("group.give_back", { tag }), onclick: () => giveBack(tag) }, own(tag)))) : [make("li", { class: "soft" }, phrase("group.nothing"))]));
      offered.replaceChildren(...numbered.flatMap((proposal, index) => (proposal ? [
        make("button", { type: "button", class: "group-tag", title: proposal.why, dataset: { tag: proposal.tag }, onclick: () => take(index) }, make("kbd", {}, formatNumber(index + 1)), " ", own(proposal.tag)),
      ] : [])));
      cells.forEach((cell, index) => {
        cell.setAttribute("aria-selected", String(ticked.has(items[index])));
        cell.classList.toggle("current", index === current);
      });
      pointAt();
      all.replaceChildren(...keycaps(keyPieces("Ctrl+A")), " ", phrase(ticked.size === items.length ? "group.tick_none" : "group.tick_all"));
      save.replaceChildren(ticked.size ? plural("group.save", ticked.size + 1) : phrase("group.save_alone"), " ", make("kbd", {}, ...keyPieces("Enter")));
    }

    /** Give each free number to the best proposal without one. */
    function fillNumbers() {
      const shown = new Set(numbered.map((proposal) => proposal?.tag));
      const others = offers.filter(({ tag }) => !shown.has(tag));
      numbered = numbered.map((proposal) => proposal ?? others.shift() ?? null);
      render();
    }

    /** Fetch new proposals; with `renumbers`, since other photos are ticked now, all are numbered anew. */
    function refresh(renumbers) {
      clearTimeout(again);
      again = setTimeout(async () => {
        try {
          const answer = await propose();
          if (!answer) return;
          const keptNow = new Set(tagging.draft?.kept ?? []);
          offers = answer.proposals.filter(({ tag }) => !keptNow.has(tag));
          const newest = new Map(offers.map((proposal) => [proposal.tag, proposal]));
          numbered = numbered.map((proposal) => (!renumbers && proposal && newest.get(proposal.tag)) || null);
          if (renumbers) fillNumbers();
          else stillness.whenStill(fillNumbers);
          render();
        } catch (error) {
          if (error.kind === undefined) throw error;
          trouble.textContent = error.message;
        }
      }, AGAIN_MS);
    }

    function changed(renumbers = false) {
      trouble.textContent = "";
      render();
      refresh(renumbers);
    }

    function toggle(index) {
      if (!ticked.delete(items[index])) ticked.add(items[index]);
      effort.record("tick", items[index].image_id, ticked.has(items[index]) ? 1 : 0);
      changed(true);
    }

    function tickAll() {
      const wanted = ticked.size < items.length;
      ticked.clear();
      if (wanted) items.forEach((item) => ticked.add(item));
      effort.record("tick_all", wanted ? 1 : 0);
      changed(true);
    }

    function moveTo(index) {
      current = Math.max(0, Math.min(items.length - 1, index));
      render();
      cells[current].scrollIntoView({ block: "nearest" });
    }

    /** The cell in the row above (-1) or below (1) that is nearest in column, across the headings. */
    function beside(by) {
      const place = (cell) => cell.getBoundingClientRect();
      const here = place(cells[current]);
      const rows = cells.map((cell, index) => ({ index, top: place(cell).top, left: place(cell).left })).filter(({ top }) => (by > 0 ? top > here.top + 1 : top < here.top - 1));
      if (!rows.length) return current;
      const nearest = by > 0 ? Math.min(...rows.map(({ top }) => top)) : Math.max(...rows.map(({ top }) => top));
      const row = rows.filter(({ top }) => Math.abs(top - nearest) < 2);
      return row.reduce((best, cell) => (Math.abs(cell.left - here.left) < Math.abs(best.left - here.left) ? cell : best)).index;
    }

    function take(index) {
      const proposal = numbered[index];
      if (!proposal) return;
      numbered[index] = null;
      tagging.takeTag(proposal.tag, "take_in_group");
      changed();
    }

    /** Make a kept tag a proposal again; it is not dropped. */
    function giveBack(tag = tagging.draft.kept.at(-1)) {
      if (tag === undefined) return;
      tagging.placeTag(tag, { zone: "proposed", index: 0 });
      changed();
    }

    function finish() {
      if (tagging.draft.kept.length) dialogs.close("save");
      else trouble.textContent = phrase("group.nothing_saved");
    }

    /** Letters go to the add box; while it is empty, digits take proposals and the other keys are commands. */
    function onkey(event) {
      if (event.isComposing || event.keyCode === 229) return;
      stillness.pressed();
      const name = keyName(event);
      if (!name) return;
      if (!event.repeat) effort.key();
      if (["Enter", "Space"].includes(name) && event.target.closest("button")) return;
      if (!addBox.isEmpty()) {
        if (addBox.handleKey(event, name)) event.preventDefault();
        else if (isTextKey(event, name)) addBox.focus();
        return;
      }
      const digit = digitOf(event);
      const steps = { ArrowLeft: () => current - 1, ArrowRight: () => current + 1, ArrowUp: () => beside(-1), ArrowDown: () => beside(1), Home: () => 0, End: () => items.length - 1 };
      const presses = { Space: () => toggle(current), "Ctrl+A": tickAll, Backspace: () => giveBack(), Delete: () => giveBack(), Enter: finish, "/": () => (addBox.startLiteral(), addBox.focus()) };
      if (actionOf(name, getKeys()) === "group") presses[name] = () => dialogs.close();
      if (name in steps) use(event, () => moveTo(steps[name]()));
      else if (digit && !digit.downTo && !digit.saves) use(event, () => event.repeat || take(digit.number - 1));
      else if (name in presses) use(event, () => event.repeat || presses[name]());
      else if (isTextKey(event, name)) addBox.focus();
    }

    render();
    refresh(true);
    const title = make("span", {}, ...phraseNodes("group.title", { name: make("bdi", { class: "soft" }, photo.file_name) }));
    const result = await dialogs.open({ id: "group", title, wide: true, body: [body], onkey, focus: isTouch ? null : field.input });
    clearTimeout(again);
    if (result === "save") await tagging.save(undefined, [...ticked].map(({ image_id, revision }) => ({ image_id, revision })));
  }

  function render() {
    const name = getKeys().group?.[0];
    caps.replaceChildren(...(name ? keycaps(keyPieces(name)) : []));
  }

  return { button, follow, open, render };
}

/** The elements of an add box of its own, as createAddBox wants them. */
function addField() {
  const input = make("input", { id: "group-add", type: "text", role: "combobox", dir: "auto", "aria-label": phrase("group.add"), "aria-autocomplete": "both", "aria-expanded": "false", "aria-controls": "group-grid", placeholder: phrase("group.type"), maxlength: 100, autocomplete: "off", autocapitalize: "off", autocorrect: "off", spellcheck: "false", enterkeyhint: "done" });
  const ghost = make("span", { class: "add-ghost", dir: "auto", "aria-hidden": "true" });
  const literal = make("span", { class: "add-literal", hidden: true }, "/");
  const list = make("ul", { class: "completions", id: "group-completions", role: "listbox", "aria-label": phrase("page.completions"), hidden: true });
  const element = make("div", { class: "add" }, list, make("div", { class: "add-box" }, literal, make("span", { class: "add-field" }, ghost, input)));
  return { element, input, ghost, literal, list };
}

function use(event, then) {
  event.preventDefault();
  then();
}

function cellOf(item, index, press) {
  return make(
    "div",
    { class: "group-cell", id: `group-cell-${index}`, role: "option", title: item.file_name, "aria-label": phrase("group.cell", { name: item.file_name, percent: formatNumber(Math.round(100 * item.similarity)) }), dataset: { imageId: item.image_id, fileName: item.file_name }, onclick: press },
    make("img", { src: item.thumbnail_url, alt: "", draggable: "false", loading: "lazy" }),
    make("span", { class: "group-tick", "aria-hidden": "true" }, "✓"),
    make("span", { class: "group-alike", "aria-hidden": "true" }, formatShare(item.similarity)),
  );
}

function sections(items, cells) {
  const num_near = items.filter((item) => item.is_near).length; // the most similar come first
  const heading = (text) => make("p", { class: "group-heading", role: "presentation" }, text);
  return [
    ...(num_near ? [heading(plural("group.same", num_near)), ...cells.slice(0, num_near)] : []),
    ...(num_near < items.length ? [heading(plural("group.alike", items.length - num_near)), ...cells.slice(num_near)] : []),
  ];
}
