// The panel "Model": starting a training, its progress, the verdict of the promotion test, and the list of models, each
// of which can be promoted. Also the header's button, which shows a running training. Knows nothing of tags or photos.

import { count, make } from "./elements.js";
import { backboneText, visionText } from "./header.js";

const POLL_IDLE_MS = 10_000;
const POLL_TRAINING_MS = 700;
const CAUSES = { button: "by hand", corrections: "by itself, after new corrections", interval: "by itself, as time was up" };

/**
 * call(name, payload); dialogs as dialogs.js makes them; say(text) shows a status; onLive() is called when another
 * model went live. Returns the header's button and `refresh()`.
 */
export function createTraining({ call, dialogs, say, onLive }) {
  const button = make("button", { id: "learning", class: "pill", type: "button", hidden: true, onclick: open }, "Model");
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
    button.textContent = answer.is_training ? `Learning ${percent(share)}` : answer.waiting ? "Waiting to learn" : "Model";
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
    await dialogs.open({ id: "model-panel", title: "Model", wide: true, body: [panel.element] });
    panel = null;
  }

  /** Show which word vectors are used, or why none are, and which tags they lack. */
  function tellVectors(state) {
    const { word_vectors, tags_without_vector } = state;
    vision = `${backboneText(state)} ${visionText(state)}`.trim();
    panel?.tellVision(vision);
    vectors = `Near in meaning, by word vectors: ${word_vectors.replace(/\.$/, "")}. ${tags_without_vector}`.trim();
    panel?.tellVectors(vectors);
  }

  return { button, open, refresh, tellVectors };
}

function createPanel(act) {
  const learn = make("button", { id: "train-now", type: "button", class: "strong", onclick: () => act("train_now") }, "Train now");
  const cancel = make("button", { id: "cancel-training", type: "button", onclick: () => act("cancel_training") }, "Cancel");
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Learning" });
  const text = make("span", { id: "training-state", role: "status" });
  const problem = make("p", { id: "training-problem", class: "key-note", role: "alert", hidden: true });
  const last = make("p", { id: "verdict", class: "key-note", hidden: true });
  const after = make("input", { id: "train-after", type: "number", min: 0, max: 1_000_000, step: 1, onchange: changeAfter });
  const promotes = make("input", { id: "promotes", type: "checkbox", onchange: () => act("set_loop", { promotes: promotes.checked }) });
  const list = make("ul", { id: "models", class: "models" });
  const meanings = make("p", { id: "word-vectors", class: "soft" });
  const seeing = make("p", { id: "vision", class: "soft", hidden: true });
  const byItself = make("label", {}, "Train by itself after ", after, " new corrections (0: never)");
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
    last.textContent = models.last ? `Training ${models.last.run_id} (${CAUSES[models.last.cause] ?? models.last.cause}). ${models.last.sentence}` : "";
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
      make("div", { class: "loop-settings" }, byItself, make("label", {}, promotes, " A candidate that passes goes live by itself")),
      make("h3", {}, "Models, newest first"),
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
    `model ${model.model_id}`,
    model.parent_id && `taught from ${model.parent_id}`,
    model.num_fresh !== null && `${count(model.num_fresh, "new correction")}, ${model.num_replayed} replayed`,
    model.new_tags.length && count(model.new_tags.length, "new tag"),
    model.actions_per_photo !== null && `${model.actions_per_photo.toFixed(2)} actions a photo`,
    model.ndcg !== null && `NDCG ${model.ndcg.toFixed(3)}`,
    model.run_id && new Date(model.created_at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }),
  ].filter(Boolean);
  const choose = model.is_live
    ? make("b", { class: "live" }, "live")
    : make("button", { type: "button", dataset: { model: model.model_id }, onclick: () => act(isParent ? "roll_back" : "promote_model", { model_id: model.model_id }) }, isParent ? "Roll back to this" : "Let it propose");
  return make(
    "li",
    { class: model.is_live ? "model is-live" : "model", dataset: { id: model.model_id } },
    make("div", {}, make("b", {}, model.label), make("div", { class: "soft" }, facts.join(" · ")), model.verdict && make("details", {}, make("summary", { class: "soft" }, "Verdict"), make("p", {}, model.verdict))),
    choose,
  );
}

function idleText({ can_learn, why_not, num_new, settings, waiting, problem }) {
  if (!can_learn) return why_not;
  if (waiting) return waitingText(waiting);
  if (problem) return problem;
  const next = settings.train_after ? ` The next training starts by itself at ${settings.train_after}.` : "";
  return `${count(num_new, "new correction")} since the last training.${next}`;
}

/** In a hosted demo one training runs at a time, over all visitors. */
function waitingText({ position, seconds }) {
  if (!position) return "Starting…";
  return `Waiting for your turn: ${count(position, "training")} before yours, about ${Math.ceil(seconds / 5) * 5} s.`;
}

function progressText({ phase, share, loss, seconds_left, is_cancelled }) {
  if (is_cancelled) return "Cancelling…";
  if (phase === "learning") return `Learning ${percent(share)} · loss ${loss.toFixed(2)} · ${Math.ceil(seconds_left)} s left`;
  if (phase === "weighing") return `Weighing the sources ${percent(share)}`;
  if (phase === "judging") return `Judging the candidate ${percent(share)}`;
  return "Starting…";
}

const percent = (share) => `${Math.round(share * 100)}%`;
