// The header: project, progress of tagging and of reading photos, unreadable files, browse, export, help.
// Knows nothing of the current photo.

import { ROOT } from "./address.js";
import { icon, keycaps, make } from "./elements.js";
import { formatDecimal, formatDuration, formatList, formatNumber, formatTypes } from "./formats.js";
import { keyPieces } from "./keys.js";
import { languageSelect } from "./language_choice.js";
import { LOCALE, phrase, phraseNodes, plural } from "./texts.js";

export const LOCAL_USER = "local";
export const EXPORTS = { jsonl: "JSON Lines", csv: "CSV" };

const SEARCH = ["M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z", "m10 10 3.5 3.5"];
const DOTS = ["M3 8h.01M8 8h.01M13 8h.01"];

/**
 * entries: the commands of the menu (page.js), [{ id, label, action, run }, { links } or null for a line]; further
 * handlers: tag() and browse() show the two views, palette() the command palette.
 */
export function createHeader(root, { entries, tag, browse, palette, unreadable, notices, sidecars, review, chooseTagger, logOut, model }) {
  const project = make("h1", { id: "project", class: "project" });
  const tagged = make("span", { id: "tagged" });
  const done = make("i");
  const meter = make("span", { class: "meter", "aria-hidden": "true" }, done);
  const bar = make("progress", { max: 1, value: 0, "aria-label": phrase("header.read") });
  const progress = make("span", { class: "soft" });
  const ingest = make("span", { id: "ingest", class: "pill ingest", hidden: true }, bar, progress);
  const asked = make("span", { id: "vlm", class: "pill", hidden: true });
  const broken = make("button", { id: "unreadable", class: "pill", type: "button", hidden: true, onclick: unreadable });
  const away = make("span", { id: "not-mounted", class: "pill", hidden: true });
  const lacking = make("button", { id: "notices", class: "pill soon", type: "button", hidden: true, onclick: () => notices(told) }, phrase("header.missing"));
  let told = [];
  const unsettled = make("button", { id: "open-sidecars", class: "pill", type: "button", hidden: true, onclick: sidecars });
  const views = [
    make("button", { id: "open-tag", type: "button", "aria-pressed": "true", onclick: tag }, phrase("header.tag")),
    make("button", { id: "open-browse", type: "button", "aria-pressed": "false", onclick: browse }, phrase("header.library")),
  ];
  const tagger = make("select", { id: "tagger", class: "tagger", onchange: () => (menu.removeAttribute("open"), chooseTagger(tagger.value)) });
  let offered = "";
  const taggerChoice = make("label", { class: "menu-choice" }, make("span", {}, phrase("header.suggestions")), tagger);
  const languageChoice = make("label", { class: "menu-choice" }, make("span", {}, phrase("header.language")), languageSelect({ id: "language", class: "tagger" }));
  const items = entries.flatMap((entry) => (entry === null ? make("hr") : entry.links ? exportLinks() : menuItem(entry)));
  const menu = make("details", { class: "menu" }, make("summary", { class: "square", id: "menu", "aria-label": phrase("header.menu"), title: phrase("header.menu") }, icon(DOTS)), make("div", { class: "menu-list" }, ...items, make("hr"), taggerChoice, languageChoice));
  const userName = make("summary", { class: "pill", id: "account" });
  const account = make("details", { class: "menu", hidden: true }, userName, make("div", { class: "menu-list" }, make("button", { id: "log-out", type: "button", onclick: logOut }, phrase("header.log_out"))));
  const reviewing = make("button", { id: "open-review", class: "pill", type: "button", hidden: true, onclick: review });
  const finding = make("button", { id: "open-palette", class: "find", type: "button", "aria-haspopup": "dialog", onclick: palette }, icon(SEARCH), make("span", { class: "find-label" }, phrase("palette.title")), make("span", { class: "caps" }));
  root.append(
    project,
    make("div", { class: "segments", role: "group", "aria-label": phrase("header.view") }, ...views),
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
      tagged.dataset.short = phrase("common.of", { num: formatNumber(state.num_saved), all: formatNumber(state.num_images) }); // for a narrow window
      tagged.replaceChildren(
        make("span", { class: "tagged-long" }, ...phraseNodes("header.tagged", { saved: make("b", {}, formatNumber(state.num_saved)), all: formatNumber(state.num_images) })),
        state.states.empty ? make("span", { class: "tagged-more" }, plural("header.without", state.states.empty)) : "",
      );
      done.style.width = `${(100 * state.num_saved) / Math.max(1, state.num_images)}%`;
      for (const [id, isHidden] of [["open-export", Boolean(state.demo)], ["open-order", Boolean(state.demo)], ["open-import", Boolean(state.demo) || !state.may_administer], ["open-projects", !state.may_open_projects]]) menu.querySelector(`#${id}`).hidden = isHidden;
      account.hidden = state.user === LOCAL_USER;
      userName.textContent = state.user;
      const { in_review } = state.states;
      reviewing.hidden = !(state.may_review && in_review);
      reviewing.textContent = phrase("header.review", { num: formatNumber(in_review) });
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
      const work = run === reading ? "header.reading" : "header.finding";
      progress.textContent = run.error ? (run === reading ? phrase("header.stopped", { problem: run.error }) : run.error) : progressText(run, work);
      progress.title = progress.textContent;
      asked.hidden = !state.vlm?.host;
      asked.textContent = state.vlm?.host ? phrase("header.asked", { host: state.vlm.host }) : "";
      asked.title = visionText(state);
      asked.classList.toggle("soon", Boolean(state.vlm?.error));
      broken.hidden = !state.num_unreadable;
      const folders = reading.not_mounted ?? [];
      away.hidden = !folders.length;
      away.textContent = plural("header.not_mounted", folders.reduce((sum, { num_photos }) => sum + num_photos, 0));
      away.title = folders.map(({ folder }) => phrase(folder.includes("://") ? "header.url_missing" : "header.folder_missing", { folder })).join("\n");
      broken.textContent = plural("header.unreadable", state.num_unreadable);
      broken.title = formatTypes(state.unread_types);
      told = state.notices ?? [];
      lacking.hidden = !told.length;
      lacking.title = told.join("\n");
      const { num_changed = 0, num_failed = 0 } = state.sidecars ?? {};
      unsettled.hidden = !(num_changed || num_failed);
      unsettled.textContent = num_changed ? plural("header.sidecars_changed", num_changed) : plural("header.sidecars_failed", num_failed);
    },
  };
}

