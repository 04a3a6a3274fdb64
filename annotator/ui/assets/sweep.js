// The search for missing tags: offers saved photos that may lack a tag, and shows them one at a time for a yes or no by
// one key. A yes saves the photo with the tag; a no changes nothing.
// Knows nothing of how the photos were found.

import { make } from "./elements.js";
import { formatList, formatNumber } from "./formats.js";
import { own } from "./names.js";
import { isolated, phrase, plural, pluralNodes } from "./texts.js";

const YES = new Set(["1", "Enter"]);
const NO = new Set(["2", "Delete"]);

/** The list of a photo with the tag at its end, in the form of a save. */
export function withTag({ image_id, revision, kept, dropped }, tag) {
  return { image_id, revision, kept: [...kept, tag], dropped, actions: [["sweep", tag]], num_keys: 1 };
}

export function createSweep(offer, dialogs, { call, say, done }) {
  let waiting = []; // tags to offer; the first one is shown

  function hide() {
    offer.hidden = true;
    offer.replaceChildren();
  }

  /** Offer the search for each tag, if other photos may lack it; one after the other, the newest first. */
  async function propose(tags) {
    waiting = [...new Set([...tags, ...waiting])];
    await offerFirst();
  }

  async function offerFirst() {
    hide();
    while (waiting.length) {
      const [tag] = waiting;
      // Requested only now, since the search for the previous tag may have changed photos.
      const answer = await call("missing_tags", { tag });
      if (waiting[0] !== tag) return; // other tags were added meanwhile, and are offered first
      if (answer.num_likely) return showOffer(answer);
      waiting.shift();
    }
  }

  function showOffer(answer) {
    const goOn = async (isWanted) => {
      hide();
      waiting.shift();
      try {
        if (isWanted) await look(answer, answer.num_likely);
        await offerFirst();
      } catch (error) {
        say(error.message);
      }
    };
    offer.replaceChildren(
      make("span", {}, ...pluralNodes("sweep.offer", answer.num_likely, { tag: make("b", {}, own(answer.tag)) })),
      make("button", { type: "button", id: "sweep-open", onclick: () => goOn(true) }, phrase("sweep.look")),
      make("button", { type: "button", class: "quiet", "aria-label": phrase("sweep.not_now"), onclick: () => goOn(false) }, "×"),
    );
    offer.hidden = false;
  }

  /** Show the saved photos that lack a tag, likely or not, the likeliest first. */
  async function lookFor(tag) {
    const answer = await call("missing_tags", { tag });
    if (answer.items.length) await look(answer, answer.items.length);
    else say(phrase("sweep.none", { tag: answer.tag }));
  }

  async function look({ tag, items, note: caveat = "" }, num) {
    const photos = items.slice(0, num);
    let at = 0;
    let numAdded = 0;
    let isBusy = false;
    const image = make("img", { class: "sweep-photo", alt: "" });
    const facts = make("p", { class: "soft sweep-facts" });
    const note = make("p", { class: "sweep-note", role: "status" });
    const show = () => {
      if (at >= photos.length) return dialogs.close();
      const { image_url, file_name, kept } = photos[at];
      image.src = image_url;
      image.alt = file_name;
      facts.textContent = [phrase("common.of", { num: formatNumber(at + 1), all: formatNumber(photos.length) }), isolated(file_name), formatList(kept) || phrase("common.no_tags")].join(" · ");
      if (at + 1 < photos.length) new Image().src = photos[at + 1].image_url;
      return undefined;
    };
    const decide = async (isYes) => {
      if (isBusy || at >= photos.length) return;
      isBusy = true;
      const photo = photos[at];
      note.textContent = "";
      try {
        if (isYes) {
          await call("save", withTag(photo, tag));
          numAdded += 1;
        }
        at += 1;
        show();
      } catch (error) {
        if (error.kind === undefined) throw error;
        // Somebody else has changed it or has it open: skip it.
        note.textContent = phrase("import.file_problem", { name: photo.file_name, problem: error.message });
        if (error.kind !== "unreachable") {
          at += 1;
          show();
        }
      } finally {
        isBusy = false;
      }
    };
    const choice = (id, key, label, isYes) =>
      make("button", { type: "button", id, onclick: () => decide(isYes) }, make("kbd", {}, key), ` ${label}`);
    show();
    await dialogs.open({
      id: "sweep",
      title: phrase("sweep.title", { tag }),
      wide: true,
      body: [caveat ? make("p", { class: "sweep-caveat" }, caveat) : null, image, facts, make("div", { class: "sweep-choices" }, choice("sweep-yes", "1", phrase("sweep.yes"), true), choice("sweep-no", "2", phrase("sweep.no"), false)), note],
      onkey(event) {
        const isYes = YES.has(event.key);
        if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || !(isYes || NO.has(event.key))) return;
        if (event.key === "Enter" && event.target.closest("button")) return;
        event.preventDefault();
        decide(isYes);
      },
    });
    say(numAdded ? plural("sweep.added", numAdded, { tag }) : phrase("sweep.added_none", { tag }));
    done();
  }

  return { propose, lookFor };
}
