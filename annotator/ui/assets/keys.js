// Names of key presses, their actions, their form in texts, and which keys an action may have. Pure functions over
// keyboard events and key maps. Knows nothing of the page or of the effect of actions.

import { IS_RIGHT_TO_LEFT, phrase } from "./texts.js";

/** Every action that can be re-mapped: name -> description, in the order of the help. */
export const ACTIONS = {
  save: phrase("action.save"),
  accept: phrase("action.accept"),
  take_selected: phrase("action.take_selected"),
  drop: phrase("action.drop"),
  never: phrase("action.never"),
  up: phrase("action.up"),
  down: phrase("action.down"),
  move_up: phrase("action.move_up"),
  move_down: phrase("action.move_down"),
  cut_up: phrase("action.cut_up"),
  cut_down: phrase("action.cut_down"),
  previous: phrase("action.previous"),
  next: phrase("action.next"),
  skip: phrase("action.skip"),
  undo: phrase("action.undo"),
  redo: phrase("action.redo"),
  neighbours: phrase("action.neighbours"),
  zoom: phrase("action.zoom"),
  why: phrase("action.why"),
  heat_map: phrase("action.heat_map"),
  review: phrase("action.review"),
  timeline: phrase("action.timeline"),
  group: phrase("action.group"),
  sweep: phrase("action.sweep"),
  browse: phrase("action.browse"),
  palette: phrase("action.palette"),
  fields: phrase("action.fields"),
  export: phrase("action.export"),
  import: phrase("action.import"),
  help: phrase("action.help"),
};

export const DEFAULT_KEYS = {
  save: ["Enter"],
  accept: ["Ctrl+Enter"],
  up: ["ArrowUp"],
  down: ["ArrowDown"],
  move_up: ["Alt+ArrowUp"],
  move_down: ["Alt+ArrowDown"],
  cut_up: ["Shift+ArrowUp"],
  cut_down: ["Shift+ArrowDown"],
  drop: ["Delete"],
  never: ["Shift+Delete"],
  previous: ["ArrowLeft"],
  next: ["ArrowRight"],
  skip: ["Ctrl+ArrowRight"],
  undo: ["Ctrl+Z"],
  redo: ["Ctrl+Shift+Z", "Ctrl+Y"],
  help: ["?"],
  browse: ["Ctrl+B"],
  palette: ["Ctrl+K"],
  fields: ["F10"],
  export: ["Ctrl+E"],
  import: ["Ctrl+I"],
  take_selected: ["Space"],
  zoom: ["Ctrl+Space"],
  neighbours: ["F2"],
  heat_map: ["F4"],
  group: ["F3"],
  sweep: ["F8"],
  why: ["F9"],
  review: ["F6"],
  timeline: ["F7"],
};

const MODIFIERS = new Set(["Control", "Shift", "Alt", "Meta", "AltGraph", "CapsLock", "NumLock", "Fn", "Dead"]);
const SYMBOLS = {
  ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→",
  Backspace: "⌫",
  Enter: phrase("key.Enter"), Space: phrase("key.Space"), Tab: phrase("key.Tab"), Delete: phrase("key.Delete"), Escape: phrase("key.Escape"),
  Home: phrase("key.Home"), End: phrase("key.End"), PageUp: phrase("key.PageUp"), PageDown: phrase("key.PageDown"),
  Ctrl: phrase("key.Ctrl"), Alt: phrase("key.Alt"), Shift: phrase("key.Shift"),
};
const MIRRORED = { ArrowLeft: "ArrowRight", ArrowRight: "ArrowLeft" };
// Keys that edit text or belong to the browser: they cannot be mapped to an action.
const RESERVED = new Set([
  "Escape", "Tab", "Shift+Tab", "Backspace", "/", "Shift+Enter",
  "Ctrl+A", "Ctrl+C", "Ctrl+V", "Ctrl+X", "Ctrl+W", "Ctrl+T", "Ctrl+N", "Ctrl+R", "Ctrl+L", "F5", "F11", "F12",
]);

export function isMac(platform = globalThis.navigator?.platform ?? "") {
  return /mac|iphone|ipad/iu.test(platform);
}

