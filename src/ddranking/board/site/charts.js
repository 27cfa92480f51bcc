"use strict";
// The charts, drawn as SVG at the width they have. Each is a function of its data alone.

/** A linear map from data to pixels, with round ticks. */
function scale(low, high, from, to, count = 5) {
  if (!(high - low > 1e-9)) { low -= 0.01; high += 0.01; }
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= rough);
  const map = (value) => from + ((value - low) / (high - low)) * (to - from);
  map.ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) map.ticks.push(k * step);
  map.words = (tick) => percent(tick, step < 0.0099 ? 1 : 0);
  map.low = low;
  map.high = high;
  return map;
}

const padded = (values, share = 0.08) => {
  const low = Math.min(...values), high = Math.max(...values);
  const room = Math.max((high - low) * share, 0.01);
  return [low - room, high + room];
};

function axes(x, y, frame, words) {
  const { left, right, top, bottom } = frame;
  return svg("g", { class: "axes" },
    x.ticks.map((tick) => [
      svg("line", { x1: x(tick), x2: x(tick), y1: top, y2: bottom, class: "grid" }),
      svg("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle" }, x.words(tick)),
    ]).flat(),
    y.ticks.map((tick) => [
      svg("line", { x1: left, x2: right, y1: y(tick), y2: y(tick), class: "grid" }),
      svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, y.words(tick)),
    ]).flat(),
    svg("text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle", class: "name" },
      words.x),
    svg("text", { x: -(top + bottom) / 2, y: 14, "text-anchor": "middle", class: "name",
      transform: "rotate(-90)" }, words.y));
}

