// The review: several people's answers to one photo side by side, how far they agree, and one key to accept an answer,
// to edit it on the tagging page, or to send answers back with a note. Knows nothing of how answers are stored.

import { tagKey } from "./draft.js";
import { make } from "./elements.js";
import { formatAnd, formatDecimal, formatList, formatNumber, formatTime } from "./formats.js";
import { inDirection, keyPieces } from "./keys.js";
import { own } from "./names.js";
import { phrase, plural } from "./texts.js";

const DIGIT = /^[1-9]$/u;

/**
 * call(name, payload); say(text); edit(photo, answer) opens the photo on the tagging page with an answer's list; done() is
 * called after every decision.
 */
export function createReview(dialogs, { call, say, edit, done }) {
  let photo = null; // the answer of the operation review
  let chosen = 0;
  let isBusy = false;
  let note = null; // { people, input } while a note is written
  let table = ""; // built once, the same for each selected answer
  const content = make("div", { class: "review" });
  const trouble = make("p", { class: "review-trouble", role: "alert" });

  /** Open a photo's answers; null opens the next one in review. */
  async function open(image_id = null, after = null) {
    const answer = await call("review", { image_id, after });
    if (answer.done) {
      dialogs.close();
      say(phrase("review.none"));
      return;
    }
    show(answer);
    if (content.isConnected) return;
    await dialogs.open({ id: "review", title: phrase("review.title"), wide: true, body: [content, trouble], onkey });
    photo = null;
  }

  function show(answer) {
    photo = answer;
    chosen = 0;
    note = null;
    table = tagTable(photo);
    trouble.textContent = "";
    draw();
  }

  function draw() {
    const { answers } = photo;
    const numOf = new Map(photo.tags.map(({ tag, num_people }) => [tagKey(tag), num_people]));
    content.replaceChildren(
      make(
        "div", { class: "review-top" },
        make("img", { class: "review-photo", src: photo.image_url, alt: photo.file_name }),
        make("div", { class: "review-side" }, facts(photo), measures(photo)),
      ),
      make(
        "div", { class: "review-answers", role: "listbox", "aria-label": phrase("review.answers") },
        ...answers.map((given, index) => column(given, index, index === chosen, numOf, answers.length, () => choose(index))),
      ),
      ...(note ? [noteForm()] : []),
      make(
        "div", { class: "review-choices", role: "toolbar", "aria-label": phrase("review.decide") },
        button("accept", "Enter", phrase("review.accept", { num: formatNumber(chosen + 1) }), () => accept()),
        button("edit", "F2", phrase("review.edit"), () => change()),
        button("back", "Delete", phrase("review.back"), () => writeNote([answers[chosen].user])),
        button("back-all", "Shift+Delete", phrase("review.back_all"), () => writeNote([])),
        button("next", "PageDown", phrase("review.next"), () => go()),
      ),
      table,
    );
    // The focused element was rebuilt; the dialog needs the focus to receive keys.
    const dialog = content.closest("dialog");
    if (note) note.input.focus();
    else if (dialog && !dialog.contains(document.activeElement)) dialog.focus();
  }

  function choose(index) {
    if (index < 0 || index >= photo.answers.length) return;
    chosen = index;
    draw();
  }

  function writeNote(people) {
    const input = make("input", { type: "text", id: "review-note", maxlength: "1000", "aria-label": phrase("review.note"), placeholder: phrase("review.placeholder", { enter: keyPieces("Enter")[0], escape: keyPieces("Escape")[0] }), autocomplete: "off" });
    note = { people, input };
    draw();
  }

  function noteForm() {
    const heading = note.people.length ? phrase("review.note_to", { people: formatList(note.people) }) : phrase("review.note_to_all");
    return make("label", { class: "review-note" }, heading, note.input);
  }

  /** Send a decision, then show the next photo; an error is shown and changes nothing. */
  async function decide(operation, payload, sentenceFor) {
    if (isBusy) return;
    isBusy = true;
    try {
      const { image_id, file_name, revision, revisions: seen } = photo;
      await call(operation, { image_id, revision, seen, ...payload });
      say(sentenceFor(file_name));
      done();
      await open(null, image_id);
    } catch (error) {
      showError(error);
      if (error.kind === "stale") await open(photo.image_id).catch(showError);
    } finally {
      isBusy = false;
    }
  }

  function showError(error) {
    if (error.kind === undefined) throw error;
    trouble.textContent = error.message;
  }

  const accept = () => {
    const { tags, dropped, user } = photo.answers[chosen];
    return decide("accept", { kept: tags, dropped }, (name) => phrase("review.accepted", { name, user }));
  };
  const send = () => {
    const text = note.input.value.trim();
    if (!text) {
      trouble.textContent = phrase("review.write_first");
      return undefined;
    }
    const { people } = note;
    return decide("send_back", { people, note: text }, (name) => (people.length ? phrase("review.sent", { name, people: formatList(people) }) : phrase("review.sent_all", { name })));
  };
  const go = () => open(null, photo.image_id).catch(showError);
  const change = () => {
    const { image_id, revision, answers } = photo;
    dialogs.close();
    edit({ image_id, revision }, answers[chosen]).catch((error) => {
      if (error.kind === undefined) throw error;
      say(error.message);
    });
  };

  function onkey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !photo) return;
    if (note && event.target === note.input) {
      if (event.key === "Enter" && !event.repeat) use(event, send);
      else if (event.key === "Escape") use(event, () => { note = null; draw(); });
      return;
    }
    const isButton = event.target.closest("button, summary");
    const keys = {
      ArrowLeft: () => choose(chosen - 1), ArrowRight: () => choose(chosen + 1),
      F2: change, Delete: () => writeNote([photo.answers[chosen].user]), "Shift+Delete": () => writeNote([]), PageDown: go,
      ...(isButton ? {} : { Enter: accept }),
    };
    const key = event.shiftKey ? `Shift+${event.key}` : inDirection(event.key);
    if (DIGIT.test(event.key)) use(event, () => choose(Number(event.key) - 1));
    else if (key in keys && !(event.repeat && !key.startsWith("Arrow"))) use(event, keys[key]);
  }

  return { open: (image_id = null) => open(image_id) };
}

