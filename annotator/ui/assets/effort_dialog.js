// The dashboard: the query strategy, the effort so far, and how good the proposals were, as small plots and tables that
// can be downloaded as CSV. Knows nothing of the current photo.

import { count, formatNumber, make } from "./elements.js";

const SVG = "http://www.w3.org/2000/svg";
const POLL_MS = 2000;
const WIDTH = 340;
const HEIGHT = 180;
const LEFT = 72; // the label of the axis, and numbers of up to six digits
const RIGHT = 16; // half a number of the lower axis
const BOTTOM = 40;
const TOP = 12;
const NUM_COLOURS = 4;

const TABLES = {
  by_model: "By model",
  by_strategy: "By strategy",
  acceptance_by_rank: "Acceptance by rank",
  tags_added: "Tags most often added",
  tags_dropped: "Proposals most often dropped",
  repeats: "Photos saved again",
  probes: "Agreement with the first nine proposals, random sample",
  over_time: "Over time",
};

/** Columns of the report -> what they are called in the tables; the CSV files keep the report's own names. */
export const COLUMNS = {
  first_photo: "from photo",
  last_photo: "to photo",
  from: "first saved",
  to: "last saved",
  model: "model",
  num_photos: "photos",
  actions_per_photo: "actions a photo",
  seconds_per_photo: "seconds a photo (median)",
  strategy: "order of photos",
  num_random: "of these from the random sample",
  rank: "rank",
  num_shown: "times proposed",
  num_kept: "times kept",
  share_kept: "share kept",
  tag: "tag",
  same_user: "by the same person",
  num_pairs: "pairs of saves",
  mean_overlap: "shared tags (mean share)",
  share_identical: "share of equal lists",
  proposals: "proposals were",
  share_proposed: "share of kept tags that were proposed",
  tags_per_photo: "tags a photo",
};

/** chooseStrategy(name) -> the `queue` of the operation state, or throws. */
export function showEffort(dialogs, { call, queue, chooseStrategy }) {
  const note = make("p", { class: "soft", role: "status" }, queueNote(queue));
  const choice = make("select", { id: "strategy", class: "pill", onchange: choose }, ...queue.strategies.map(({ name, label }) => make("option", { value: name }, label)));
  choice.value = queue.strategy;
  const figures = make("div", { id: "effort-figures" }, make("p", { class: "soft" }, "Loading…"));

  async function choose() {
    try {
      queue = await chooseStrategy(choice.value);
      follow();
    } catch (error) {
      note.textContent = error.message;
      choice.value = queue.strategy;
    }
  }

  /** Show the progress of the ordering, until it is ready or the dialog is closed. */
  async function follow() {
    note.textContent = queueNote(queue);
    if (queue.is_ready) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (!note.isConnected) return;
    try {
      queue = (await call("state")).queue;
    } catch (error) {
      note.textContent = error.message;
      return;
    }
    await follow();
  }

  async function load() {
    try {
      figures.replaceChildren(...draw(await call("effort_report")));
    } catch (error) {
      figures.replaceChildren(make("p", {}, error.message));
    }
  }

  load();
  return dialogs.open({
    id: "effort",
    title: "Queue and effort",
    wide: true,
    body: [make("label", { class: "strategy" }, "Next photo: ", choice), note, figures],
  });
}

function queueNote({ note, random_share, probe_share }) {
  const parts = [note, `Random sample: ${percent(random_share)} of all photos`];
  const probes = probe_share ? `, with proposals hidden or shuffled on ${percent(probe_share)} of it.` : ".";
  return parts.filter(Boolean).join(" ") + probes;
}

function draw(report) {
  const { queue, order } = report;
  const tables = { ...report, by_strategy: queue.by_strategy };
  const names = Object.keys(TABLES).filter((name) => tables[name].length);
  const summary = `${formatNumber(queue.num_saved)} of ${formatNumber(queue.num_images)} photos saved, ${formatNumber(queue.num_put_off)} put off. `;
  const cost = report.num_photos ? `${number(report.mean_actions)} actions (keys and clicks) and ${number(report.median_seconds)} s (median) a photo, over ${count(report.num_photos, "photo")}. ` : "No effort is logged yet. ";
  const moved = order.num_photos ? `${percent(order.share_in_another_order)} of photos with two kept proposals or more were put in another order.` : "";
  return [
    make("p", {}, summary, cost, moved),
    make(
      "div",
      { class: "plots" },
      ...(report.over_time.length
        ? [
            overTime(report.over_time, "actions_per_photo", "actions a photo"),
            overTime(report.over_time, "seconds_per_photo", "median seconds a photo"),
          ]
        : []),
      ...(report.acceptance_by_rank.length ? [byRank(report.acceptance_by_rank)] : []),
    ),
    ...names.map((name) => section(name, tables[name])),
  ];
}

function section(name, rows) {
  const columns = Object.keys(rows[0]);
  const file = new Blob([toCsv(columns, rows)], { type: "text/csv" });
  return make(
    "details",
    { class: "effort-table", open: rows.length <= 9 },
    make("summary", {}, TABLES[name]),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": TABLES[name] },
      make("table", {},
        make("thead", {}, make("tr", {}, ...columns.map((column) => make("th", {}, COLUMNS[column] ?? column.replaceAll("_", " "))))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...columns.map((column) => make("td", {}, shown(row[column])))))),
      ),
    ),
    make("a", { href: URL.createObjectURL(file), download: `${name}.csv` }, "CSV"),
  );
}

