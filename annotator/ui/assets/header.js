// The header: project, progress of tagging and of reading photos, unreadable files, browse, export, help.
// Knows nothing of the current photo.

import { ROOT } from "./address.js";
import { count, formatNumber, icon, keycaps, make, typesText } from "./elements.js";
import { keyPieces } from "./keys.js";

export const LOCAL_USER = "local";
export const EXPORTS = { jsonl: "JSON Lines", csv: "CSV" };

const SEARCH = ["M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z", "m10 10 3.5 3.5"];
const DOTS = ["M3 8h.01M8 8h.01M13 8h.01"];

/**
 * entries: the commands of the menu (page.js), [{ id, label, keys, run } or { element } or null for a line]; further
 * handlers: tag() and browse() show the two views, palette() the command palette.
 */
export function createHeader(root, { entries, tag, browse, palette, unreadable, notices, sidecars, review, chooseTagger, logOut, model }) {
  const project = make("h1", { id: "project", class: "project" });
  const tagged = make("span", { id: "tagged" });
  const done = make("i");
  const meter = make("span", { class: "meter", "aria-hidden": "true" }, done);
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Photos read" });
  const progress = make("span", { class: "soft" });
  const ingest = make("span", { id: "ingest", class: "pill ingest", hidden: true }, bar, progress);
  const asked = make("span", { id: "vlm", class: "pill", hidden: true });
  const broken = make("button", { id: "unreadable", class: "pill", type: "button", hidden: true, onclick: unreadable });
  const away = make("span", { id: "not-mounted", class: "pill", hidden: true });
  const lacking = make("button", { id: "notices", class: "pill soon", type: "button", hidden: true, onclick: () => notices(told) }, "Something is missing");
  let told = [];
  const unsettled = make("button", { id: "open-sidecars", class: "pill", type: "button", hidden: true, onclick: sidecars });
  const views = [
    make("button", { id: "open-tag", type: "button", "aria-pressed": "true", onclick: tag }, "Tag"),
    make("button", { id: "open-browse", type: "button", "aria-pressed": "false", onclick: browse }, "Library"),
  ];
  const tagger = make("select", { id: "tagger", class: "tagger", onchange: () => (menu.removeAttribute("open"), chooseTagger(tagger.value)) });
  let offered = "";
  const taggerChoice = make("label", { class: "menu-choice" }, make("span", {}, "Suggestions by"), tagger);
  const items = entries.map((entry) => (entry === null ? make("hr") : menuItem(entry)));
  const menu = make("details", { class: "menu" }, make("summary", { class: "square", id: "menu", "aria-label": "Menu", title: "Menu" }, icon(DOTS)), make("div", { class: "menu-list" }, ...exportLinks(), ...items, make("hr"), taggerChoice));
  const userName = make("summary", { class: "pill", id: "account" });
  const account = make("details", { class: "menu", hidden: true }, userName, make("div", { class: "menu-list" }, make("button", { id: "log-out", type: "button", onclick: logOut }, "Log out")));
  const reviewing = make("button", { id: "open-review", class: "pill", type: "button", hidden: true, onclick: review });
  const finding = make("button", { id: "open-palette", class: "find", type: "button", "aria-haspopup": "dialog", onclick: palette }, icon(SEARCH), make("span", { class: "find-label" }, "All actions"), make("span", { class: "caps" }));
  root.append(
    project,
    make("div", { class: "segments", role: "group", "aria-label": "View" }, ...views),
    make("div", { class: "counts" }, meter, tagged),
    ingest, asked, broken, away, lacking, unsettled, make("span", { class: "grow" }), model, reviewing,
    finding,
    menu,
    account,
  );
  // Before the entry is carried out, so that a dialog which it opens gives the focus back to the menu.
  menu.addEventListener("click", (event) => {
    if (!event.target.closest("a, button")) return;
    menu.removeAttribute("open");
    menu.querySelector("summary").focus();
  }, { capture: true });
  const menus = [menu, account];
  document.addEventListener("pointerdown", ({ target }) => menus.forEach((each) => each.contains(target) || each.removeAttribute("open")));
  for (const each of menus) {
    each.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !each.open) return;
      event.preventDefault();
      event.stopPropagation();
      each.open = false;
      each.querySelector("summary").focus();
    });
  }

  return {
    closeMenu() {
      const wasOpen = menus.some(({ open }) => open);
      for (const each of menus) each.open = false;
      return wasOpen;
    },
    /** Show which view is open: "tag" or "browse". */
    setView(view) {
      for (const [index, name] of ["tag", "browse"].entries()) views[index].setAttribute("aria-pressed", String(view === name));
    },
    /** Show the keys of the commands. */
    setKeys(keys) {
      finding.querySelector(".caps").replaceChildren(...(keys.palette?.[0] ? keycaps(keyPieces(keys.palette[0])) : []));
      for (const caps of menu.querySelectorAll("[data-action]")) {
        const name = keys[caps.dataset.action]?.[0];
        caps.replaceChildren(...(name ? keycaps(keyPieces(name)) : []));
      }
    },
    render(state) {
      project.textContent = state.project;
      project.title = state.project;
      tagged.replaceChildren(
        make("b", {}, formatNumber(state.num_saved)),
        ` of ${formatNumber(state.num_images)}`,
        make("span", { class: "tagged-word" }, " tagged"),
        state.states.empty ? make("span", { class: "tagged-more" }, `, ${formatNumber(state.states.empty)} without tags`) : "",
      );
      done.style.width = `${(100 * state.num_saved) / Math.max(1, state.num_images)}%`;
      for (const [id, isHidden] of [["open-export", Boolean(state.demo)], ["open-import", Boolean(state.demo) || !state.may_administer]]) menu.querySelector(`#${id}`).hidden = isHidden;
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
      taggerChoice.hidden = !choices.length;
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
      told = state.notices ?? [];
      lacking.hidden = !told.length;
      lacking.title = told.join("\n");
      const { num_changed = 0, num_failed = 0 } = state.sidecars ?? {};
      unsettled.hidden = !(num_changed || num_failed);
      unsettled.textContent = num_changed ? `${count(num_changed, "sidecar")} changed elsewhere` : `${count(num_failed, "sidecar")} not written`;
    },
  };
}

function menuItem({ id, label, action, run }) {
  return make("button", { id, type: "button", onclick: run }, make("span", {}, label), action ? make("span", { class: "caps", dataset: { action } }) : "");
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
