// After each edit: sends the list to the server and returns its proposals. One call at a time; during a call only the
// newest edit waits, so that drafts are stored in the order of the edits.
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
        // An answer for a list that has changed since is ignored: that of the newer edit follows.
        onAnswer(request, answer, waiting === null);
      } catch (error) {
        onError(request, error, waiting === null);
      }
    }
  }

  return {
    /** Send { image_id, kept, dropped, revision }; replaces a request that still waits. */
    send(request) {
      waiting = request;
      running ??= run().finally(() => {
        running = null;
      });
    },
    /** Resolves when no call is under way. */
    async idle() {
      while (running) await running;
    },
    /** Discard a waiting request (a save sends the same list), then wait for the call under way. */
    async discard() {
      waiting = null;
      while (running) await running;
    },
  };
}
