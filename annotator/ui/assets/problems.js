// What a person reads when the server refuses something: a sentence in the page's language by the kind of the error, and in
// it the server's own sentence, which is English, as the detail. Knows nothing of calls.

import { phrase } from "./texts.js";

/** Kind of an error -> its text; of other kinds, the server's sentence says what to do, and stands alone. */
const TEXTS = {
  stale: "problem.stale",
  leased: "problem.leased",
  forbidden: "problem.forbidden",
  login: "problem.login",
  store: "problem.store",
  unknown_image: "problem.unknown_image",
  review: "problem.review",
  training: "problem.training",
  tag: "problem.tag",
  account: "problem.account",
  demo: "problem.demo",
  refused: "problem.refused",
  failed: "problem.failed",
};

/** The sentence about an error of the server. */
export function problemText({ kind, message, is_full }) {
  const key = is_full ? "problem.full" : TEXTS[kind];
  return key ? phrase(key, { detail: message }) : message;
}
