// Dialogs over the page: one at a time, keyboard first, focus kept inside by the browser's own <dialog>.
// Knows nothing of tagging but the arguments of each dialog.
//
// A dialog is a file of its own that exports show…(dialogs, { call, … }): it builds its body with make(), calls
// dialogs.open({ id, title, body }) and awaits it; page.js connects it to an entry of the menu (header.js) and of the
// command palette (palette.js). page.html has no dialogs: open() adds the element and removes it when it is closed.
// Classes that every dialog may use: "dialog-buttons" for the row of buttons at its end, "strong" for the button that
// acts, "soft" for secondary text, "key-note" for a sentence about what happened. No bare letter is a command in any
// dialog: letters are for typing. Digits, Enter, Delete, arrows, function keys and keys with Ctrl may be.

import { make } from "./elements.js";
import { formatTime, formatTypes } from "./formats.js";
import { keyPieces } from "./keys.js";
import { own } from "./names.js";
import { createPagedItems } from "./paged_items.js";
import { phrase, phraseNodes, plural } from "./texts.js";

export function createDialogs(root) {
  let current = null;

  /**
   * Open a dialog; `onkey(event)` gets its keys first, and `focus` is the element that has the focus at first. The
   * promise resolves with the argument of close().
   */
  function open({ id, title, body, onkey = () => {}, wide = false, focus = null }) {
    current?.close();
    return new Promise((resolve) => {
      let result = null;
      const before = document.activeElement;
      const dialog = make(
        "dialog",
        // The dialog itself gets the focus first, so that an Enter pressed too early activates no button.
        { id, class: wide ? "dialog wide" : "dialog", "aria-labelledby": `${id}-title`, tabindex: "-1", autofocus: true },
        make("h2", { id: `${id}-title` }, title),
        make("button", { class: "dialog-close", type: "button", "aria-label": phrase("common.close"), title: phrase("key.label", { label: phrase("common.close"), key: keyPieces("Escape")[0] }), onclick: () => current?.close() }, "×"),
        ...body,
      );
      dialog.addEventListener("keydown", (event) => {
        onkey(event);
        event.stopPropagation();
      });
      dialog.addEventListener("pointerdown", (event) => event.target === dialog && outside(dialog, event) && dialog.close());
      dialog.addEventListener("close", () => {
        dialog.remove();
        if (current === handle) current = null;
        // The browser has restored the focus, unless the element could not take it then.
        if (document.activeElement === document.body) before?.focus?.({ preventScroll: true });
        resolve(result);
      });
      const handle = {
        dialog,
        close(value = null) {
          result = value;
          dialog.close();
        },
      };
      current = handle;
      root.append(dialog);
      dialog.showModal();
      (focus ?? dialog).focus();
    });
  }

  return { open, isOpen: () => Boolean(current?.dialog.open), close: (value) => current?.close(value) };
}

function outside(dialog, event) {
  const box = dialog.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}

/** Two people saved one photo: resolves to "theirs", "mine", "merge", or null to continue editing. */
export function askStale(dialogs, { message, theirs, user, isMe, saved_at, mine }) {
  const options = [
    ["theirs", phrase("stale.theirs"), phrase("stale.theirs_note")],
    ["mine", phrase("stale.mine"), phrase("stale.mine_note")],
    ["merge", phrase("stale.merge"), phrase("stale.merge_note")],
  ];
  const list = (title, note, tags) =>
    make(
      "div",
      { class: "version" },
      make("h3", {}, title),
      make("p", { class: "soft" }, note),
      make("ol", {}, ...(tags.length ? tags.map((tag) => make("li", {}, own(tag))) : [make("li", { class: "soft" }, phrase("common.no_tags"))])),
    );
  const time = saved_at ? formatTime(saved_at) : "";
  return dialogs.open({
    id: "stale",
    title: phrase("stale.title"),
    wide: true,
    body: [
      make("p", {}, isMe ? phrase("stale.by_me") : message),
      make("div", { class: "versions" }, list(isMe ? phrase("stale.other_window") : user ? phrase("stale.saved_by", { user }) : phrase("stale.saved_by_other"), time, theirs), list(phrase("stale.yours"), phrase("stale.yours_note"), mine)),
      make(
        "div",
        { class: "choices" },
        ...options.map(([choice, label, note], index) =>
          make("button", { type: "button", id: `stale-${choice}`, onclick: () => dialogs.close(choice) }, make("kbd", {}, String(index + 1)), make("b", {}, label), make("span", { class: "soft" }, note)),
        ),
      ),
      make("p", { class: "soft" }, ...phraseNodes("stale.back", { key: make("kbd", {}, ...keyPieces("Escape")) })),
    ],
    onkey(event) {
      const choice = options[Number(event.key) - 1]?.[0];
      if (!choice || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault(); // closing restores the focus to the add box, which would receive the digit
      dialogs.close(choice);
    },
  });
}

/** The files that could not be read, page by page, each with its reason. */
export function showUnreadable(dialogs, call) {
  const rows = make("ul", { class: "unreadable-list" });
  const note = make("p", { class: "soft" }, phrase("common.loading"));
  const more = make("button", { type: "button", hidden: true, onclick: () => files.load(rows.children.length) }, phrase("unreadable.more"));

  const files = createPagedItems({
    fetchPage: (offset, limit) => call("unreadable", { offset, limit }),
    size: 100,
    arrived({ total, types, items }) {
      rows.append(...items.map(({ path, reason }) => make("li", {}, make("b", {}, own(path)), make("span", { class: "soft" }, reason))));
      note.textContent = total ? plural("unreadable.some", total, { types: formatTypes(types) }) : phrase("unreadable.none");
      more.hidden = rows.children.length >= total || items.length === 0;
    },
    failed(error) {
      note.textContent = error.message;
      more.hidden = false;
    },
  });

  files.load(0);
  return dialogs.open({ id: "unreadable-files", title: phrase("unreadable.title"), wide: true, body: [note, rows, more] });
}
