// The ranked list on the page: kept rows, the cut line, proposed rows; clicks, and dragging of rows and of the line.
// It reports the user's edits by tag name, and never changes the list itself.
// Knows nothing of the server, of keys, or of how an edit is applied.

import { describe, numExpected, tagKey } from "./draft.js";
import { keycaps, make } from "./elements.js";
import { keyPieces } from "./keys.js";
import { sourceIcon, sourceName } from "./sources.js";

const DRAG_PIXELS = 5;
const EDGE_PIXELS = 28;
const EDGE_STEP_PIXELS = 7;
const PROPOSALS_IN_SIGHT = 4;

/**
 * handlers: take(tag), select(tag), drop(tag), point(tag or null), place(tag, { zone, index }), cut(count),
 * accept(). */
export function createTagList(root, handlers) {
  const kept = make("div", { class: "zone kept-zone", role: "group", "aria-label": "Kept: will be saved" });
  const proposed = make("div", { class: "zone proposed-zone", role: "group", "aria-label": "Proposed" });
  const cut = make(
    "div",
    { class: "cut", id: "cut-line", role: "separator", "aria-label": "Cut line: saved above, proposed below" },
    make("span", {}, "saved above · proposed below"),
  );
  const marker = make("div", { class: "drop-marker", hidden: true });
  root.append(kept, cut, proposed, marker);
  const acceptKeys = make("span", {});
  // Drawn only if a proposal is expected; proposals above it are not kept yet.
  const expected = make(
    "div",
    { class: "expected-line", id: "expected-line" },
    make("button", { type: "button", class: "quiet", tabindex: "-1", onclick: () => handlers.accept() }, "expected above: take and save ", acceptKeys),
  );
  let draft = null;
  let press = null;
  let selectedRow = "";

  function draw() {
    const rows = new Map([...root.querySelectorAll(".row")].map((row) => [row.dataset.zone + tagKey(row.dataset.tag), row]));
    const rowOf = (zone, index, tag) => fill(rows.get(zone + tagKey(tag)) ?? newRow(zone), draft, zone, index, tag);
    arrange(kept, draft.kept.map((tag, index) => rowOf("kept", index, tag)), "Nothing kept yet: take a proposal, or type a tag");
    const proposedRows = draft.proposals.map(({ tag }, index) => rowOf("proposed", index, tag));
    const num_expected = numExpected(draft);
    proposedRows.forEach((row, index) => row.classList.toggle("expected", index < num_expected));
    arrange(
      proposed,
      num_expected ? [...proposedRows.slice(0, num_expected), expected, ...proposedRows.slice(num_expected)] : proposedRows,
      draft.kept.length ? "No further proposals" : "No proposals for this photo: type a tag",
    );
    cut.setAttribute("aria-valuenow", String(draft.kept.length));
    const selected = root.querySelector(".row.selected");
    const name = selected ? selected.dataset.zone + selected.dataset.tag : "";
    if (selected && name !== selectedRow) reveal(root, selected, proposed);
    selectedRow = name;
  }

  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || press || !draft) return;
    const row = event.target.closest(".row");
    const line = event.target.closest(".cut");
    if (!row && !line) return;
    const kind = line ? "cut" : event.target.closest(".drop") ? "drop" : "row";
    const handle = line || event.target.closest(".number");
    const draggable = kind !== "drop" && (event.pointerType !== "touch" || Boolean(handle));
    press = { kind, row, tag: row?.dataset.tag, zone: row?.dataset.zone, y: event.clientY, draggable, dragging: false };
    root.setPointerCapture(event.pointerId);
  });
  root.addEventListener("pointermove", (event) => {
    if (!press) return;
    if (!press.dragging && (!press.draggable || Math.abs(event.clientY - press.y) < DRAG_PIXELS)) return;
    press.clientY = event.clientY;
    if (!press.dragging) startDrag();
    follow(event.clientY);
  });
  root.addEventListener("pointerup", () => {
    const done = press;
    endPress();
    if (!done) return;
    if (done.dragging) {
      if (done.kind === "cut") handlers.cut(done.count);
      else if (done.target) handlers.place(done.tag, done.target);
    } else if (done.kind === "drop") handlers.drop(done.tag);
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
    if (!row) return;
    if (event.target.closest(".drop")) handlers.drop(row.dataset.tag);
    else (row.dataset.zone === "kept" ? handlers.select : handlers.take)(row.dataset.tag);
  });

  function startDrag() {
    press.dragging = true;
    press.middles = [...root.querySelectorAll(".row")].map((row) => {
      const box = row.getBoundingClientRect();
      return { row, middle: box.top + box.height / 2 + root.scrollTop, bottom: box.bottom + root.scrollTop };
    });
    press.startY = press.y + root.scrollTop;
    press.cutTop = cut.getBoundingClientRect().top + root.scrollTop;
    press.count = draft.kept.length;
    root.classList.add("dragging");
    (press.row ?? cut).classList.add("dragged");
    requestAnimationFrame(scrollAtEdge);
  }

  function follow(pointerY) {
    const frame = root.getBoundingClientRect();
    const clientY = Math.max(frame.top, Math.min(frame.bottom - 4, pointerY));
    const y = clientY + root.scrollTop;
    if (press.kind === "cut") {
      press.count = press.middles.filter(({ middle }) => middle < y).length;
      cut.style.transform = `translateY(${y - press.cutTop - cut.offsetHeight / 2}px)`;
      press.middles.forEach(({ row }, index) => row.classList.toggle("will-keep", index < press.count));
      return;
    }
    const cutMiddle = press.cutTop + cut.offsetHeight / 2;
    const zone = y < cutMiddle ? "kept" : "proposed";
    const others = press.middles.filter(({ row }) => row.dataset.zone === zone && row !== press.row);
    const index = others.filter(({ middle }) => middle < y).length;
    press.target = { zone, index };
    press.row.style.transform = `translateY(${y - press.startY}px)`;
    const before = others[index - 1];
    const top = before ? before.bottom : zone === "kept" ? frame.top : press.cutTop + cut.offsetHeight;
    marker.hidden = zone === "proposed" && press.zone === "proposed";
    marker.classList.toggle("keeps", zone === "kept");
    marker.style.top = `${top - frame.top}px`;
  }

  function scrollAtEdge() {
    if (!press?.dragging) return;
    const box = root.getBoundingClientRect();
    const step = press.clientY < box.top + EDGE_PIXELS ? -1 : press.clientY > box.bottom - EDGE_PIXELS ? 1 : 0;
    const before = root.scrollTop;
    root.scrollTop += step * EDGE_STEP_PIXELS;
    if (root.scrollTop !== before) follow(press.clientY);
    requestAnimationFrame(scrollAtEdge);
  }

  function endPress() {
    if (!press) return;
    press = null;
    marker.hidden = true;
    root.classList.remove("dragging");
    for (const element of root.querySelectorAll(".dragged, .will-keep")) {
      element.classList.remove("dragged", "will-keep");
      element.style.transform = "";
    }
    if (draft) draw();
  }

  return {
    /** Show a draft. While a row is pressed the list is not redrawn, so that a click applies to the row it began on. */
    render(newDraft, keys) {
      draft = newDraft;
      acceptKeys.replaceChildren(...(keys?.length ? keycaps(keyPieces(keys[0])) : []));
      if (!press) draw();
    },
    toTop() {
      root.scrollTop = 0;
      selectedRow = "";
    },
    /** Cancel a drag; returns whether there was one. */
    cancelDrag() {
      const dragging = Boolean(press?.dragging);
      if (dragging) endPress();
      return dragging;
    },
  };
}

