// The choice of the language: its name in itself, kept for this browser in a cookie, and the page is loaded again. Lists
// that are being edited are kept by the server or the browser, and are there again. Knows nothing of the page.

import { ROOT } from "./address.js";
import { make } from "./elements.js";
import { LANGUAGES } from "./texts.js";

const YEAR_SECONDS = 365 * 86_400;

/** A language's name in itself: "Deutsch". */
export function languageName(code) {
  const name = new Intl.DisplayNames([code], { type: "language" }).of(code);
  return name.charAt(0).toLocaleUpperCase(code) + name.slice(1);
}

/** Keep the language, and show the page in it. */
export function chooseLanguage(code) {
  document.cookie = `${LANGUAGES.cookie}${code}; path=${ROOT.replace(/(.)\/$/u, "$1")}; max-age=${YEAR_SECONDS}; SameSite=Strict`;
  location.reload();
}

/** A list of the languages. */
export function languageSelect(properties = {}) {
  const options = LANGUAGES.offered.map((code) => make("option", { value: code, lang: code, selected: code === LANGUAGES.language }, languageName(code)));
  const select = make("select", { ...properties, onchange: () => chooseLanguage(select.value) }, ...options);
  return select;
}
