// All photos in a windowed grid: only visible rows are in the DOM, and pages of items are fetched on demand.
// Search by tag or file name, filter by state, open with a click or Enter. Knows nothing of tagging.

import { count, formatNumber, make } from "./elements.js";

const PAGE = 200;
const MAX_PAGES = 30; // cached pages; others are fetched again
const CELL_WIDTH = 172;
const CELL_HEIGHT = 172;
const MARGIN_ROWS = 2;
const SETTLE_MS = 60; // wait before a fetch, so that fast scrolling skips pages
const STATES = { all: "All", saved: "Tagged", unsaved: "Not tagged", empty: "Saved without tags", changed: "Changed since", draft: "Drafts", in_review: "In review", accepted: "Accepted" };
const COUNTED = ["empty", "changed", "draft", "in_review", "accepted"]; // offered if any photo has the state

export function createBrowse(root, { call, open, onClose, isTouch = false }) {
  const search = make("input", { id: "browse-search", type: "search", placeholder: "Search tags and file names", "aria-label": "Search tags and file names", autocomplete: "off", spellcheck: "false" });
  const filters = Object.entries(STATES).map(([state, label]) =>
    make("button", { type: "button", class: "tab", dataset: { state }, "aria-pressed": String(state === "all"), onclick: () => setState(state) }, label),
  );
  const total = make("span", { class: "soft", id: "browse-total", role: "status" });
  const close = make("button", { type: "button", class: "pill close", onclick: () => hide() }, "Back", make("span", { class: "away" }, " to tagging "), make("kbd", {}, "Esc"));
  const space = make("div", { class: "grid-space" });
  const grid = make("div", { class: "grid", id: "browse-grid", role: "listbox", "aria-label": "Photos", tabindex: "0" }, space);
  root.append(make("div", { class: "browse-bar" }, search, make("div", { class: "filters", role: "group", "aria-label": "Show" }, ...filters), total, make("span", { class: "grow" }), close), grid);

  let pages = new Map(); // page number -> items; in order of use
  let wanted = { query: "", state: "all" };
  let generation = 0;
  let num_items = 0;
  let selected = 0;
  let cells = new Map();
  let fetching = new Set();
  let frame = 0;
  let settle = 0;
  let searchTimer = 0;

  const columns = () => Math.max(2, Math.floor(grid.clientWidth / CELL_WIDTH));
  const cellWidth = () => grid.clientWidth / columns();

  /** Start again, at number `index` of the matching photos. */
  function restart(index = 0) {
    generation += 1;
    pages = new Map();
    fetching = new Set();
    num_items = 0;
    selected = index;
    grid.scrollTop = 0;
    for (const cell of cells.values()) cell.remove();
    cells = new Map();
    load(Math.floor(index / PAGE));
  }

  async function load(page) {
    if (pages.has(page) || fetching.has(page)) return;
    const mine = generation;
    fetching.add(page);
    try {
      const answer = await call("browse", { offset: page * PAGE, limit: PAGE, ...wanted });
      if (mine !== generation) return;
      pages.set(page, answer.items);
      while (pages.size > MAX_PAGES) pages.delete(pages.keys().next().value);
      const isFirst = num_items === 0;
      num_items = answer.total;
      total.textContent = `${count(answer.total, "photo")}${answer.meant?.length ? ` with tags of similar meaning: ${answer.meant.join(", ")}` : ""}`;
      if (isFirst) centre();
      draw();
    } catch (error) {
      if (mine === generation) total.textContent = error.message;
    } finally {
      if (mine === generation) fetching.delete(page);
    }
  }

  function itemAt(index) {
    const page = Math.floor(index / PAGE);
    const items = pages.get(page);
    if (items) {
      pages.delete(page); // the most recently used page is last
      pages.set(page, items);
    }
    return items?.[index % PAGE] ?? null;
  }

  function stretch() {
    space.style.height = `${Math.ceil(num_items / columns()) * CELL_HEIGHT}px`;
  }

  /** Scroll the selected photo to the middle. */
  function centre() {
    stretch();
    selected = Math.max(0, Math.min(num_items - 1, selected));
    grid.scrollTop = (Math.floor(selected / columns()) + 0.5) * CELL_HEIGHT - grid.clientHeight / 2;
  }

  function draw() {
    const num_columns = columns();
    const width = cellWidth();
    const layout = `${num_columns}/${width}`; // a cell is placed once, and again when the window is resized
    stretch();
    const first = Math.max(0, Math.floor(grid.scrollTop / CELL_HEIGHT) - MARGIN_ROWS) * num_columns;
    const last = Math.min(num_items, (Math.ceil((grid.scrollTop + grid.clientHeight) / CELL_HEIGHT) + MARGIN_ROWS) * num_columns);
    for (const [index, cell] of cells) {
      if (index >= first && index < last) continue;
      cell.querySelector("img")?.removeAttribute("src"); // cancels a thumbnail that is still loading
      cell.remove();
      cells.delete(index);
    }
    for (let index = first; index < last; index += 1) {
      const cell = cells.get(index) ?? newCell(index);
      fillCell(cell, itemAt(index));
      if (cell.layout !== layout) {
        cell.layout = layout;
        cell.style.transform = `translate(${(index % num_columns) * width}px, ${Math.floor(index / num_columns) * CELL_HEIGHT}px)`;
        cell.style.width = `${width}px`;
      }
      if (cell.ariaSelected !== String(index === selected)) {
        cell.ariaSelected = String(index === selected);
        cell.classList.toggle("selected", index === selected);
      }
    }
    grid.setAttribute("aria-activedescendant", cells.has(selected) ? `cell-${selected}` : "");
    space.dataset.numCells = String(cells.size);
    clearTimeout(settle);
    const needed = new Set();
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page += 1) needed.add(page);
    settle = setTimeout(() => needed.forEach(load), pages.size ? SETTLE_MS : 0);
  }

  function newCell(index) {
    const cell = make("div", { class: "cell", id: `cell-${index}`, role: "option", "aria-setsize": num_items, "aria-posinset": index + 1, dataset: { index } });
    cells.set(index, cell);
    space.append(cell);
    return cell;
  }

  function fillCell(cell, item) {
    const key = item ? `${item.image_id}/${item.state}/${item.tags.length}` : "";
    if (cell.dataset.key === key) return;
    cell.dataset.key = key;
    if (!item) return cell.replaceChildren();
    cell.dataset.imageId = item.image_id;
    cell.dataset.state = item.state;
    cell.title = item.file_name;
    cell.replaceChildren(
      make("div", { class: "cell-photo" }, make("img", { src: item.thumbnail_url, alt: "", draggable: "false", decoding: "async" })),
      make("div", { class: "cell-name" }, item.tags.length ? make("b", {}, item.tags.join(", ")) : isSavedEmpty(item) ? `${item.file_name} · no tags` : item.file_name),
    );
    const where = { draft: ", started", in_review: ", in review", accepted: ", accepted" }[item.state] ?? "";
    cell.setAttribute("aria-label", `${item.file_name}${where}, ${item.tags.length ? item.tags.join(", ") : isSavedEmpty(item) ? "saved without tags" : "not tagged"}`);
  }

  function setState(state) {
    wanted = { ...wanted, state };
    for (const button of filters) button.setAttribute("aria-pressed", String(button.dataset.state === state));
    restart();
  }

  function moveTo(index) {
    if (!num_items) return;
    selected = Math.max(0, Math.min(num_items - 1, index));
    const top = Math.floor(selected / columns()) * CELL_HEIGHT;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + CELL_HEIGHT > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + CELL_HEIGHT - grid.clientHeight;
    draw();
  }

  function openSelected() {
    const item = itemAt(selected);
    if (!item) return;
    hide({ quiet: true });
    open(item.image_id);
  }

  function hide({ quiet = false } = {}) {
    if (root.hidden) return;
    root.hidden = true;
    generation += 1;
    onClose({ quiet });
  }

  grid.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  }, { passive: true });
  new ResizeObserver(() => !root.hidden && draw()).observe(grid);
  grid.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    selected = Number(cell.dataset.index);
    openSelected();
  });
  search.addEventListener("input", () => {
    clearTimeout(searchTimer);
    searchTimer = setTimeout(() => {
      wanted = { ...wanted, query: search.value.trim() };
      restart();
    }, 120);
  });

  return {
    isOpen: () => !root.hidden,
    /** The search: { query, state }. */
    wanted: () => ({ ...wanted }),
    hide,
    /** Open at the photo with this position in the folder, unless a search or filter is active. */
    show(place = 0, counts = {}) {
      root.hidden = false;
      for (const button of filters) {
        const { state } = button.dataset;
        if (!COUNTED.includes(state)) continue;
        button.hidden = !counts[state] && wanted.state !== state;
        button.textContent = `${STATES[state]} ${formatNumber(counts[state] ?? 0)}`;
      }
      restart(wanted.query || wanted.state !== "all" ? 0 : place);
      if (isTouch) return; // focus would open the screen keyboard over the photos
      search.focus();
      search.select();
    },
    /** A key press while the view is open. */
    handleKey(event, name) {
      const inSearch = document.activeElement === search;
      if (name === "Escape") {
        event.preventDefault();
        if (inSearch && search.value) {
          search.value = "";
          wanted = { ...wanted, query: "" };
          restart();
        } else hide();
        return;
      }
      if (event.target.closest?.("button") && (name === "Enter" || name === "Space")) return;
      const page = Math.max(1, Math.floor(grid.clientHeight / CELL_HEIGHT)) * columns();
      const steps = { ArrowUp: -columns(), ArrowDown: columns(), PageUp: -page, PageDown: page };
      if (!(inSearch && search.value)) Object.assign(steps, { ArrowLeft: -1, ArrowRight: 1, Home: -num_items, End: num_items });
      if (name === "Enter") {
        event.preventDefault();
        if (!event.repeat) openSelected();
      } else if (name in steps) {
        event.preventDefault();
        if (inSearch && name === "ArrowDown") {
          grid.focus({ preventScroll: true });
          moveTo(selected);
          return;
        }
        if (!inSearch && name === "ArrowUp" && selected < columns()) {
          search.focus();
          return;
        }
        moveTo(selected + steps[name]);
      } else if (!inSearch && [...event.key].length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) search.focus();
    },
  };
}

function isSavedEmpty({ state, tags }) {
  return !tags.length && ["saved", "accepted"].includes(state);
}
