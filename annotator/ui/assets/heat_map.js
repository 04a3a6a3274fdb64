// Where a tag is located in the photo: the boxes of a detector, or else a heat map, while the pointer is on a tag's row,
// or, once switched on by a key, for the selected tag. Knows nothing of the list; the server computes what is drawn.

import { newestOnly } from "./calls.js";
import { make } from "./elements.js";
import { formatPercent } from "./formats.js";
import { own } from "./names.js";
import { phrase } from "./texts.js";

const COLOUR = [255, 122, 0];
const FAINTEST = 0.15; // share of the maximum below which nothing is drawn

/** `canvas` and `boxes` are overlays of the photo (photo_view.js); say(text) shows why there is no heat map. */
export function createHeatMap(canvas, boxes, { call, place, say }) {
  const ask = newestOnly((image_id, tag) => call("heat_map", { image_id, tag }));
  let isOn = false;
  let pointed = null;
  let shown = "";

  async function show(image_id, tag, isAsked = false) {
    const name = `${image_id} ${tag}`;
    if (name === shown) return;
    shown = name;
    let answer;
    try {
      answer = await ask(image_id, tag);
    } catch (error) {
      if (isAsked) say(error.message);
      hide();
      return;
    }
    if (!answer || shown !== name) return;
    boxes.replaceChildren(...(answer.found ?? []).map(foundBox));
    if (answer.grid) draw(answer.grid, answer.box);
    else {
      canvas.hidden = true;
      if (answer.found?.length) return;
      if (isAsked) say(phrase("heat.none", { tag }));
    }
  }

  function draw(grid, box) {
    // A border of one empty cell: the browser interpolates cells, so the heat map fades out instead of ending at an edge.
    const [rows, columns] = [grid.length + 2, grid[0].length + 2];
    const rimmed = [[], ...grid, []].map((row) => [0, ...(row.length ? row : grid[0].map(() => 0)), 0]);
    const [wide, high] = [(box[2] - box[0]) / (columns - 2), (box[3] - box[1]) / (rows - 2)];
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    rimmed.flat().forEach((heat, index) => {
      const strength = Math.max(0, (heat - FAINTEST) / (1 - FAINTEST));
      pixels.data.set([...COLOUR, Math.round(200 * strength)], index * 4);
    });
    context.putImageData(pixels, 0, 0);
    place([box[0] - wide, box[1] - high, box[2] + wide, box[3] + high]);
    canvas.hidden = false;
  }

  function hide() {
    shown = "";
    canvas.hidden = true;
    boxes.replaceChildren();
  }

  return {
    hide,
    /** The pointer is on this tag's row; null: on none. */
    point(image_id, tag) {
      pointed = tag;
      if (tag !== null) show(image_id, tag);
      else if (!isOn) hide();
    },
    /** The list changed: show the selected tag's heat map if that is switched on. */
    follow(image_id, selected) {
      if (!isOn || pointed !== null) return;
      if (selected === null) hide();
      else show(image_id, selected);
    },
    toggle(image_id, selected) {
      isOn = !isOn;
      if (!isOn) hide();
      else if (selected !== null) show(image_id, selected, true);
      return phrase(isOn ? "heat.on" : "heat.off");
    },
    isOn: () => isOn,
  };
}

function foundBox({ label, score, box: [left, top, right, bottom] }) {
  const element = make("div", { class: "found-box" }, make("span", {}, own(label), " ", formatPercent(score)));
  const edges = { left, top, width: right - left, height: bottom - top };
  for (const [edge, share] of Object.entries(edges)) element.style[edge] = `${100 * share}%`;
  return element;
}