const MARKS = { // labels decide the shape of an entry's mark
  hard: (x, y, r, rest, title) => svg("circle", { cx: x, cy: y, r, ...rest }, title),
  soft: (x, y, r, rest, title) =>
    svg("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, ...rest }, title),
};

/**
 * HLR against IOR: one mark an entry, the Pareto front, a line that moveScatter places.
 * `points`: [{id, label, title, hlr, ior, labels, front, named, pin}] with mean fractions.
 */
function scatter(points, width, height = 360) {
  const frame = { left: 48, right: width - 14, top: 12, bottom: height - 46 };
  const [xLow, xHigh] = padded(points.map((p) => p.hlr));
  const [yLow, yHigh] = padded(points.map((p) => p.ior), 0.12);
  const x = scale(xLow, xHigh, frame.left, frame.right, width < 420 ? 4 : 6);
  const y = scale(yLow, yHigh, frame.bottom, frame.top);
  const front = points.filter((p) => p.front).sort((a, b) => a.hlr - b.hlr);
  const spread = points.length > 200 ? 3 : 5;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Scatter of ${points.length} entries, hard label recovery across, improvement `
      + "over random upwards; the same numbers are in the table" },
    axes(x, y, frame, { x: "← better    HLR, points of accuracy", y: "IOR, points    better →" }),
    svg("path", { class: "front", d: front.map((p, k) =>
      `${k ? "L" : "M"}${x(p.hlr)} ${y(p.ior)}`).join("") }),
    svg("clipPath", { id: "frame" }, svg("rect", { x: frame.left, y: frame.top,
      width: frame.right - frame.left, height: frame.bottom - frame.top })),
    svg("line", { class: "iso", "clip-path": "url(#frame)" }),
    points.map((p) => MARKS[p.labels](x(p.hlr), y(p.ior), p.pin ? spread + 2 : spread, {
      class: `mark ${p.front ? "on-front" : ""} ${p.hue} ${p.pin ? "pinned" : ""}`,
      "data-entry": p.id,
    }, svg("title", {}, `${p.title}: HLR ${percent(p.hlr)} %, IOR ${percent(p.ior)} %`))),
    pointLabels(points, x, y, frame));
  chart.scales = { x, y };
  return chart;
}

/** Puts the scatter's iso-score line, w IOR - (1-w) HLR = alpha, where it belongs at w. */
function moveScatter(place, alpha, w) {
  const { x, y } = place.firstChild.scales;
  const ends = w > 0.5 // solve for the axis that is not nearly parallel to the line
    ? [x.low, x.high].map((h) => [x(h), y((alpha + (1 - w) * h) / w)])
    : [y.low, y.high].map((i) => [x((w * i - alpha) / (1 - w)), y(i)]);
  fill(place.querySelector(".iso"),
    { x1: ends[0][0], y1: ends[0][1], x2: ends[1][0], y2: ends[1][1] }, []);
}

/** Puts the mark of the rank lines at w. */
function moveLines(place, w) {
  const at = place.firstChild.across(w);
  fill(place.querySelector(".now"), { x1: at, x2: at }, []);
}

/** Names beside marks to be named, each at the first of four sides where it hits nothing. */
function pointLabels(points, x, y, frame) {
  const taken = points.map((p) => [x(p.hlr) - 6, y(p.ior) - 6, x(p.hlr) + 6, y(p.ior) + 6]);
  const free = (box) => box[0] >= frame.left && box[2] <= frame.right && box[1] >= frame.top
    && box[3] <= frame.bottom
    && taken.every((t) => box[2] < t[0] || box[0] > t[2] || box[3] < t[1] || box[1] > t[3]);
  return points.filter((p) => p.named).map((p) => {
    const words = p.label.length > 22 ? `${p.label.slice(0, 21)}…` : p.label;
    const wide = 6.6 * words.length, px = x(p.hlr), py = y(p.ior);
    const spot = [[px + 9, py + 4], [px - 9 - wide, py + 4], [px - wide / 2, py - 10],
      [px - wide / 2, py + 19]].find(([left, base]) =>
      free([left, base - 10, left + wide, base + 3]));
    if (!spot) return null;
    taken.push([spot[0], spot[1] - 10, spot[0] + wide, spot[1] + 3]);
    return svg("text", { x: spot[0], y: spot[1], class: "label" }, words);
  });
}

/**
 * Rank against w, a line an entry, names at the right by rank at w = 1.
 * `lines`: [{id, label, title, places: place at each step, pin}].
 */
function rankLines(lines, width, height = 360) {
  const room = Math.min(130, width * 0.3);
  const frame = { left: 40, right: width - room, top: 14, bottom: height - 46 };
  const deepest = Math.max(2, ...lines.flatMap((line) => line.places));
  const x = (value) => frame.left + value * (frame.right - frame.left);
  const y = (place) =>
    frame.top + ((place - 1) / (deepest - 1)) * (frame.bottom - frame.top);
  const every = Math.ceil(deepest / 12);
  const steps = lines.length ? lines[0].places.length - 1 : 1;
  let free = -Infinity;
  const named = lines.slice().sort((a, b) => a.places[steps] - b.places[steps]);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Ranks of ${lines.length} entries against the weight w; each entry's best and `
      + "worst rank is in the table" },
    svg("g", { class: "axes" },
      Array.from({ length: deepest }, (_, k) => k + 1).filter((k) => (k - 1) % every === 0)
        .map((place) => [
          svg("line", { x1: frame.left, x2: frame.right, y1: y(place), y2: y(place), class: "grid" }),
          svg("text", { x: frame.left - 8, y: y(place) + 4, "text-anchor": "end" }, `${place}`),
        ]).flat(),
      [0, 0.25, 0.5, 0.75, 1].map((tick) => svg("text",
        { x: x(tick), y: frame.bottom + 16, "text-anchor": "middle" }, `${tick}`)),
      svg("text", { x: (frame.left + frame.right) / 2, y: frame.bottom + 34, class: "name",
        "text-anchor": "middle" }, "weight w of IOR"),
      svg("text", { x: -(frame.top + frame.bottom) / 2, y: 12, class: "name",
        "text-anchor": "middle", transform: "rotate(-90)" }, "rank")),
    svg("rect", { class: "reach", x: frame.left, y: frame.top, fill: "transparent",
      width: frame.right - frame.left, height: frame.bottom - frame.top }),
    svg("line", { class: "now", y1: frame.top - 6, y2: frame.bottom }),
    named.map((line) => {
      const d = stepPath(line.places, x, y);
      return svg("g", { class: `line ${line.hue} ${line.pin ? "pinned" : ""}`,
        "data-entry": line.id }, svg("title", {}, line.title),
      svg("path", { class: "hit", d }), svg("path", { class: "rank-line", d }));
    }),
    named.map((line) => {
      const at = Math.max(y(line.places[steps]) + 4, free + 13);
      free = at;
      const fits = Math.floor((room - 10) / 7);
      return at > height - 4 ? null : svg("text", { x: frame.right + 8, y: at, class: "label",
        "data-entry": line.id },
        svg("title", {}, line.title),
        line.label.length > fits ? `${line.label.slice(0, fits - 1)}…` : line.label);
    }));
  chart.across = x;
  return chart;
}

/** Horizontal stretches of one rank, joined by short slopes where the rank changes. */
function stepPath(ranks, x, y) {
  const steps = ranks.length - 1;
  let path = `M${x(0)} ${y(ranks[0])}`;
  for (let k = 1; k <= steps; k++) {
    if (ranks[k] === ranks[k - 1]) continue;
    path += `L${x((k - 1) / steps)} ${y(ranks[k - 1])}L${x(k / steps)} ${y(ranks[k])}`;
  }
  return `${path}L${x(1)} ${y(ranks[steps])}`;
}

