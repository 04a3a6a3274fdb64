// The panel "Model": starting a training, its progress, the verdict of the promotion test, and the list of models, each
// of which can be promoted. Also the header's button, which shows a running training. Knows nothing of tags or photos.

import { make } from "./elements.js";
import { formatDecimal, formatNumber, formatPercent, formatTime } from "./formats.js";
import { backboneText, visionText } from "./header.js";
import { phrase, phraseNodes, plural } from "./texts.js";

const POLL_IDLE_MS = 10_000;
const POLL_TRAINING_MS = 700;
const CAUSES = { button: phrase("model.by_hand"), corrections: phrase("model.by_corrections"), interval: phrase("model.by_interval"), submitted: phrase("model.by_submission") };

/**
 * call(name, payload); dialogs as dialogs.js makes them; say(text) shows a status; onLive() is called when another
 * model went live. Returns the header's button and `refresh()`.
 */
export function createTraining({ call, dialogs, say, onLive }) {
  const button = make("button", { id: "learning", class: "pill", type: "button", hidden: true, onclick: open }, phrase("model.title"));
  let models = null; // the newest answer of the operation "models"
  let panel = null; // the open panel
  let vectors = "";
  let vision = "";
  let timer;

  async function refresh() {
    clearTimeout(timer);
    try {
      took(await call("models"));
    } catch (error) {
      if (error.kind === undefined) throw error;
      panel?.problem(error.message);
    }
    timer = setTimeout(() => (document.hidden ? wait() : refresh()), models?.is_training || models?.waiting ? POLL_TRAINING_MS : POLL_IDLE_MS);
  }

  function wait() {
    document.addEventListener("visibilitychange", refresh, { once: true });
  }

  function took(answer) {
    const before = models;
    models = answer;
    const share = answer.progress?.share ?? 0;
    button.hidden = !(answer.is_training || answer.waiting);
    button.textContent = answer.is_training ? phrase("model.learning", { share: formatPercent(share) }) : phrase(answer.waiting ? "model.waiting" : "model.title");
    button.classList.toggle("learning", answer.is_training);
    panel?.render(answer);
    if (!before) return;
    if (before.is_training && !answer.is_training && answer.last && !panel) say(answer.last.sentence);
    if (before.live_id !== answer.live_id) onLive();
  }

  /** Call an operation, then show its result. */
  async function act(name, payload = {}) {
    panel?.problem("");
    try {
      await call(name, payload);
    } catch (error) {
      if (error.kind === undefined) throw error;
      panel?.problem(error.message);
    }
    await refresh();
  }

  async function open() {
    panel = createPanel(act);
    if (models) panel.render(models);
    panel.tellVectors(vectors);
    panel.tellVision(vision);
    refresh();
    call("state").then(tellVectors, () => {}); // otherwise the page requests the state only while photos are read
    await dialogs.open({ id: "model-panel", title: phrase("model.title"), wide: true, body: [panel.element] });
    panel = null;
  }

  /** Show which word vectors are used, or why none are, and which tags they lack. */
  function tellVectors(state) {
    const { word_vectors, tags_without_vector } = state;
    vision = `${backboneText(state)} ${visionText(state)}`.trim();
    panel?.tellVision(vision);
    vectors = [phrase("model.vectors", { vectors: word_vectors.replace(/\.$/, "") }), tags_without_vector].filter(Boolean).join(" ");
    panel?.tellVectors(vectors);
  }

  return { button, open, refresh, tellVectors };
}

