// The icon and the shown name of each source of proposals. Knows nothing of lists or photos.

import { icon } from "./elements.js";
import { phrase } from "./texts.js";

const EYE = ["M1.5 8s2.4-4.2 6.5-4.2S14.5 8 14.5 8s-2.4 4.2-6.5 4.2S1.5 8 1.5 8Z", "M8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6Z"];
const SOURCES = {
  looks: [phrase("source.looks"), EYE],
  decoder: [phrase("source.decoder"), [...EYE, "M3 14.5h10"]],
  context: [phrase("source.context"), [...EYE, "M2 14.5h2.5M6.8 14.5h2.4M11.5 14.5H14"]],
  detector: [phrase("source.detector"), ["M2 5V2h3M11 2h3v3M14 11v3h-3M5 14H2v-3", "M5.5 5.5h5v5h-5z"]],
  neighbours: [phrase("source.neighbours"), ["M2 2.5h8v8H2z", "M6 13.5h8v-8"]],
  metadata: [phrase("source.metadata"), ["M2.5 4h11M2.5 8h11M2.5 12h7"]],
  keywords: [phrase("source.keywords"), ["M2 8.5V2.2h6.3L14 8l-6 6z", "M5 5.2h.01"]],
  caption: [phrase("source.caption"), ["M2 3.5h12v7H7l-3 2.8v-2.8H2z"]],
  folder: [phrase("source.folder"), ["M1.8 12.8V3.2h4.4l1.6 1.9h6.4v7.7z"]],
  habits: [phrase("source.habits"), ["M2.5 13.5V9M6.2 13.5V5.5M9.8 13.5V8M13.5 13.5V3"]],
  words: [phrase("source.words"), ["M2 12 5.5 4 9 12M3.2 9.5h4.6", "M11 7.2c3-1.4 3 .6 3 1.6V12M14 9c-2-.2-3.4.5-3.4 1.7s2 1.8 3.4 0"]],
  vlm: [phrase("source.vlm"), [...EYE, "M4 14.5h8"]],
  text: [phrase("source.text"), [...EYE, "M2 14.5h5M9 14.5h5"]],
  kept: [phrase("source.kept"), ["m3 8.5 3.4 3.4L13 5"]],
  typed: [phrase("source.typed"), ["m3 13 .7-2.8 7-7 2.1 2.1-7 7z"]],
};

/** Sources that can be excluded for one photo, with their short names. */
export const SWITCHABLE = {
  context: phrase("source.short.model"),
  decoder: phrase("source.short.model"),
  looks: "ImageNet",
  detector: phrase("source.short.detector"),
  vlm: phrase("source.short.vlm"),
  text: phrase("source.short.text"),
  neighbours: phrase("source.short.neighbours"),
  metadata: phrase("source.short.metadata"),
  keywords: phrase("source.short.keywords"),
  caption: phrase("source.short.caption"),
  folder: phrase("source.short.folder"),
  habits: phrase("source.short.habits"),
};

/** Sources that not every project has. */
export const LATE_SOURCES = ["vlm", "text"];

export function sourceName(source) {
  return SOURCES[source]?.[0] ?? source;
}

export function sourceIcon(source) {
  const [name, paths] = SOURCES[source] ?? [source, ["M8 3v7M8 12.5v.5"]];
  return icon(paths, name);
}
