// The time line of a photo: who made which change, when, and from which proposal; one key restores an earlier list, as a
// new entry. Knows nothing of how events are stored.

import { make } from "./elements.js";
import { when } from "./review.js";

const WORDS = {
  added: "came into the project", save: "saved", undo: "took a save back", rename: "changed a tag everywhere",
  skip: "put it off", asked: "asked several people", answer: "answered", take_back: "took their answer back",
  reopen: "opened it again", sent_back: "sent it back", accept: "accepted a list", restore: "restored an earlier list",
  import: "imported a list", reorder: "applied the order rules",
};

/** call(name, payload); say(text); show(photo) shows the restored photo. */
export function createTimeline(dialogs, { call, say, show }) {
  async function open({ image_id, file_name }) {
    let { entries, revision } = await call("timeline", { image_id });
    entries.reverse(); // newest first
    let chosen = Math.max(0, entries.findIndex(({ can_restore }) => can_restore));
    let isBusy = false;
    const rows = make("ol", { class: "timeline", role: "listbox", "aria-label": "What happened", tabindex: "-1" });
    const trouble = make("p", { class: "review-trouble", role: "alert" });
    const restoring = make("button", { type: "button", id: "timeline-restore", onclick: () => restore() }, make("kbd", {}, "Enter"), " Restore this list");

    function draw() {
      rows.replaceChildren(...entries.map((entry, index) => row(entry, index === chosen, () => select(index))));
      restoring.disabled = !entries[chosen]?.can_restore;
      rows.children[chosen]?.scrollIntoView({ block: "nearest" });
    }

    function select(index) {
      chosen = Math.max(0, Math.min(entries.length - 1, index));
      draw();
    }

    async function restore() {
      const entry = entries[chosen];
      if (isBusy || !entry?.can_restore) return;
      isBusy = true;
      try {
        const photo = await call("restore", { image_id, entry_id: entry.id, revision });
        dialogs.close();
        show(photo);
        say(`The list of ${when(entry.at)} is back: ${entry.tags.join(", ") || "no tags"}.`);
      } catch (error) {
        if (error.kind === undefined) throw error;
        trouble.textContent = error.message;
      } finally {
        isBusy = false;
      }
    }

    draw();
    await dialogs.open({
      id: "timeline",
      title: `What happened to ${file_name}`,
      wide: true,
      body: [rows, trouble, make("div", { class: "dialog-buttons" }, restoring)],
      onkey(event) {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const steps = { ArrowUp: -1, ArrowDown: 1, Home: -entries.length, End: entries.length };
        if (event.key in steps) {
          event.preventDefault();
          select(chosen + steps[event.key]);
        } else if (event.key === "Enter" && !event.repeat && !event.target.closest("button")) {
          event.preventDefault();
          restore();
        }
      },
    });
  }

  return { open };
}

function row(entry, isChosen, onclick) {
  const { kind, user, at, tags, tagger, note, people, is_current, can_restore } = entry;
  return make(
    "li",
    { class: "timeline-entry", role: "option", "aria-selected": String(isChosen), dataset: { kind, id: entry.id, can: can_restore ? "restore" : "" }, onclick },
    make("div", {}, user ? make("b", {}, user) : "It", ` ${WORDS[kind] ?? kind}`, people.length ? make("span", {}, kind === "accept" ? ` of ${people.join(", ")}` : ` to ${people.join(", ")}`) : null, make("span", { class: "soft" }, ` · ${when(at)}`), is_current ? make("span", { class: "timeline-now" }, "now") : null),
    note ? make("p", { class: "timeline-note" }, `“${note}”`) : null,
    ...changed(entry, tagger),
    tags === null || !isChosen ? null : make("p", { class: "soft" }, tags.length ? tags.map((tag, index) => `${index + 1} ${tag}`).join("  ") : "no tags"),
  );
}

/** The changes of the list, one line for each kind. */
function changed({ changes, dropped, kind }, tagger) {
  if (!changes) return [];
  const added = changes.added.map(({ tag, place, proposal }) => `${tag} (${place}${proposal ? `, proposal ${proposal.rank} by ${proposal.source}` : ""})`);
  const moved = changes.moved.map(({ tag, from, to }) => `${tag} (${from} → ${to})`);
  const lines = [["+", added], ["−", changes.removed], ["↕", moved]];
  if (dropped.length && kind !== "undo") lines.push(["refused", dropped]);
  const found = lines.filter(([, items]) => items.length).map(([sign, items]) => make("p", { class: "timeline-change", dataset: { sign } }, make("span", { class: "sign" }, sign), ` ${items.join(", ")}`));
  if (tagger && added.length) found.push(make("p", { class: "soft" }, `proposals of ${tagger}`));
  return found;
}
