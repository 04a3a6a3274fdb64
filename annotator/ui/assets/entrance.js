// The demo's entrance: shows the limits, requests a space, and waits in the queue when all are taken. token.js adds the
// token to the calls.

import { ROOT } from "./address.js";

const ASK_AGAIN_MS = 5000;
const ENDS = "annotator/demo-ends"; // visitor.js stores when the last space ends

const at = (id) => document.getElementById(id);
const button = at("enter");
const limits = {
  minutes: (value) => `${value} minutes`,
  idle_minutes: (value) => `${value} minutes`,
  max_photos: (value) => `${value} photos`,
  max_photo_bytes: (value) => `${Math.round(value / 1e6)} MB`,
};

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.ceil(seconds / 10) * 10)} seconds`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`;
}

async function tellLimits() {
  const about = await (await fetch(`${ROOT}api/v1/demo/about`)).json();
  for (const place of document.querySelectorAll("[data-limit]")) place.textContent = limits[place.dataset.limit](about[place.dataset.limit]);
}

/** Tell a visitor who returns that their space has ended, and delete its data in this browser. */
function tellOver() {
  try {
    const ended = Number(localStorage.getItem(ENDS));
    // Not clear(): behind a proxy, other programs may share the host name.
    for (const key of Object.keys(localStorage)) if (key.startsWith("annotator/")) localStorage.removeItem(key);
    if (!ended) return;
  } catch {
    return; // no storage, so nothing was stored
  }
  at("over").textContent = "Your space is over. Its photos, tags and models were deleted.";
  at("over").hidden = false;
}

async function enter() {
  button.disabled = true;
  at("problem").textContent = "";
  try {
    const answer = await fetch(`${ROOT}api/v1/demo/enter`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
    const { state, position, seconds_at_most, error } = await answer.json();
    if (state === "open") return location.replace(ROOT);
    if (state === "waiting") return wait(position, seconds_at_most);
    fail(error?.message ?? `The server answered ${answer.status}.`);
  } catch {
    fail("The server does not answer.");
  }
}

function wait(position, seconds) {
  button.hidden = true;
  const place = document.createElement("b");
  place.textContent = position === 1 ? "You are next" : `You are number ${position} in the queue`;
  const text = `All spaces are taken. A place is yours in ${duration(seconds)} at most, and sooner if somebody leaves early. Keep this page open.`;
  at("queue").replaceChildren(place, document.createElement("br"), text);
  at("queue").hidden = false;
  document.title = `${position} in the queue - annotator`;
  setTimeout(enter, ASK_AGAIN_MS);
}

function fail(message) {
  at("queue").hidden = true;
  button.hidden = button.disabled = false;
  at("problem").textContent = message;
}

button.addEventListener("click", enter);
tellOver();
tellLimits().catch(() => {}); // the text is complete without the figures
