// Short movements that show where a row went. None where the system asks for less motion, and none when a photo is
// opened. Knows nothing of tags but their names.

export const MOTION_MS = 120;
const EASING = "cubic-bezier(.2, 0, 0, 1)";
const LEAST_PIXELS = 2;

export const isMotionReduced = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** The places of rows before they change: name -> { zone, box }. */
export function placesOf(rows, nameOf) {
  return new Map(rows.map((row) => [nameOf(row), { zone: row.parentElement, box: row.getBoundingClientRect() }]));
}

/**
 * Move rows from their earlier places to the present ones. A row that changed its zone is moved as a copy in `layer`,
 * since the zones cut off what leaves them.
 */
export function moveFrom(places, rows, nameOf, layer) {
  for (const row of rows) {
    const before = places.get(nameOf(row));
    if (!before) continue;
    const box = row.getBoundingClientRect();
    const [dx, dy] = [before.box.left - box.left, before.box.top - box.top];
    if (Math.hypot(dx, dy) < LEAST_PIXELS) continue;
    if (before.zone === row.parentElement) glide(row, [`translate(${dx}px, ${dy}px)`, "none"]);
    else fly(row, before.box, box, layer);
  }
}

function glide(element, [from, to]) {
  return element.animate([{ transform: from }, { transform: to }], { duration: MOTION_MS, easing: EASING });
}

function fly(row, from, to, layer) {
  const copy = floatingCopy(row, from);
  layer.append(copy);
  row.animate([{ opacity: 0 }, { opacity: 0 }], { duration: MOTION_MS });
  glide(copy, ["none", `translate(${to.left - from.left}px, ${to.top - from.top}px)`]).finished.then(
    () => copy.remove(),
    () => copy.remove(),
  );
}

/** A copy of a row that lies over the page, where nothing cuts it off. */
export function floatingCopy(row, box) {
  const copy = document.createElement("div");
  copy.className = "floating-row";
  copy.setAttribute("aria-hidden", "true");
  for (const part of row.querySelectorAll(".number, .tag")) copy.append(part.cloneNode(true));
  Object.assign(copy.style, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px` });
  return copy;
}
