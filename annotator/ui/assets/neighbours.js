// The neighbours panel: photos that are similar, share words, or are the model's own neighbours, with their tags to take
// and a switch each to exclude the photo; and switches for the sources of evidence. Knows nothing of the list but its
// kept tags, and nothing of the server.

import { tagKey } from "./draft.js";
import { make } from "./elements.js";
import { LATE_SOURCES, sourceIcon, sourceName, SWITCHABLE } from "./sources.js";

const TABS = { model: "Used by the model", looks: "Look alike", metadata: "Same words" };
const EMPTY = {
  model: "The model has no neighbours for this photo.",
  looks: "No similar photo yet. As you save, look-alikes gather here.",
  metadata: "No photo shares words with this one.",
};

/** handlers: take(tag), switchNeighbour(image_id, name), switchSource(name), together() to tag such photos together. */
export function createNeighbours(root, { take, switchNeighbour, switchSource, together }) {
  let tab = "looks";
  let hadModel = false;
  let shown = { neighbours: { looks: [], metadata: [], model: null, note: "" }, kept: [], off: "", exclusions: { neighbours: new Map(), sources: new Set() } };
  const tabs = Object.entries(TABS).map(([name, label]) =>
    make("button", { class: "tab", type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "neighbour-list", onclick: () => choose(name), onkeydown: (event) => walk(event, name) }, label),
  );
  const sources = make("div", { class: "chips source-chips", id: "sources", role: "group", "aria-label": "Sources of evidence for this photo" });
  const note = make("p", { class: "neighbour-note", id: "neighbour-note", hidden: true });
  const list = make("div", { class: "neighbour-list", id: "neighbour-list", role: "tabpanel", tabindex: "0" });
  root.append(
    make("div", { class: "neighbour-bar" }, make("div", { class: "tabs", role: "tablist", "aria-label": "Similar photos by" }, ...tabs), make("button", { type: "button", id: "tag-together", class: "quiet", onclick: together }, "Tag such photos together")),
    list,
    note,
    make("div", { class: "source-bar" }, make("span", { class: "soft" }, "Used for this photo: "), sources),
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
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
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
  const title = `${sourceName(name)}: ${isOff ? "left out for this photo; press to use it again" : "press to leave it out for this photo"}`;
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
    const title = isShared ? `${tag}: kept here too` : `Take ${tag}`;
    return make("button", { class: isShared ? "take shared" : "take", type: "button", title, dataset: { tag }, onclick: () => take(tag) }, tag);
  });
  const alike = item.by ? `distance ${(1 - item.similarity).toFixed(2)}${item.by === "looks" ? " by looks" : ""}` : item.shared?.length ? "" : `${item.similarity.toFixed(2).replace(/^0/u, "")} alike`;
  const words = item.shared?.length ? `shares: ${item.shared.join(", ")}` : "";
  // A photo without tags is evidence only for a model that uses its features.
  const isEvidence = item.tags.length > 0 || Boolean(item.by);
  const label = isOff ? "Use again" : "Leave out";
  return make(
    "div",
    { class: isOff ? "neighbour off" : "neighbour", dataset: { imageId: item.image_id } },
    make("img", { src: item.thumbnail_url, alt: item.file_name, title: item.file_name, loading: "lazy", width: 86, height: 62 }),
    make(
      "div",
      {},
      make("div", { class: "neighbour-tags" }, ...(tags.length ? tags : [make("span", { class: "soft" }, "not tagged")])),
      make("div", { class: "soft" }, [words, alike].filter(Boolean).join(" · ")),
      isEvidence ? make("button", { type: "button", class: "switch", "aria-pressed": String(isOff), "aria-label": `${label}: ${item.file_name}`, dataset: { switchNeighbour: item.image_id }, onclick: () => switchNeighbour(item.image_id, item.file_name) }, label) : "",
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
