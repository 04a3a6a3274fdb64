// The demo's entrance: shows the limits, requests a space, and waits in the queue when all are taken. token.js adds the
// token to the calls.

import { ROOT } from "./address.js";
import { make } from "./elements.js";
import { countPhotos, formatMegabytes, formatNumber } from "./formats.js";
import { problemText } from "./problems.js";
import { writeStaticTexts } from "./static_texts.js";
import { phrase, phraseNodes, plural } from "./texts.js";

const ASK_AGAIN_MS = 5000;
const ENDS = "annotator/demo-ends"; // visitor.js stores when the last space ends

const at = (id) => document.getElementById(id);
const button = at("enter");
const limits = {
  minutes: (value) => plural("count.minutes", value),
  idle_minutes: (value) => plural("count.minutes", value),
  max_photos: (value) => countPhotos(value),
  max_photo_bytes: formatMegabytes,
};
const UNKNOWN = { minutes: phrase("entrance.an_hour"), idle_minutes: phrase("entrance.some_minutes"), max_photos: phrase("entrance.few_photos"), max_photo_bytes: phrase("entrance.some_size") };

function duration(seconds) {
  if (seconds < 90) return plural("count.seconds", Math.max(1, Math.ceil(seconds / 10) * 10));
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? plural("count.minutes", minutes) : plural("count.hours", Math.ceil(minutes / 60));
}

/** Write the promises; without the limits, in general words. */
function writePromises(about = null) {
  const values = Object.fromEntries(Object.entries(limits).map(([name, shown]) => [name, about ? shown(about[name]) : UNKNOWN[name]]));
  for (const name of ["private", "short", "small"]) {
    at(name).replaceChildren(...phraseNodes(`entrance.${name}`, { ...values, name: make("b", {}, phrase(`entrance.${name}_name`)) }));
  }
}

async function tellLimits() {
  writePromises(await (await fetch(`${ROOT}api/v1/demo/about`)).json());
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
  at("over").textContent = phrase("entrance.over");
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
    fail(error ? problemText(error) : phrase("server.status", { status: answer.status }));
  } catch {
    fail(phrase("server.silent"));
  }
}

function wait(position, seconds) {
  button.hidden = true;
  const place = document.createElement("b");
  place.textContent = position === 1 ? phrase("entrance.next") : phrase("entrance.number", { num: formatNumber(position) });
  const text = phrase("entrance.queue", { time: duration(seconds) });
  at("queue").replaceChildren(place, document.createElement("br"), text);
  at("queue").hidden = false;
  document.title = phrase("entrance.queue_title", { num: formatNumber(position) });
  setTimeout(enter, ASK_AGAIN_MS);
}

function fail(message) {
  at("queue").hidden = true;
  button.hidden = button.disabled = false;
  at("problem").textContent = message;
}

button.addEventListener("click", enter);
writeStaticTexts(document);
document.title = phrase("entrance.title");
writePromises();
tellOver();
tellLimits().catch(() => {}); // the text is complete without the figures
