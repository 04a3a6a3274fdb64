// The dialog of all tags: a windowed list that is sorted and filtered, and beside it one tag with examples, tags that may
// be the same, and its changes. Each change is shown before it is made (tag_change.js) and can be taken back.
// Knows nothing of the photo that is being tagged.

import { newestOnly } from "./calls.js";
import { make } from "./elements.js";
import { countPhotos, formatList, formatNumber } from "./formats.js";
import { own } from "./names.js";
import { createTagChange } from "./tag_change.js";
import { createTagRows } from "./tag_rows.js";
import { FORWARD, isolated, phrase, plural } from "./texts.js";

const TYPING_MS = 120; // wait before a search, and before the details of a tag that is passed by

/**
 * mayChange: the person may change tags; changed() is called when tags have changed; say(sentence, undo) tells of the
 * last change once the dialog is closed. Resolves to the id of the photo that was pressed, or null.
 */
export function showTagManager(dialogs, { call, isTouch, mayChange, changed, say }) {
  const filter = make("input", { id: "tags-filter", type: "text", role: "combobox", "aria-label": phrase("facet.find"), "aria-autocomplete": "list", "aria-expanded": "true", "aria-controls": "tags-list", placeholder: phrase("facet.find"), autocomplete: "off", autocapitalize: "off", spellcheck: "false", oninput: search });
  const order = make("select", { id: "tags-order", "aria-label": phrase("common.order"), onchange: () => restart() }, make("option", { value: "count" }, phrase("tags.by_count")), make("option", { value: "name" }, phrase("sort.name")));
  const total = make("p", { id: "tags-total", class: "soft", role: "status" }, phrase("common.loading"));
  const rows = createTagRows({ fetchPage: (offset, limit) => call("list_tags", { offset, limit, query: filter.value.trim(), order: order.value }), isTouch, counted, choose: (tag) => (look(tag), showDetails()), failed: (error) => (total.textContent = error.message) });
  const note = make("p", { id: "tags-note", role: "status" });
  const undoButton = make("button", { type: "button", id: "tags-undo", hidden: true, onclick: () => takeBack() }, phrase("common.undo"));
  const detail = make("section", { class: "tags-detail", id: "tags-detail", tabindex: "0", "aria-label": phrase("tags.chosen") }, make("p", { class: "soft" }, phrase("tags.choose")));
  const body = make(
    "div",
    { class: "tags-body" },
    make("div", { class: "tags-side" }, make("div", { class: "tags-search" }, filter, order), total, rows.element),
    make("div", { class: "tags-main" }, make("div", { class: "tags-done" }, note, undoButton), detail),
  );
  const ask = newestOnly((tag) => call("tag_details", { tag }));
  const change = createTagChange({ call, done, cancelled: () => (drawActions(), focusDetail()) });
  let shown = null; // the details that are shown
  let last = null; // the last change: { sentence, undo }
  let isOpen = true;
  let timer = null;
  let searchTimer = null;
  let searched = Promise.resolve(); // ends when the list is that of the typed text

  function counted({ total: found, num_in_use }) {
    total.textContent = filter.value.trim() ? plural("tags.found", found) : plural("tags.total", found, { in_use: formatNumber(num_in_use) });
  }

  function search() {
    clearTimeout(searchTimer);
    searched = new Promise((resolve) => {
      searchTimer = setTimeout(() => resolve(restart()), TYPING_MS);
    });
  }

  /** Fetch the list for the present text and order, and show its first tag. */
  async function restart() {
    await rows.restart();
    if (isOpen && rows.chosen()) look(rows.chosen());
  }

  /** Show the details of a tag soon, unless the next one is chosen before that. */
  function look(tag) {
    clearTimeout(timer);
    filter.setAttribute("aria-activedescendant", rows.activeId());
    timer = setTimeout(() => load(tag, true), TYPING_MS);
  }

  /** Show the details of a tag; `isPassing`: if they are shown already, they stay, with a change that was begun. */
  async function load(tag, isPassing = false) {
    try {
      const answer = await ask(tag);
      const isShown = shown?.tag === answer?.tag && (change.isOpen() || JSON.stringify(shown) === JSON.stringify(answer));
      if (!answer || !isOpen || (isPassing && isShown)) return;
      draw(answer);
    } catch (error) {
      if (error.kind === undefined) throw error;
      detail.replaceChildren(make("p", { class: "soft" }, error.message));
    }
  }

  function draw(answer) {
    shown = answer;
    change.close();
    detail.setAttribute("aria-label", phrase("tags.the_tag", { tag: answer.tag }));
    detail.dataset.tag = answer.tag;
    detail.replaceChildren(
      make("button", { type: "button", id: "tags-back", class: "quiet", onclick: () => showList() }, `${FORWARD > 0 ? "‹" : "›"} ${phrase("tags.all")}`),
      make("h3", { id: "tags-name" }, own(answer.tag)),
      make("p", { class: "soft", id: "tags-facts" }, factsOf(answer)),
      examplesOf(answer),
      make("div", { id: "tags-change" }),
      similarOf(answer),
    );
    detail.scrollTop = 0;
    drawActions();
  }

  function examplesOf({ tag, examples }) {
    if (!examples.length) return make("p", { class: "soft" }, phrase("tags.no_photo"));
    const pictures = examples.map(({ image_id, thumbnail_url, file_name }) =>
      make("li", {}, make("button", { type: "button", class: "tags-photo", title: file_name, "aria-label": phrase("tags.open_photo", { name: file_name }), onclick: () => dialogs.close(image_id) }, make("img", { src: thumbnail_url, alt: "", loading: "lazy", draggable: "false" }))),
    );
    return make("ul", { class: "tags-examples", "aria-label": phrase("tags.photos_with", { tag }) }, ...pictures);
  }

  function similarOf({ tag, num_photos, similar, has_word_vectors }) {
    const items = similar.map((other) => {
      // The one on fewer photos goes into the other.
      const [from, into] = other.num_photos > num_photos ? [tag, other.tag] : [other.tag, tag];
      return make(
        "li",
        { dataset: { tag: other.tag } },
        make("button", { type: "button", class: "quiet tags-jump", "aria-label": phrase("tags.show_tag", { tag: other.tag }), onclick: () => load(other.tag) }, make("b", {}, own(other.tag)), " ", countPhotos(other.num_photos)),
        make("span", { class: "soft" }, other.why),
        mayChange && num_photos > 0 && make("button", { type: "button", "aria-label": phrase("tags.merge_pair", { from, into }), onclick: () => start("merge", from, into) }, phrase("tags.merge")),
      );
    });
    const unread = has_word_vectors ? "" : phrase("tags.no_vectors");
    return make("div", { class: "tags-similar" }, make("h3", {}, phrase("tags.similar")), items.length ? make("ul", {}, ...items) : "", items.length && has_word_vectors ? "" : make("p", { class: "soft" }, [items.length ? "" : phrase("tags.no_similar"), unread].filter(Boolean).join(" ")));
  }

  function drawActions() {
    const place = detail.querySelector("#tags-change");
    if (!place) return;
    if (!mayChange) {
      place.replaceChildren(make("p", { class: "soft" }, phrase("tags.for_admins")));
      return;
    }
    const { tag, num_photos, is_never_proposed } = shown;
    const action = (id, label, run, properties = {}) => make("button", { type: "button", id: `tags-${id}`, onclick: run, ...properties }, label);
    place.replaceChildren(
      make(
        "div",
        { class: "tags-actions", role: "group", "aria-label": phrase("tags.change", { tag }) },
        num_photos > 0 && action("rename", phrase("tags.rename"), () => start("rename", tag, tag)),
        num_photos > 0 && action("merge", phrase("tags.merge_into"), () => start("merge", tag, "")),
        action("alias", phrase("tags.alias"), () => start("alias", "", tag)),
        action("parent", phrase("tags.parent"), () => start("parent", tag, shown.parent)),
        is_never_proposed ? action("propose", phrase("tags.propose"), () => start("propose", tag, "")) : action("never", phrase("tags.never"), () => start("never", tag, "")),
        num_photos > 0 && action("delete", phrase("tags.delete"), () => start("delete", tag, ""), { class: "danger" }),
      ),
    );
  }

  function start(kind, old, wanted) {
    detail.querySelector("#tags-change").replaceChildren(change.start(kind, old, wanted, shown));
    change.focus();
  }

  /** A change was made; `tag`: the one to look at now. */
  async function done({ sentence, undo, tag }) {
    last = { sentence, undo };
    note.textContent = sentence;
    undoButton.hidden = false;
    changed();
    await Promise.all([rows.restart(true), load(tag)]);
    focusDetail();
  }

  async function takeBack() {
    if (!last) return;
    const { undo } = last;
    undoButton.disabled = true;
    try {
      const { sentence, tag } = await undo();
      last = null;
      note.textContent = sentence;
      undoButton.hidden = true;
      changed();
      await Promise.all([rows.restart(true), load(tag)]);
      focusDetail();
    } catch (error) {
      if (error.kind === undefined) throw error;
      note.textContent = error.message;
    } finally {
      undoButton.disabled = false;
    }
  }

  function focusDetail() {
    if (isOpen) detail.focus({ preventScroll: true });
  }

  /** Where there is room for one part only, show the tag, or the list. */
  function showDetails() {
    body.classList.add("one-tag");
  }

  function showList() {
    body.classList.remove("one-tag");
    if (!isTouch) filter.focus();
    else rows.element.focus({ preventScroll: true });
  }

  const isNarrow = () => getComputedStyle(body.querySelector(".tags-side")).display === "none";

  /** Go to the details of the chosen tag, of the list that the typed text will have. */
  async function openChosen() {
    await searched;
    const tag = rows.chosen();
    if (!isOpen || !tag) return;
    showDetails();
    if (detail.dataset.tag !== tag) await load(tag);
    focusDetail();
  }

  function onkey(event) {
    if (event.isComposing) return;
    const inList = event.target === filter || event.target === rows.element;
    if (event.key === "Escape" && (change.isOpen() || isNarrow())) {
      event.preventDefault();
      if (change.isOpen()) change.cancel();
      else showList();
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !(event.target.localName === "input" && event.target.value)) {
      event.preventDefault();
      if (!event.repeat) takeBack();
    } else if (event.ctrlKey || event.metaKey || event.altKey || !inList) {
      return;
    } else if (rows.step(event)) {
      event.preventDefault();
      look(rows.chosen());
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (!event.repeat) openChosen();
    } else if (event.target === rows.element && [...event.key].length === 1 && event.key !== " ") filter.focus(); // which gets the letter
  }

  searched = restart();
  return dialogs.open({ id: "tags", title: phrase("facet.tags"), wide: true, body: [body], onkey, focus: isTouch ? null : filter }).then((result) => {
    isOpen = false;
    clearTimeout(timer);
    clearTimeout(searchTimer);
    if (last) say(last.sentence, () => last.undo().then(({ sentence }) => (changed(), say(sentence)), (error) => say(error.message)));
    return result;
  });
}

function factsOf({ num_photos, aliases, above, below, is_never_proposed }) {
  return [
    num_photos ? plural("tags.on", num_photos) : phrase("tags.on_none"),
    aliases.length && phrase("tags.also", { tags: formatList(aliases) }),
    above.length && phrase("tags.below", { tag: above.map(isolated).join(" › ") }),
    below.length && phrase("tags.above", { tags: formatList(below) }),
    is_never_proposed && phrase("tags.never_proposed"),
  ].filter(Boolean).join(" · ");
}
