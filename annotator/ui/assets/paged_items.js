// The items of a long list on the server: fetched page by page when they are needed, and kept while they are used.
// Knows nothing of what the items are and how they are shown.

const SETTLE_MS = 60; // wait before a fetch, so that fast scrolling skips pages

/**
 * fetchPage(offset, limit) -> { total, items }; arrived(answer, isFirst): a page has come, the first one since the list was
 * begun or another; failed(error): a page has not come. A page has `size` items; of more than `most` pages, the one that
 * was used longest ago is dropped, and fetched again when it is needed.
 */
export function createPagedItems({ fetchPage, arrived, failed, size = 200, most = 20 }) {
  let pages = new Map(); // page number -> items; the one that was used last is last
  let fetching = new Set();
  let generation = 0; // answers to questions of an earlier one are dropped
  let total = 0;
  let isFirst = true;
  let settle = 0;

  async function load(page) {
    if (pages.has(page) || fetching.has(page)) return;
    const [mine, asked] = [generation, fetching];
    asked.add(page);
    try {
      const answer = await fetchPage(page * size, size);
      if (mine !== generation) return;
      pages.set(page, answer.items);
      while (pages.size > most) pages.delete(pages.keys().next().value);
      total = answer.total;
      const wasFirst = isFirst;
      isFirst = false;
      arrived(answer, wasFirst);
    } catch (error) {
      if (error.kind === undefined) throw error;
      if (mine === generation) failed(error);
    } finally {
      asked.delete(page);
    }
  }

  /** Drop what is still to come. */
  function stop() {
    generation += 1;
    clearTimeout(settle);
  }

  return {
    /** How many items there are, as far as is known. */
    total: () => total,
    /** The item at a place; null while it is not here. */
    at(index) {
      const page = Math.floor(index / size);
      const items = pages.get(page);
      if (!items) return null;
      pages.delete(page);
      pages.set(page, items);
      return items[index % size] ?? null;
    },
    /** Fetch the page of a place, unless it is here. */
    load: (index) => load(Math.floor(index / size)),
    /** Fetch what is not here from one place to before another, once the list is at rest. */
    need(first, last) {
      clearTimeout(settle);
      settle = setTimeout(() => {
        for (let page = Math.floor(first / size); page * size < last; page += 1) load(page);
      }, pages.size ? SETTLE_MS : 0);
    },
    stop,
    /** Begin the list anew, at a place; `keepsTotal`: until the answer comes, it counts as long as it was. */
    restart(index = 0, { keepsTotal = false } = {}) {
      stop();
      pages = new Map();
      fetching = new Set();
      isFirst = true;
      if (!keepsTotal) total = 0;
      return load(Math.floor(index / size));
    },
    /** A function that tells whether the list is still the one of now. */
    ofNow() {
      const mine = generation;
      return () => mine === generation;
    },
  };
}