// As in export.py: a separator of a spreadsheet, then quotes, spaces and invisible characters before a formula.
const FORMULA = /((?:^|[;,|\t\r\n]) *)(?=[\s"'\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])/gu;

/** RFC 4180; a text that a spreadsheet would run as a formula gets an apostrophe. */
export function toCsv(columns, rows) {
  const cell = (value) => {
    const text = typeof value === "string" ? value.replace(FORMULA, "$1'") : String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows.map((row) => columns.map((column) => row[column]))].map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}

/** A line for each model over the photos saved, with a legend if there are several. */
function overTime(points, measure, label) {
  const models = [...new Set(points.map(({ model }) => model))];
  const last = Math.max(...points.map(({ last_photo }) => last_photo));
  const top = niceTop(Math.max(1, ...points.map((point) => point[measure] ?? 0)));
  const { svg, x, y } = frame(`${label} by photos saved, a line for each model: ${models.join(", ")}`, "photos saved", label, [0, last], [0, top]);
  models.forEach((model, index) => {
    const own = points.filter((point) => point.model === model && point[measure] !== null);
    const places = own.map((point) => [x((point.first_photo + point.last_photo) / 2), y(point[measure])]);
    const line = shape("polyline", { points: places.map((place) => place.join(",")).join(" "), class: `series s${index % NUM_COLOURS}` });
    line.append(title(model));
    svg.append(line, ...places.map(([cx, cy]) => marker(index, cx, cy)));
  });
  return figure(svg, models.length > 1 ? models : []);
}

function figure(svg, models) {
  const legend = models.map((model, index) => {
    const sample = shape("svg", { viewBox: "0 0 24 12", width: 24, height: 12, "aria-hidden": "true", class: "plot-sample" });
    sample.append(shape("path", { d: "M0 6H24", class: `series s${index % NUM_COLOURS}` }), marker(index, 12, 6));
    return make("li", {}, sample, model);
  });
  return make("figure", { class: "plot-figure" }, svg, legend.length ? make("ul", { class: "plot-legend" }, ...legend) : "");
}

/** A point of a model: its colour, and a shape of its own, since colour alone tells nothing to some. */
function marker(index, x, y) {
  const paths = [
    `M${x - 3} ${y}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`,
    `M${x - 3} ${y - 3}h6v6h-6z`,
    `M${x} ${y - 4}l4 7h-8z`,
    `M${x} ${y - 4}l4 4l-4 4l-4 -4z`,
  ];
  return shape("path", { d: paths[index % NUM_COLOURS], class: `point s${index % NUM_COLOURS}` });
}

/** The smallest of 1, 2, 5, 10, 20, … that is not below a value. */
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value - 1e-9);
}

function byRank(rows) {
  const { svg, x, y } = frame("share of proposals kept, by rank", "rank of the proposal", "share kept", [0, rows.length + 1], [0, 1]);
  const wide = (x(1) - x(0)) * 0.8;
  for (const { rank, share_kept } of rows) {
    const bar = shape("rect", { x: x(rank) - wide / 2, y: y(share_kept), width: wide, height: y(0) - y(share_kept), class: "bar" });
    bar.append(title(`rank ${rank}: ${percent(share_kept)}`));
    svg.append(bar);
  }
  return figure(svg, []);
}

/** Axes with units and three numbers each, and the functions from values to positions. */
function frame(label, xLabel, yLabel, [left, right], [low, high]) {
  const x = (value) => LEFT + ((value - left) / (right - left || 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low || 1)) * (HEIGHT - BOTTOM - TOP);
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": label });
  const middle = (from, to) => (from + to) / 2;
  const across = [...new Set([left, Math.round(middle(left, right)), right])];
  const upwards = [low, middle(low, high), high];
  svg.append(
    ...upwards.slice(1).map((value) => shape("path", { d: `M${LEFT} ${y(value)}H${WIDTH - RIGHT}`, class: "rule" })),
    shape("path", { d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}`, class: "axis" }),
    ...upwards.map((value) => text(LEFT - 6, y(value) + 4, number(value), "end", "", "tick-y")),
    ...across.map((value) => text(x(value), HEIGHT - BOTTOM + 15, number(value), "middle", "", "tick-x")),
    text(middle(LEFT, WIDTH - RIGHT), HEIGHT - 6, xLabel, "middle", "", "label"),
    text(0, 0, yLabel, "middle", `translate(12 ${middle(TOP, HEIGHT - BOTTOM)}) rotate(-90)`, "label"),
  );
  return { svg, x, y };
}

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function text(x, y, content, anchor, transform = "", kind = "") {
  const element = shape("text", { x, y, "text-anchor": anchor, class: kind, ...(transform && { transform }) });
  element.textContent = content;
  return element;
}

function title(content) {
  const element = shape("title", {});
  element.textContent = content;
  return element;
}

const percent = (share) => `${Math.round(100 * share)}%`;
const number = (value) => (Number.isInteger(value) ? formatNumber(value) : value.toFixed(value < 10 ? 2 : 1));
const shown = (value) => (value === null ? "–" : typeof value === "number" ? number(value) : typeof value === "boolean" ? (value ? "yes" : "no") : value);
