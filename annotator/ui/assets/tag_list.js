// The ranked list on the page: kept rows, the cut line, suggested rows; clicks, and dragging of rows and of the line.
// It reports the user's edits by tag name, and never changes the list itself.
// Knows nothing of the server, of keys, or of how an edit is applied.

import { describe, NUM_NUMBERED, numExpected, tagKey } from "./draft.js";
import { icon, keycaps, make } from "./elements.js";
import { formatList, formatNumber, formatPercent } from "./formats.js";
import { keyPieces } from "./keys.js";
import { floatingCopy, isMotionReduced, moveFrom, placesOf } from "./motion.js";
import { FORWARD, phrase, plural } from "./texts.js";

const DRAG_PIXELS = 4;
const EDGE_PIXELS = 24;
const EDGE_STEP_PIXELS = 7;
const CROSS = ["m4 4 8 8M12 4l-8 8"];
const GRIP = ["M6 4h.01M10 4h.01M6 8h.01M10 8h.01M6 12h.01M10 12h.01"];

/**
 * handlers: take(tag), select(tag), unkeep(tag), point(tag or null), place(tag, { zone, index }), cut(count),
 * accept(). Nothing in a row has the focus: the add box keeps it and names the selected row to screen readers, so that
 * the cross of a kept row is for pointers; the key and the button under the list do the same.
 */
