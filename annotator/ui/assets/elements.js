// Builds DOM nodes. Texts become text nodes, HTML is never parsed. Knows nothing of the page.

const SVG = "http://www.w3.org/2000/svg";

/** make("button", { class: "x", dataset: { row: 1 }, onclick: f, "aria-label": "y" }, "text", child, ...) */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "dataset") Object.assign(element.dataset, value);
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [rule, setting] of Object.entries(value)) element.style.setProperty(rule, setting);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A 16-pixel line drawing from path data. */
export function icon(paths, label = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.classList.add("icon");
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    const title = document.createElementNS(SVG, "title");
    title.textContent = label;
    svg.append(title);
  } else svg.setAttribute("aria-hidden", "true");
  for (const data of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", data);
    svg.append(path);
  }
  return svg;
}

/** <kbd> pieces for one key name's pieces. */
export function keycaps(pieces) {
  return pieces.map((piece) => make("kbd", {}, piece));
}
