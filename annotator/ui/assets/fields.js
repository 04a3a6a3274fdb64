// Fields of a photo beside its tags: title, description, category ... Each is written as soon as it is left; what is
// proposed stands in an empty field, where Enter takes it. Knows nothing of tags.

import { make } from "./elements.js";
import { keyName } from "./keys.js";
import { own } from "./names.js";
import { phrase } from "./texts.js";

/** call(name, payload); say(text); leave() gives the focus back to the tags. */
export function createFields(root, { call, say, leave }) {
  let photo = null;
  let controls = [];

  function show(opened) {
    photo = opened;
    const { fields = [], read_only } = opened;
    root.hidden = !fields.length;
    controls = fields.map((field) => control(field, read_only));
    root.replaceChildren(...controls.map(({ field, input }) => make("label", { class: "field-row" }, make("span", { class: "soft" }, own(field.name)), input)));
  }

  function control(field, read_only) {
    const entry = { field, was: field.value, image_id: photo.image_id };
    const shared = { id: `field-${field.name}`, disabled: read_only, onchange: () => store(entry) };
    if (field.kind === "choice") {
      const hint = field.proposed ? phrase("fields.hint", { value: field.proposed }) : "";
      entry.input = make("select", shared, make("option", { value: "" }, hint), ...field.choices.map((choice) => make("option", { value: choice }, choice)));
    } else entry.input = make("input", { ...shared, type: "text", dir: "auto", maxlength: "2000", placeholder: field.proposed, autocomplete: "off" });
    entry.input.value = field.value;
    return entry;
  }

  async function store(entry) {
    const { field, input, was, image_id } = entry;
    const value = input.value.trim();
    if (value === was) return;
    entry.was = value;
    try {
      const answer = await call("set_field", { image_id, field: field.name, value, was });
      entry.was = answer.value;
      if (image_id === photo?.image_id && input.isConnected && document.activeElement !== input) input.value = answer.value;
      say(value ? phrase("fields.set", { field: field.name, value: answer.value }) : phrase("fields.emptied", { field: field.name }));
    } catch (error) {
      entry.was = was;
      if (error.kind === undefined) throw error;
      say(phrase("fields.not_kept", { field: field.name, problem: error.message }));
    }
  }

  root.addEventListener("keydown", (event) => {
    event.stopPropagation(); // letters, digits and arrows belong to the fields
    if (event.isComposing) return;
    const at = controls.findIndex(({ input }) => input === event.target);
    const name = keyName(event);
    if (at < 0 || !["Enter", "Escape"].includes(name)) return;
    event.preventDefault();
    const { field, input, was } = controls[at];
    if (name === "Escape") {
      input.value = was;
      leave();
      return;
    }
    if (!input.value && field.proposed) input.value = field.proposed;
    store(controls[at]);
    const next = controls[at + 1]?.input;
    if (next) next.focus();
    else leave();
  });

  return {
    show,
    /** Take in what is proposed now that the list has changed. */
    follow(fields) {
      for (const { field, input } of controls) {
        const newest = fields.find(({ name }) => name === field.name);
        if (!newest || newest.proposed === field.proposed) continue;
        field.proposed = newest.proposed;
        if (field.kind === "choice") input.options[0].textContent = newest.proposed ? phrase("fields.hint", { value: newest.proposed }) : "";
        else input.placeholder = newest.proposed;
      }
    },
    /** Go to the first field; return whether there is one. */
    focus() {
      if (root.hidden || !controls.length) return false;
      controls[0].input.focus();
      controls[0].input.select?.();
      return true;
    },
  };
}
