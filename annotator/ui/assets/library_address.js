// The library's search in the address bar, so that back, reload and a shared link work. Knows nothing of the page.

const NAME = "#library";
const STATES = new Set(["all", "saved", "unsaved", "empty", "changed", "new", "draft", "in_review", "accepted"]);
const SORTS = new Set(["folder", "name", "date", "saved", "queue", "alike"]);

export const EVERYTHING = { query: "", state: "all", sort: "folder", alike_to: null };

/** The search of an address's fragment; null if it is none of the library. What it cannot be is left out. */
export function searchOf(hash) {
  if (hash !== NAME && !hash.startsWith(`${NAME}?`)) return null;
  const given = new URLSearchParams(hash.slice(NAME.length + 1));
  const wanted = { ...EVERYTHING, query: (given.get("query") ?? "").slice(0, 500) };
  if (STATES.has(given.get("state"))) wanted.state = given.get("state");
  const alike_to = Number(given.get("alike_to"));
  if (Number.isInteger(alike_to) && alike_to > 0) wanted.alike_to = alike_to;
  const sort = given.get("sort");
  if (SORTS.has(sort) && (sort !== "alike" || wanted.alike_to)) wanted.sort = sort;
  return wanted;
}

/** The fragment of a search: only what differs from everything. */
export function fragmentOf(wanted) {
  const differing = Object.entries(wanted).filter(([name, value]) => value !== EVERYTHING[name]).map(([name, value]) => [name, String(value)]);
  return differing.length ? `${NAME}?${new URLSearchParams(differing)}` : NAME;
}
