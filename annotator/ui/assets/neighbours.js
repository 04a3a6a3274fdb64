// The neighbours panel: photos that are similar, share words, or are the model's own neighbours, with their tags to take
// and a switch each to exclude the photo; and switches for the sources of evidence. Knows nothing of the list but its
// kept tags, and nothing of the server.

import { tagKey } from "./draft.js";
import { make } from "./elements.js";
import { formatDecimal, formatList, formatShare } from "./formats.js";
import { inDirection } from "./keys.js";
import { own } from "./names.js";
import { LATE_SOURCES, sourceIcon, sourceName, SWITCHABLE } from "./sources.js";
import { phrase } from "./texts.js";

const TABS = { model: phrase("alike.model"), looks: phrase("alike.looks"), metadata: phrase("alike.metadata") };
const EMPTY = {
  model: phrase("alike.no_model"),
  looks: phrase("alike.no_looks"),
  metadata: phrase("alike.no_metadata"),
};

/** handlers: take(tag), switchNeighbour(image_id, name), switchSource(name), together() to tag such photos together. */
export function createNeighbours(root, { take, switchNeighbour, switchSource, together }) {
  let tab = "looks";
  let hadModel = false;
  let shown = { neighbours: { looks: [], metadata: [], model: null, note: "" }, kept: [], off: "", exclusions: { neighbours: new Map(), sources: new Set() } };
  const tabs = Object.entries(TABS).map(([name, label]) =>
    make("button", { class: "tab", type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "neighbour-list", onclick: () => choose(name), onkeydown: (event) => walk(event, name) }, label),
  );
  const sources = make("div", { class: "chips source-chips", id: "sources", role: "group", "aria-label": phrase("alike.sources") });
  const note = make("p", { class: "neighbour-note", id: "neighbour-note", hidden: true });
  const list = make("div", { class: "neighbour-list", id: "neighbour-list", role: "tabpanel", tabindex: "0" });
  root.append(
    make("div", { class: "neighbour-bar" }, make("div", { class: "tabs", role: "tablist", "aria-label": phrase("alike.by") }, ...tabs), make("button", { type: "button", id: "tag-together", class: "quiet", onclick: together }, phrase("alike.together"))),
    list,
    note,
    make("div", { class: "source-bar" }, make("span", { class: "soft" }, phrase("alike.used")), sources),
  );

  function draw() {
    const { neighbours, exclusions } = shown;
    const focused = root.contains(document.activeElement) ? { ...document.activeElement.dataset } : {};
    tabs[0].hidden = !neighbours.model;
    if (tab === "model" && !neighbours.model) tab = "looks";
    for (const button of tabs) {
      button.setAttribute("aria-selected", String(button.id === `tab-${tab}`));
      button.tabIndex = button.id === `tab-${tab}` ? 0 : -1;
    }
    list.setAttribute("aria-labelledby", `tab-${tab}`);
    sources.replaceChildren(...sourceNames(neighbours).map((name) => sourceChip(name, exclusions.sources.has(name), switchSource)));
    note.textContent = tab === "model" ? neighbours.note : "";
    note.hidden = !note.textContent;
    const items = neighbours[tab] ?? [];
    const kept = new Set(shown.kept.map(tagKey));
    const rows = items.map((item) => neighbourRow(item, kept, exclusions.neighbours.has(item.image_id), { take, switchNeighbour }));
    list.replaceChildren(...(rows.length ? rows : [make("p", { class: "empty-note" }, EMPTY[tab])]));
    refocus(root, focused);
  }

  function choose(name) {
    tab = name;
    draw();
    list.scrollTop = 0;
  }

  /** Arrow keys go from tab to tab, as in every row of tabs. */
  function walk(event, name) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[inDirection(event.key)];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const shownTabs = tabs.filter((button) => !button.hidden);
    const next = shownTabs[(shownTabs.findIndex((button) => button.id === `tab-${name}`) + step + shownTabs.length) % shownTabs.length];
    choose(next.id.slice("tab-".length));
    next.focus();
  }

  return {
    /** `exclusions`: { neighbours: Map of image id to name, sources: Set }. */
    render(neighbours, kept, exclusions) {
      const off = JSON.stringify([[...exclusions.neighbours.keys()], [...exclusions.sources]]);
      if (shown.neighbours === neighbours && shown.kept === kept && shown.off === off) return;
      // The neighbours of a tagger that uses them are shown first, until another tab is chosen.
      if (neighbours.model && !hadModel) tab = "model";
      hadModel = Boolean(neighbours.model);
      shown = { neighbours, kept, off, exclusions };
      draw();
    },
    name: () => TABS[tab],
    /** Switch to the next tab; returns its shown name. */
    switchTab() {
      const names = Object.keys(TABS).filter((name) => name !== "model" || shown.neighbours.model);
      choose(names[(names.indexOf(tab) + 1) % names.length]);
      return TABS[tab];
    },
  };
}

