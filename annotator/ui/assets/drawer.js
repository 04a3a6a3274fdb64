// The drawer at the foot of the photo: one of its panels at a time, or none. Knows nothing of what the panels show.

import { icon, make } from "./elements.js";
import { formatNumber } from "./formats.js";
import { keyPieces } from "./keys.js";
import { phrase } from "./texts.js";

const CHEVRON = ["m4 10 4-4 4 4"];
const REMEMBERED = "annotator/drawer"; // the panel that was open last; on a phone "Details" opens it

/**
 * panels: name -> { id of its button, label, action (of the key map), element }; onShow(name or null) after a change.
 * `storage` is as in local_drafts.js, or null.
 */
export function createDrawer(tabs, drawer, panels, { onShow, storage = null }) {
  let shown = null;
  const buttons = Object.entries(panels).map(([name, { id, label, element }]) =>
    make("button", { type: "button", class: "drawer-tab", id, "aria-expanded": "false", "aria-controls": element.id, dataset: { panel: name }, onclick: () => toggle(name) }, make("span", { class: "tab-label" }, label), make("span", { class: "tab-count" }), icon(CHEVRON)),
  );
  const details = make("button", { type: "button", class: "drawer-tab details", id: "open-details", "aria-expanded": "false", "aria-controls": "drawer", onclick: () => toggle(remembered()) }, phrase("drawer.details"), icon(CHEVRON));
  tabs.append(details, ...buttons);

  function remembered() {
    const name = storage?.getItem(REMEMBERED);
    return name in panels ? name : Object.keys(panels)[0];
  }

  function remember(name) {
    try {
      storage?.setItem(REMEMBERED, name);
    } catch {
      // a full storage: the first panel is opened next time
    }
  }

  function show(name) {
    shown = name;
    if (name) remember(name);
    drawer.hidden = !name;
    tabs.classList.toggle("open", Boolean(name));
    for (const button of buttons) button.setAttribute("aria-expanded", String(button.dataset.panel === name));
    details.setAttribute("aria-expanded", String(Boolean(name)));
    for (const [other, { element }] of Object.entries(panels)) element.hidden = other !== name;
    onShow(name);
  }

  function toggle(name) {
    show(shown === name ? null : name);
  }

  for (const { element } of Object.values(panels)) element.hidden = true;

  return {
    toggle,
    show,
    shown: () => shown,
    /** Close it; returns whether it was open. */
    close() {
      const wasOpen = shown !== null;
      if (wasOpen) show(null);
      return wasOpen;
    },
    /** A number beside a panel's label; 0 shows none. */
    setCount(name, number) {
      buttons.find((button) => button.dataset.panel === name).querySelector(".tab-count").textContent = number ? formatNumber(number) : "";
    },
    /** Show the keys in the buttons' titles. */
    setKeys(keys) {
      for (const button of buttons) {
        const key = keys[panels[button.dataset.panel].action]?.[0];
        button.title = key ? phrase("key.label", { label: panels[button.dataset.panel].label, key: keyPieces(key).join(" ") }) : panels[button.dataset.panel].label;
      }
    },
  };
}