export function createTagList(root, handlers) {
  const layer = root.closest(".annotator");
  const kept = make("div", { class: "zone kept-zone", id: "kept-list", role: "listbox", "aria-label": phrase("list.kept_label") });
  const proposed = make("div", { class: "zone proposed-zone", id: "suggested-list", role: "listbox", "aria-label": phrase("list.suggested") });
  const cut = make("div", { class: "cut", id: "cut-line", "aria-hidden": "true", title: phrase("list.drag") });
  const acceptText = make("span", {});
  const acceptKeys = make("span", { class: "caps" });
  const accept = make("button", { type: "button", class: "quiet", id: "accept", hidden: true, onclick: () => handlers.accept() }, acceptText, " ", acceptKeys);
  const nothingKept = make("p", { class: "empty-row", id: "nothing-kept" });
  const nothingProposed = make("p", { class: "empty-row", id: "nothing-suggested" });
  const marker = make("div", { class: "drop-marker", hidden: true });
  root.append(
    make("div", { class: "part kept-part" }, make("h2", {}, make("b", {}, phrase("list.kept")), make("span", { class: "soft" }, phrase("list.kept_note"))), kept, nothingKept),
    cut,
    make("div", { class: "part proposed-part" }, make("div", { class: "part-head" }, make("h2", {}, make("b", {}, phrase("list.suggested"))), accept), proposed, nothingProposed),
    marker,
  );
  // Drawn only if a proposal is expected; proposals above it are not kept yet.
  const expected = make("div", { class: "expected-line", id: "expected-line", "aria-hidden": "true" });
  const zones = { kept, proposed };
  const rowsOf = (zone) => [...zone.children].filter((child) => child.classList.contains("row"));
  const allRows = () => [...rowsOf(kept), ...rowsOf(proposed)];
  const nameOf = (row) => tagKey(row.dataset.tag);
  let draft = null;
  let press = null;
  let selectedRow = "";
  let isNew = true; // a photo was opened: nothing moves

  function draw() {
    const old = allRows();
    const places = isNew || isMotionReduced() ? null : placesOf(old, nameOf);
    const rows = new Map(old.map((row) => [row.dataset.zone + nameOf(row), row]));
    const rowOf = (zone, index, tag) => fill(rows.get(zone + tagKey(tag)) ?? newRow(zone), draft, zone, index, tag);
    arrange(kept, draft.kept.map((tag, index) => rowOf("kept", index, tag)));
    nothingKept.textContent = draft.kept.length ? "" : phrase("list.nothing_kept");
    const proposedRows = draft.proposals.map(({ tag }, index) => rowOf("proposed", index, tag));
    const num_expected = numExpected(draft);
    proposedRows.forEach((row, index) => row.classList.toggle("expected", index < num_expected));
    arrange(proposed, withGaps(proposedRows, num_expected));
    nothingProposed.textContent = draft.proposals.length ? "" : draft.kept.length ? phrase("list.no_further") : phrase("list.no_suggestion");
    accept.hidden = !num_expected;
    acceptText.textContent = plural("list.accept", num_expected);
    const selected = root.querySelector(".row.selected");
    const name = selected ? selected.dataset.zone + selected.dataset.tag : "";
    if (selected && name !== selectedRow) reveal(selected);
    selectedRow = name;
    if (places) moveFrom(places, allRows(), nameOf, layer);
    isNew = false;
  }

  /** The rows with the dashed line, and an empty place for each number that has no proposal now. */
  function withGaps(rows, num_expected) {
    const isFree = freeNumbers(draft);
    const shown = [];
    rows.forEach((row, index) => {
      const number = Number(row.dataset.number);
      // The user's own rows come first, whatever their number.
      while (isFree.length && (isFree[0] < number || !number) && !isOwn(draft, row.dataset.tag)) shown.push(gap(isFree.shift()));
      if (num_expected && index === num_expected) shown.push(expected);
      shown.push(row);
    });
    shown.push(...isFree.map(gap));
    if (num_expected && num_expected === rows.length) shown.push(expected);
    return shown;
  }

  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || press || !draft) return;
    const row = event.target.closest(".row");
    const line = event.target.closest(".cut");
    if (!row && !line) return;
    const kind = line ? "cut" : event.target.closest(".drop") ? "drop" : "row";
    const handle = line || event.target.closest(".number");
    const draggable = kind !== "drop" && (event.pointerType !== "touch" || Boolean(handle));
    press = { kind, row, tag: row?.dataset.tag, zone: row?.dataset.zone, x: event.clientX, y: event.clientY, draggable, dragging: false };
    root.setPointerCapture(event.pointerId);
  });
  root.addEventListener("pointermove", (event) => {
    if (!press) return;
    const far = Math.hypot(event.clientX - press.x, event.clientY - press.y);
    if (!press.dragging && (!press.draggable || far < DRAG_PIXELS)) return;
    Object.assign(press, { clientX: event.clientX, clientY: event.clientY });
    if (!press.dragging) startDrag();
    follow();
  });
  root.addEventListener("pointerup", () => {
    const done = press;
    endPress();
    if (!done) return;
    if (done.dragging) {
      if (done.kind === "cut") handlers.cut(done.count);
      else if (done.target) handlers.place(done.tag, done.target);
    } else if (done.kind === "drop") handlers.unkeep(done.tag);
    else if (done.kind === "row") (done.zone === "kept" ? handlers.select : handlers.take)(done.tag);
  });
  root.addEventListener("pointercancel", endPress);
  root.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "touch") handlers.point(event.target.closest(".row")?.dataset.tag ?? null);
  });
  root.addEventListener("pointerleave", () => handlers.point(null));
  // Screen readers send clicks without pointer events.
  root.addEventListener("click", (event) => {
    const row = event.detail === 0 && event.target.closest(".row");
    if (row) (row.dataset.zone === "kept" ? handlers.select : handlers.take)(row.dataset.tag);
  });

  function startDrag() {
    press.dragging = true;
    press.count = draft.kept.length;
    root.classList.add("dragging");
    if (press.row) {
      const box = press.row.getBoundingClientRect();
      press.offset = { x: press.x - box.left, y: press.y - box.top };
      press.copy = floatingCopy(press.row, box);
      press.copy.classList.add("dragged", press.zone);
      press.copy.style.width = "max-content"; // as narrow as its tag, so that it stays in the window
      layer.append(press.copy);
      press.row.classList.add("lifted");
    } else cut.classList.add("dragged");
    requestAnimationFrame(scrollAtEdge);
  }

  function follow() {
    const { clientX: x, clientY: y } = press;
    if (press.kind === "cut") {
      const rows = allRows();
      press.count = rows.filter((row) => middleOf(row) < y).length;
      cut.style.transform = "";
      const line = cut.getBoundingClientRect();
      const frame = root.getBoundingClientRect();
      cut.style.transform = `translateY(${Math.max(frame.top, Math.min(frame.bottom, y)) - line.top - line.height / 2}px)`;
      rows.forEach((row, index) => row.classList.toggle("will-keep", index < press.count));
      return;
    }
    press.copy.style.left = `${x - press.offset.x}px`;
    press.copy.style.top = `${y - press.offset.y}px`;
    const line = cut.getBoundingClientRect();
    const zone = y < line.top + line.height / 2 ? "kept" : "proposed";
    const others = rowsOf(zones[zone]).filter((row) => row !== press.row);
    const isWrapped = ["flex", "grid"].includes(getComputedStyle(zones[zone]).display);
    const index = others.filter((row) => isBefore(row.getBoundingClientRect(), x, y, isWrapped)).length;
    press.target = { zone, index };
    mark(zone, others, index, isWrapped);
  }

  /** Show where the dragged row will land. */
  function mark(zone, others, index, isWrapped) {
    const frame = root.getBoundingClientRect();
    const box = zones[zone].getBoundingClientRect();
    const [before, after] = [others[index - 1], others[index]].map((row) => row?.getBoundingClientRect());
    marker.hidden = zone === "proposed" && press.zone === "proposed";
    marker.classList.toggle("keeps", zone === "kept");
    marker.classList.toggle("upright", isWrapped);
    if (isWrapped) {
      const place = after ?? before ?? box;
      const left = FORWARD > 0 ? (after ? after.left - 4 : before ? before.right + 2 : box.left) : after ? after.right + 2 : before ? before.left - 4 : box.right - 2;
      Object.assign(marker.style, { left: `${left - frame.left}px`, top: `${place.top - frame.top}px`, height: `${after || before ? place.height : 32}px`, right: "" });
      return;
    }
    const top = Math.max(box.top, Math.min(box.bottom, before ? before.bottom : after ? after.top : box.top));
    Object.assign(marker.style, { left: "", right: "", height: "", top: `${top - frame.top}px` });
  }

  function scrollAtEdge() {
    if (!press?.dragging) return;
    const zone = zones[press.target?.zone ?? "kept"];
    const box = zone.getBoundingClientRect();
    const step = press.clientY < box.top + EDGE_PIXELS ? -1 : press.clientY > box.bottom - EDGE_PIXELS ? 1 : 0;
    const before = zone.scrollTop;
    zone.scrollTop += step * EDGE_STEP_PIXELS;
    if (zone.scrollTop !== before) follow();
    requestAnimationFrame(scrollAtEdge);
  }

  function endPress() {
    if (!press) return;
    press.copy?.remove();
    press = null;
    marker.hidden = true;
    root.classList.remove("dragging");
    for (const element of root.querySelectorAll(".dragged, .lifted, .will-keep")) element.classList.remove("dragged", "lifted", "will-keep");
    cut.style.transform = "";
    if (draft) draw();
  }

  return {
    /** Show a draft. While a row is pressed the list is not redrawn, so that a click applies to the row it began on. */
    render(newDraft, keys) {
      draft = newDraft;
      acceptKeys.replaceChildren(...(keys?.length ? keycaps(keyPieces(keys[0])) : []));
      if (!press) draw();
    },
    /** A photo was opened. */
    toTop() {
      kept.scrollTop = 0;
      proposed.scrollTop = 0;
      selectedRow = "";
      isNew = true;
    },
    /** Cancel a drag; returns whether there was one. */
    cancelDrag() {
      const dragging = Boolean(press?.dragging);
      if (dragging) endPress();
      return dragging;
    },
  };
}