function createPanel(act) {
  const learn = make("button", { id: "train-now", type: "button", class: "strong", onclick: () => act("train_now") }, phrase("model.train"));
  const cancel = make("button", { id: "cancel-training", type: "button", onclick: () => act("cancel_training") }, phrase("common.cancel"));
  const bar = make("progress", { max: 1, value: 0, "aria-label": phrase("model.learning_label") });
  const text = make("span", { id: "training-state", role: "status" });
  const problem = make("p", { id: "training-problem", class: "key-note", role: "alert", hidden: true });
  const last = make("p", { id: "verdict", class: "key-note", hidden: true });
  const after = make("input", { id: "train-after", type: "number", min: 0, max: 1_000_000, step: 1, onchange: changeAfter });
  const promotes = make("input", { id: "promotes", type: "checkbox", onchange: () => act("set_loop", { promotes: promotes.checked }) });
  const list = make("ul", { id: "models", class: "models" });
  const meanings = make("p", { id: "word-vectors", class: "soft" });
  const seeing = make("p", { id: "vision", class: "soft", hidden: true });
  const byItself = make("label", {}, ...phraseNodes("model.train_after", { num: after }));
  let shown = "";

  function changeAfter() {
    if (after.value !== "" && after.validity.valid) act("set_loop", { train_after: Number(after.value) });
  }

  function render(models) {
    learn.hidden = models.is_training || Boolean(models.waiting);
    learn.disabled = !models.can_learn;
    cancel.hidden = !learn.hidden;
    byItself.hidden = Boolean(models.by_hand_only);
    cancel.disabled = Boolean(models.progress?.is_cancelled);
    bar.hidden = !models.is_training;
    bar.value = models.progress?.share ?? 0;
    text.textContent = models.is_training ? progressText(models.progress) : idleText(models);
    last.hidden = !models.last;
    last.textContent = models.last ? phrase("model.last", { run: models.last.run_id, cause: CAUSES[models.last.cause] ?? models.last.cause, sentence: models.last.sentence }) : "";
    if (document.activeElement !== after) after.value = models.settings.train_after;
    promotes.checked = models.settings.promotes;
    const rows = JSON.stringify(models.models);
    if (rows === shown) return; // unchanged rows are kept, and with them the focus
    shown = rows;
    const focused = document.activeElement?.dataset?.model;
    list.replaceChildren(...models.models.map((model) => modelRow(model, models, act)));
    if (focused && list.isConnected) (list.querySelector(`[data-model="${focused}"]`) ?? learn).focus();
  }

  return {
    element: make(
      "div",
      { class: "model-panel" },
      make("div", { class: "training" }, learn, cancel, bar, text),
      problem,
      last,
      make("div", { class: "loop-settings" }, byItself, make("label", {}, promotes, " ", phrase("model.promotes"))),
      make("h3", {}, phrase("model.list")),
      list,
      seeing,
      meanings,
    ),
    render,
    tellVision(sentence) {
      seeing.textContent = sentence;
      seeing.hidden = !sentence;
    },
    tellVectors(sentence) {
      meanings.textContent = sentence;
    },
    problem(message) {
      problem.hidden = !message;
      problem.textContent = message;
    },
  };
}

function modelRow(model, { models, live_id }, act) {
  const live = models.find(({ model_id }) => model_id === live_id);
  const isParent = live?.parent_id === model.model_id;
  const facts = [
    phrase("model.number", { num: model.model_id }),
    model.parent_id && phrase("model.parent", { num: model.parent_id }),
    model.num_fresh !== null && plural("model.corrections", model.num_fresh, { replayed: formatNumber(model.num_replayed) }),
    model.new_tags.length && plural("model.new_tags", model.new_tags.length),
    model.actions_per_photo !== null && phrase("model.actions", { num: formatDecimal(model.actions_per_photo, 2) }),
    model.ndcg !== null && `NDCG ${formatDecimal(model.ndcg, 3)}`,
    model.run_id && formatTime(model.created_at),
  ].filter(Boolean);
  const choose = model.is_live
    ? make("b", { class: "live" }, phrase("model.live"))
    : make("button", { type: "button", dataset: { model: model.model_id }, onclick: () => act(isParent ? "roll_back" : "promote_model", { model_id: model.model_id }) }, phrase(isParent ? "model.roll_back" : "model.promote"));
  return make(
    "li",
    { class: model.is_live ? "model is-live" : "model", dataset: { id: model.model_id } },
    make("div", {}, make("b", {}, model.label), make("div", { class: "soft" }, facts.join(" · ")), model.verdict && make("details", {}, make("summary", { class: "soft" }, phrase("model.verdict")), make("p", {}, model.verdict))),
    choose,
  );
}

function idleText({ can_learn, why_not, num_new, settings, waiting, problem }) {
  if (!can_learn) return why_not;
  if (waiting) return waitingText(waiting);
  if (problem) return problem;
  const next = settings.train_after ? phrase("model.next", { num: formatNumber(settings.train_after) }) : "";
  return [plural("model.since", num_new), next].filter(Boolean).join(" ");
}

/** In a hosted demo one training runs at a time, over all visitors. */
function waitingText({ position, seconds }) {
  if (!position) return phrase("model.starting");
  return plural("model.turn", position, { seconds: formatNumber(Math.ceil(seconds / 5) * 5) });
}

function progressText({ phase, share, loss, seconds_left, is_cancelled }) {
  if (is_cancelled) return phrase("model.cancelling");
  if (phase === "learning") return phrase("model.progress", { share: formatPercent(share), loss: formatDecimal(loss, 2), seconds: formatNumber(Math.ceil(seconds_left)) });
  if (phase === "weighing") return phrase("model.weighing", { share: formatPercent(share) });
  if (phase === "judging") return phrase("model.judging", { share: formatPercent(share) });
  return phrase("model.starting");
}
