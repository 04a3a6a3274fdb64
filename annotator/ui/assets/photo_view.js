// The photo, large: fitted, zoomed by click, wheel, pinch or call, panned by dragging; sharp once zoomed. A finger that
// swipes sideways over the fitted photo asks for the next or the previous one.
// Knows nothing of tags.

import { make } from "./elements.js";
import { formatList, formatNumber, formatPercent } from "./formats.js";
import { FORWARD, isolated, LOCALE, phrase, plural } from "./texts.js";

const MAX_PIXELS = 4; // most screen pixels for one pixel of the photo
const CLICK_PIXELS = 4;
const SWIPE_PIXELS = 56;

/** swipe(by): -1 for the photo before, 1 for the one after. */
export function createPhotoView(frame, facts, { swipe }) {
  const rough = make("img", { class: "rough", alt: "", draggable: "false" });
  const image = make("img", { class: "sharp", id: "photo-image", draggable: "false" });
  const heat = make("canvas", { class: "heat", id: "heat-map", "aria-hidden": "true", hidden: true });
  const boxes = make("div", { class: "found-boxes", id: "found-boxes", "aria-hidden": "true" });
  const glass = make("div", { class: "glass" }, heat, boxes);
  const failure = make("p", { class: "photo-failure", hidden: true });
  frame.append(rough, image, glass, failure);
  const zoomLabel = make("button", { class: "quiet", id: "zoom", type: "button", title: phrase("action.zoom"), onclick: () => toggle() });
  let photo = null;
  let view = { scale: 1, x: 0, y: 0 };
  const pointers = new Map();
  let gesture = null;

  const fit = () => Math.min(frame.clientWidth / (photo?.width || 1), frame.clientHeight / (photo?.height || 1));

  function apply() {
    const room = (extent, size) => Math.max(0, (extent * fit() * view.scale - size) / 2);
    const [roomX, roomY] = [room(photo.width, frame.clientWidth), room(photo.height, frame.clientHeight)];
    view.x = Math.max(-roomX, Math.min(roomX, view.x));
    view.y = Math.max(-roomY, Math.min(roomY, view.y));
    const transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    image.style.transform = transform;
    rough.style.transform = transform;
    glass.style.transform = transform;
    placeHeat();
    frame.classList.toggle("zoomed", view.scale > 1);
    zoomLabel.textContent = view.scale === 1 ? phrase("photo.fit") : formatPercent(fit() * view.scale);
    if (view.scale > 1.05) sharpen();
  }

  let heatBox = [0, 0, 1, 1];

  /** Place the heat map over its part of the photo: left, top, right, bottom in shares of the photo's sides. */
  function placeHeat(box = heatBox) {
    heatBox = box;
    lay(heat, box);
    lay(boxes, [0, 0, 1, 1]);
  }

  function lay(element, [left, top, right, bottom]) {
    const [width, height] = [photo.width * fit(), photo.height * fit()];
    element.style.left = `${(frame.clientWidth - width) / 2 + left * width}px`;
    element.style.top = `${(frame.clientHeight - height) / 2 + top * height}px`;
    element.style.width = `${(right - left) * width}px`;
    element.style.height = `${(bottom - top) * height}px`;
  }

  function zoomTo(scale, clientX, clientY) {
    if (!photo) return;
    const limited = Math.max(1, Math.min(scale, Math.max(4, MAX_PIXELS / fit())));
    const box = frame.getBoundingClientRect();
    const px = (clientX ?? box.left + box.width / 2) - box.left - box.width / 2;
    const py = (clientY ?? box.top + box.height / 2) - box.top - box.height / 2;
    const ratio = limited / view.scale;
    view = limited === 1 ? { scale: 1, x: 0, y: 0 } : { scale: limited, x: px - (px - view.x) * ratio, y: py - (py - view.y) * ratio };
    apply();
  }

  function toggle(clientX, clientY) {
    zoomTo(view.scale > 1 ? 1 : Math.max(2, 1 / fit()), clientX, clientY);
  }

  async function sharpen() {
    const wanted = photo.full_url;
    if (!wanted || image.dataset.url === wanted) return;
    image.dataset.url = wanted;
    const full = new Image();
    full.src = wanted;
    try {
      await full.decode();
    } catch {
      return; // the picture of lower resolution stays
    }
    if (image.dataset.url === wanted) image.src = wanted;
  }

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !photo) return;
    frame.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
    gesture = { wasPinch: pointers.size > 1 || Boolean(gesture?.wasPinch), moved: pointers.size > 1, x: event.clientX, y: event.clientY, view: { ...view }, spread: spread() };
  });
  frame.addEventListener("pointermove", (event) => {
    if (!gesture || !pointers.has(event.pointerId)) return;
    pointers.set(event.pointerId, event);
    if (pointers.size === 2) {
      const [one, other] = [...pointers.values()];
      zoomTo((gesture.view.scale * spread()) / gesture.spread, (one.clientX + other.clientX) / 2, (one.clientY + other.clientY) / 2);
      return;
    }
    const [dx, dy] = [event.clientX - gesture.x, event.clientY - gesture.y];
    if (Math.hypot(dx, dy) > CLICK_PIXELS) gesture.moved = true;
    if (isSwipe(event)) follow(dx);
    if (gesture.moved && view.scale > 1) {
      frame.classList.add("panning");
      view.x = gesture.view.x + dx;
      view.y = gesture.view.y + dy;
      apply();
    }
  });
  const isSwipe = (event) => event.pointerType === "touch" && pointers.size === 1 && view.scale === 1 && !gesture.wasPinch;
  /** The photo goes along with the finger. */
  const follow = (dx) => {
    image.style.transform = dx ? `translateX(${dx}px)` : "";
    rough.style.transform = image.style.transform;
  };
  const release = (event) => {
    const wasClick = gesture && !gesture.moved && event.type === "pointerup";
    if (gesture && pointers.has(event.pointerId) && isSwipe(event)) {
      const [dx, dy] = [event.clientX - gesture.x, event.clientY - gesture.y];
      follow(0);
      if (event.type === "pointerup" && Math.abs(dx) > SWIPE_PIXELS && Math.abs(dx) > 2 * Math.abs(dy)) swipe(dx * FORWARD < 0 ? 1 : -1);
    }
    pointers.delete(event.pointerId);
    frame.classList.remove("panning");
    if (pointers.size === 0) gesture = null;
    else gesture = { ...gesture, moved: true, x: [...pointers.values()][0].clientX, y: [...pointers.values()][0].clientY, view: { ...view } };
    if (wasClick) toggle(event.clientX, event.clientY);
  };
  frame.addEventListener("pointerup", release);
  frame.addEventListener("pointercancel", release);
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    const step = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
    zoomTo(view.scale * Math.exp(-step * 0.002), event.clientX, event.clientY);
  }, { passive: false });
  new ResizeObserver(() => photo && apply()).observe(frame);

  function spread() {
    if (pointers.size < 2) return 1;
    const [one, other] = [...pointers.values()];
    return Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY));
  }

  return {
    toggle: () => toggle(),
    heat,
    boxes,
    placeHeat,
    /** Show a photo; `num_images` is how many the project has. */
    show(newPhoto, num_images) {
      photo = newPhoto;
      view = { scale: 1, x: 0, y: 0 };
      failure.hidden = true;
      rough.src = photo.thumbnail_url;
      image.classList.add("loading");
      image.alt = photo.caption ? phrase("common.of_what", { what: photo.file_name, name: photo.caption }) : photo.file_name;
      image.dataset.url = photo.image_url;
      image.src = photo.image_url;
      const shown = photo.image_url;
      image.decode().then(
        () => shown === photo.image_url && image.classList.remove("loading"),
        () => {
          if (shown !== photo.image_url || image.dataset.url !== shown) return;
          failure.textContent = phrase("photo.failure");
          failure.hidden = false;
        },
      );
      facts.replaceChildren(...factsOf(photo, num_images), zoomLabel);
      apply();
    },
  };
}

