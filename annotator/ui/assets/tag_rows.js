// A long list of tags of which only the visible rows are in the document; pages of tags are fetched when they are
// needed. Knows nothing of what is done with a tag.

import { make } from "./elements.js";
import { countPhotos, formatList, formatNumber } from "./formats.js";
import { own } from "./names.js";
import { phrase } from "./texts.js";

const PAGE = 200;
const MAX_PAGES = 20; // kept pages; others are fetched again
const ROW_HEIGHT = 36;
const TOUCH_ROW_HEIGHT = 48;
const MARGIN_ROWS = 6;
const SETTLE_MS = 60; // wait before a fetch, so that fast scrolling skips pages

/**
 * fetchPage(offset, limit) -> { total, items }; counted(answer) gets the answers; choose(tag): a row was pressed;
 * failed(error): a page did not arrive.
 */
export function createTagRows({ fetchPage, isTouch, counted, choose, failed }) {
  const height = isTouch ? TOUCH_ROW_HEIGHT : ROW_HEIGHT;
  const space = make("div", { class: "tags-space" });
  const element = make("div", { id: "tags-list", class: "tags-list", role: "listbox", "aria-label": phrase("facet.tags"), tabindex: "0" }, space);
  let pages = new Map(); // page number -> items; the one that was used last is last
  let fetching = new Set();
  let generation = 0;
  let total = 0;
  let selected = 0;
  let cells = new Map();
  let settle = null;
  let frame = null;

  async function load(page) {
    if (pages.has(page) || fetching.has(page)) return;
    const mine = generation;
    fetching.add(page);
    try {
      const answer = await fetchPage(page * PAGE, PAGE);
      if (mine !== generation) return;
      pages.set(page, answer.items);
      while (pages.size > MAX_PAGES) pages.delete(pages.keys().next().value);
      total = answer.total;
      selected = Math.max(0, Math.min(total - 1, selected));
      element.hidden = !total;
      counted(answer);
      draw();
    } catch (error) {
      if (error.kind === undefined) throw error;
      if (mine === generation) failed(error);
    } finally {
      if (mine === generation) fetching.delete(page);
    }
  }

  function itemAt(index) {
    const page = Math.floor(index / PAGE);
    const items = pages.get(page);
    if (items) {
      pages.delete(page);
      pages.set(page, items);
    }
    return items?.[index % PAGE] ?? null;
  }

  function draw() {
    space.style.height = `${total * height}px`;
    const first = Math.max(0, Math.floor(element.scrollTop / height) - MARGIN_ROWS);
    const last = Math.min(total, Math.ceil((element.scrollTop + element.clientHeight) / height) + MARGIN_ROWS);
    for (const [index, cell] of cells) {
      if (index >= first && index < last) continue;
      cell.remove();
      cells.delete(index);
    }
    const needed = new Set();
    for (let index = first; index < last; index += 1) {
      needed.add(Math.floor(index / PAGE));
      fill(cells.get(index) ?? newCell(index), itemAt(index), index);
    }
    element.setAttribute("aria-activedescendant", cells.has(selected) ? idOf(selected) : "");
    clearTimeout(settle);
    settle = setTimeout(() => needed.forEach(load), pages.size ? SETTLE_MS : 0);
  }

  function newCell(index) {
    const cell = make("div", { id: idOf(index), class: "tags-row", role: "option", dataset: { index }, style: { height: `${height}px`, transform: `translateY(${index * height}px)` } });
    cells.set(index, cell);
    space.append(cell);
    return cell;
  }

  function fill(cell, item, index) {
    cell.setAttribute("aria-setsize", total);
    cell.setAttribute("aria-posinset", index + 1);
    cell.setAttribute("aria-selected", String(index === selected));
    const key = JSON.stringify(item);
    if (cell.item === key) return;
    cell.item = key;
    if (!item) {
      cell.setAttribute("aria-label", phrase("tags.loading"));
      cell.replaceChildren();
      return;
    }
    const { tag, num_photos, aliases, parent, is_never_proposed } = item;
    const more = [parent && phrase("tags.below", { tag: parent }), aliases.length && phrase("tags.also", { tags: formatList(aliases) }), is_never_proposed && phrase("tags.never_proposed")].filter(Boolean);
    cell.dataset.tag = tag;
    cell.setAttribute("aria-label", formatList([tag, countPhotos(num_photos), ...more]));
    cell.replaceChildren(make("b", {}, own(tag)), make("span", { class: "soft" }, more.join(" · ")), make("span", { class: "tags-count" }, formatNumber(num_photos)));
  }

  function select(index) {
    selected = Math.max(0, Math.min(total - 1, index));
    const top = selected * height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + element.clientHeight) element.scrollTop = top + height - element.clientHeight;
    draw();
  }

  element.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  }, { passive: true });
  new ResizeObserver(() => element.isConnected && total && draw()).observe(element);
  element.addEventListener("click", (event) => {
    const cell = event.target.closest(".tags-row");
    if (!cell) return;
    select(Number(cell.dataset.index));
    if (itemAt(selected)) choose(itemAt(selected).tag);
  });

  return {
    element,
    /** Fetch the list again, from its beginning; with `isSame`, at the chosen row, since only some tags have changed. */
    async restart(isSame = false) {
      generation += 1;
      pages = new Map();
      fetching = new Set();
      if (!isSame) {
        selected = 0;
        element.scrollTop = 0;
      }
      await load(Math.floor(selected / PAGE));
    },
    /** The tag of the chosen row; null while it is loading, or if there is none. */
    chosen: () => itemAt(selected)?.tag ?? null,
    activeId: () => (total ? idOf(selected) : ""),
    /** Choose another row by a key; returns whether the key does that. */
    step(event) {
      const page = Math.max(1, Math.floor(element.clientHeight / height) - 1);
      const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page };
      if (event.target === element) Object.assign(steps, { Home: -total, End: total });
      if (!(event.key in steps) || !total) return false;
      select(selected + steps[event.key]);
      return true;
    },
  };
}

const idOf = (index) => `tags-row-${index + 1}`;
