// The panel "Why this rank": the reason of the selected tag, and on request each source with its own reason, its score
// and a switch; excluded evidence stays visible as chips. Knows nothing of the list or the server.

import { describe, tagKey } from "./draft.js";
import { make } from "./elements.js";
import { formatDecimal, formatNumber } from "./formats.js";
import { own } from "./names.js";
import { sourceIcon, sourceName, SWITCHABLE } from "./sources.js";
import { phrase } from "./texts.js";

const HIDDEN = phrase("why.hidden");

/**
 * `chips` is the place, outside of the panel, of what is left out. handlers: switchSource(name), switchNeighbour(image_id), never() to never propose the tag in this project, restore() to
 * exclude nothing; showOnPhoto() shows where the tag is seen; explain(tag) resolves to
 * { text }, the model's score without the photo's context, which is requested only while this is open.
 */
export function createWhy(root, chips, { switchSource, switchNeighbour, never, restore, explain, showOnPhoto }) {
  const title = make("b", { id: "why-tag" });
  const place = make("span", { class: "soft", id: "why-place" });
  const text = make("p", { class: "why-text", id: "why-text" });
  const list = make("ul", { class: "why-sources", id: "why-sources" });
  const seen = make("button", { type: "button", class: "switch", id: "show-on-photo", "aria-pressed": "false", onclick: showOnPhoto }, phrase("why.show"));
  const refuse = make("button", { type: "button", class: "switch", id: "never", onclick: never }, phrase("why.never"));
  const note = make("p", { class: "soft" }, phrase("why.note"));
  root.append(
    make("div", { class: "why-main" }, make("p", { class: "why-title" }, title, " ", place), text, list),
    make("div", { class: "why-side" }, seen, refuse, note),
  );
  let isOpen = false;
  let asked = { proposals: null, tag: null, text: "" }; // the newest explanation, and the tag it explains
  let wanted = asked;

  /** Add the score without the photo's context to the model's line. */
  async function tellMore() {
    const reason = list.querySelector('[data-source="context"] .why-reason');
    if (!isOpen || !reason) return;
    if (asked.proposals !== wanted.proposals || asked.tag !== wanted.tag) {
      const mine = (asked = { ...wanted, text: "" });
      try {
        mine.text = (await explain(mine.tag))?.text ?? "";
      } catch {
        return; // the reason is complete without it
      }
      tellMore(); // the line may have been rebuilt meanwhile
    } else if (asked.text && !reason.textContent.endsWith(asked.text)) reason.append(`; ${asked.text}`);
  }

  function line({ source, text: reason, score }) {
    const bar = make("span", { class: "bar", "aria-hidden": "true" }, make("i"));
    bar.firstChild.style.width = `${Math.round(100 * Math.max(0, Math.min(1, score)))}%`;
    return make(
      "li",
      { dataset: { source } },
      make("span", { class: "source" }, sourceIcon(source)),
      make("span", { class: "why-reason" }, reason),
      bar,
      make("span", { class: "why-weight", title: phrase("why.score", { source: sourceName(source) }) }, formatDecimal(score, 2)),
      make("button", { type: "button", class: "switch", dataset: { switchSource: source }, title: phrase("why.for_photo", { source: sourceName(source) }), "aria-label": phrase("common.of_what", { what: phrase("alike.leave_out"), name: sourceName(source) }), onclick: () => switchSource(source) }, phrase("alike.leave_out")),
    );
  }

  function chip(label, name, dataset, onclick) {
    return make("button", { type: "button", class: "chip", "aria-pressed": "true", dataset, title: phrase("why.chip", { name }), "aria-label": phrase("why.chip_label", { name: label }), onclick }, own(label), make("span", { "aria-hidden": "true" }, " ↶"));
  }

  return {
    /** The panel was shown or hidden. */
    setOpen(open) {
      isOpen = open;
      tellMore();
    },
    /** Whether the photo shows where the tag is seen. */
    setShown(isShown) {
      seen.setAttribute("aria-pressed", String(isShown));
    },
    /**
     * Show the reasons of a draft's tag (null: none is selected) and the exclusions { neighbours, sources }; on a photo
     * with the anchoring probe "hidden", show why nothing is proposed. `rules`: tag -> the order rule that decides.
     */
    render(draft, tag, exclusions, probe, rules = {}) {
      const isWithin = (element) => root.contains(element) || chips.contains(element);
      const focused = isWithin(document.activeElement) ? { ...document.activeElement.dataset } : null;
      const { why, source, evidence } = tag === null ? {} : describe(draft, tag);
      title.replaceChildren(own(tag ?? ""));
      place.textContent = tag === null ? "" : placeText(draft, tag);
      if (tag === null) text.textContent = probe === "hidden" ? HIDDEN : phrase("why.type");
      else text.replaceChildren(why || `${sourceName(source)}.`, rules[tag] ? make("span", { class: "why-rule" }, ` ${phrase("why.rule", { rule: rules[tag] })}`) : "");
      list.replaceChildren(...(evidence ?? []).map(line));
      const isProposed = tag !== null && draft.proposals.some((proposal) => tagKey(proposal.tag) === tagKey(tag));
      refuse.hidden = !isProposed;
      seen.hidden = tag === null;
      wanted = { proposals: draft.proposals, tag };
      tellMore();
      const left = [
        ...[...exclusions.sources].map((name) => chip(SWITCHABLE[name] ?? name, sourceName(name), { switchSource: name }, () => switchSource(name))),
        ...[...exclusions.neighbours].map(([id, name]) => chip(name, phrase("why.the_photo", { name }), { switchNeighbour: id }, () => switchNeighbour(id, name))),
      ];
      chips.replaceChildren(...(left.length ? [phrase("why.left_out"), " ", ...left, left.length > 1 ? make("button", { type: "button", class: "chip all", id: "restore", onclick: restore }, phrase("why.all_back")) : ""] : []));
      chips.hidden = !left.length;
      if (focused && !isWithin(document.activeElement)) refocus([root, chips], focused);
    },
  };
}

/** Where a tag stands: its rank among the kept tags, or its place among the suggestions. */
function placeText(draft, tag) {
  const rank = draft.kept.findIndex((kept) => tagKey(kept) === tagKey(tag)) + 1;
  if (rank) return phrase("why.kept", { rank: formatNumber(rank), all: formatNumber(draft.kept.length) });
  const place = draft.proposals.findIndex((proposal) => tagKey(proposal.tag) === tagKey(tag)) + 1;
  return phrase("why.place", { num: formatNumber(place), all: formatNumber(draft.proposals.length) });
}

/** The pressed button was rebuilt: focus the new one, so that the same key switches back. */
function refocus(places, { switchSource, switchNeighbour }) {
  const buttons = places.flatMap((place) => [...place.querySelectorAll("button")]);
  const again = buttons.find(
    (button) => (switchSource && button.dataset.switchSource === switchSource) || (switchNeighbour && button.dataset.switchNeighbour === switchNeighbour),
  );
  (again ?? buttons.find((button) => !button.hidden))?.focus();
}
