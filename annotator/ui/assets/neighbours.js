// The neighbours panel: photos that look alike or share words, with their tags to take. Knows nothing of the list
// but which tags it holds, and nothing of the server.

import { tagKey } from "./draft.js";
import { make } from "./elements.js";

const TABS = { looks: "Look alike", metadata: "Same metadata" };
const EMPTY = {
  looks: "No similar photo yet. As you save, look-alikes gather here.",
  metadata: "No photo shares words with this one.",
};

export function createNeighbours(root, { take }) {
  let tab = "looks";
  let shown = { neighbours: { looks: [], metadata: [] }, kept: [] };
  const tabs = Object.entries(TABS).map(([name, label]) =>
    make("button", { class: "tab", type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "neighbour-list", onclick: () => choose(name) }, label),
  );
  const list = make("div", { class: "neighbour-list", id: "neighbour-list", role: "tabpanel" });
  root.append(make("div", { class: "tabs", role: "tablist", "aria-label": "Neighbours by" }, ...tabs), list);

  function draw() {
    for (const button of tabs) button.setAttribute("aria-selected", String(button.id === `tab-${tab}`));
    const items = shown.neighbours[tab] ?? [];
    const kept = new Set(shown.kept.map(tagKey));
    const rows = items.map((item) => neighbourRow(item, tab, kept, take));
    list.replaceChildren(...(rows.length ? rows : [make("p", { class: "empty-note" }, EMPTY[tab])]));
  }

  function choose(name) {
    tab = name;
    draw();
    list.scrollTop = 0;
  }

  return {
    render(neighbours, kept) {
      if (shown.neighbours === neighbours && shown.kept === kept) return;
      shown = { neighbours, kept };
      draw();
    },
    /** The other tab; returns its name for a person. */
    switchTab() {
      choose(tab === "looks" ? "metadata" : "looks");
      return TABS[tab];
    },
  };
}

function neighbourRow(item, tab, kept, take) {
  const tags = item.tags.map((tag) => {
    const isShared = kept.has(tagKey(tag));
    const title = isShared ? `${tag}: kept here too` : `Take ${tag}`;
    return make("button", { class: isShared ? "take shared" : "take", type: "button", title, dataset: { tag }, onclick: () => take(tag) }, tag);
  });
  const alike = tab === "looks" ? `${item.similarity.toFixed(2).replace(/^0/u, "")} alike` : "";
  const words = item.shared?.length ? `shares: ${item.shared.join(", ")}` : "";
  return make(
    "div",
    { class: "neighbour", dataset: { imageId: item.image_id } },
    make("img", { src: item.thumbnail_url, alt: item.file_name, title: item.file_name, loading: "lazy", width: 86, height: 62 }),
    make(
      "div",
      {},
      make("div", { class: "neighbour-tags" }, ...(tags.length ? tags : [make("span", { class: "soft" }, "not tagged")])),
      make("div", { class: "soft" }, [words, alike].filter(Boolean).join(" · ")),
    ),
  );
}
