// The review: several people's answers to one photo side by side, how far they agree, and one key to accept an answer,
// to edit it on the tagging page, or to send answers back with a note. Knows nothing of how answers are stored.

import { tagKey } from "./draft.js";
import { count, make } from "./elements.js";

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
      say("No photo is in review.");
      return;
    }
    show(answer);
    if (content.isConnected) return;
    await dialogs.open({ id: "review", title: "Review", wide: true, body: [content, trouble], onkey });
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
        "div", { class: "review-answers", role: "listbox", "aria-label": "Answers" },
        ...answers.map((given, index) => column(given, index, index === chosen, numOf, answers.length, () => choose(index))),
      ),
      ...(note ? [noteForm()] : []),
      make(
        "div", { class: "review-choices", role: "toolbar", "aria-label": "Decide" },
        button("accept", "Enter", `Accept answer ${chosen + 1}`, () => accept()),
        button("edit", "F2", "Edit it", () => change()),
        button("back", "Del", "Send it back", () => writeNote([answers[chosen].user])),
        button("back-all", "Shift Del", "Send all back", () => writeNote([])),
        button("next", "PgDn", "Next", () => go()),
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
    const input = make("input", { type: "text", id: "review-note", maxlength: "1000", "aria-label": "Note", placeholder: "What should be different? Enter sends it back, Esc does not", autocomplete: "off" });
    note = { people, input };
    draw();
  }

  function noteForm() {
    const whom = note.people.length ? note.people.join(", ") : "all who answered";
    return make("label", { class: "review-note" }, `Note to ${whom}`, note.input);
  }

  /** Send a decision, then show the next photo; an error is shown and changes nothing. */
  async function decide(operation, payload, sentence) {
    if (isBusy) return;
    isBusy = true;
    try {
      const { image_id, file_name, revision, revisions: seen } = photo;
      await call(operation, { image_id, revision, seen, ...payload });
      say(`${file_name}: ${sentence}`);
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
    return decide("accept", { kept: tags, dropped }, `${user}'s list is accepted.`);
  };
  const send = () => {
    const text = note.input.value.trim();
    if (!text) {
      trouble.textContent = "Write what should be different first.";
      return undefined;
    }
    const { people } = note;
    const whom = people.length ? people.join(", ") : "all";
    return decide("send_back", { people, note: text }, `sent back to ${whom}.`);
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
    const key = event.shiftKey ? `Shift+${event.key}` : event.key;
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
  make("button", { type: "button", id: `review-${id}`, onclick }, make("kbd", {}, key), ` ${label}`);

function facts({ file_name, place, num_in_review, state, decisions }) {
  const where = state === "accepted" ? "accepted" : place ? `${place} of ${count(num_in_review, "photo")} in review` : "answers are awaited again";
  const last = decisions.at(-1);
  return make(
    "div", { class: "review-facts" },
    make("b", {}, file_name), make("span", { class: "soft" }, ` · ${where}`),
    last?.note ? make("p", { class: "soft" }, `${last.user_name} sent it back: “${last.note}”`) : null,
  );
}

const figure = (value) => (value === null ? "–" : value.toFixed(2));

/** The agreement of each two lists. */
function measures({ pairs, mean }) {
  if (!pairs.length) return make("p", { class: "soft" }, "One answer: there is nothing to compare.");
  const row = (name, found) => make("tr", {}, make("th", { scope: "row" }, name), ...[found.tau_b, found.rbo, found.ndcg, found.jaccard].map((value) => make("td", {}, figure(value))));
  return make(
    "table", { class: "review-measures" },
    make("thead", {}, make("tr", {}, make("th", {}, "Agreement"), make("th", { title: "Kendall's tau-b, -1 to 1: the same order?" }, "tau"), make("th", { title: "Rank-biased overlap, 0 to 1: the same tags, early ones first?" }, "RBO"), make("th", { title: "NDCG, 0 to 1, the mean of both directions" }, "NDCG"), make("th", { title: "Share of tags that both gave" }, "shared"))),
    make("tbody", {}, ...pairs.map((pair) => row(pair.users.join(" and "), pair)), ...(pairs.length > 1 ? [row("mean", mean)] : [])),
  );
}

function column({ user, tags, answered_at, is_sent_back }, index, isChosen, numOf, numAnswers, onclick) {
  const shade = (tag) => (numOf.get(tagKey(tag)) === numAnswers ? "all" : numOf.get(tagKey(tag)) === 1 ? "one" : "some");
  return make(
    "div",
    { class: "review-answer", role: "option", "aria-selected": String(isChosen), dataset: { user }, onclick },
    make("h3", {}, make("kbd", {}, String(index + 1)), ` ${user}`),
    make("p", { class: "soft" }, is_sent_back ? "sent back, not answered yet" : when(answered_at)),
    make("ol", {}, ...(tags.length ? tags.map((tag) => make("li", { class: numAnswers > 1 ? shade(tag) : "" }, tag)) : [make("li", { class: "soft" }, "no tags")])),
  );
}

/** Each tag with its rank in each answer. */
function tagTable({ tags, answers, places }) {
  if (answers.length < 2) return "";
  return make(
    "details", { class: "review-tags" },
    make("summary", {}, "Tag by tag, place by place"),
    make(
      "div", { class: "review-tables" },
      make(
        "table", {},
        make("thead", {}, make("tr", {}, make("th", {}, "Tag"), ...answers.map(({ user }) => make("th", {}, user)))),
        make("tbody", {}, ...tags.map(({ tag, places: own }) => make("tr", {}, make("th", { scope: "row" }, tag), ...own.map((place) => make("td", {}, place === null ? "–" : String(place)))))),
      ),
      make(
        "table", {},
        make("thead", {}, make("tr", {}, make("th", {}, "Place"), make("th", {}, "most often"), make("th", {}, "people"), make("th", { title: "Shared tags down to this place, over all pairs" }, "overlap"))),
        make("tbody", {}, ...places.map(({ place, tag, num_people, overlap }) => make("tr", {}, make("th", { scope: "row" }, String(place)), make("td", {}, tag), make("td", {}, String(num_people)), make("td", {}, figure(overlap))))),
      ),
    ),
  );
}

/** A time in the user's locale. */
export function when(iso) {
  const moment = new Date(iso);
  return Number.isNaN(moment.getTime()) ? "" : moment.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
