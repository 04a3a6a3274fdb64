// Functions for projects with several users: renewing the session, logging out, and renewing the lease of the open photo.
// Knows nothing of tags.

import { ROOT } from "./address.js";
import { formatAnd } from "./formats.js";
import { phrase, plural } from "./texts.js";

const RENEW_MS = 60_000;

/**
 * Renew the cookies; false when the server does not answer. A user who is logged out, or whose demo space has ended, is
 * redirected to the entrance.
 */
export async function renewSession() {
  try {
    const answer = await fetch(`${ROOT}api/v1/session`);
    if (answer.status === 401) location.assign(ROOT); // to the login or the demo's entrance; the list stays stored in this browser
    return answer.ok;
  } catch {
    return false;
  }
}

export async function logOut() {
  await fetch(`${ROOT}api/v1/logout`, { method: "POST" });
  location.assign(`${ROOT}login`);
}

/** Show why the opened photo cannot be changed. */
export function sayWhoHolds({ held_by, read_only, locked, sent_back, save_as, state }, messages, openNext) {
  if (held_by.length) {
    messages.trouble("held", plural("held.by", held_by.length, { people: formatAnd(held_by) }), [{ label: phrase("held.next"), run: openNext }]);
  } else if (sent_back) messages.trouble("held", phrase("held.sent_back", { user: sent_back.by, note: sent_back.note }));
  else if (locked) messages.trouble("held", locked, [{ label: phrase("held.next"), run: openNext }]);
  else if (save_as === "accept" && state !== "accepted") messages.trouble("held", phrase("held.in_review"));
  else if (read_only) messages.trouble("held", phrase("held.viewer"));
}

/** Renew the lease of the open photo while the page is visible. */
export function keepLease(call, getPhoto) {
  setInterval(() => {
    const photo = document.hidden ? null : getPhoto();
    // No answer is ignored here; the next call of the user reports it.
    if (photo && !photo.read_only) call("hold", { image_id: photo.image_id }).catch(() => {});
  }, RENEW_MS);
  window.addEventListener("pagehide", () => {
    const photo = getPhoto();
    if (!photo || photo.read_only) return;
    const body = JSON.stringify({ image_id: photo.image_id });
    fetch(`${ROOT}api/v1/leave`, { method: "POST", keepalive: true, headers: { "content-type": "application/json" }, body });
  });
}
