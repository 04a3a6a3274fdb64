// The strip of photos before and after the current one, and the preloading of the next one's picture.
// Knows nothing of tags.

import { make } from "./elements.js";
import { FORWARD, phrase } from "./texts.js";

const NUM_BEFORE = 3;
const MAX_AFTER = 100;
const STEP_PIXELS = 85; // one thumbnail and its gap, as in page.css
const PADDING_PIXELS = 4;

export function createStrip(root, { call, open, onError }) {
  let items = [];
  let newest = 0;

  function draw(current_id) {
    root.replaceChildren(...items.map((item) => thumbnail(item, item.image_id === current_id, open)));
    const now = root.querySelector(".now");
    if (now) root.scrollLeft = FORWARD * Math.max(0, offset(now) - PADDING_PIXELS - NUM_BEFORE * STEP_PIXELS);
  }

  /** How far a thumbnail is from the beginning of the strip. */
  function offset(element) {
    const left = element.offsetLeft - root.offsetLeft;
    return FORWARD > 0 ? left : root.clientWidth - left - element.offsetWidth;
  }

  function preload(current_id) {
    const next = items[items.findIndex((item) => item.image_id === current_id) + 1];
    if (!next) return;
    // The picture's URL differs from the thumbnail's in the first word only; both contain the same version.
    new Image().src = next.thumbnail_url.replace("/thumbnail/", "/image/");
  }

  return {
    /** Set the shown state of a photo without a call. */
    mark(image_id, state) {
      const item = items.find((other) => other.image_id === image_id);
      if (item) item.state = state;
    },
    /** Show the strip around a photo; `fresh` fetches it even if the photo is in the strip already. */
    async show(image_id, { fresh = false } = {}) {
      const mine = (newest += 1);
      const at = items.findIndex((item) => item.image_id === image_id);
      // Two widths are fetched and one must remain ahead, so most photos need no call.
      const num_visible = Math.max(6, Math.ceil(root.clientWidth / STEP_PIXELS));
      const num_after = Math.min(MAX_AFTER, 2 * num_visible);
      if (at >= 0 && !fresh) {
        draw(image_id);
        preload(image_id);
        if (items.length - at - 1 >= num_visible && at >= 1) return;
      }
      try {
        const answer = await call("strip", { image_id, num_before: NUM_BEFORE, num_after });
        if (mine !== newest) return;
        items = answer.items;
        draw(image_id);
        preload(image_id);
      } catch (error) {
        if (mine === newest) onError(error);
      }
    },
  };
}

function thumbnail(item, isCurrent, open) {
  const states = { saved: phrase("cell.saved"), draft: phrase("cell.draft"), new: phrase("cell.unsaved"), in_review: phrase("cell.in_review"), accepted: phrase("cell.accepted") };
  return make(
    "button",
    {
      class: `strip-photo ${item.state}${isCurrent ? " now" : ""}`,
      type: "button",
      tabindex: isCurrent ? "0" : "-1", // one stop for Tab; the keys for the photo before and after go on from there
      "aria-label": phrase("strip.open", { state: states[item.state] ?? item.state }),
      "aria-current": isCurrent ? "true" : null,
      dataset: { imageId: item.image_id, state: item.state },
      onclick: () => open(item.image_id),
    },
    make("img", { src: item.thumbnail_url, alt: "", width: 78, height: 56, loading: "lazy", draggable: "false" }),
  );
}