const middleOf = (row) => {
  const box = row.getBoundingClientRect();
  return box.top + box.height / 2;
};

/** Whether a row comes before a point: in a column by its middle, in rows of chips as text is read. */
function isBefore(box, x, y, isWrapped) {
  if (!isWrapped) return box.top + box.height / 2 < y;
  return box.bottom < y || (box.top <= y && (box.left + box.width / 2 - x) * FORWARD < 0);
}

/** Numbers that had a proposal on this photo and have none now. */
function freeNumbers(draft) {
  const used = new Set(draft.proposals.map(({ number }) => number));
  return [...new Set(draft.numbers.values())].filter((number) => number <= NUM_NUMBERED && !used.has(number)).sort((one, other) => one - other);
}

function isOwn(draft, tag) {
  return draft.released.some((own) => tagKey(own) === tagKey(tag));
}

function gap(number) {
  const element = make("div", { class: "gap", "aria-hidden": "true", dataset: { gap: number } }, make("span", { class: "gap-number" }, formatNumber(number)));
  placeInPad(element, number);
  return element;
}

/** On small screens the numbered proposals lie in a pad of three by three, each in the place of its number. */
function placeInPad(element, number) {
  element.style.setProperty("--pad-row", number ? String(Math.ceil(number / 3)) : "auto");
  element.style.setProperty("--pad-column", number ? String(((number - 1) % 3) + 1) : "auto");
}

