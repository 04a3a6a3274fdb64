// First steps: what happens to the photos, in three lines, and six keys, two at a time. A hint goes once its key was pressed.
// What was learnt is remembered for each person in this browser. Knows nothing of tagging but the names of actions.

import { ROOT } from "./address.js";
import { icon, keycaps, make } from "./elements.js";
import { formatNumber } from "./formats.js";
import { keyPieces } from "./keys.js";
import { phrase, plural } from "./texts.js";

const DONE = "done";
const YEAR_SECONDS = 365 * 86_400;
const ICONS = {
  folder: ["M2 4.5h4l1.5 2H14v6.5H2Z"],
  lock: ["M4 7.5h8V13H4Z", "M5.5 7.5V5.5a2.5 2.5 0 0 1 5 0v2"],
  out: ["M8 10V2.5", "M5 5.5 8 2.5l3 3", "M2.5 9.5v4h11v-4"],
};
/** Pairs of steps, in the order in which they are taught: [action, keys that cannot be changed or null, what it does]. */
const WITH_KEYS = [
  [["take", ["1", "–", "9"], phrase("steps.keys.take")], ["save", null, phrase("steps.keys.save")]],
  [["type", ["a", "–", "z"], phrase("steps.keys.type")], ["move_up", null, phrase("steps.keys.move_up")]],
  [["undo", null, phrase("steps.keys.undo")], ["palette", null, phrase("steps.keys.palette")]],
];
const WITH_FINGERS = [
  [["take", [], phrase("steps.touch.take")], ["save", [], phrase("steps.touch.save")]],
  [["type", [], phrase("steps.touch.type")], ["move_up", [], phrase("steps.touch.move_up")]],
  [["undo", [], phrase("steps.touch.undo")], ["step", [], phrase("steps.touch.step")]],
];
const SAME = { move_down: "move_up", previous: "step", next: "step" };

/** The steps that are still shown: what is not learnt of the first pair that is not learnt whole. */
export function stepsToShow(pairs, learnt) {
  return pairs.map((pair) => pair.filter(([action]) => !learnt.includes(action))).find((pair) => pair.length) ?? [];
}

/** What happens to photos, as three short sentences: where they are, who sees them, and where the tags are. */
export function factsOf({ demo, vlm, sidecars, user }) {
  const isElsewhere = Boolean(vlm?.host) && !vlm.is_local;
  return [
    ["folder", phrase(sidecars ? "facts.sidecars" : "facts.read")],
    ["lock", demo ? phrase("facts.demo") : isElsewhere ? phrase("facts.copies", { host: vlm.host }) : phrase(user === "local" ? "facts.computer" : "facts.server")],
    ["out", phrase("facts.apart")],
  ];
}

/** The facts as a list. */
export function factsList(state) {
  return make("ul", { class: "first-facts" }, ...factsOf(state).map(([name, sentence]) => make("li", {}, icon(ICONS[name]), make("span", {}, sentence))));
}

