// The header: project, progress of tagging and of reading photos, unreadable files, browse, export, help.
// Knows nothing of the current photo.

import { ROOT } from "./address.js";
import { count, formatNumber, make, typesText } from "./elements.js";

export const LOCAL_USER = "local";
export const EXPORTS = { jsonl: "JSON Lines", csv: "CSV" };

export function createHeader(root, { browse, unreadable, sidecars, help, exportTags, importTags, effort, review, timeline, chooseTagger, logOut, model }) {
  const project = make("b", { id: "project", class: "project" });
  const tagged = make("span", { id: "tagged", class: "soft" });
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Photos read" });
  const progress = make("span", { class: "soft" });
  const ingest = make("span", { id: "ingest", class: "pill ingest", hidden: true }, bar, progress);
  const asked = make("span", { id: "vlm", class: "pill", hidden: true });
  const broken = make("button", { id: "unreadable", class: "pill", type: "button", hidden: true, onclick: unreadable });
  const away = make("span", { id: "not-mounted", class: "pill", hidden: true });
  const unsettled = make("button", { id: "open-sidecars", class: "pill", type: "button", hidden: true, onclick: sidecars });
  const tagger = make("select", { id: "tagger", class: "pill tagger", "aria-label": "Tagger that proposes", title: "Tagger that proposes", onchange: () => chooseTagger(tagger.value) });
  const exporting = make("button", { id: "open-export", class: "quiet", type: "button", onclick: exportTags }, "Export…");
  const importing = make("button", { id: "open-import", class: "quiet", type: "button", hidden: true, onclick: importTags }, "Import…");
  let offered = "";
  const menu = make("details", { class: "menu" }, make("summary", { class: "pill", id: "export" }, "Export"), make("div", { class: "menu-list" }, exporting, importing, ...exportLinks(), make("button", { id: "open-effort", class: "quiet", type: "button", onclick: effort }, "Queue and effort…"), make("button", { id: "open-timeline", class: "quiet", type: "button", onclick: timeline }, "Time line of this photo…")));
  const userName = make("summary", { class: "pill", id: "account" });
  const account = make("details", { class: "menu", hidden: true }, userName, make("div", { class: "menu-list" }, make("button", { id: "log-out", class: "quiet", type: "button", onclick: logOut }, "Log out")));
  const reviewing = make("button", { id: "open-review", class: "pill", type: "button", hidden: true, onclick: review });
  root.append(
    make("div", { class: "title" }, project, tagged), ingest, asked, broken, away, unsettled, make("span", { class: "grow" }), tagger, model, reviewing,
    make("button", { id: "open-browse", class: "pill", type: "button", onclick: browse }, "Browse"),
    menu,
    account,
    make("button", { id: "open-help", class: "pill", type: "button", "aria-label": "Keys and help", title: "Keys and help", onclick: help }, "?"),
  );
  menu.addEventListener("click", (event) => event.target.closest("a, button") && menu.removeAttribute("open"));
  const menus = [menu, account];
  document.addEventListener("pointerdown", ({ target }) => menus.forEach((each) => each.contains(target) || each.removeAttribute("open")));

  return {
    closeMenu() {
      const wasOpen = menus.some(({ open }) => open);
      for (const each of menus) each.open = false;
      return wasOpen;
    },
    render(state) {
      project.textContent = state.project;
      project.title = state.project;
      tagged.textContent = `${formatNumber(state.num_saved)} of ${formatNumber(state.num_images)} tagged${state.states.empty ? `, ${formatNumber(state.states.empty)} without tags` : ""}`;
      exporting.hidden = Boolean(state.demo);
      importing.hidden = Boolean(state.demo) || !state.may_administer;
      account.hidden = state.user === LOCAL_USER;
      userName.textContent = state.user;
      const { in_review } = state.states;
      reviewing.hidden = !(state.may_review && in_review);
      reviewing.textContent = `Review ${formatNumber(in_review)}`;
      const choices = state.taggers ?? [];
      if (JSON.stringify(choices) !== offered) {
        offered = JSON.stringify(choices);
        tagger.replaceChildren(...choices.map(({ name, label }) => make("option", { value: name }, label)));
      }
      tagger.hidden = !choices.length;
      tagger.value = state.tagger;
      // The detector runs after the ingest.
      const { ingest: reading, detections: finding } = state;
      const run = reading.running || reading.error || !finding ? reading : finding;
      ingest.hidden = !run.running && !run.error;
      bar.hidden = !run.running;
      bar.max = Math.max(1, run.num_found);
      bar.value = run.num_done;
      const verb = run === reading ? "reading" : "finding things in";
      progress.textContent = run.error ? (run === reading ? `Reading stopped: ${run.error}` : run.error) : progressText(run, verb);
      progress.title = progress.textContent;
      asked.hidden = !state.vlm?.host;
      asked.textContent = state.vlm?.host ? `Photos go to ${state.vlm.host}` : "";
      asked.title = visionText(state);
      asked.classList.toggle("soon", Boolean(state.vlm?.error));
      broken.hidden = !state.num_unreadable;
      const folders = reading.not_mounted ?? [];
      away.hidden = !folders.length;
      away.textContent = `${count(folders.reduce((sum, { num_photos }) => sum + num_photos, 0), "photo")} not mounted`;
      away.title = folders.map(({ folder }) => `The folder ${folder} is missing or empty. Its photos keep their tags. If it is on another disk, connect that; if it was moved: annotator add.`).join("\n");
      broken.textContent = `${count(state.num_unreadable, "file")} unreadable`;
      broken.title = typesText(state.unread_types);
      const { num_changed = 0, num_failed = 0 } = state.sidecars ?? {};
      unsettled.hidden = !(num_changed || num_failed);
      unsettled.textContent = num_changed ? `${count(num_changed, "sidecar")} changed elsewhere` : `${count(num_failed, "sidecar")} not written`;
    },
  };
}

