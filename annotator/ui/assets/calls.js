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

/** Wrap Gradio's server functions: call(name, payload) -> answer, or throws CallError. */
export function createCalls(server, { timeoutSeconds = TIMEOUT_SECONDS } = {}) {
  return async function call(name, payload = {}) {
    const answer = await withinLimit(ask(server, name, payload), timeoutSeconds);
    if (answer?.error) throw new CallError(answer.error);
    return answer;
  };
}

async function ask(server, name, payload) {
  if (!server[name]) throw new CallError({ kind: "request", message: `This server has no operation “${name}”.` });
  const answer = await server[name](payload);
  // Gradio's client answers undefined when the network or the server failed.
  if (answer === undefined || answer === null) {
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
