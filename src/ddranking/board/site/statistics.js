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
  let low = 0, high = Math.PI / 2;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (tailProbability(middle, df) > level) low = middle; else high = middle;
  }
  return Math.sqrt(df) * Math.tan((low + high) / 2);
}

const halfWidths = {};

/** Half the width of the 95 % interval of n values, in units of their standard deviation. */
function halfWidth(n) {
  return (halfWidths[n] ??= criticalT(1 - CONFIDENCE, n - 1) / Math.sqrt(n));
}

/** Mean, n-1 standard deviation and Student-t interval of per-seed values. */
function estimate(values) {
  const n = values.length;
  let sum = 0, squares = 0;
  for (const value of values) sum += value;
  const mean = sum / n;
  for (const value of values) squares += (value - mean) ** 2;
  const std = Math.sqrt(squares / (n - 1)), half = std * halfWidth(n);
  return { mean, std, n, low: mean - half, high: mean + half };
}

/** Seed by seed a - b, where both were measured; else null. */
const differences = (a, b) => (a && b ? a.map((value, seed) => value - b[seed]) : null);

const GAMMA = 0.5; // how much augmentation counts in ARS

/** ARS, the augmentation-robust score, from per-seed improvements over random with and without it. */
function arsOf(ior, iorPlain) {
  return scoreOf(estimate(ior.map((own, seed) => GAMMA * own + (1 - GAMMA) * iorPlain[seed])));
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

/** 1 + the number of strictly higher values; equal ones within rounding share a place. */
function places(means) {
  const ascending = Float64Array.from(means).sort();
  return Array.from(means, (mean) => {
    let low = 0, high = ascending.length; // the first position that is above mean + ROUNDING
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ascending[middle] > mean + ROUNDING) high = middle; else low = middle + 1;
    }
    return ascending.length - low + 1;
  });
}

/**
 * One board at one weight. Means and places of all entries are at hand; what needs every pair with
 * an entry, its interval of ranks, is worked out when somebody asks for that entry: a page shows
 * fifty of a thousand. Entries are named by their index in the list given.
 */
class Judgement {
  constructor(entries, w, level, hasty) {
    const n = entries.length, seeds = n ? entries[0].hlr.length : 2;
    Object.assign(this, { entries, w, level, hasty, n, seeds });
    this.means = new Float64Array(n);
    this.about = new Float64Array(n * seeds); // alpha of each seed about the entry's mean
    for (let i = 0; i < n; i++) {
      const { hlr, ior } = entries[i];
      let sum = 0;
      for (let s = 0; s < seeds; s++) {
        const alpha = w * ior[s] - (1 - w) * hlr[s];
        this.about[i * seeds + s] = alpha;
        sum += alpha;
      }
      this.means[i] = sum / seeds;
      for (let s = 0; s < seeds; s++) this.about[i * seeds + s] -= this.means[i];
    }
    this.places = places(this.means);
    const tie = (i) => entries[i].tie ?? i; // Python's order of equals, the same at every w
    this.order = this.places.map((_, i) => i)
      .sort((a, b) => this.places[a] - this.places[b] || tie(a) - tie(b));
    this.known = [];
  }

  /** Mean, n-1 standard deviation and interval of alpha. */
  alpha(i) {
    const mean = this.means[i], { about, seeds } = this;
    let squares = 0;
    for (let k = i * seeds; k < (i + 1) * seeds; k++) squares += about[k] * about[k];
    const std = Math.sqrt(squares / (seeds - 1)), half = std * halfWidth(seeds);
    return { mean, std, n: seeds, low: mean - half, high: mean + half };
  }

  /** The sum of squares of the differences seed by seed about their mean. */
  spread(i, j) {
    const { about, seeds } = this;
    let sum = 0;
    for (let a = i * seeds, b = j * seeds, end = a + seeds; a < end; a++, b++) {
      const difference = about[a] - about[b];
      sum += difference * difference;
    }
    return sum;
  }

  /** t squared of the paired difference; beyond any bound where only the mean differs. */
  tSquared(i, j) {
    const difference = this.means[i] - this.means[j], sum = this.spread(i, j);
    if (Math.abs(difference) <= ROUNDING) return 0;
    return sum <= (this.seeds - 1) * ROUNDING * ROUNDING ? Infinity
      : (difference * difference * this.seeds * (this.seeds - 1)) / sum;
  }

  /** The smallest t squared that Holm's procedure calls different; kept for each weight. */
  get limit() {
    return (this.found ??= this.findLimit());
  }

  findLimit() {
    if (!limits.has(this.entries)) limits.set(this.entries, new Map());
    const known = limits.get(this.entries);
    if (this.hasty && known.size) {
      const away = (w) => Math.abs(w - this.w);
      return known.get([...known.keys()].reduce((a, b) => (away(b) < away(a) ? b : a)));
    }
    if (!known.has(this.w)) known.set(this.w, holmLimit(this));
    return known.get(this.w);
  }

