// After each edit: tells the server the list and brings back what it proposes now. One call at a time; while one is
// on its way only the newest edit waits, so drafts reach the store in the order in which they were made.
// Knows nothing of the DOM.

export function createProposing({ call, onAnswer, onError }) {
  let waiting = null;
  let running = null;

  async function run() {
    while (waiting) {
      const request = waiting;
      waiting = null;
      try {
        const answer = await call("propose", request);
        // An answer to a list that has changed since is late: the newer edit's answer follows.
        onAnswer(request, answer, waiting === null);
      } catch (error) {
        onError(request, error, waiting === null);
      }
    }
  }

  return {
    /** Send { image_id, kept, dropped, revision }; replaces a request that has not left yet. */
    send(request) {
      waiting = request;
      running ??= run().finally(() => {
        running = null;
      });
    },
    /** Resolves when nothing is on its way. */
    async settled() {
      while (running) await running;
    },
    /** Forget what has not left (a save carries the same list), then wait for what has. */
    async discard() {
      waiting = null;
      while (running) await running;
    },
  };
}
