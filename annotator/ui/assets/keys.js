// Names of key presses, their actions, their form in texts, and which keys an action may have. Pure functions over
// keyboard events and key maps. Knows nothing of the page or of the effect of actions.

/** Every action that can be re-mapped: name -> description, in the order of the help. */
export const ACTIONS = {
  save: "Save and go to the next photo",
  accept: "Take all above the dashed line and save; with text: take the completion and save",
  take_selected: "Take the selected proposal",
  drop: "Refuse the selected tag for this photo: it is not suggested again",
  never: "Never propose the selected proposal in this project",
  up: "Select the row above",
  down: "Select the row below",
  move_up: "Move the tag up; a proposal is kept",
  move_down: "Move the tag down; below the cut line it is only proposed",
  cut_up: "Cut line up: give back the last kept tag",
  cut_down: "Cut line down: keep the first proposal",
  previous: "Photo before",
  next: "Photo after, without saving",
  skip: "Put off: this photo comes again at the end",
  undo: "Undo, across photos too",
  redo: "Redo",
  neighbours: "Look-alikes: photos that look alike, then those with the same words",
  zoom: "Zoom in and out",
  why: "Show why the selected tag has its rank, source by source",
  heat_map: "Show where the selected tag is seen",
  review: "Review: people's answers side by side (reviewers)",
  timeline: "History: what happened to this photo, and earlier lists",
  group: "Tag this photo and those that look like it together",
  sweep: "Look for saved photos that need the selected tag too",
  browse: "Library: browse all photos",
  palette: "Find any action by its name",
  fields: "Title, description and other fields of the photo",
  export: "Export tags in the format of another program",
  import: "Import tags of another program (admins)",
  help: "Show and change keys",
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
  Delete: "Del", Escape: "Esc", PageUp: "PgUp", PageDown: "PgDn", Backspace: "⌫",
};
// Keys that edit text or belong to the browser: they cannot be mapped to an action.
const RESERVED = new Set([
  "Escape", "Tab", "Shift+Tab", "Backspace", "/", "Shift+Enter",
  "Ctrl+A", "Ctrl+C", "Ctrl+V", "Ctrl+X", "Ctrl+W", "Ctrl+T", "Ctrl+N", "Ctrl+R", "Ctrl+L", "F5", "F11", "F12",
]);

export function isMac(platform = globalThis.navigator?.platform ?? "") {
  return /mac|iphone|ipad/iu.test(platform);
}

/** The name of a key press in key maps ("Ctrl+Shift+Z", "Alt+ArrowUp", "?"), or "" for a modifier alone. */
export function keyName(event, mac = isMac()) {
  if (MODIFIERS.has(event.key)) return "";
  // With Ctrl or Alt, a letter of another script is named by its position on the keyboard.
  const place = /^Key([A-Z])$/u.exec(event.code ?? "")?.[1];
  const foreign = place && (event.ctrlKey || event.altKey || event.metaKey) && !/^[a-z]$/iu.test(event.key);
  let key = foreign ? place : event.key;
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
    return SYMBOLS[piece] ?? piece;
  });
}

/** Why a key cannot be mapped to an action, in one sentence, or null when it can. */
export function refusal(keys, action, name) {
  const written = keyPieces(name).join(" ");
  if (/^(Shift\+)?\p{L}$/u.test(name)) return `${written} alone is a letter: letters are for typing tags.`;
  if (/^(Alt\+)?(Shift\+)?[0-9]$/u.test(name) || /^[!"§$%&@#^*()]$/u.test(name)) {
    return `${written} belongs to the digits, which take proposals.`;
  }
  if (RESERVED.has(name)) return `${written} edits text or belongs to the browser; choose another key.`;
  const holder = Object.keys(keys).find((other) => other !== action && keys[other].includes(name));
  return holder ? `${written} is taken by “${ACTIONS[holder] ?? holder}”; choose another key.` : null;
}
