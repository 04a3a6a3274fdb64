// Messages to the user: a banner for an error, shown until it is resolved; a short note that screen readers read aloud,
// with a button where what happened can be taken back; and sentences for screen readers alone.
// Knows nothing of their causes.

import { make } from "./elements.js";
import { phrase } from "./texts.js";

const SAY_SECONDS = 4;
const UNDO_SECONDS = 8;

export function createMessages(banner, status, spoken) {
  let timer = null;
  let cause = "";
  let seconds = SAY_SECONDS;

  function hideLater() {
    clearTimeout(timer);
    timer = setTimeout(hide, seconds * 1000);
  }

  function hide() {
    status.classList.remove("shown");
    status.querySelector("button")?.remove();
  }

  // It stays while it is pointed at or has the focus.
  for (const [enter, leave] of [["pointerenter", "pointerleave"], ["focusin", "focusout"]]) {
    status.addEventListener(enter, () => clearTimeout(timer));
    status.addEventListener(leave, hideLater);
  }

  return {
    /** Show a sentence with buttons [{ label, run }]; `name` identifies the error, to clear it later. */
    trouble(name, sentence, buttons = []) {
      cause = name;
      const close = { label: phrase("common.close"), run: () => this.clear(name) };
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
    /** Show a sentence for some seconds; with `undo`, a function, also a button that takes it back. */
    say(sentence, undo = null) {
      seconds = undo ? UNDO_SECONDS : SAY_SECONDS;
      const button = undo && make("button", { type: "button", id: "toast-undo", onclick: () => (hide(), undo()) }, phrase("common.undo"));
      status.replaceChildren(make("span", {}, sentence), ...(button ? [button] : []));
      status.classList.add("shown");
      hideLater();
    },
    /** Have a screen reader say a sentence that is seen on the page anyway. */
    speak(sentence) {
      spoken.textContent = sentence;
    },
  };
}
