// The terms of a search text, to add and take away single ones. The server understands them (datasets/photo_search.py).

const TERM = /-?(?:\w+:)?(?:"[^"]+"|[^\s"]+)/gu;

/** term("tag", "red car", { isExcluded: true }) is -tag:"red car". */
export function term(field, value, { isExcluded = false } = {}) {
  const plain = value.replaceAll('"', "");
  return `${isExcluded ? "-" : ""}${field}:${/^[^\s"-][^\s"]*$/u.test(plain) ? plain : `"${plain}"`}`;
}

export const termsOf = (text) => text.match(TERM) ?? [];

export function hasTerm(text, wanted) {
  return termsOf(text).some((one) => one.toLowerCase() === wanted.toLowerCase());
}

/** Add a term, or take it away if it is there; its opposite is taken away in any case. */
export function toggleTerm(text, wanted) {
  const opposite = wanted.startsWith("-") ? wanted.slice(1) : `-${wanted}`;
  const others = termsOf(text).filter((one) => ![wanted, opposite].some((other) => other.toLowerCase() === one.toLowerCase()));
  return (hasTerm(text, wanted) ? others : [...others, wanted]).join(" ");
}
