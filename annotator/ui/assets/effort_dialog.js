// The dashboard: the query strategy, the effort so far, and how good the proposals were, as small plots and tables that
// can be downloaded as CSV. Knows nothing of the current photo.

import { make } from "./elements.js";
import { formatDecimal, formatList, formatNumber, formatPercent } from "./formats.js";
import { phrase, phraseNodes, plural } from "./texts.js";

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
  by_model: phrase("effort.table.by_model"),
  by_strategy: phrase("effort.table.by_strategy"),
  acceptance_by_rank: phrase("effort.table.acceptance_by_rank"),
  tags_added: phrase("effort.table.tags_added"),
  tags_dropped: phrase("effort.table.tags_dropped"),
  repeats: phrase("effort.table.repeats"),
  probes: phrase("effort.table.probes"),
  over_time: phrase("effort.table.over_time"),
};

/** Columns of the report -> what they are called in the tables; the CSV files keep the report's own names. */
export const COLUMNS = {
  first_photo: phrase("effort.column.first_photo"),
  last_photo: phrase("effort.column.last_photo"),
  from: phrase("effort.column.from"),
  to: phrase("effort.column.to"),
  model: phrase("effort.column.model"),
  num_photos: phrase("effort.column.num_photos"),
  actions_per_photo: phrase("effort.column.actions_per_photo"),
  seconds_per_photo: phrase("effort.column.seconds_per_photo"),
  strategy: phrase("effort.column.strategy"),
  num_random: phrase("effort.column.num_random"),
  rank: phrase("effort.column.rank"),
  num_shown: phrase("effort.column.num_shown"),
  num_kept: phrase("effort.column.num_kept"),
  share_kept: phrase("effort.column.share_kept"),
  tag: phrase("effort.column.tag"),
  same_user: phrase("effort.column.same_user"),
  num_pairs: phrase("effort.column.num_pairs"),
  mean_overlap: phrase("effort.column.mean_overlap"),
  share_identical: phrase("effort.column.share_identical"),
  proposals: phrase("effort.column.proposals"),
  share_proposed: phrase("effort.column.share_proposed"),
  tags_per_photo: phrase("effort.column.tags_per_photo"),
};

/** chooseStrategy(name) -> the `queue` of the operation state, or throws. */
export function showEffort(dialogs, { call, queue, chooseStrategy }) {
  const note = make("p", { class: "soft", role: "status" }, queueNote(queue));
  const choice = make("select", { id: "strategy", class: "pill", onchange: choose }, ...queue.strategies.map(({ name, label }) => make("option", { value: name }, label)));
  choice.value = queue.strategy;
  const figures = make("div", { id: "effort-figures" }, make("p", { class: "soft" }, phrase("common.loading")));

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
    title: phrase("effort.title"),
    wide: true,
    body: [make("label", { class: "strategy" }, ...phraseNodes("effort.next_photo", { choice })), note, figures],
  });
}

function queueNote({ note, random_share, probe_share }) {
  const share = formatPercent(random_share);
  const sample = probe_share ? phrase("effort.sample_probes", { share, probes: formatPercent(probe_share) }) : phrase("effort.sample", { share });
  return [note, sample].filter(Boolean).join(" ");
}

function draw(report) {
  const { queue, order } = report;
  const tables = { ...report, by_strategy: queue.by_strategy };
  const names = Object.keys(TABLES).filter((name) => tables[name].length);
  const summary = phrase("effort.saved", { saved: formatNumber(queue.num_saved), all: formatNumber(queue.num_images), put_off: formatNumber(queue.num_put_off) });
  const cost = report.num_photos ? plural("effort.cost", report.num_photos, { actions: number(report.mean_actions), seconds: number(report.median_seconds) }) : phrase("effort.none");
  const moved = order.num_photos ? phrase("effort.moved", { share: formatPercent(order.share_in_another_order) }) : "";
  return [
    make("p", {}, [summary, cost, moved].filter(Boolean).join(" ")),
    make(
      "div",
      { class: "plots" },
      ...(report.over_time.length
        ? [
            overTime(report.over_time, "actions_per_photo", phrase("effort.column.actions_per_photo")),
            overTime(report.over_time, "seconds_per_photo", phrase("effort.median_seconds")),
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
  const { svg, x, y } = frame(phrase("effort.plot_time", { label, models: formatList(models) }), phrase("effort.photos_saved"), label, [0, last], [0, top]);
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
  const { svg, x, y } = frame(phrase("effort.plot_rank"), phrase("effort.rank_of_proposal"), phrase("effort.column.share_kept"), [0, rows.length + 1], [0, 1]);
  const wide = (x(1) - x(0)) * 0.8;
  for (const { rank, share_kept } of rows) {
    const bar = shape("rect", { x: x(rank) - wide / 2, y: y(share_kept), width: wide, height: y(0) - y(share_kept), class: "bar" });
    bar.append(title(phrase("effort.bar", { rank: formatNumber(rank), share: formatPercent(share_kept) })));
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

const number = (value) => (Number.isInteger(value) ? formatNumber(value) : formatDecimal(value, value < 10 ? 2 : 1));
const shown = (value) => (value === null ? "–" : typeof value === "number" ? number(value) : typeof value === "boolean" ? phrase(value ? "common.yes" : "common.no") : value);
