// "Why this rank?": the reasons of the selected tag in a sentence, and, opened, each source with its score and a switch
// that excludes it. Excluded evidence stays visible as chips. Knows nothing of the list or the server.

import { describe, tagKey } from "./draft.js";
import { make } from "./elements.js";
import { sourceIcon, sourceName, SWITCHABLE } from "./sources.js";

const HIDDEN = "Proposals are hidden on this photo until you save it, to measure how far they sway you: tag what you see.";

/**
 * handlers: switchSource(name), switchNeighbour(image_id), never() to never propose the tag in this project, restore() to
 * exclude nothing; explain(tag) resolves to
 * { text }, the model's score without the photo's context, which is requested only while this is open.
 */
export function createWhy(root, { switchSource, switchNeighbour, never, restore, explain }) {
  const text = make("p", { class: "why-text", id: "why-text" });
  const open = make("button", { class: "why-open", id: "why-open", type: "button", "aria-expanded": "false", "aria-controls": "why-sources", onclick: toggle }, "Why this rank?");
  const list = make("ul", { class: "why-sources", id: "why-sources", hidden: true });
  const chips = make("div", { class: "chips", id: "left-out", hidden: true, role: "group", "aria-label": "Left out" });
  root.append(chips, text, open, list);
  let asked = { proposals: null, tag: null, text: "" }; // the newest explanation, and the tag it explains
  let wanted = asked;

  function toggle() {
    list.hidden = !list.hidden;
    open.setAttribute("aria-expanded", String(!list.hidden));
    root.classList.toggle("open", !list.hidden);
    tellMore();
  }

  /** Add the score without the photo's context to the model's line. */
  async function tellMore() {
    const reason = list.querySelector('[data-source="context"] .why-reason');
    if (list.hidden || !reason) return;
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
    return make(
      "li",
      { dataset: { source } },
      make("span", { class: "source" }, sourceIcon(source)),
      make("span", { class: "why-reason" }, reason),
      make("span", { class: "why-weight", title: `${sourceName(source)}: its own score; the number beside the tag joins all sources` }, score.toFixed(2)),
      make("button", { type: "button", class: "switch", dataset: { switchSource: source }, title: `Leave out for this photo: ${sourceName(source)}`, onclick: () => switchSource(source) }, "Leave out"),
    );
  }

  function chip(label, name, dataset, onclick) {
    return make("button", { type: "button", class: "chip", "aria-pressed": "true", dataset, title: `Left out for this photo: ${name}. Press to use it again.`, onclick }, label, make("span", { "aria-hidden": "true" }, " ×"));
  }

  return {
    toggle,
    /**
     * Show the reasons of a draft's tag (null: none is selected) and the exclusions { neighbours, sources }; on a photo
     * with the anchoring probe "hidden", show why nothing is proposed. `rules`: tag -> the order rule that decides.
     */
    render(draft, tag, exclusions, probe, rules = {}) {
      const focused = root.contains(document.activeElement) ? { ...document.activeElement.dataset } : null;
      const { why, source, evidence } = tag === null ? {} : describe(draft, tag);
      if (tag === null) text.replaceChildren(probe === "hidden" ? HIDDEN : "Type a tag, or select one to see why it is proposed.");
      else text.replaceChildren(make("b", {}, tag), `: ${why || `${sourceName(source).toLowerCase()}.`}`, rules[tag] ? make("span", { class: "why-rule" }, ` Order rule of the project: ${rules[tag]}.`) : "");
      const place = tag === null ? -1 : draft.proposals.findIndex((proposal) => tagKey(proposal.tag) === tagKey(tag));
      open.hidden = tag === null || !evidence?.length;
      open.textContent = place < 0 ? "Why this tag?" : `Why rank ${place + 1}?`;
      const refuse = make("li", { class: "why-never" }, make("button", { type: "button", class: "switch", id: "never", onclick: never }, "Never propose this here"));
      list.replaceChildren(...(evidence ?? []).map(line), ...(place < 0 ? [] : [refuse]));
      wanted = { proposals: draft.proposals, tag };
      tellMore();
      const left = [
        ...[...exclusions.sources].map((name) => chip(SWITCHABLE[name] ?? name, sourceName(name), { switchSource: name }, () => switchSource(name))),
        ...[...exclusions.neighbours].map(([id, name]) => chip(name, `the photo ${name}`, { switchNeighbour: id }, () => switchNeighbour(id, name))),
      ];
      chips.replaceChildren(...(left.length ? ["Left out: ", ...left, left.length > 1 ? make("button", { type: "button", class: "chip all", id: "restore", onclick: restore }, "All back") : ""] : []));
      chips.hidden = !left.length;
      if (focused && !root.contains(document.activeElement)) refocus(root, focused);
    },
  };
}

/** The pressed button was rebuilt: focus the new one, so that the same key switches back. */
function refocus(root, { switchSource, switchNeighbour }) {
  const again = [...root.querySelectorAll("button")].find(
    (button) => (switchSource && button.dataset.switchSource === switchSource) || (switchNeighbour && button.dataset.switchNeighbour === switchNeighbour),
  );
  (again ?? root.querySelector(".why-open:not([hidden])"))?.focus();
}