function menuItem({ id, label, action, run }) {
  return make("button", { id, type: "button", onclick: run }, make("span", {}, label), action ? make("span", { class: "caps", dataset: { action } }) : "");
}

/** The sentence about the backbone and its text tower. */
export function backboneText({ backbone, text, ingest }) {
  const facts = [phrase("vision.backbone", { backbone })];
  if (ingest?.photos_per_second) facts.push(phrase("vision.speed", { num: speedText(ingest.photos_per_second) }));
  if (text?.num_words) facts.push(phrase("vision.words", { ready: formatNumber(text.num_ready), all: formatNumber(text.num_words) }));
  return [phrase("common.sentence", { parts: formatList(facts) }), text?.error].filter(Boolean).join(" ");
}

/** The sentences about the vision-language model; empty without one. */
export function visionText({ vlm }) {
  if (!vlm?.model) return "";
  if (!vlm.host) return phrase("vision.earlier", { model: vlm.model });
  const parts = [phrase(vlm.is_local ? "vision.asked_here" : "vision.asked", { model: vlm.model, host: vlm.host })];
  const facts = [plural("vision.num_asked", vlm.num_asked)];
  if (vlm.seconds_each !== null) facts.push(phrase("vision.seconds", { num: speedText(vlm.seconds_each) }));
  if (vlm.num_tokens) facts.push(plural("vision.tokens", vlm.num_tokens));
  if (vlm.num_useless) facts.push(plural("vision.useless", vlm.num_useless));
  parts.push(phrase("common.sentence", { parts: formatList(facts) }));
  if (vlm.error) parts.push(vlm.error);
  return parts.join(" ");
}

/** Download links, for the menu and for the page shown when all photos are tagged. */
export function exportLinks(className = "") {
  return Object.entries(EXPORTS).map(([format, label]) =>
    make("a", { class: className, href: `${ROOT}api/v1/export?format=${format}`, download: true, id: `export-${format}${className ? "-end" : ""}` }, className ? phrase("header.export", { format: label }) : label),
  );
}

function progressText({ num_done, num_found, photos_per_second, seconds_left }, work) {
  const parts = [phrase(work, { done: formatNumber(num_done), all: formatNumber(num_found) })];
  if (photos_per_second) parts.push(phrase("header.speed", { num: photos_per_second < 10 ? formatDecimal(photos_per_second, 1) : formatNumber(Math.round(photos_per_second)) }));
  if (seconds_left !== null && seconds_left !== undefined && photos_per_second) parts.push(phrase("header.left", { time: formatDuration(seconds_left) }));
  return parts.join(" · ");
}

/** A figure of the server, with the decimals that it has. */
const speedText = (num) => Number(num).toLocaleString(LOCALE, { maximumFractionDigits: 3 });

