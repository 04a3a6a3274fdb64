// Chooses the language of the page: the one that the person has chosen, else the best of the browser's that is offered,
// else English. Sets it and its direction on the document, so that screen readers pronounce the page properly, and has the
// browser fetch its texts. Runs as a plain script before anything is shown. Knows nothing of the texts.
(() => {
  const OFFERED = ["en", "de", "es", "zh"]; // the files in languages/
  const RIGHT_TO_LEFT = /^(ar|dv|fa|he|ks|ku|ps|sd|ug|ur|yi)(-|$)/u;
  const COOKIE = "annotator_language="; // a cookie, since servers on one machine differ in their port, and so in their storage
  const base = (name) => name.toLowerCase().split("-")[0];

  /** The offered language that is nearest to one of the browser: "zh-Hant-TW", "zh-Hant", "zh", or else another "zh-…". */
  function nearest(name) {
    const pieces = name.toLowerCase().split("-");
    const names = pieces.map((_, index) => pieces.slice(0, pieces.length - index).join("-"));
    const exact = names.map((one) => OFFERED.find((other) => other.toLowerCase() === one)).find(Boolean);
    return exact ?? OFFERED.find((other) => base(other) === pieces[0]);
  }

  const wanted = navigator.languages?.length ? navigator.languages : [navigator.language || "en"];
  const kept = document.cookie.split("; ").find((one) => one.startsWith(COOKIE))?.slice(COOKIE.length);
  const chosen = OFFERED.includes(kept) ? kept : null;
  const language = chosen ?? wanted.map(nearest).find(Boolean) ?? "en";
  // Numbers and dates are those of the person's region: 3.180 for de-DE, 3’180 for de-CH.
  const locale = wanted.find((one) => base(one) === base(language)) ?? language;
  globalThis.annotatorLanguage = { language, locale, chosen, offered: OFFERED, cookie: COOKIE, isRightToLeft: RIGHT_TO_LEFT.test(language) };

  const root = document.documentElement;
  const mark = () => {
    if (root.lang !== language) root.lang = language;
  };
  root.dir = globalThis.annotatorLanguage.isRightToLeft ? "rtl" : "ltr";
  mark();
  new MutationObserver(mark).observe(root, { attributes: true, attributeFilter: ["lang"] }); // Gradio sets another one

  const { src, dataset } = document.currentScript; // dataset says where the files are, if the script stands in the document itself
  const place = dataset.files ?? src.replace(/[^/]*$/u, "");
  document.head.append(Object.assign(document.createElement("link"), { rel: "modulepreload", href: `${place}languages/${language}.js` }));
})();
