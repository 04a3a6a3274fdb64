// A long list of tags of which only the visible rows are in the document; pages of tags are fetched when they are
// needed. Knows nothing of what is done with a tag.

import { make } from "./elements.js";
import { countPhotos, formatList, formatNumber } from "./formats.js";
import { own } from "./names.js";
import { createPagedItems } from "./paged_items.js";
import { phrase } from "./texts.js";

const ROW_HEIGHT = 36;
const TOUCH_ROW_HEIGHT = 48;
const MARGIN_ROWS = 6;

/**
 * fetchPage(offset, limit) -> { total, items }; counted(answer) gets the answers; choose(tag): a row was pressed;
 * failed(error): a page did not arrive.
 */
export function createTagRows({ fetchPage, isTouch, counted, choose, failed }) {
  const height = isTouch ? TOUCH_ROW_HEIGHT : ROW_HEIGHT;
  const space = make("div", { class: "tags-space" });
  const element = make("div", { id: "tags-list", class: "tags-list", role: "listbox", "aria-label": phrase("facet.tags"), tabindex: "0" }, space);
  const items = createPagedItems({ fetchPage, arrived, failed });
  let selected = 0;
  let cells = new Map();
  let frame = null;

  function arrived(answer) {
    selected = Math.max(0, Math.min(answer.total - 1, selected));
    element.hidden = !answer.total;
    counted(answer);
    draw();
  }

  function draw() {
    const total = items.total();
    space.style.height = `${total * height}px`;
    const first = Math.max(0, Math.floor(element.scrollTop / height) - MARGIN_ROWS);
    const last = Math.min(total, Math.ceil((element.scrollTop + element.clientHeight) / height) + MARGIN_ROWS);
    for (const [index, cell] of cells) {
      if (index >= first && index < last) continue;
      cell.remove();
      cells.delete(index);
    }
    for (let index = first; index < last; index += 1) fill(cells.get(index) ?? newCell(index), items.at(index), index);
    element.setAttribute("aria-activedescendant", cells.has(selected) ? idOf(selected) : "");
    items.need(first, last);
  }

  function newCell(index) {
    const cell = make("div", { id: idOf(index), class: "tags-row", role: "option", dataset: { index }, style: { height: `${height}px`, transform: `translateY(${index * height}px)` } });
    cells.set(index, cell);
    space.append(cell);
    return cell;
  }

  function fill(cell, item, index) {
    cell.setAttribute("aria-setsize", items.total());
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
    selected = Math.max(0, Math.min(items.total() - 1, index));
    const top = selected * height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + element.clientHeight) element.scrollTop = top + height - element.clientHeight;
    draw();
  }

  element.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  }, { passive: true });
  new ResizeObserver(() => element.isConnected && items.total() && draw()).observe(element);
  element.addEventListener("click", (event) => {
    const cell = event.target.closest(".tags-row");
    if (!cell) return;
    select(Number(cell.dataset.index));
    if (items.at(selected)) choose(items.at(selected).tag);
  });

  return {
    element,
    /** Fetch the list again, from its beginning; with `isSame`, at the chosen row, since only some tags have changed. */
    async restart(isSame = false) {
      if (!isSame) {
        selected = 0;
        element.scrollTop = 0;
      }
      await items.restart(selected, { keepsTotal: true });
    },
    /** The tag of the chosen row; null while it is loading, or if there is none. */
    chosen: () => items.at(selected)?.tag ?? null,
    activeId: () => (items.total() ? idOf(selected) : ""),
    /** Choose another row by a key; returns whether the key does that. */
    step(event) {
      const total = items.total();
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