function factsOf(photo, num_images) {
  const facts = [
    photo.changed_at && phrase("photo.changed", { time: dateText(photo.changed_at) }),
    photo.taken_at && dateText(photo.taken_at),
    photo.camera,
    photo.place,
    `${photo.width} × ${photo.height}`,
    photo.paths?.length > 1 && plural("photo.places", photo.paths.length),
    photo.keywords?.length && phrase("photo.keywords", { words: formatList(photo.keywords) }),
    photo.caption && phrase("common.quoted", { text: photo.caption }),
    ...(photo.notes ?? []),
  ].filter(Boolean);
  const name = make("span", { class: "file-name", id: "file-name", dir: "auto", lang: "", title: (photo.paths ?? []).join("\n") }, photo.file_name);
  const rest = facts.map(isolated).join("   ·   ");
  const hierarchies = (photo.hierarchies ?? []).map((keyword) => keyword.split("|").join(" › "));
  const place = make("span", { class: "photo-place", id: "photo-place" }, photo.position ? phrase("common.of", { num: formatNumber(photo.position), all: formatNumber(num_images) }) : "");
  return [name, place, make("span", { class: "facts", title: [...facts, ...hierarchies].join("\n") }, rest)];
}

function dateText(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  return time.toLocaleString(LOCALE, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
}
