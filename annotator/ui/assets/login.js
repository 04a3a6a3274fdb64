// Logs in and returns to the page that was requested. token.js adds the token to the call.

import { ROOT } from "./address.js";
import { problemText } from "./problems.js";
import { writeStaticTexts } from "./static_texts.js";
import { phrase } from "./texts.js";

writeStaticTexts(document);
document.title = phrase("login.title");
const form = document.getElementById("login");
const problem = document.getElementById("problem");
const button = form.querySelector("button");

/** The path to return to: only one of this server, since "//host" and full URLs would lead elsewhere. */
function target() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  const url = new URL(next, location.origin);
  return url.origin === location.origin && next.startsWith("/") ? ROOT + url.pathname.slice(1) : ROOT;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  problem.textContent = "";
  try {
    const answer = await fetch(`${ROOT}api/v1/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: form.elements.name.value, password: form.elements.password.value }),
    });
    if (answer.ok) {
      location.replace(target());
      return;
    }
    const { error } = await answer.json();
    problem.textContent = error ? problemText(error) : phrase("server.status", { status: answer.status });
    form.elements.password.select();
  } catch {
    problem.textContent = phrase("server.silent");
  }
  button.disabled = false;
});
