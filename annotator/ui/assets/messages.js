// Messages to the user: a banner for an error, shown until it is resolved, and a short status line that screen readers
// read aloud. Knows nothing of their causes.

import { make } from "./elements.js";

const STATUS_SECONDS = 4;

export function createMessages(banner, status) {
  let timer = null;
  let cause = "";
  return {
    /** Show a sentence with buttons [{ label, run }]; `name` identifies the error, to clear it later. */
    trouble(name, sentence, buttons = []) {
      cause = name;
      const close = { label: "Close", run: () => this.clear(name) };
      banner.replaceChildren(
        make("span", {}, sentence),
        ...[...buttons, close].map(({ label, run }) => make("button", { type: "button", onclick: run }, label)),
      );
      banner.hidden = false;
    },
    clear(name) {
      if (name && cause !== name) return;
      cause = "";
      banner.hidden = true;
      banner.replaceChildren();
    },
    hasTrouble: (name) => !banner.hidden && (!name || cause === name),
    say(sentence) {
      clearTimeout(timer);
      status.textContent = sentence;
      status.classList.add("shown");
      timer = setTimeout(() => status.classList.remove("shown"), STATUS_SECONDS * 1000);
    },
  };
}