function newRow(zone) {
  return make(
    "div",
    { class: `row ${zone}`, role: "option", dataset: { zone } },
    make("span", { class: "number" }),
    make("span", { class: "tag" }),
    make("span", { class: "bar", "aria-hidden": "true" }, make("i")),
    make("span", { class: "source" }),
    make("button", { class: "drop", type: "button", tabindex: "-1" }, "×"),
  );
}

function fill(row, draft, zone, index, tag) {
  const { score, source } = describe(draft, tag);
  const [number, text, bar, sourceCell, drop] = row.children;
  const selected = draft.selected?.zone === zone && draft.selected.index === index;
  row.id = `row-${zone}-${index + 1}`;
  row.dataset.tag = tag;
  row.dataset.index = String(index);
  row.classList.toggle("selected", selected);
  row.setAttribute("aria-selected", String(selected));
  row.setAttribute("aria-label", rowLabel(zone, numberOf(draft, zone, index), tag, score, source));
  number.textContent = numberOf(draft, zone, index);
  text.textContent = tag;
  text.title = tag;
  bar.hidden = score === null;
  bar.title = score === null ? "" : `Score ${score.toFixed(2)}`;
  bar.firstChild.style.width = `${Math.round((score ?? 0) * 100)}%`;
  if (sourceCell.dataset.source !== source) {
    sourceCell.dataset.source = source;
    sourceCell.replaceChildren(sourceIcon(source));
  }
  drop.title = zone === "kept" ? `Drop ${tag}` : `Refuse ${tag}`;
  drop.setAttribute("aria-label", drop.title);
  return row;
}

function numberOf(draft, zone, index) {
  return String(zone === "kept" ? index + 1 : draft.proposals[index].number || "");
}

function rowLabel(zone, number, tag, score, source) {
  const place = zone === "kept" ? `kept, place ${number}` : `proposal ${number}`.trimEnd();
  const worth = score === null ? "" : `, score ${Math.round(score * 100)} percent`;
  return `${tag}, ${place}${worth}, ${sourceName(source)}`;
}

function arrange(zone, rows, emptyText) {
  const wanted = rows.length ? rows : [make("div", { class: "empty-row" }, emptyText)];
  const same = wanted.length === zone.children.length && wanted.every((row, index) => row === zone.children[index]);
  if (!same) zone.replaceChildren(...wanted);
}

function reveal(root, row, proposed) {
  // scrollIntoView would scroll the whole page on a phone.
  const margin = row.offsetHeight;
  const below = (element) => element.getBoundingClientRect().bottom + margin - root.getBoundingClientRect().bottom;
  const above = () => row.getBoundingClientRect().top - margin - root.getBoundingClientRect().top;
  if (below(row) > 0) root.scrollTop += below(row);
  // After a tag was added at the cut line, the next proposals must be visible, since digits take them.
  const next = proposed.children[Math.min(PROPOSALS_IN_SIGHT, proposed.children.length) - 1];
  const isLastKept = row.classList.contains("kept") && !row.nextElementSibling;
  if (isLastKept && next && below(next) > 0) root.scrollTop += below(next);
  if (above() < 0) root.scrollTop += above();
}