/** Accuracies of arms as bars from zero, with the interval and a dot a seed. `arms`: [{name, values}] */
function armBars(arms, width) {
  const left = 92, right = width - 24, row = 34, height = arms.length * row + 34;
  const x = scale(0, Math.min(1, Math.max(...arms.flatMap((arm) => arm.values)) * 1.12 + 0.02),
    left, right, width < 420 ? 4 : 6);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Test accuracy of each arm: ${arms.map((arm) =>
      `${arm.name} ${percent(mean(arm.values))} percent`).join(", ")}` },
    svg("g", { class: "axes" }, x.ticks.map((tick) => [
      svg("line", { x1: x(tick), x2: x(tick), y1: 4, y2: height - 30, class: "grid" }),
      svg("text", { x: x(tick), y: height - 12, "text-anchor": "middle" }, `${x.words(tick)} %`),
    ]).flat()),
    arms.map((arm, k) => {
      const middle = k * row + row / 2 + 2, value = mean(arm.values);
      const seen = arm.values.length > 1 ? estimate(arm.values) : null;
      return svg("g", {},
        svg("text", { x: left - 8, y: middle + 4, "text-anchor": "end", class: "label" }, arm.name),
        svg("rect", { x: left, y: middle - 9, width: Math.max(1, x(value) - left), height: 18,
          class: `bar ${arm.reported ? "reported" : ""}` }),
        seen ? svg("path", { class: "whisker", d: `M${x(Math.max(0, seen.low))} ${middle}H${
          Math.min(right, x(seen.high))}` }) : null,
        arm.values.map((v, seed) => svg("circle", { cx: x(v), cy: middle - 4 + 8 * ((seed % 3) / 2),
          r: 2.6, class: "seed" })));
    }));
}

/** Bars that start where the one before ends: a start, steps {name, from, to, effect}, the end. */
function waterfall(start, steps, width) {
  const rows = [{ name: "random, hard rules", from: 0, to: start }, ...steps,
    { name: "distilled, own recipe", from: 0, to: steps.at(-1).to }];
  const left = 150, right = width - 60, row = 30, height = rows.length * row + 34;
  const ends = rows.flatMap(({ from, to, effect }) => [from, to, effect ? from + effect.low : to,
    effect ? from + effect.high : to]);
  const x = scale(Math.min(0, ...ends), Math.min(1, Math.max(...ends) * 1.08), left, right,
    width < 420 ? 3 : 6);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Accuracy step by step: ${rows.map(({ name, to }) =>
      `${name} ${percent(to)} percent`).join(", ")}` },
    svg("g", { class: "axes" }, x.ticks.map((tick) => [
      svg("line", { x1: x(tick), x2: x(tick), y1: 4, y2: height - 30, class: "grid" }),
      svg("text", { x: x(tick), y: height - 12, "text-anchor": "middle" }, `${x.words(tick)} %`),
    ]).flat()),
    rows.map(({ name, from, to, effect }, k) => {
      const middle = k * row + row / 2 + 4, low = Math.min(x(from), x(to));
      const words = effect ? `${effect.mean > 0 ? "+" : ""}${percent(effect.mean)}`
        : `${percent(to)} %`;
      return svg("g", {},
        svg("text", { x: left - 8, y: middle + 4, "text-anchor": "end", class: "label" }, name),
        svg("rect", { x: low, y: middle - 9, width: Math.max(1, Math.abs(x(to) - x(from))),
          height: 18, class: `bar ${!effect ? "" : effect.mean < 0 ? "loss" : "gain"}` }),
        effect ? svg("path", { class: "whisker", d: `M${x(from + effect.low)} ${middle}H${
          x(from + effect.high)}` }) : null,
        svg("text", { x: Math.max(x(from), x(to), effect ? x(from + effect.high) : 0) + 6,
          y: middle + 4 }, words));
    }));
}

/** Mean validation accuracy of each learning rate of an arm's search. */
function sweep(selection, width, height = 130) {
  const values = selection.validation, frame = { left: 40, right: width - 12, top: 10, bottom: 96 };
  const seeds = selection.seeds ?? [], early = (k) => seeds[k] < Math.max(...seeds);
  const y = scale(...padded(values, 0.15), frame.bottom, frame.top, 3);
  const x = (k) => frame.left + 14
    + (k / Math.max(1, values.length - 1)) * (frame.right - frame.left - 28);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Mean validation accuracy of each learning rate: ${values.map((value, k) =>
      `${selection.rates[k]}: ${percent(value)} percent${
        early(k) ? ` with fewer seeds (${seeds[k]})` : ""}`).join(", ")}` },
    svg("g", { class: "axes" },
      y.ticks.map((tick) => [
        svg("line", { x1: frame.left, x2: frame.right, y1: y(tick), y2: y(tick), class: "grid" }),
        svg("text", { x: frame.left - 6, y: y(tick) + 4, "text-anchor": "end" }, y.words(tick)),
      ]).flat(),
      selection.rates.map((rate, k) => svg("text",
        { x: x(k), y: frame.bottom + 18, "text-anchor": "middle" }, `${rate}`))),
    svg("path", { class: "rank-line", d: values.map((v, k) => `${k ? "L" : "M"}${x(k)} ${y(v)}`).join("") }),
    values.map((v, k) => svg("circle", { cx: x(k), cy: y(v), r: 4,
      class: selection.rates[k] === selection.selected ? "chosen" : early(k) ? "seed early" : "seed" })));
}
