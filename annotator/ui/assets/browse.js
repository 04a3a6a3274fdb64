// The library: all photos in a windowed grid, where only visible rows are in the DOM and pages of items are fetched on
// demand; a search with facets beside it, in the address bar too; and the selection of many photos. Knows nothing of
// tagging.

import { createBulkBar } from "./bulk_bar.js";
import { createDragSelect } from "./drag_select.js";
import { make } from "./elements.js";
import { createFacets } from "./facets.js";
import { countPhotos, formatList, formatNumber } from "./formats.js";
import { LOCAL_USER } from "./header.js";
import { keyPieces } from "./keys.js";
import { EVERYTHING, fragmentOf, searchOf } from "./library_address.js";
import { own, tagNodes } from "./names.js";
import { createPagedItems } from "./paged_items.js";
import { FORWARD, phrase, plural } from "./texts.js";

const MAX_PAGES = 30; // kept pages of photos
const CELL_WIDTH = 172;
const CELL_HEIGHT = 172;
const MARGIN_ROWS = 2;
const STATES = {
  all: phrase("state.all"), saved: phrase("state.saved"), unsaved: phrase("state.unsaved"), empty: phrase("state.empty"),
  changed: phrase("state.changed"), draft: phrase("state.draft"), in_review: phrase("state.in_review"), accepted: phrase("state.accepted"),
};
const COUNTED = ["empty", "changed", "draft", "in_review", "accepted"]; // offered if any photo has the state
const SORTS = {
  folder: phrase("sort.folder"), name: phrase("sort.name"), date: phrase("sort.date"), saved: phrase("sort.saved"),
  queue: phrase("sort.queue"), alike: phrase("sort.alike_one"),
};
const HELP = [
  ["cat garden", phrase("search.words")], ['"red car"', phrase("search.together")], ["cat OR dog", phrase("search.or")],
  ["-cat, NOT cat", phrase("search.not")], ["tag:cat, -tag:cat", phrase("search.tag")], ["first:cat", phrase("search.first")],
  ["folder:holiday/2019", phrase("search.folder")], ["date:2019-05", phrase("search.date")], ["by:anna", phrase("search.by")],
];

/**
 * handlers: open(id) opens a photo to tag it; onClose() after the library was closed; changed(ids) after photos were
 * changed here; exportThem(), orderThem() and manageTags() open their dialogs; state() is the project's state; photo() the photo that is
 * open, or null.
 */
