// Calls of the server's operations: an answer or a CallError within a time limit; and a variant that drops the
// answers of all but the newest call. Knows nothing of the meaning of the operations.

import { problemText } from "./problems.js";
import { phrase, plural } from "./texts.js";

const TIMEOUT_SECONDS = 20;

/** A failed call. `kind` is that of the server's error, or "unreachable" without an answer; `message` is in the page's language. */
export class CallError extends Error {
  constructor({ kind, message, ...details }) {
    super(problemText({ kind, message, ...details }));
    this.kind = kind;
    this.details = details;
  }
}

/**
 * Wrap Gradio's server functions: call(name, payload) -> answer, or throws CallError. `renew()` gets new
 * cookies when there was no answer (those of before a restart are invalid) and returns whether it succeeded.
 */
export function createCalls(server, { renew, timeoutSeconds = TIMEOUT_SECONDS }) {
  return async function call(name, payload = {}) {
    const answer = await withinLimit(ask(server, name, payload, renew), timeoutSeconds);
    if (answer?.error) throw new CallError(answer.error);
    return answer;
  };
}

async function ask(server, name, payload, renew) {
  if (!server[name]) throw new CallError({ kind: "request", message: phrase("server.no_operation", { name }) });
  // Gradio's client returns undefined when the network or the server failed. A repeated call is safe: a save that was
  // carried out the first time is stale the second time, with the same list in the database.
  let answer = await server[name](payload);
  if (!answer && (await renew())) answer = await server[name](payload);
  if (!answer) {
    throw new CallError({ kind: "unreachable", message: phrase("server.silent") });
  }
  return answer;
}

function withinLimit(promise, seconds) {
  let timer;
  const limit = new Promise((_, reject) => {
    const message = plural("server.slow", seconds);
    timer = setTimeout(() => reject(new CallError({ kind: "unreachable", message })), seconds * 1000);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Only the newest call of the returned function gets an answer; older ones resolve to null. */
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
