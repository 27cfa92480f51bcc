"use strict";
// Scores, intervals, ties and ranks for any w: the same numbers as ddranking/board/ranking.py,
// held together to 1e-9 by golden values. Accuracies and differences are fractions.

const ROUNDING = 1e-12; // differences of alpha below this are rounding, never a difference
const CONFIDENCE = 0.95;

/** DDRS of alpha in [-1, 1]: (exp(alpha) - exp(-1)) / (e - exp(-1)), in [0, 1]. */
function ddrs(alpha) {
  return (Math.exp(alpha) - Math.exp(-1)) / (Math.E - Math.exp(-1));
}

/**
 * Probability that |t| of Student's distribution exceeds sqrt(df) tan(angle), df a whole number:
 * the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4.
 */
function tailProbability(angle, df) {
  const odd = df % 2 === 1, cosine = Math.cos(angle);
  let term = odd ? cosine : 1;
  let sum = df > 1 ? term : 0;
  for (let k = odd ? 3 : 2; k <= df - 2; k += 2) {
    term *= (cosine * cosine * (k - 1)) / k;
    sum += term;
  }
  const inside = Math.sin(angle) * sum;
  return odd ? 1 - (2 / Math.PI) * (angle + inside) : 1 - inside;
}

/** The t whose two-sided tail probability is `level`, by bisection of its angle. */
function criticalT(level, df) {
  if (level === 1 - CONFIDENCE && df in usualT) return usualT[df];
  let low = 0, high = Math.PI / 2;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (tailProbability(middle, df) > level) low = middle; else high = middle;
  }
  return Math.sqrt(df) * Math.tan((low + high) / 2);
}

const usualT = {};
for (let df = 1; df < 100; df++) usualT[df] = criticalT(1 - CONFIDENCE, df);

/** Mean, n-1 standard deviation and Student-t interval of per-seed values. */
function estimate(values, critical = criticalT(1 - CONFIDENCE, values.length - 1)) {
  const n = values.length;
  let sum = 0, squares = 0;
  for (const value of values) sum += value;
  const mean = sum / n;
  for (const value of values) squares += (value - mean) ** 2;
  const std = Math.sqrt(squares / (n - 1)), half = (critical * std) / Math.sqrt(n);
  return { mean, std, n, low: mean - half, high: mean + half };
}

/** Per-seed alpha = w IOR - (1-w) HLR. */
function alphaOf(entry, w) {
  return entry.ior.map((ior, seed) => w * ior - (1 - w) * entry.hlr[seed]);
}

/** DDRS of the mean alpha and of the ends of its interval, clipped to alpha's range. */
function scoreOf(alpha) {
  const clipped = (value) => ddrs(Math.min(1, Math.max(-1, value)));
  return { mean: ddrs(alpha.mean), low: clipped(alpha.low), high: clipped(alpha.high) };
}

/** 1 + the number of strictly higher values; equal ones within rounding share a place.
 *  `wanted`: the values to place among `means`, all of them by default. */
function places(means, wanted = means) {
  const descending = Float64Array.from(means).sort().reverse();
  return Array.from(wanted, (mean) => {
    let low = 0, high = descending.length; // first position that is not above mean + ROUNDING
    while (low < high) {
      const middle = (low + high) >> 1;
      if (descending[middle] > mean + ROUNDING) low = middle + 1; else high = middle;
    }
    return low + 1;
  });
}

/** t squared of a difference of n seeds with this mean and sum of squares about it. */
function tSquared(mean, squares, n) {
  if (mean <= ROUNDING && mean >= -ROUNDING) return 0;
  const variance = squares / (n - 1);
  return variance <= ROUNDING * ROUNDING ? Infinity : (mean * mean * n) / variance;
}

const spreads = new WeakMap();

/**
 * For every pair i < j of entries the sums over seeds of (dIOR)^2, (dHLR)^2 and dIOR dHLR, where d
 * is the difference of the two entries about its mean. Alpha's own sum at w is then
 * w^2 ior + (1-w)^2 hlr - 2 w (1-w) both: half a million pairs need no loop over seeds in a frame.
 */