export function createBrowse(root, { call, say, open, onOpen, onClose, changed, exportThem, orderThem, manageTags, state, photo, isTouch = false }) {
  const search = make("input", { id: "browse-search", type: "search", placeholder: phrase("library.search"), "aria-label": phrase("library.search"), "aria-describedby": "search-help", autocomplete: "off", spellcheck: "false" });
  const filters = Object.entries(STATES).map(([state, label]) =>
    make("button", { type: "button", class: "tab", dataset: { state }, "aria-pressed": String(state === "all"), onclick: () => setState(state) }, label),
  );
  const sort = make("select", { id: "browse-sort", class: "pill", "aria-label": phrase("common.order"), onchange: () => choose({ sort: sort.value, alike_to: sort.value === "alike" ? photo().image_id : null }) });
  const nameBox = make("input", { id: "search-name", type: "text", maxlength: "80", placeholder: phrase("library.name"), "aria-label": phrase("library.name"), autocomplete: "off" });
  const help = make(
    "details",
    { class: "menu search-menu" },
    make("summary", { class: "square", "aria-label": phrase("library.help_label"), title: phrase("library.help") }, "?"),
    make(
      "div",
      { class: "menu-list search-help" },
      make("dl", { id: "search-help" }, ...HELP.map(([text, what]) => make("div", {}, make("dt", { dir: "ltr" }, text), make("dd", {}, what)))),
      make("form", { onsubmit: (event) => (event.preventDefault(), keepSearch()) }, nameBox, make("button", { type: "submit", id: "keep-search" }, phrase("library.keep"))),
    ),
  );
  const filterButton = make("button", { type: "button", id: "open-rail", "aria-expanded": "false", "aria-controls": "rail", onclick: () => setRail(rail.classList.toggle("open")) }, phrase("library.filter"));
  const rail = make("aside", { id: "rail", class: "rail", "aria-label": phrase("library.narrow") });
  const bulk = make("div", { id: "bulk", class: "bulk", role: "region", "aria-label": phrase("library.selected"), hidden: true });
  const total = make("span", { class: "soft", id: "browse-total", role: "status" });
  const close = make("button", { type: "button", class: "pill close", onclick: () => hide() }, make("span", { class: "away" }, phrase("library.back")), make("span", { class: "short" }, phrase("library.back_short")), " ", make("kbd", {}, ...keyPieces("Escape")));
  const space = make("div", { class: "grid-space" });
  const grid = make("div", { class: "grid", id: "browse-grid", role: "listbox", "aria-label": phrase("transfer.photos"), "aria-multiselectable": "true", tabindex: "0" }, space);
  root.append(rail, make("div", { class: "browse-bar" }, filterButton, search, help, sort, total, make("span", { class: "grow" }), close), grid, bulk);

  const items = createPagedItems({ fetchPage: (offset, limit) => call("browse", { offset, limit, ...wanted }), arrived, failed: (error) => (total.textContent = error.message), most: MAX_PAGES });
  let wanted = EVERYTHING;
  let picked = new Set(); // ids of the selected photos
  let pickedFrom = null; // where a selection with Shift begins
  let picking = Promise.resolve(); // ends when the photos that were asked for are selected
  let selected = 0;
  let cells = new Map();
  let frame = 0;
  let searchTimer = 0;

  const columns = () => Math.max(2, Math.floor(grid.clientWidth / CELL_WIDTH));
  const cellWidth = () => grid.clientWidth / columns();

  /** Start again, at number `index` of the matching photos. */
  function restart(index = 0) {
    selected = index;
    grid.scrollTop = 0;
    for (const cell of cells.values()) cell.remove();
    cells = new Map();
    items.restart(index);
  }

  function arrived(answer, isFirst) {
    total.textContent = answer.meant?.length ? plural("library.meant", answer.total, { tags: formatList(answer.meant) }) : countPhotos(answer.total);
    if (isFirst) centre();
    draw();
  }

  function stretch() {
    space.style.height = `${Math.ceil(items.total() / columns()) * CELL_HEIGHT}px`;
  }

  /** Scroll the selected photo to the middle. */
  function centre() {
    stretch();
    selected = Math.max(0, Math.min(items.total() - 1, selected));
    grid.scrollTop = (Math.floor(selected / columns()) + 0.5) * CELL_HEIGHT - grid.clientHeight / 2;
  }

  function draw() {
    const num_columns = columns();
    const width = cellWidth();
    const layout = `${num_columns}/${width}`; // a cell is placed once, and again when the window is resized
    stretch();
    const first = Math.max(0, Math.floor(grid.scrollTop / CELL_HEIGHT) - MARGIN_ROWS) * num_columns;
    const last = Math.min(items.total(), (Math.ceil((grid.scrollTop + grid.clientHeight) / CELL_HEIGHT) + MARGIN_ROWS) * num_columns);
    for (const [index, cell] of cells) {
      if (index >= first && index < last) continue;
      cell.querySelector("img")?.removeAttribute("src"); // cancels a thumbnail that is still loading
      cell.remove();
      cells.delete(index);
    }
    for (let index = first; index < last; index += 1) {
      const cell = cells.get(index) ?? newCell(index);
      fillCell(cell, items.at(index));
      if (cell.layout !== layout) {
        cell.layout = layout;
        cell.style.transform = `translate(${FORWARD * (index % num_columns) * width}px, ${Math.floor(index / num_columns) * CELL_HEIGHT}px)`;
        cell.style.width = `${width}px`;
      }
      cell.classList.toggle("selected", index === selected);
      const isPicked = picked.has(Number(cell.dataset.imageId));
      if (cell.ariaSelected !== String(isPicked)) {
        cell.ariaSelected = String(isPicked);
        cell.classList.toggle("picked", isPicked);
      }
    }
    grid.setAttribute("aria-activedescendant", cells.has(selected) ? `cell-${selected}` : "");
    space.dataset.numCells = String(cells.size);
    items.need(first, last);
  }

  function newCell(index) {
    const cell = make("div", { class: "cell", id: `cell-${index}`, role: "option", "aria-setsize": items.total(), "aria-posinset": index + 1, dataset: { index } });
    cells.set(index, cell);
    space.append(cell);
    return cell;
  }

  function fillCell(cell, item) {
    const key = item ? `${item.image_id}/${item.state}/${item.tags.join("/")}` : "";
    if (cell.dataset.key === key) return;
    cell.dataset.key = key;
    if (!item) return cell.replaceChildren();
    cell.dataset.imageId = item.image_id;
    cell.dataset.state = item.state;
    cell.title = item.file_name;
    cell.replaceChildren(
      make("span", { class: "pick", "aria-hidden": "true", title: phrase("library.select", { key: keyPieces("Space")[0] }) }),
      make("div", { class: "cell-photo" }, make("img", { src: item.thumbnail_url, alt: "", draggable: "false", decoding: "async" })),
      make("div", { class: "cell-name" }, item.tags.length ? make("b", {}, ...tagNodes(item.tags)) : own(isSavedEmpty(item) ? phrase("library.cell_empty", { name: item.file_name }) : item.file_name)),
    );
    const where = { draft: phrase("cell.draft"), in_review: phrase("cell.in_review"), accepted: phrase("cell.accepted") }[item.state];
    const what = item.tags.length ? item.tags : [phrase(isSavedEmpty(item) ? "cell.empty" : "cell.unsaved")];
    cell.setAttribute("aria-label", formatList([item.file_name, where, ...what].filter(Boolean)));
  }

  function setState(state) {
    choose({ state });
  }

  /** Show another search; `isTyped`: the address of the one before is replaced. */
  function choose(change, { isTyped = false } = {}) {
    clearTimeout(searchTimer);
    searchTimer = 0;
    wanted = { ...wanted, ...change };
    showWanted();
    writeAddress(isTyped);
    restart();
    facets.load();
  }

  function showWanted() {
    if (search.value.trim() !== wanted.query) search.value = wanted.query;
    for (const button of filters) button.setAttribute("aria-pressed", String(button.dataset.state === wanted.state));
    const like = photo();
    const sorts = Object.entries(SORTS).filter(([name]) => name !== "alike" || like || wanted.alike_to);
    sort.replaceChildren(...sorts.map(([name, label]) => make("option", { value: name }, name === "alike" && like && (!wanted.alike_to || wanted.alike_to === like.image_id) ? phrase("sort.alike", { name: like.file_name }) : label)));
    sort.value = wanted.sort;
  }

  function writeAddress(replaces = false) {
    const fragment = fragmentOf(wanted);
    if (location.hash === fragment) return;
    history[replaces ? "replaceState" : "pushState"](null, "", fragment);
  }

  async function keepSearch() {
    const name = nameBox.value.trim();
    if (!name) return nameBox.focus();
    try {
      facets.setKept(await keep(name, true));
      nameBox.value = "";
      help.open = false;
      say(phrase("library.kept_as", { name }));
    } catch (error) {
      if (error.kind === undefined) throw error;
      say(error.message);
    }
    return undefined;
  }

  async function keep(name, kept) {
    const { query, state: chosen, sort: order } = wanted;
    const answer = await call("save_search", { name, kept, query, state: chosen, sort: order === "alike" ? "folder" : order });
    changed([]); // the project's state has the searches too
    return answer.saved_searches;
  }

  function setRail(isOpen) {
    rail.classList.toggle("open", isOpen);
    filterButton.setAttribute("aria-expanded", String(isOpen));
  }

  // The selection

  function setPicked(ids) {
    picked = new Set(ids);
    root.classList.toggle("picking", picked.size > 0);
    bulkBar.render(picked.size);
    draw();
  }

  function togglePick(index) {
    const item = items.at(index);
    if (!item) return;
    pickedFrom = index;
    if (!picked.delete(item.image_id)) picked.add(item.image_id);
    setPicked(picked);
  }

  /** Select the photos that `choose` takes of all found ids, besides those that are selected. */
  function pickFound(choose) {
    picking = (async () => {
      try {
        const isOfNow = items.ofNow();
        const { image_ids } = await call("found_ids", wanted);
        if (isOfNow()) setPicked([...picked, ...choose(image_ids)]);
      } catch (error) {
        if (error.kind === undefined) throw error;
        say(error.message);
      }
    })();
  }

  /** Select the found photos from one place to another. */
  function pickRange(from, to) {
    pickFound((image_ids) => image_ids.slice(Math.min(from, to), Math.max(from, to) + 1));
  }

  let pickedBefore = []; // when a frame is begun
  let framed = null;

  /** Select the photos of these cells; those that are not loaded yet are added at the end. */
  function pickFramed(indexes, adds) {
    if (framed === null) pickedBefore = [...picked];
    framed = indexes;
    setPicked([...(adds ? pickedBefore : []), ...indexes.map((index) => items.at(index)?.image_id).filter(Boolean)]);
  }

  function endFramed(indexes, adds) {
    pickFramed(indexes, adds);
    framed = null;
    if (indexes.length) [pickedFrom, selected] = [indexes[0], indexes.at(-1)];
    grid.focus({ preventScroll: true });
    draw();
    if (!indexes.every(items.at)) pickFound((image_ids) => indexes.map((index) => image_ids[index]));
  }

  const dragSelect = createDragSelect(grid, space, {
    layout: () => ({ num_columns: columns(), width: cellWidth(), height: CELL_HEIGHT, num_items: items.total() }),
    moved: pickFramed,
    ended: endFramed,
    cancelled: () => ((framed = null), setPicked(pickedBefore)),
  });

  const facets = createFacets(rail, filters, {
    call, keep, manageTags,
    wanted: () => (searchTimer ? { ...wanted, query: search.value.trim() } : wanted),
    search: (query) => choose({ query }),
    open: (kept) => choose({ ...EVERYTHING, ...kept }),
  });
  const bulkBar = createBulkBar(bulk, {
    call, say, exportThem, orderThem,
    ids: () => [...picked],
    whenPicked: () => picking,
    tags: facets.tags,
    clear: () => (setPicked([]), grid.focus({ preventScroll: true })),
    mayEdit: () => Boolean(state()?.may_administer && !state().demo),
    mayTag: () => Boolean(state()?.may_annotate),
    mayAssign: () => Boolean(state()?.may_administer && state().user !== LOCAL_USER),
    changed(ids) {
      changed(ids);
      if (root.hidden) return;
      const at = selected;
      restart(at);
      facets.load();
    },
  });

  function moveTo(index) {
    if (!items.total()) return;
    selected = Math.max(0, Math.min(items.total() - 1, index));
    const top = Math.floor(selected / columns()) * CELL_HEIGHT;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + CELL_HEIGHT > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + CELL_HEIGHT - grid.clientHeight;
    draw();
  }

  function openSelected() {
    const item = items.at(selected);
    if (!item) return;
    hide({ quiet: true });
    open(item.image_id);
  }

  function hide({ quiet = false, byAddress = false } = {}) {
    if (root.hidden) return;
    root.hidden = true;
    items.stop();
    setRail(false);
    help.open = false;
    setPicked([]);
    if (searchOf(location.hash) && !byAddress) history.pushState(null, "", location.pathname + location.search);
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
    const before = pickedFrom ?? selected;
    selected = Number(cell.dataset.index);
    if (event.shiftKey) pickRange(before, selected);
    else if (event.ctrlKey || event.metaKey || event.target.closest(".pick")) {
      togglePick(selected);
      grid.focus({ preventScroll: true });
    } else openSelected();
  });
  search.addEventListener("input", () => {
    clearTimeout(searchTimer);
    searchTimer = setTimeout(() => {
      choose({ query: search.value.trim() }, { isTyped: true });
    }, 120);
  });

  return {
    isOpen: () => !root.hidden,
    /** The search: { query, state }. */
    wanted: () => ({ query: wanted.query, state: wanted.state }),
    /** The ids of the selected photos. */
    picked: () => [...picked],
    hide,
    /** Open at the photo with this position in the folder, unless a search or filter is active. */
    show(place = 0, asked = null) {
      root.hidden = false;
      wanted = asked ?? wanted;
      const { states: counts = {}, saved_searches = {} } = state() ?? {};
      for (const button of filters) {
        const name = button.dataset.state;
        if (!COUNTED.includes(name)) continue;
        button.hidden = !counts[name] && wanted.state !== name;
        button.replaceChildren(STATES[name], make("span", { class: "facet-number" }, ` ${formatNumber(counts[name] ?? 0)}`));
      }
      facets.setKept(saved_searches);
      showWanted();
      if (!asked) writeAddress();
      restart(wanted.query || wanted.state !== "all" || wanted.sort !== "folder" ? 0 : place);
      facets.load();
      onOpen();
      if (isTouch) return; // focus would open the screen keyboard over the photos
      search.focus();
      search.select();
    },
    /** A key press while the view is open. */
    handleKey(event, name) {
      const inSearch = document.activeElement === search;
      if (name === "Escape") {
        event.preventDefault();
        if (help.open) {
          help.open = false;
          search.focus();
        } else if (dragSelect.cancel() || bulkBar.hidePanel()) return;
        else if (inSearch && search.value) choose({ query: "" }, { isTyped: true });
        else if (picked.size) setPicked([]);
        else if (rail.classList.contains("open") && isNarrow()) setRail(false);
        else hide();
        return;
      }
      if (event.target.closest?.(".rail, .bulk, .search-menu, select")) return;
      if (event.target.closest?.("button") && (name === "Enter" || name === "Space")) return;
      if (!inSearch && name === "Space") {
        event.preventDefault();
        if (!event.repeat) togglePick(selected);
        return;
      }
      if (!inSearch && name === "Ctrl+A") {
        event.preventDefault();
        if (!event.repeat) pickRange(0, items.total() - 1);
        return;
      }
      if (!inSearch && name.startsWith("Shift+Arrow")) {
        event.preventDefault();
        const from = pickedFrom ?? selected;
        pickedFrom = from;
        moveTo(selected + { "Shift+ArrowUp": -columns(), "Shift+ArrowDown": columns(), "Shift+ArrowLeft": -1, "Shift+ArrowRight": 1 }[name]);
        pickRange(from, selected);
        return;
      }
      const page = Math.max(1, Math.floor(grid.clientHeight / CELL_HEIGHT)) * columns();
      const steps = { ArrowUp: -columns(), ArrowDown: columns(), PageUp: -page, PageDown: page };
      if (!(inSearch && search.value)) Object.assign(steps, { ArrowLeft: -1, ArrowRight: 1, Home: -items.total(), End: items.total() });
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

const isNarrow = () => window.matchMedia("(max-width: 1023px)").matches;

function isSavedEmpty({ state, tags }) {
  return !tags.length && ["saved", "accepted"].includes(state);
}
