// Projects: recent ones, a folder of photos or a project to open, and the demo. Each is served by a process of its own, and
// the browser goes there. Knows nothing of the project that is open.

import { newestOnly } from "./calls.js";
import { icon, make } from "./elements.js";
import { formatList } from "./formats.js";
import { phrase, plural } from "./texts.js";

const WAIT_MS = 250;
const POLL_MS = 500;
const FOLDER = ["M2 4.5h4l1.5 2H14v6.5H2Z"];
const UP = ["M8 13V3.5", "M4 7.5 8 3.5l4 4"];
const PROJECT = ["M3 2.5h10v11l-5-3-5 3Z"];

/** call(name, payload); go(address) leaves for another page. */
export function showProjects(dialogs, { call, go }) {
  const recent = make("ul", { class: "project-list", id: "recent-projects" });
  const path = make("input", { id: "project-path", type: "text", maxlength: "4000", autocomplete: "off", spellcheck: "false", autocapitalize: "off", oninput: typed });
  const about = make("p", { class: "soft", id: "folder-about", role: "status" });
  const folders = make("ul", { class: "project-list", id: "folders" });
  const note = make("p", { class: "project-note", id: "projects-note", role: "status" });
  const trouble = make("p", { class: "review-trouble", id: "projects-trouble", role: "alert" });
  const go_there = make("button", { type: "submit", class: "strong", id: "open-path" }, phrase("projects.open"));
  const demo = make("button", { type: "button", id: "open-the-demo", onclick: () => open({ demo: true }, phrase("projects.opening_demo")) }, phrase("projects.open_demo"));
  const form = make(
    "form",
    { class: "projects", onsubmit: (event) => (event.preventDefault(), open({ path: path.value }, phrase("projects.opening"))) },
    make("section", { "aria-labelledby": "projects-recent" }, make("h3", { id: "projects-recent" }, phrase("projects.recent")), recent),
    make(
      "section",
      { "aria-labelledby": "projects-folder" },
      make("h3", { id: "projects-folder" }, make("label", { for: "project-path" }, phrase("projects.folder"))),
      make("div", { class: "project-path" }, path, go_there),
      note,
      trouble,
      about,
      folders,
    ),
    make("section", { class: "project-demo", "aria-labelledby": "projects-demo" }, make("div", {}, make("h3", { id: "projects-demo" }, phrase("projects.demo")), make("p", { class: "soft" }, phrase("projects.demo_note"))), demo),
  );
  const ask = newestOnly((text) => call("list_folder", { path: text }));
  let timer = 0;
  let isOpen = true;
  let isBusy = false;

  function item(shown, label, where, marks, onclick, ...more) {
    return make("li", {}, make("button", { type: "button", class: "project-item", title: where || null, onclick }, icon(shown), make("bdi", { class: "project-name", lang: "" }, label), where && make("bdi", { class: "soft project-where", lang: "" }, where), ...marks.map((mark) => make("span", { class: "project-mark" }, mark))), ...more);
  }

  function typed() {
    clearTimeout(timer);
    trouble.textContent = "";
    timer = setTimeout(() => list(path.value, { isTyped: true }), WAIT_MS);
  }

  /** Show a folder; what is half typed may be none yet, so the list stays as it is then. */
  async function list(text, { isTyped = false, focuses = false } = {}) {
    clearTimeout(timer);
    try {
      const found = await ask(text);
      if (!found || !isOpen) return;
      if (!isTyped) path.value = found.path;
      about.textContent = found.is_project ? phrase("projects.is_project") : folderText(found.num_photos, found.folders.length);
      const rows = found.folders.map((folder) => item(folder.is_project ? PROJECT : FOLDER, folder.name, "", folder.is_project ? [phrase("projects.mark")] : [], () => list(folder.path, { focuses: true })));
      folders.replaceChildren(...(found.parent ? [item(UP, phrase("projects.above"), found.parent, [], () => list(found.parent, { focuses: true }))] : []), ...rows);
      folders.scrollTop = 0;
      if (focuses) (folders.querySelector("li:nth-child(2) button") ?? folders.querySelector("button") ?? path).focus();
    } catch (error) {
      if (error.kind === undefined) throw error;
      if (isTyped) about.textContent = "";
      else trouble.textContent = error.message;
    }
  }

  /** Have it served, and go there once it answers. */
  async function open(payload, sentence) {
    if (isBusy) return;
    setBusy(true);
    trouble.textContent = "";
    note.textContent = sentence;
    try {
      let answer = await call("open_project", payload);
      while (answer.state === "starting" && isOpen) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        if (isOpen) answer = await call("open_project", payload);
      }
      if (!isOpen) return;
      note.textContent = { ready: phrase("projects.ready", { address: answer.address }), here: phrase("projects.here") }[answer.state] ?? "";
      trouble.textContent = answer.problem;
      if (answer.state === "ready") go(answer.address);
    } catch (error) {
      if (error.kind === undefined) throw error;
      note.textContent = "";
      trouble.textContent = error.message;
    }
    setBusy(false);
  }

  /** End the server of a project that was opened from here; what was saved and begun there stays. */
  async function end(folder, name) {
    if (isBusy) return;
    setBusy(true);
    trouble.textContent = "";
    note.textContent = phrase("projects.ending", { name });
    try {
      while ((await call("close_project", { path: folder })).state === "ending" && isOpen) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (!isOpen) return;
      note.textContent = phrase("projects.ended", { name });
    } catch (error) {
      if (error.kind === undefined) throw error;
      note.textContent = "";
      trouble.textContent = error.message;
    }
    setBusy(false);
    await load();
    path.focus(); // the button that was pressed is gone
  }

  function setBusy(isNow) {
    isBusy = isNow;
    form.setAttribute("aria-busy", String(isNow));
    form.classList.toggle("busy", isNow);
  }

  function recentItem({ folder, name, photos, is_here, is_running }) {
    const marks = is_here ? [phrase("projects.open_now")] : is_running ? [phrase("projects.running")] : [];
    const more = is_running ? [make("button", { type: "button", class: "project-end", "aria-label": phrase("projects.end_named", { name }), onclick: () => end(folder, name) }, phrase("projects.end"))] : [];
    return item(PROJECT, name, formatList(photos) || folder, marks, () => open({ path: folder }, phrase("projects.opening_named", { name })), ...more);
  }

  async function load() {
    try {
      const answer = await call("projects");
      recent.replaceChildren(...answer.recent.map(recentItem));
      if (!answer.recent.length) recent.replaceChildren(make("li", { class: "soft" }, phrase("projects.none")));
      if (!path.value) list(answer.start);
    } catch (error) {
      if (error.kind === undefined) throw error;
      trouble.textContent = error.message;
    }
  }

  /** Arrow keys go through the lists, as Tab would be long. */
  function onkey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    const stops = [...form.querySelectorAll(".project-item, #project-path")];
    const next = stops[stops.indexOf(document.activeElement) + step];
    if (!next || !stops.includes(document.activeElement)) return;
    event.preventDefault();
    next.focus();
  }

  load();
  return dialogs.open({ id: "projects", title: phrase("projects.title"), wide: true, body: [form], onkey, focus: path }).then(() => {
    isOpen = false;
    clearTimeout(timer);
  });
}

/** What a folder holds. */
function folderText(num_photos, num_folders) {
  const photos = num_photos ? plural("projects.photos", num_photos) : phrase("projects.no_photo");
  return phrase("common.sentence", { parts: formatList([photos, ...(num_folders ? [plural("projects.folders", num_folders)] : [])]) });
}
