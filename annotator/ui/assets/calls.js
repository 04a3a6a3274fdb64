// Calls of the server's operations: one answer or one CallError, always within a time limit; and the newest-only
// variant, whose late answers are dropped. Knows nothing of what the operations mean.

const TIMEOUT_SECONDS = 20;

/** A call that did not do what was asked. `kind` is the server's, or "unreachable" when there was no answer. */
export class CallError extends Error {
  constructor({ kind, message, ...details }) {
    super(message);
    this.kind = kind;
    this.details = details;
  }
}

/**
 * Wrap Gradio's server functions: call(name, payload) -> answer, or throws CallError. `renew()` is asked for new
 * cookies when there was no answer (a restarted server knows none of the old ones) and says whether it got them.
 */
export function createCalls(server, { renew, timeoutSeconds = TIMEOUT_SECONDS }) {
  return async function call(name, payload = {}) {
    const answer = await withinLimit(ask(server, name, payload, renew), timeoutSeconds);
    if (answer?.error) throw new CallError(answer.error);
    return answer;
  };
}

async function ask(server, name, payload, renew) {
  if (!server[name]) throw new CallError({ kind: "request", message: `This server has no operation “${name}”.` });
  // Gradio's client answers undefined when the network or the server failed. Asking twice is safe: a save that was
  // carried out the first time is stale the second time, with the same list in the store.
  let answer = await server[name](payload);
  if (!answer && (await renew())) answer = await server[name](payload);
  if (!answer) {
    throw new CallError({ kind: "unreachable", message: "The server does not answer." });
  }
  return answer;
}

function withinLimit(promise, seconds) {
  let timer;
  const limit = new Promise((_, reject) => {
    const message = `The server has not answered for ${seconds} seconds.`;
    timer = setTimeout(() => reject(new CallError({ kind: "unreachable", message })), seconds * 1000);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Only the newest call of the returned function is answered; an overtaken one resolves to null. */
export function newestOnly(run) {
  let newest = 0;
  return async (...parameters) => {
    const mine = (newest += 1);
    try {
      const answer = await run(...parameters);
      return mine === newest ? answer : null;
    } catch (error) {
      if (mine === newest) throw error;
      return null;
    }
  };
}