function sourceNames(neighbours) {
  // Captions are evidence only for a model.
  const hidden = new Set(neighbours.model ? ["decoder"] : ["context", "caption"]);
  if (!neighbours.has_tag_statistics) hidden.add("habits");
  if (!neighbours.has_detections) hidden.add("detector");
  for (const name of LATE_SOURCES) if (!neighbours.late_sources?.includes(name)) hidden.add(name);
  return Object.keys(SWITCHABLE).filter((name) => !hidden.has(name));
}

function sourceChip(name, isOff, switchSource) {
  const title = phrase(isOff ? "alike.source_off" : "alike.source_on", { source: sourceName(name) });
  return make(
    "button",
    { type: "button", class: "chip", "aria-pressed": String(!isOff), dataset: { switchSource: name }, title, onclick: () => switchSource(name) },
    sourceIcon(name),
    SWITCHABLE[name],
  );
}

function neighbourRow(item, kept, isOff, { take, switchNeighbour }) {
  const tags = item.tags.map((tag) => {
    const isShared = kept.has(tagKey(tag));
    const title = phrase(isShared ? "alike.shared" : "alike.take", { tag });
    return make("button", { class: isShared ? "take shared" : "take", type: "button", title, dataset: { tag }, onclick: () => take(tag) }, own(tag));
  });
  const alike = item.by ? phrase(item.by === "looks" ? "alike.distance_looks" : "alike.distance", { num: formatDecimal(1 - item.similarity, 2) }) : item.shared?.length ? "" : phrase("alike.alike", { num: formatShare(item.similarity) });
  const words = item.shared?.length ? phrase("alike.shares", { words: formatList(item.shared) }) : "";
  // A photo without tags is evidence only for a model that uses its features.
  const isEvidence = item.tags.length > 0 || Boolean(item.by);
  const label = phrase(isOff ? "alike.use_again" : "alike.leave_out");
  return make(
    "div",
    { class: isOff ? "neighbour off" : "neighbour", dataset: { imageId: item.image_id } },
    make("img", { src: item.thumbnail_url, alt: item.file_name, title: item.file_name, loading: "lazy", width: 86, height: 62 }),
    make(
      "div",
      {},
      make("div", { class: "neighbour-tags" }, ...(tags.length ? tags : [make("span", { class: "soft" }, phrase("cell.unsaved"))])),
      make("div", { class: "soft" }, [words, alike].filter(Boolean).join(" · ")),
      isEvidence ? make("button", { type: "button", class: "switch", "aria-pressed": String(isOff), "aria-label": phrase("common.of_what", { what: label, name: item.file_name }), dataset: { switchNeighbour: item.image_id }, onclick: () => switchNeighbour(item.image_id, item.file_name) }, label) : "",
    ),
  );
}

/** The pressed switch was rebuilt: focus the new one. */
function refocus(root, { switchSource, switchNeighbour }) {
  const again = switchSource
    ? root.querySelector(`[data-switch-source="${switchSource}"]`)
    : switchNeighbour && root.querySelector(`[data-switch-neighbour="${switchNeighbour}"]`);
  if (again) again.focus();
}