  /** Whether i is better than j beyond doubt at the level. */
  surely(i, j) {
    return this.means[i] > this.means[j] && this.tSquared(i, j) >= this.limit;
  }

  /** Tie group of each entry, from the top: one ends before the first surely below its head. */
  get groups() {
    if (this.grouped) return this.grouped;
    this.grouped = [];
    let group = 0, head = -1;
    for (const i of this.order) {
      if (head < 0 || this.surely(head, i)) { group++; head = i; }
      this.grouped[i] = group;
    }
    return this.grouped;
  }

  /** The interval of ranks: 1 + those surely better, to all minus those surely worse. */
  ranks(i) {
    if (this.known[i]) return this.known[i];
    const { limit } = this;
    let better = 0, worse = 0;
    for (let j = 0; j < this.n; j++) {
      if (j === i || this.tSquared(i, j) < limit) continue;
      if (this.means[j] > this.means[i]) better++; else worse++;
    }
    return (this.known[i] = { lowest: 1 + better, highest: this.n - worse });
  }

  /** Everything about one entry; what needs other entries is worked out when it is read. */
  result(i) {
    const judgement = this, alpha = this.alpha(i);
    return {
      alpha,
      place: this.places[i],
      get ddrs() { return scoreOf(alpha); },
      get lowest() { return judgement.ranks(i).lowest; },
      get highest() { return judgement.ranks(i).highest; },
      get group() { return judgement.groups[i]; },
    };
  }

  /** Every entry's result, in the order given. */
  get results() { return this.entries.map((_, i) => this.result(i)); }
}

const limits = new WeakMap(); // entries -> weight -> limit

/** Holm's limit where it tells `apart` of m pairs apart: that of the first one it does not. */
const limitAfter = (apart, m, level, seeds) =>
  criticalT(level / Math.max(1, m - apart), seeds - 1) ** 2;
let squares = new Float64Array(0); // t squared of all pairs, one buffer for all boards

/**
 * The smallest t squared that Holm's step-down procedure calls different, over all m pairs.
 * With R pairs rejected, every pair beyond the level / (m - R) quantile is rejected too; repeating
 * until R stands still is Holm's procedure without sorting.
 */
function holmLimit(judgement) {
  const { n, seeds, means, about, level } = judgement, m = (n * (n - 1)) / 2;
  const factor = seeds * (seeds - 1), none = (seeds - 1) * ROUNDING * ROUNDING;
  if (squares.length < m) squares = new Float64Array(m);
  for (let i = 0, k = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++, k++) { // tSquared, in full: a call for each pair costs a frame
      const difference = means[i] - means[j], square = difference * difference;
      let sum = 0;
      for (let a = i * seeds, b = j * seeds, end = a + seeds; a < end; a++, b++) {
        const apart = about[a] - about[b];
        sum += apart * apart;
      }
      squares[k] = sum > none && square > 1e-18 ? (factor * square) / sum
        : judgement.tSquared(i, j);
    }
  }
  for (let rejected = 0; ;) {
    const limit = limitAfter(rejected, m, level, seeds);
    let count = 0;
    for (let k = 0; k < m; k++) if (squares[k] >= limit) count++;
    if (count === rejected) return limit;
    rejected = count;
  }
}

/**
 * Ranks one board: entries with per-seed `hlr` and `ior`, weight w, family-wise level. `hasty`:
 * tell entries apart by the limit of the nearest weight at which it is known, for a view in motion.
 */
const judge = (entries, w, level, hasty = false) => new Judgement(entries, w, level, hasty);

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * Ranks under one recipe for everyone beside those under each method's own, both taken among the
 * entries that have both. `pairs`: {own, unified}, two lists of the same entries with `hlr` and
 * the `ior` of either recipe. Same rules as ddranking/board/unified.py.
 */
function unifiedRanks({ own, unified }, w, level) {
  const before = judge(own, w, level), after = judge(unified, w, level);
  return own.map((_, i) => ({ of: own.length, own: before.places[i], place: after.places[i],
    get ranks() { return after.ranks(i); } }));
}

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
  const hlr = Float64Array.from(entries, (entry) => mean(entry.hlr));
  const ior = Float64Array.from(entries, (entry) => mean(entry.ior));
  const alpha = new Float64Array(entries.length), found = wanted.map(() => []);
  for (let k = 0; k <= steps; k++) {
    const w = Math.min(1 - 1e-6, Math.max(1e-6, k / steps)); // beside the ends, where many are equal
    for (let i = 0; i < alpha.length; i++) alpha[i] = w * ior[i] - (1 - w) * hlr[i];
    wanted.forEach((one, at) => {
      let place = 1;
      for (const other of alpha) if (other > alpha[one] + ROUNDING) place++;
      found[at].push(place);
    });
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
