// The library's rail: states, kept searches, and the tags, folders, years and people of the found photos with counts.
// A press narrows the search to the value; the button beside it leaves the value out. Knows nothing of photos.

import { newestOnly } from "./calls.js";
import { make } from "./elements.js";
import { formatNumber } from "./formats.js";
import { own } from "./names.js";
import { hasTerm, term, toggleTerm } from "./search_terms.js";
import { phrase } from "./texts.js";

const WAIT_MS = 150;
const FIRST = 12; // values that are shown of a facet before "more"
const FIELDS = { tags: "tag", folders: "folder", dates: "date", people: "by" };
const TITLES = { tags: phrase("facet.tags"), folders: phrase("facet.folders"), dates: phrase("facet.dates"), people: phrase("facet.people") };

/**
 * handlers: search(query) sets the text of the search; open(wanted) takes a whole search; wanted() is the present one;
 * keep(name, isKept) keeps the present search under a name or forgets it, and resolves to all; manageTags() opens the
 * dialog of all tags.
 */
export function createFacets(root, states, { call, wanted, search, open, keep, manageTags }) {
  const filter = make("input", { id: "facet-filter", type: "search", class: "facet-filter", placeholder: phrase("facet.find"), "aria-label": phrase("facet.find_label"), autocomplete: "off", spellcheck: "false", oninput: () => load() });
  const kept = make("div", { id: "saved-searches" });
  const lists = Object.fromEntries(Object.keys(FIELDS).map((name) => [name, make("div", { id: `facet-${name}`, hidden: true })]));
  const shownInFull = new Set();
  let answer = null;
  let timer = 0;
  root.append(
    section(phrase("facet.show"), make("div", { class: "filters", role: "group", "aria-label": phrase("facet.show") }, ...states)),
    kept,
    ...Object.values(lists),
  );
  lists.tags.append(filter);

  const ask = newestOnly((payload) => call("facets", payload));

  function load() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const { query, state } = wanted();
      try {
        const found = await ask({ query, state, tag: filter.value.trim() });
        if (found) render(found);
      } catch (error) {
        if (error.kind === undefined) throw error;
        for (const list of Object.values(lists)) list.hidden = true; // the grid says what is wrong
      }
    }, WAIT_MS);
  }

  function render(found) {
    answer = found;
    for (const [name, field] of Object.entries(FIELDS)) renderFacet(name, field, found[name]);
  }

  function renderFacet(name, field, values) {
    const { query } = wanted();
    const isPointless = name === "people" && values.length < 2;
    const list = lists[name];
    list.hidden = isPointless || (!values.length && !(name === "tags" && filter.value));
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.term : null;
    const shown = shownInFull.has(name) ? values : values.slice(0, FIRST);
    const rows = shown.map(({ value, num_photos }) => {
      const [only, without] = [term(field, value), term(field, value, { isExcluded: true })];
      const label = name === "folders" ? value.split("/").at(-1) : value;
      return make(
        "li",
        { style: { "padding-inline-start": `${name === "folders" ? 12 * (value.split("/").length - 1) : 0}px` } },
        make("button", { type: "button", class: "facet", title: value, dataset: { term: only }, "aria-pressed": String(hasTerm(query, only)), "aria-label": phrase("facet.only", { value, num: formatNumber(num_photos) }), onclick: () => search(toggleTerm(wanted().query, only)) }, make("span", { class: "facet-value" }, own(label)), make("span", { class: "facet-number" }, formatNumber(num_photos))),
        make("button", { type: "button", class: "facet-not", title: phrase("facet.without", { value }), dataset: { term: without }, "aria-pressed": String(hasTerm(query, without)), "aria-label": phrase("facet.without", { value }), onclick: () => search(toggleTerm(wanted().query, without)) }, phrase("facet.not")),
      );
    });
    const more = values.length > FIRST && make("button", { type: "button", class: "facet-more", "aria-expanded": String(shownInFull.has(name)), onclick: () => (shownInFull.has(name) ? shownInFull.delete(name) : shownInFull.add(name), render(answer)) }, shownInFull.has(name) ? phrase("facet.fewer") : name === "tags" && answer.num_tags > values.length ? phrase("common.of", { num: formatNumber(values.length), all: formatNumber(answer.num_tags) }) : formatNumber(values.length));
    const head = make("h2", {}, TITLES[name]);
    if (name === "tags") head.append(make("button", { type: "button", class: "facet-more", id: "manage-tags", onclick: manageTags }, phrase("facet.manage")));
    const parts = [head, ...(name === "tags" ? [filter] : []), make("ul", {}, ...rows), ...(more ? [more] : [])];
    if (name === "tags" && list.contains(filter)) {
      // The box keeps its focus and its caret: only what follows it is replaced.
      while (filter.nextSibling) filter.nextSibling.remove();
      if (!list.querySelector("h2")) list.prepend(parts[0]);
      list.append(...parts.slice(2));
    } else list.replaceChildren(...parts);
    if (focused) list.querySelector(`[data-term=${CSS.escape(focused)}]`)?.focus();
  }

  /** Show the searches that are kept. */
  function setKept(searches) {
    const rows = Object.entries(searches).sort(([one], [other]) => one.localeCompare(other)).map(([name, one]) =>
      make(
        "li",
        {},
        make("button", { type: "button", class: "facet", title: one.query || name, onclick: () => open(one) }, make("span", { class: "facet-value" }, own(name))),
        make("button", { type: "button", class: "facet-not", "aria-label": phrase("facet.forget_named", { name }), title: phrase("facet.forget"), onclick: async () => setKept(await keep(name, false)) }, "×"),
      ),
    );
    kept.replaceChildren(...(rows.length ? [make("h2", {}, phrase("facet.searches")), make("ul", {}, ...rows)] : []));
  }

  return { load, setKept, tags: () => (answer?.tags ?? []).map(({ value }) => value) };
}

function section(title, ...children) {
  return make("div", {}, make("h2", {}, title), ...children);
}