function use(event, then) {
  event.preventDefault();
  then();
}

const button = (id, key, label, onclick) =>
  make("button", { type: "button", id: `review-${id}`, onclick }, make("kbd", {}, keyPieces(key).join(" ")), ` ${label}`);

function facts({ file_name, place, num_in_review, state, decisions }) {
  const where = state === "accepted" ? phrase("cell.accepted") : place ? plural("review.place", num_in_review, { place: formatNumber(place) }) : phrase("review.awaited");
  const last = decisions.at(-1);
  return make(
    "div", { class: "review-facts" },
    make("b", {}, own(file_name)), make("span", { class: "soft" }, ` · ${where}`),
    last?.note ? make("p", { class: "soft" }, phrase("review.last_note", { user: last.user_name, note: last.note })) : null,
  );
}

const figure = (value) => (value === null ? "–" : formatDecimal(value, 2));

/** The agreement of each two lists. */
function measures({ pairs, mean }) {
  if (!pairs.length) return make("p", { class: "soft" }, phrase("review.one_answer"));
  const row = (name, found) => make("tr", {}, make("th", { scope: "row" }, name), ...[found.tau_b, found.rbo, found.ndcg, found.jaccard].map((value) => make("td", {}, figure(value))));
  return make(
    "table", { class: "review-measures" },
    make("thead", {}, make("tr", {}, make("th", {}, phrase("review.agreement")), make("th", { title: phrase("review.tau_title") }, "tau"), make("th", { title: phrase("review.rbo_title") }, "RBO"), make("th", { title: phrase("review.ndcg_title") }, "NDCG"), make("th", { title: phrase("review.shared_title") }, phrase("review.shared")))),
    make("tbody", {}, ...pairs.map((pair) => row(formatAnd(pair.users), pair)), ...(pairs.length > 1 ? [row(phrase("review.mean"), mean)] : [])),
  );
}

function column({ user, tags, answered_at, is_sent_back }, index, isChosen, numOf, numAnswers, onclick) {
  const shade = (tag) => (numOf.get(tagKey(tag)) === numAnswers ? "all" : numOf.get(tagKey(tag)) === 1 ? "one" : "some");
  return make(
    "div",
    { class: "review-answer", role: "option", "aria-selected": String(isChosen), dataset: { user }, onclick },
    make("h3", {}, make("kbd", {}, String(index + 1)), " ", own(user)),
    make("p", { class: "soft" }, is_sent_back ? phrase("review.sent_back") : formatTime(answered_at)),
    make("ol", {}, ...(tags.length ? tags.map((tag) => make("li", { class: numAnswers > 1 ? shade(tag) : "" }, own(tag))) : [make("li", { class: "soft" }, phrase("common.no_tags"))])),
  );
}

/** Each tag with its rank in each answer. */
function tagTable({ tags, answers, places }) {
  if (answers.length < 2) return "";
  return make(
    "details", { class: "review-tags" },
    make("summary", {}, phrase("review.table")),
    make(
      "div", { class: "review-tables" },
      make(
        "table", {},
        make("thead", {}, make("tr", {}, make("th", {}, phrase("review.tag")), ...answers.map(({ user }) => make("th", {}, own(user))))),
        make("tbody", {}, ...tags.map(({ tag, places: given }) => make("tr", {}, make("th", { scope: "row" }, own(tag)), ...given.map((place) => make("td", {}, place === null ? "–" : String(place)))))),
      ),
      make(
        "table", {},
        make("thead", {}, make("tr", {}, make("th", {}, phrase("review.place_column")), make("th", {}, phrase("review.most_often")), make("th", {}, phrase("review.people")), make("th", { title: phrase("review.overlap_title") }, phrase("review.overlap")))),
        make("tbody", {}, ...places.map(({ place, tag, num_people, overlap }) => make("tr", {}, make("th", { scope: "row" }, String(place)), make("td", {}, own(tag)), make("td", {}, String(num_people)), make("td", {}, figure(overlap))))),
      ),
    ),
  );
}
