// Selects cells of a grid by dragging a frame over them with the mouse; the grid scrolls at its edges. Knows nothing of what
// the cells hold.

import { make } from "./elements.js";
import { FORWARD } from "./texts.js";

const START_PIXELS = 6; // less is a click
const EDGE_PIXELS = 32;
const SCROLL_PIXELS = 14; // a frame of the display

/** The indexes of the cells that a frame touches; `frame` is { left, top, right, bottom } in pixels of the whole grid. */
export function cellsIn(frame, { num_columns, width, height, num_items }) {
  const column = (x) => Math.max(0, Math.min(num_columns - 1, Math.floor(x / width)));
  const [first, last] = [column(frame.left), column(frame.right)];
  const rows = [Math.max(0, Math.floor(frame.top / height)), Math.floor(frame.bottom / height)];
  const found = [];
  for (let row = rows[0]; row <= rows[1]; row += 1) {
    for (let at = first; at <= last && row * num_columns + at < num_items; at += 1) found.push(row * num_columns + at);
  }
  return found;
}

/**
 * layout() is the second argument of cellsIn; moved(indexes, adds) while the frame changes, ended(indexes, adds) after it:
 * with `adds` what was selected before stays; cancelled() if it is given up.
 */
export function createDragSelect(grid, space, { layout, moved, ended, cancelled }) {
  const band = make("div", { class: "drag-band", hidden: true });
  space.append(band);
  let start = null; // { x, y } in the whole grid, from when the button is down
  let pointer = null; // the newest position in the window
  let adds = false;
  let frame = 0;
  let isDragging = false;
  let wasDragged = false; // the click that follows opens nothing

  const inGrid = ({ clientX, clientY }) => {
    const box = grid.getBoundingClientRect();
    return { x: clientX - box.left - grid.clientLeft, y: clientY - box.top - grid.clientTop + grid.scrollTop };
  };

  function indexes() {
    const now = inGrid(pointer);
    const box = { left: Math.min(start.x, now.x), top: Math.max(0, Math.min(start.y, now.y)), right: Math.max(start.x, now.x), bottom: Math.max(start.y, now.y) };
    Object.assign(band.style, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.right - box.left}px`, height: `${box.bottom - box.top}px` });
    const { clientWidth } = grid;
    const mirrored = FORWARD > 0 ? box : { ...box, left: clientWidth - box.right, right: clientWidth - box.left };
    return cellsIn(mirrored, layout());
  }

  function step() {
    if (!isDragging) return;
    const box = grid.getBoundingClientRect();
    const by = pointer.clientY < box.top + EDGE_PIXELS ? -SCROLL_PIXELS : pointer.clientY > box.bottom - EDGE_PIXELS ? SCROLL_PIXELS : 0;
    if (by) grid.scrollTop += by;
    moved(indexes(), adds);
    frame = requestAnimationFrame(step);
  }

  function onmove(event) {
    pointer = event;
    if (!isDragging) {
      const now = inGrid(event);
      if (Math.hypot(now.x - start.x, now.y - start.y) < START_PIXELS) return;
      isDragging = true;
      wasDragged = true;
      band.hidden = false;
      frame = requestAnimationFrame(step);
    }
  }

  function leave() {
    cancelAnimationFrame(frame);
    document.removeEventListener("pointermove", onmove);
    document.removeEventListener("pointerup", onup);
    document.removeEventListener("pointercancel", cancel);
    band.hidden = true;
    const was = isDragging;
    isDragging = false;
    return was;
  }

  function onup(event) {
    pointer = event;
    const found = isDragging ? indexes() : [];
    if (leave()) ended(found, adds);
  }

  function cancel() {
    if (leave()) cancelled();
  }

  grid.addEventListener("pointerdown", (event) => {
    wasDragged = false;
    if (event.pointerType !== "mouse" || event.button !== 0 || event.target === grid && event.offsetX > grid.clientWidth) return; // the scroll bar
    start = inGrid(event);
    pointer = event;
    adds = event.ctrlKey || event.metaKey || event.shiftKey;
    document.addEventListener("pointermove", onmove);
    document.addEventListener("pointerup", onup);
    document.addEventListener("pointercancel", cancel);
  });
  grid.addEventListener("click", (event) => {
    if (!wasDragged) return;
    wasDragged = false;
    event.stopImmediatePropagation();
  }, { capture: true });

  return {
    /** Give up the frame that is being drawn; returns whether there was one. */
    cancel() {
      const was = isDragging;
      cancel();
      return was;
    },
  };
}
