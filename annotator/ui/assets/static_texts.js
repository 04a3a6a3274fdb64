// Writes the texts that stand in the page's HTML: an element names its text by data-text, and those of its attributes by
// data-label, data-placeholder. Knows nothing of what the elements are for.

import { phrase } from "./texts.js";

const ATTRIBUTES = { label: "aria-label", placeholder: "placeholder" };

export function writeStaticTexts(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = phrase(element.dataset.text);
  for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
    for (const element of root.querySelectorAll(`[data-${name}]`)) element.setAttribute(attribute, phrase(element.dataset[name]));
  }
}
