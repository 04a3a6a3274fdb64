// The dialog of all tags: a windowed list that is sorted and filtered, and beside it one tag with examples, tags that may
// be the same, and its changes. Each change is shown before it is made (tag_change.js) and can be taken back.
// Knows nothing of the photo that is being tagged.

import { newestOnly } from "./calls.js";
import { count, formatNumber, make } from "./elements.js";
import { createTagChange } from "./tag_change.js";
import { createTagRows } from "./tag_rows.js";

const TYPING_MS = 120; // wait before a search, and before the details of a tag that is passed by

/**
 * mayChange: the person may change tags; changed() is called when tags have changed; say(sentence, undo) tells of the
 * last change once the dialog is closed. Resolves to the id of the photo that was pressed, or null.
 */
export function showTagManager(dialogs, { call, isTouch, mayChange, changed, say }) {
  const filter = make("input", { id: "tags-filter", type: "text", role: "combobox", "aria-label": "Find a tag", "aria-autocomplete": "list", "aria-expanded": "true", "aria-controls": "tags-list", placeholder: "Find a tag", autocomplete: "off", autocapitalize: "off", spellcheck: "false", oninput: search });
  const order = make("select", { id: "tags-order", "aria-label": "Order", onchange: () => restart() }, make("option", { value: "count" }, "Most photos first"), make("option", { value: "name" }, "By name"));
  const total = make("p", { id: "tags-total", class: "soft", role: "status" }, "Loading…");
  const rows = createTagRows({ fetchPage: (offset, limit) => call("list_tags", { offset, limit, query: filter.value.trim(), order: order.value }), isTouch, counted, choose: (tag) => (look(tag), showDetails()), failed: (error) => (total.textContent = error.message) });
  const note = make("p", { id: "tags-note", role: "status" });
  const undoButton = make("button", { type: "button", id: "tags-undo", hidden: true, onclick: () => takeBack() }, "Undo");
  const detail = make("section", { class: "tags-detail", id: "tags-detail", tabindex: "0", "aria-label": "The chosen tag" }, make("p", { class: "soft" }, "Choose a tag to see its photos and what can be done with it."));
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

  function counted({ total: found, num_in_use }) {
    total.textContent = filter.value.trim() ? `${count(found, "tag")} found` : `${count(found, "tag")}, ${formatNumber(num_in_use)} in use`;
  }

  function search() {
    clearTimeout(searchTimer);
    searchTimer = setTimeout(restart, TYPING_MS);
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
    detail.setAttribute("aria-label", `The tag ${answer.tag}`);
    detail.dataset.tag = answer.tag;
    detail.replaceChildren(
      make("button", { type: "button", id: "tags-back", class: "quiet", onclick: () => showList() }, "‹ All tags"),
      make("h3", { id: "tags-name" }, answer.tag),
      make("p", { class: "soft", id: "tags-facts" }, factsOf(answer)),
      examplesOf(answer),
      make("div", { id: "tags-change" }),
      similarOf(answer),
    );
    detail.scrollTop = 0;
    drawActions();
  }

  function examplesOf({ tag, examples }) {
    if (!examples.length) return make("p", { class: "soft" }, "No saved photo shows it.");
    const pictures = examples.map(({ image_id, thumbnail_url, file_name }) =>
      make("li", {}, make("button", { type: "button", class: "tags-photo", title: file_name, "aria-label": `Open ${file_name}`, onclick: () => dialogs.close(image_id) }, make("img", { src: thumbnail_url, alt: "", loading: "lazy", draggable: "false" }))),
    );
    return make("ul", { class: "tags-examples", "aria-label": `Photos with ${tag}` }, ...pictures);
  }

  function similarOf({ tag, num_photos, similar, has_word_vectors }) {
    const items = similar.map((other) => {
      // The one on fewer photos goes into the other.
      const [from, into] = other.num_photos > num_photos ? [tag, other.tag] : [other.tag, tag];
      return make(
        "li",
        { dataset: { tag: other.tag } },
        make("button", { type: "button", class: "quiet tags-jump", "aria-label": `Show the tag ${other.tag}`, onclick: () => load(other.tag) }, make("b", {}, other.tag), ` ${count(other.num_photos, "photo")}`),
        make("span", { class: "soft" }, other.why),
        mayChange && num_photos > 0 && make("button", { type: "button", "aria-label": `Merge ${from} into ${into}…`, onclick: () => start("merge", from, into) }, "Merge…"),
      );
    });
    const unread = has_word_vectors ? "" : " Word vectors are not loaded, so none was looked for by its meaning.";
    return make("div", { class: "tags-similar" }, make("h3", {}, "May be the same"), items.length ? make("ul", {}, ...items) : "", items.length && has_word_vectors ? "" : make("p", { class: "soft" }, `${items.length ? "" : "No tag in use looks like it."}${unread}`.trim()));
  }

  function drawActions() {
    const place = detail.querySelector("#tags-change");
    if (!place) return;
    if (!mayChange) {
      place.replaceChildren(make("p", { class: "soft" }, "Changes of tags are for admins."));
      return;
    }
    const { tag, num_photos, is_never_proposed } = shown;
    const action = (id, label, run, properties = {}) => make("button", { type: "button", id: `tags-${id}`, onclick: run, ...properties }, label);
    place.replaceChildren(
      make(
        "div",
        { class: "tags-actions", role: "group", "aria-label": `Change ${tag}` },
        num_photos > 0 && action("rename", "Rename…", () => start("rename", tag, tag)),
        num_photos > 0 && action("merge", "Merge into…", () => start("merge", tag, "")),
        action("alias", "Alias…", () => start("alias", "", tag)),
        action("parent", "Parent…", () => start("parent", tag, shown.parent)),
        is_never_proposed ? action("propose", "Propose again…", () => start("propose", tag, "")) : action("never", "Never propose…", () => start("never", tag, "")),
        num_photos > 0 && action("delete", "Delete everywhere…", () => start("delete", tag, ""), { class: "danger" }),
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
      if (event.repeat || !rows.chosen()) return;
      showDetails();
      if (detail.dataset.tag === rows.chosen()) focusDetail();
      else load(rows.chosen()).then(focusDetail);
    } else if (event.target === rows.element && [...event.key].length === 1 && event.key !== " ") filter.focus(); // which gets the letter
  }

  restart();
  return dialogs.open({ id: "tags", title: "Tags", wide: true, body: [body], onkey, focus: isTouch ? null : filter }).then((result) => {
    isOpen = false;
    clearTimeout(timer);
    clearTimeout(searchTimer);
    if (last) say(last.sentence, () => last.undo().then(({ sentence }) => (changed(), say(sentence)), (error) => say(error.message)));
    return result;
  });
}

function factsOf({ num_photos, aliases, above, below, is_never_proposed }) {
  return [
    num_photos ? `On ${count(num_photos, "photo")}` : "On no saved photo",
    aliases.length && `also ${aliases.join(", ")}`,
    above.length && `below ${above.join(" › ")}`,
    below.length && `above ${below.join(", ")}`,
    is_never_proposed && "never proposed",
  ].filter(Boolean).join(" · ");
}
