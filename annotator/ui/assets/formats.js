// Numbers, shares, times and lists as they are written in the chosen language. Knows nothing of the page.

import { LOCALE, isolated, numberText, phrase, plural } from "./texts.js";

export const formatNumber = numberText;

/** 0.81 is "81%", in German "81 %". */
export const formatPercent = (share) => Number(share).toLocaleString(LOCALE, { style: "percent", maximumFractionDigits: 0 });

/** A number with so many decimals. */
export function formatDecimal(value, digits) {
  return Number(value).toLocaleString(LOCALE, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A share as ".87" where the decimal sign is a point, else whole. */
export const formatShare = (share) => formatDecimal(share, 2).replace(/^0(?=\.)/u, "");

/** Tags, names and the like in one line. */
export const formatList = (items) => items.map(isolated).join(phrase("list.separator"));

/** "Anna and Ben". */
export const formatAnd = (items) => new Intl.ListFormat(LOCALE, { type: "conjunction" }).format(items.map(isolated));

/** A point in time; empty where it is none. */
export function formatTime(time) {
  const moment = new Date(time);
  return Number.isNaN(moment.getTime()) ? "" : moment.toLocaleString(LOCALE, { dateStyle: "medium", timeStyle: "short" });
}

/** The time of a day. */
export const formatHour = (time) => new Date(time).toLocaleTimeString(LOCALE, { timeStyle: "short" });

/** How long something takes: "40 s", "12 min", "1.5 h". */
export function formatDuration(seconds) {
  if (seconds < 90) return phrase("duration.seconds", { num: formatNumber(Math.ceil(seconds)) });
  if (seconds < 5400) return phrase("duration.minutes", { num: formatNumber(Math.round(seconds / 60)) });
  return phrase("duration.hours", { num: formatDecimal(seconds / 3600, 1) });
}

/** "812 B", "1.2 kB", "3.4 MB". */
export function formatSize(bytes) {
  if (bytes < 1000) return `${formatNumber(bytes)} B`;
  return bytes < 1e6 ? `${formatDecimal(bytes / 1e3, 1)} kB` : `${formatDecimal(bytes / 1e6, 1)} MB`;
}

/** Megabytes without decimals. */
export const formatMegabytes = (bytes) => `${formatNumber(Math.round(bytes / 1e6))} MB`;

/** The types of files that were not read, with counts: "12 HEIC, 3 video (.mp4)". */
export const formatTypes = (types) => formatList(Object.entries(types ?? {}).map(([name, number]) => `${formatNumber(number)} ${name}`));

export const countPhotos = (number) => plural("count.photos", number);