function spreadOf(entries) {
  const known = spreads.get(entries);
  if (known) return known;
  const n = entries.length, seeds = n ? entries[0].hlr.length : 2, m = (n * (n - 1)) / 2;
  const about = (key) => Float64Array.from(entries.flatMap((entry) => {
    const middle = mean(entry[key]);
    return entry[key].map((value) => value - middle);
  }));
  const ior = about("ior"), hlr = about("hlr");
  const spread = { ior: new Float64Array(m), hlr: new Float64Array(m), both: new Float64Array(m),
    squares: new Float64Array(m) }; // room for t squared at the w at hand
  for (let i = 0, k = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++, k++) {
      for (let a = i * seeds, b = j * seeds, end = a + seeds; a < end; a++, b++) {
        const x = ior[a] - ior[b], y = hlr[a] - hlr[b];
        spread.ior[k] += x * x;
        spread.hlr[k] += y * y;
        spread.both[k] += x * y;
      }
    }
  }
  spreads.set(entries, spread);
  return spread;
}

/**
 * The smallest t squared that Holm's step-down procedure calls different, over all pairs.
 * With R pairs already rejected of m, every pair beyond the level/(m-R) quantile is rejected too;
 * repeating until R stands still is Holm's procedure without sorting.
 */
function holmLimit(squares, level, df) {
  let rejected = 0;
  for (;;) {
    if (rejected === squares.length) return 0;
    const limit = criticalT(level / (squares.length - rejected), df) ** 2;
    let count = 0;
    for (let k = 0; k < squares.length; k++) if (squares[k] >= limit) count++;
    if (count === rejected) return limit;
    rejected = count;
  }
}

/** t squared of every pair at w; `direct(i, j)` where rounding may be all that is left. */
function pairSquares({ ior, hlr, both, squares }, means, w, seeds, direct) {
  const ofIor = w * w, ofHlr = (1 - w) * (1 - w), ofBoth = 2 * w * (1 - w);
  const n = means.length, factor = seeds * (seeds - 1);
  for (let i = 0, k = 0; i < n; i++) {
    const mine = means[i];
    for (let j = i + 1; j < n; j++, k++) {
      const parts = ofIor * ior[k] + ofHlr * hlr[k], sum = parts - ofBoth * both[k];
      const middle = mine - means[j], square = middle * middle;
      squares[k] = sum > 1e-6 * parts && sum > 1e-15 && square > 1e-15 ? (factor * square) / sum
        : direct(i, j);
    }
  }
  return squares;
}

/** How many entries are surely below and above each, the pairs' t squared being beyond `limit`. */
function countSurely(squares, means, limit) {
  const n = means.length, below = new Int32Array(n), above = new Int32Array(n);
  for (let i = 0, k = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++, k++) {
      if (squares[k] < limit) continue;
      const better = means[i] > means[j] ? i : j;
      below[better]++;
      above[i + j - better]++;
    }
  }
  return { below, above };
}

/**
 * Ranks one board: entries with per-seed `hlr` and `ior`, weight w, family-wise level.
 * Returns one result per entry, in the order given, `order` (indices by place, then as given) and
 * `surely(i, j)`: whether i is better than j beyond doubt at the level.
 */
