// Additions of the hosted demo to the page: when the space ends, adding photos, exporting the tags, ending the space.
// Knows nothing of tags.

import { ROOT } from "./address.js";
import { exportLinks } from "./header.js";
import { count, make } from "./elements.js";

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
  const overlay = make("div", { class: "drop-overlay", hidden: true }, "Drop photos to add them");
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
    pill.textContent = `Demo · ${minutes} min left`;
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
      tell(`Adding photo ${index + 1} of ${files.length}…`);
      const { answer, problem } = await sendOne(file);
      if (answer) {
        num_taken += 1;
        added();
      }
      else refused.push(`${file.name}: ${problem}`);
    }
    isSending = false;
    tell(num_taken ? `${count(num_taken, "photo")} added.` : "No photo was added.");
    if (refused.length) tellRefused(refused);
  }

  function sendOne(file) {
    if (file.size > demo.max_photo_bytes) {
      return { problem: `It has ${(file.size / 1e6).toFixed(1)} MB; here a photo may have ${Math.round(demo.max_photo_bytes / 1e6)} MB at most.` };
    }
    const body = new FormData();
    body.append("photo", file);
    return post(`${ROOT}api/v1/demo/photos`, { body });
  }

  async function addSamples() {
    tell("Adding the sample photos…");
    const { answer, problem } = await post(`${ROOT}api/v1/demo/samples`, {});
    tell(answer ? "The sample photos were added." : problem);
    if (answer) added();
  }

  function tell(text) {
    if (progress?.isConnected) progress.textContent = text;
    else say(text);
  }

  function tellRefused(refused) {
    dialogs.open({ id: "refused-photos", title: "Not added", body: [make("ul", { class: "unreadable-list" }, ...refused.map((text) => make("li", {}, text)))] });
  }

  function buttons() {
    return make(
      "div",
      { class: "rest-buttons" },
      make("button", { id: "choose-photos", class: "strong", type: "button", onclick: () => input.click() }, "Choose photos…"),
      make("button", { id: "add-samples", type: "button", onclick: addSamples }, "Use the sample photos"),
    );
  }

  function promise() {
    const end = new Date(demo.ends_at * 1000).toLocaleTimeString("en-GB", { timeStyle: "short" });
    return `Only you see what is in here. At ${end}, or ${demo.idle_minutes} minutes after you closed the page, the photos, tags and models are deleted. Photos are kept without their metadata.`;
  }

  /** The content shown while there is no photo. */
  function emptyPage() {
    progress = make("p", { id: "upload-progress", class: "soft", role: "status" });
    return make(
      "div",
      { class: "drop-area", id: "drop-area" },
      make("h1", {}, "Drop a few photos here"),
      make("p", { class: "soft" }, `Up to ${demo.max_photos} photos of ${Math.round(demo.max_photo_bytes / 1e6)} MB: JPEG, PNG, WebP, GIF, BMP or TIFF.`),
      buttons(),
      progress,
      make("p", { class: "soft small" }, promise()),
    );
  }

  function open() {
    progress = make("p", { class: "soft", role: "status" });
    const leave = make("button", { id: "end-demo", type: "button", onclick: () => (leave.dataset.sure ? end() : askTwice(leave)) }, "Delete everything now");
    dialogs.open({
      id: "demo-panel",
      title: "Your demo space",
      body: [
        make("p", {}, promise()),
        make("h3", {}, `${demo.num_photos} of ${count(demo.max_photos, "photo")}`),
        buttons(),
        progress,
        make("h3", {}, "Take the saved tags away"),
        make("div", { class: "rest-buttons" }, ...exportLinks("button demo")),
        make("h3", {}, "Done?"),
        leave,
      ],
    });
  }

  return { render, emptyPage, isHere: () => demo !== null };
}

function askTwice(button) {
  button.dataset.sure = "yes";
  button.textContent = "Press again: photos, tags and models go for good";
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
      return { problem: "This space is over." };
    }
    return response.ok ? { answer } : { problem: answer.error?.message ?? `The server answered ${response.status}.` };
  } catch {
    return { problem: "The server does not answer." };
  }
}