function newRow(zone) {
  const parts = [make("span", { class: "number" }), make("span", { class: "tag", dir: "auto", lang: "" })];
  if (zone === "kept") parts.unshift(make("span", { class: "grip", "aria-hidden": "true" }, icon(GRIP)));
  parts.push(zone === "kept" ? make("span", { class: "drop", "aria-hidden": "true" }, icon(CROSS)) : make("span", { class: "bar", "aria-hidden": "true" }, make("i")));
  return make("div", { class: `row ${zone}`, role: "option", dataset: { zone } }, ...parts);
}

function fill(row, draft, zone, index, tag) {
  const { score, source } = describe(draft, tag);
  const number = zone === "kept" ? index + 1 : draft.proposals[index].number || 0;
  const selected = draft.selected?.zone === zone && draft.selected.index === index;
  row.id = `row-${zone}-${index + 1}`;
  Object.assign(row.dataset, { tag, index: String(index), source, number: String(number) });
  row.classList.toggle("selected", selected);
  row.setAttribute("aria-selected", String(selected));
  row.setAttribute("aria-label", rowLabel(zone, number, tag, score, draft.kept.length));
  row.querySelector(".number").textContent = number ? formatNumber(number) : "";
  const text = row.querySelector(".tag");
  text.textContent = tag;
  text.title = tag;
  if (zone === "kept") row.querySelector(".drop").title = phrase("list.unkeep", { tag });
  else fillProposal(row, number, score);
  return row;
}

function fillProposal(row, number, score) {
  placeInPad(row, number);
  if (number) row.setAttribute("aria-keyshortcuts", String(number));
  else row.removeAttribute("aria-keyshortcuts");
  const bar = row.querySelector(".bar");
  bar.hidden = score === null;
  bar.title = score === null ? "" : phrase("list.sure", { share: formatPercent(score) });
  bar.firstChild.style.width = `${Math.round(100 * (score ?? 0))}%`;
}

/** What a screen reader says: the tag, whether it is kept, its rank or its key, and how sure the model is. */
function rowLabel(zone, number, tag, score, num_kept) {
  if (zone === "kept") return phrase("list.kept_row", { tag, rank: formatNumber(number), all: formatNumber(num_kept) });
  const key = number && phrase("list.row_key", { num: formatNumber(number) });
  const sure = score !== null && phrase("list.row_sure", { num: formatNumber(Math.round(100 * score)) });
  return formatList([tag, phrase("list.row_suggested"), key, sure].filter(Boolean));
}

function arrange(zone, wanted) {
  const same = wanted.length === zone.children.length && wanted.every((row, index) => row === zone.children[index]);
  if (!same) zone.replaceChildren(...wanted);
}

function reveal(row) {
  // scrollIntoView would scroll the whole page on a phone.
  const [box, frame] = [row.getBoundingClientRect(), row.parentElement.getBoundingClientRect()];
  if (box.bottom > frame.bottom) row.parentElement.scrollTop += box.bottom - frame.bottom;
  if (box.top < frame.top) row.parentElement.scrollTop -= frame.top - box.top;
}