function judge(entries, w, level) {
  const n = entries.length, seeds = n ? entries[0].hlr.length : 2;
  const critical = criticalT(1 - CONFIDENCE, seeds - 1);
  const alphas = entries.map((entry) => alphaOf(entry, w));
  const estimates = alphas.map((values) => estimate(values, critical));
  const means = Float64Array.from(estimates, (alpha) => alpha.mean);

  /** t squared from the seeds themselves; for a few pairs. */
  const direct = (i, j) => {
    const middle = means[i] - means[j];
    let sum = 0;
    for (let s = 0; s < seeds; s++) sum += (alphas[i][s] - alphas[j][s] - middle) ** 2;
    return tSquared(middle, sum, seeds);
  };
  const squares = pairSquares(spreadOf(entries), means, w, seeds, direct);
  const limit = Math.max(holmLimit(squares, level, seeds - 1), Number.MIN_VALUE);
  const { below, above } = countSurely(squares, means, limit);
  const surely = (i, j) => means[i] > means[j] && direct(i, j) >= limit;
  const rank = places(means);
  const results = estimates.map((alpha, i) => ({ alpha, ddrs: scoreOf(alpha), place: rank[i],
    lowest: 1 + above[i], highest: n - below[i] }));
  const order = rank.map((_, i) => i).sort((a, b) => rank[a] - rank[b] || a - b);
  let group = 0, head = -1;
  for (const i of order) {
    if (head < 0 || surely(head, i)) { group++; head = i; }
    results[i].group = group;
  }
  return { results, order, surely };
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The weights at which the first place changes hands, with who leads: [{from, to, entry}]. */
function leaders(entries) {
  if (!entries.length) return [];
  const lines = entries.map((entry, index) => {
    const hlr = mean(entry.hlr);
    return { index, start: -hlr, slope: mean(entry.ior) + hlr };
  });
  // At w = 0 the highest start leads; among equals the steepest, which leads right after.
  let best = lines.reduce((a, b) =>
    b.start > a.start + ROUNDING || (b.start > a.start - ROUNDING && b.slope > a.slope) ? b : a);
  const stretches = [];
  let from = 0;
  while (from < 1) {
    let to = 1, next = null;
    for (const line of lines) {
      if (line.slope <= best.slope + ROUNDING) continue;
      const w = (best.start - line.start) / (line.slope - best.slope);
      if (w < to - ROUNDING || (next && w < to + ROUNDING && line.slope > next.slope)) {
        to = Math.max(w, from);
        next = line;
      }
    }
    if (to > from) stretches.push({ from, to, entry: best.index });
    if (!next) break;
    from = to;
    best = next;
  }
  return stretches;
}

/** Places of the `wanted` entries (indices) at steps + 1 evenly spaced weights: [entry][weight]. */
function placesOver(entries, wanted, steps) {
  const hlr = entries.map((entry) => mean(entry.hlr)), ior = entries.map((entry) => mean(entry.ior));
  const found = wanted.map(() => []);
  for (let k = 0; k <= steps; k++) {
    const w = Math.min(1 - 1e-6, Math.max(1e-6, k / steps)); // beside the ends, where many are equal
    const alpha = hlr.map((h, i) => w * ior[i] - (1 - w) * h);
    places(alpha, wanted.map((i) => alpha[i])).forEach((place, at) => found[at].push(place));
  }
  return found;
}

/**
 * Mean rank over boards of the entries (method and recipe) that stand once on every one of them;
 * the others are listed without a mean. Same rules as ddranking/board/overall.py.
 */
function meanRanks(boards, w, level, nameOf) {
  const rows = boards.map((board) => Map.groupBy(board.entries, nameOf));
  const names = [...new Set(rows.flatMap((row) => [...row.keys()]))].sort();
  const complete = names.filter((name) => rows.every((row) => row.get(name)?.length === 1));
  const judged = rows.map((row) =>
    judge(complete.map((name) => row.get(name)[0]), w, level).results);
  const standings = complete.map((name, i) => ({
    name,
    entries: rows.map((row) => row.get(name)[0]),
    places: judged.map((results) => results[i].place),
    mean: mean(judged.map((results) => results[i].place)),
    lowest: mean(judged.map((results) => results[i].lowest)),
    highest: mean(judged.map((results) => results[i].highest)),
  }));
  standings.sort((a, b) => a.mean - b.mean || (a.name < b.name ? -1 : 1));
  const incomplete = names.filter((name) => !complete.includes(name)).map((name) => ({
    name,
    entries: rows.map((row) => row.get(name)?.[0] ?? null),
    counts: rows.map((row) => row.get(name)?.length ?? 0),
  }));
  return { standings, incomplete };
}
