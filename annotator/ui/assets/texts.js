// The texts of the page in the language that language.js has chosen. A text has named places, "{tag} is kept", which take
// values; a text that depends on a number has a form for each plural category of its language. A text that is missing is
// an error. Knows nothing of the page.

const { language, locale, offered, chosen, cookie, isRightToLeft } = globalThis.annotatorLanguage ?? { language: "en", locale: "en-GB", offered: ["en"], isRightToLeft: false };
const { default: texts } = await import(`./languages/${language}.js`);
const rules = new Intl.PluralRules(language);

/** The locale of numbers and dates. */
export const LOCALE = locale;
export const IS_RIGHT_TO_LEFT = isRightToLeft;
/** Whether what comes next lies to the right (1) or to the left (-1). */
export const FORWARD = isRightToLeft ? -1 : 1;
/** The languages that can be chosen, the one that is shown, and the one that was chosen or null. */
export const LANGUAGES = { offered, language, chosen, cookie };

const PLACE = /\{(\w+)\}/u;
const AGAINST = isRightToLeft ? /\p{L}/u : /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u;

/** A text: phrase("tagging.kept_already", { tag }). */
export function phrase(key, values = {}) {
  return pieces(key, texts[key], values).join("");
}

/** A text for a number, which is its place {num}: plural("count.photos", 3) is "3 photos". */
export function plural(key, num, values = {}) {
  return pieces(key, form(key, num), { num: numberText(num), ...values }).join("");
}

/** The same as an array of texts and values, for values that are elements: make("p", {}, ...phraseNodes("why.title", { tag: make("b", {}, tag) })). */
export function phraseNodes(key, values = {}) {
  return pieces(key, texts[key], values).filter((piece) => piece !== "");
}

/** The form of a text for a number, as phraseNodes. */
export function pluralNodes(key, num, values = {}) {
  return pieces(key, form(key, num), { num: numberText(num), ...values }).filter((piece) => piece !== "");
}

/** A whole number as it is written in the language. */
export function numberText(num) {
  return Number(num).toLocaleString(locale);
}

/** Where a value runs against the direction of the text, it is set off, so that what follows keeps its place. */
export function isolated(value) {
  const plain = String(value);
  return AGAINST.test(plain) ? `\u2068${plain}\u2069` : plain;
}

function form(key, num) {
  return texts[key]?.[rules.select(Number(num))] ?? texts[key]?.other;
}

/** Texts at even places, values at odd ones. */
function pieces(key, text, values) {
  if (typeof text !== "string") throw new Error(`The language ${language} has no text “${key}”.`);
  return text.split(PLACE).map((piece, index) => {
    if (index % 2 === 0) return piece;
    if (!(piece in values)) throw new Error(`The text “${key}” needs “${piece}”.`);
    const value = values[piece];
    return typeof value === "object" ? value : isolated(value);
  });
}