/** The key that leads the same way where text runs from right to left: there, ArrowRight is the name of the key to the left. */
export const inDirection = (key, isMirrored = IS_RIGHT_TO_LEFT) => (isMirrored && MIRRORED[key]) || key;

/**
 * The name of a key press in key maps ("Ctrl+Shift+Z", "Alt+ArrowUp", "?"), or "" for a modifier alone. ArrowRight leads
 * on and ArrowLeft back, whatever the direction of the text.
 */
export function keyName(event, mac = isMac()) {
  if (MODIFIERS.has(event.key)) return "";
  // With Ctrl or Alt, a letter of another script is named by its position on the keyboard.
  const place = /^Key([A-Z])$/u.exec(event.code ?? "")?.[1];
  const foreign = place && (event.ctrlKey || event.altKey || event.metaKey) && !/^[a-z]$/iu.test(event.key);
  let key = foreign ? place : inDirection(event.key);
  if (key === " " || key === "\u00a0") key = "Space";
  const printable = [...key].length === 1;
  if (/^\p{L}$/u.test(key)) key = key.toUpperCase();
  const ctrl = event.ctrlKey || (mac && event.metaKey);
  // Shift is part of a character such as "?", but not of a letter, whose case is not the command.
  const shift = event.shiftKey && !(printable && !/^\p{L}$/u.test(key));
  const parts = [ctrl && "Ctrl", event.altKey && "Alt", shift && "Shift", event.metaKey && !mac && "Meta", key];
  return parts.filter(Boolean).join("+");
}

/** The action of a key name, or null. */
export function actionOf(name, keys) {
  return Object.keys(keys).find((action) => keys[action].includes(name)) ?? null;
}

/**
 * The digit of a key press: { number, downTo, saves, withShift (with Alt only) }, or null. On keyboards whose digit row needs Shift
 * (French, Czech), Shift gives the digit itself, so there it takes one proposal. With Alt the key's position counts,
 * since on a Mac Alt changes the character.
 */
export function digitOf(event) {
  if (event.ctrlKey || event.metaKey) return null;
  const row = /^Digit([1-9])$/u.exec(event.code ?? "")?.[1];
  if (event.altKey) return row ? { number: Number(row), downTo: false, saves: true, withShift: event.shiftKey } : null;
  if (/^[1-9]$/u.test(event.key)) return { number: Number(event.key), downTo: false, saves: false };
  return row && event.shiftKey ? { number: Number(row), downTo: true, saves: false } : null;
}

/** True when the press would type or edit text, so that it belongs to a box that holds text. */
export function isTextKey(event, name) {
  if (/^(Ctrl\+)?(Alt\+)?(Shift\+)?(ArrowLeft|ArrowRight|Home|End|Delete|Backspace)$/u.test(name)) return true;
  if (/^Ctrl\+(Shift\+)?[ACVXZY]$/u.test(name)) return true;
  return [...event.key].length === 1 && !event.ctrlKey && !event.metaKey && !(event.altKey && !isMac());
}

/** A key name as short pieces for <kbd>: "Ctrl+ArrowRight" -> ["Ctrl", "→"]. */
export function keyPieces(name, mac = isMac()) {
  const pieces = name === "+" ? ["+"] : name.split(/\+(?!$)/u);
  return pieces.map((piece) => {
    if (mac && piece === "Ctrl") return "⌘";
    if (mac && piece === "Alt") return "⌥";
    return SYMBOLS[inDirection(piece)] ?? piece;
  });
}

/** Why a key cannot be mapped to an action, in one sentence, or null when it can. */
export function refusal(keys, action, name) {
  const written = keyPieces(name).join(" ");
  if (/^(Shift\+)?\p{L}$/u.test(name)) return phrase("key.is_letter", { key: written });
  if (/^(Alt\+)?(Shift\+)?[0-9]$/u.test(name) || /^[!"§$%&@#^*()]$/u.test(name)) {
    return phrase("key.is_digit", { key: written });
  }
  if (RESERVED.has(name)) return phrase("key.is_reserved", { key: written });
  const holder = Object.keys(keys).find((other) => other !== action && keys[other].includes(name));
  return holder ? phrase("key.is_taken", { key: written, action: ACTIONS[holder] ?? holder }) : null;
}
