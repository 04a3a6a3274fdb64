// Additions of the hosted demo to the page: when the space ends, adding photos, exporting the tags, ending the space.
// Knows nothing of tags.

import { ROOT } from "./address.js";
import { make } from "./elements.js";
import { formatHour, formatMegabytes, formatNumber, formatSize } from "./formats.js";
import { exportLinks } from "./header.js";
import { problemText } from "./problems.js";
import { phrase, plural } from "./texts.js";

const ENDS = "annotator/demo-ends"; // read by entrance.js
const TICK_MS = 10_000;
const TYPES = "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff";

/**
 * root: the page; dialogs and say as in page.js; added() is called when photos were added.
 * Returns `render(state)`, and `emptyPage()` for when there are no photos yet.
 */
export function createVisitor(root, { dialogs, say, added }) {
  const pill = make("button", { id: "open-demo", class: "pill demo-pill", type: "button", onclick: open, hidden: true });
  const input = make("input", { id: "photo-files", type: "file", accept: TYPES, multiple: true, hidden: true, onchange: () => send([...input.files]) });
  const overlay = make("div", { class: "drop-overlay", hidden: true }, phrase("demo.drop"));
  root.append(input, overlay);
  root.querySelector("#open-palette").before(pill);
  let demo = null;
  let isSending = false;
  let progress = null; // the element for the progress of an upload, while it is shown

  function render(state) {
    if (!state.demo) return;
    if (!demo) begin();
    demo = state.demo;
    tick();
  }

  function begin() {
    setInterval(tick, TICK_MS);
    root.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      overlay.hidden = false;
    });
    root.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget || !root.contains(event.relatedTarget)) overlay.hidden = true;
    });
    root.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      overlay.hidden = true;
      send([...event.dataTransfer.files]);
    });
  }

  function tick() {
    const minutes = Math.max(0, Math.ceil((demo.ends_at * 1000 - Date.now()) / 60_000));
    pill.hidden = false;
    pill.textContent = phrase("demo.left", { num: formatNumber(minutes) });
    pill.classList.toggle("soon", minutes <= 5);
    try {
      localStorage.setItem(ENDS, String(demo.ends_at));
    } catch {
      // no storage: the entrance then shows no message after the end of the space
    }
  }

  /** Upload files one after the other; each refused file is listed with its reason. */
  async function send(files) {
    input.value = "";
    if (isSending || !files.length) return;
    isSending = true;
    const refused = [];
    let num_taken = 0;
    for (const [index, file] of files.entries()) {
      tell(phrase("demo.adding", { num: formatNumber(index + 1), all: formatNumber(files.length) }));
      const { answer, problem } = await sendOne(file);
      if (answer) {
        num_taken += 1;
        added();
      }
      else refused.push(phrase("import.file_problem", { name: file.name, problem }));
    }
    isSending = false;
    tell(num_taken ? plural("demo.added", num_taken) : phrase("demo.added_none"));
    if (refused.length) tellRefused(refused);
  }

  function sendOne(file) {
    if (file.size > demo.max_photo_bytes) {
      return { problem: phrase("demo.too_large", { size: formatSize(file.size), most: formatMegabytes(demo.max_photo_bytes) }) };
    }
    const body = new FormData();
    body.append("photo", file);
    return post(`${ROOT}api/v1/demo/photos`, { body });
  }

  async function addSamples() {
    tell(phrase("demo.adding_samples"));
    const { answer, problem } = await post(`${ROOT}api/v1/demo/samples`, {});
    tell(answer ? phrase("demo.added_samples") : problem);
    if (answer) added();
  }

  function tell(text) {
    if (progress?.isConnected) progress.textContent = text;
    else say(text);
  }

  function tellRefused(refused) {
    dialogs.open({ id: "refused-photos", title: phrase("demo.not_added"), body: [make("ul", { class: "unreadable-list" }, ...refused.map((text) => make("li", {}, text)))] });
  }

  function buttons() {
    return make(
      "div",
      { class: "rest-buttons" },
      make("button", { id: "choose-photos", class: "strong", type: "button", onclick: () => input.click() }, phrase("demo.choose")),
      make("button", { id: "add-samples", type: "button", onclick: addSamples }, phrase("demo.samples")),
    );
  }

  function promise() {
    return plural("demo.promise", demo.idle_minutes, { time: formatHour(demo.ends_at * 1000) });
  }

  /** The content shown while there is no photo. */
  function emptyPage() {
    progress = make("p", { id: "upload-progress", class: "soft", role: "status" });
    return make(
      "div",
      { class: "drop-area", id: "drop-area" },
      make("h1", {}, phrase("demo.drop_few")),
      make("p", { class: "soft" }, plural("demo.limits", demo.max_photos, { size: formatMegabytes(demo.max_photo_bytes) })),
      buttons(),
      progress,
      make("p", { class: "soft small" }, promise()),
    );
  }

  function open() {
    progress = make("p", { class: "soft", role: "status" });
    const leave = make("button", { id: "end-demo", type: "button", onclick: () => (leave.dataset.sure ? end() : askTwice(leave)) }, phrase("demo.delete"));
    dialogs.open({
      id: "demo-panel",
      title: phrase("demo.title"),
      body: [
        make("p", {}, promise()),
        make("h3", {}, plural("demo.num_photos", demo.max_photos, { taken: formatNumber(demo.num_photos) })),
        buttons(),
        progress,
        make("h3", {}, phrase("demo.take_away")),
        make("div", { class: "rest-buttons" }, ...exportLinks("button demo")),
        make("h3", {}, phrase("demo.done")),
        leave,
      ],
    });
  }

  return { render, emptyPage, isHere: () => demo !== null };
}

function askTwice(button) {
  button.dataset.sure = "yes";
  button.textContent = phrase("demo.sure");
}

async function end() {
  const { answer, problem } = await post(`${ROOT}api/v1/demo/leave`, {});
  if (answer || problem === "gone") location.assign(ROOT);
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

async function post(path, options) {
  try {
    const response = await fetch(path, { method: "POST", ...options });
    const answer = await response.json();
    if (response.status === 401) {
      location.assign(ROOT); // the space has ended
      return { problem: phrase("demo.over") };
    }
    return response.ok ? { answer } : { problem: answer.error ? problemText(answer.error) : phrase("server.status", { status: response.status }) };
  } catch {
    return { problem: phrase("server.silent") };
  }
}