/** changed() is called after the steps were shown or hidden; say(text) tells what became of them. */
export function createFirstSteps(root, { isTouch, say, changed, memory = cookieMemory }) {
  const pairs = isTouch ? WITH_FINGERS : WITH_KEYS;
  const num_steps = pairs.flat().length;
  let facts = make("ul", { class: "first-facts" });
  const steps = make("ol", { class: "first-keys", "aria-label": phrase(isTouch ? "steps.touch_label" : "steps.keys_label") });
  const place = make("span", { class: "soft first-place" });
  const skip = make("button", { type: "button", id: "skip-steps", class: "quiet", onclick: end }, phrase("steps.skip"));
  root.append(facts, steps, make("div", { class: "first-end" }, place, skip));
  let user = null;
  let learnt = null; // names of actions, or DONE; null as long as nobody is known
  let keys = {};
  let drawn = "";
  let byKey = true;
  let isEnding = false; // all is learnt: one sentence stays until the next photo

  const isShown = () => Array.isArray(learnt);

  // Only a key that was pressed is learnt: the buttons do the same by mouse.
  for (const sign of ["keydown", "pointerdown"]) document.addEventListener(sign, () => (byKey = sign === "keydown"), { capture: true });

  function draw() {
    if (!isShown()) return;
    const shown = stepsToShow(pairs, learnt);
    const text = JSON.stringify([shown, keys, learnt]);
    if (text === drawn) return;
    drawn = text;
    facts.hidden = learnt.includes("save") || isEnding;
    steps.replaceChildren(...(isEnding ? [make("li", {}, phrase(isTouch ? "steps.touch_end" : "steps.keys_end"))] : shown.map(step)));
    place.textContent = isEnding ? "" : phrase("common.of", { num: formatNumber(learnt.length), all: formatNumber(num_steps) });
    place.title = plural("steps.done", learnt.length, { all: formatNumber(num_steps) });
    skip.textContent = phrase(isEnding ? "common.close" : "steps.skip");
    skip.setAttribute("aria-label", phrase(isEnding ? "steps.close_label" : "steps.skip_label"));
  }

  function step([action, fixed, text]) {
    const pieces = fixed ?? (keys[action]?.[0] ? keyPieces(keys[action][0]) : []);
    const caps = pieces.flatMap((piece) => (piece === "–" ? ["–"] : keycaps([piece])));
    return make("li", { dataset: { step: action } }, caps.length ? make("span", { class: "caps" }, ...caps) : "", make("span", {}, text));
  }

  function setShown(isNow) {
    if (root.hidden === !isNow) return;
    root.hidden = !isNow;
    changed();
  }

  function end() {
    const wasWhole = isEnding;
    finish();
    if (!wasWhole) say(phrase("steps.later"));
  }

  function finish() {
    learnt = DONE;
    isEnding = false;
    memory.write(user, DONE);
    setShown(false);
  }

  return {
    isShown,
    /** The project's state is there, or has changed. */
    render(state) {
      if (user !== state.user) {
        user = state.user;
        learnt = state.may_annotate ? (memory.read(user) ?? []) : DONE;
      }
      if (isShown() && !facts.childElementCount) {
        const list = factsList(state);
        facts.replaceWith(list);
        facts = list;
      }
      draw();
      setShown(isShown());
    },
    setKeys(newKeys) {
      keys = newKeys;
      draw();
    },
    /** An action was carried out. */
    did(action) {
      const name = SAME[action] ?? action;
      if (!isShown() || isEnding || !(byKey || isTouch) || learnt.includes(name) || !pairs.flat().some(([other]) => other === name)) return;
      learnt = [...learnt, name];
      isEnding = learnt.length === num_steps;
      memory.write(user, isEnding ? DONE : learnt);
      draw();
    },
    /** Another photo is open. */
    opened() {
      if (isEnding) finish();
    },
    /** Begin anew. */
    restart() {
      learnt = [];
      isEnding = false;
      memory.write(user, learnt);
      draw();
      setShown(true);
      skip.focus({ preventScroll: true });
    },
  };
}

// A cookie, since the servers of several projects on one machine differ in their port, and each has its own storage.
const cookieName = (user) => `annotator_first_steps_${encodeURIComponent(user).replace(/[^\w%.-]/gu, "_")}`;
const cookieMemory = {
  read(user) {
    const found = document.cookie.split("; ").find((one) => one.startsWith(`${cookieName(user)}=`));
    const text = found?.slice(cookieName(user).length + 1);
    if (!text) return null;
    return text === DONE ? DONE : text.split(".").filter((name) => [...WITH_KEYS, ...WITH_FINGERS].flat().some(([action]) => action === name));
  },
  write(user, learnt) {
    const text = Array.isArray(learnt) ? learnt.join(".") || "begun" : learnt;
    document.cookie = `${cookieName(user)}=${text}; path=${ROOT.replace(/(.)\/$/u, "$1")}; max-age=${YEAR_SECONDS}; SameSite=Strict`;
  },
};