/** The sentence about the backbone and its text tower. */
export function backboneText({ backbone, text, ingest }) {
  const facts = [`Photos are seen by ${backbone}`];
  if (ingest?.photos_per_second) facts.push(`${ingest.photos_per_second} photos/s read in the last run`);
  if (text?.num_words) facts.push(`it compares them with ${formatNumber(text.num_ready)} of ${formatNumber(text.num_words)} words`);
  return `${facts.join(", ")}.${text?.error ? ` ${text.error}` : ""}`;
}

/** The sentences about the vision-language model; empty without one. */
export function visionText({ vlm }) {
  if (!vlm?.model) return "";
  if (!vlm.host) return `Vision-language model ${vlm.model}: its earlier answers are proposed; no photo is sent anywhere.`;
  const parts = [`Vision-language model ${vlm.model}: photos, made smaller and without metadata, and the frequent tags go to ${vlm.host}${vlm.is_local ? ", on this machine" : ""}.`];
  const facts = [`${count(vlm.num_asked, "photo")} asked about since the start`];
  if (vlm.seconds_each !== null) facts.push(`${vlm.seconds_each} s each`);
  if (vlm.num_tokens) facts.push(`${formatNumber(vlm.num_tokens)} tokens in this project`);
  if (vlm.num_useless) facts.push(`${count(vlm.num_useless, "answer")} of no use`);
  parts.push(`${facts.join(", ")}.`);
  if (vlm.error) parts.push(vlm.error);
  return parts.join(" ");
}

/** Download links, for the menu and for the page shown when all photos are tagged. */
export function exportLinks(className = "") {
  return Object.entries(EXPORTS).map(([format, label]) =>
    make("a", { class: className, href: `${ROOT}api/v1/export?format=${format}`, download: true, id: `export-${format}${className ? "-end" : ""}` }, `${className ? "Export " : ""}${label}`),
  );
}

function progressText({ num_done, num_found, photos_per_second, seconds_left }, verb) {
  const parts = [`${verb} ${formatNumber(num_done)} of ${formatNumber(num_found)}`];
  if (photos_per_second) parts.push(`${photos_per_second < 10 ? photos_per_second.toFixed(1) : Math.round(photos_per_second)}/s`);
  if (seconds_left !== null && seconds_left !== undefined && photos_per_second) parts.push(`${duration(seconds_left)} left`);
  return parts.join(" · ");
}

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
