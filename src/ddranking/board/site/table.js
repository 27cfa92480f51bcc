"use strict";
// The ranking as a table. A row is {entry, result, label}; a column says how to show, sort and
// save it. Columns marked `moves` depend on w and are refreshed in place while the slider moves;
// those marked `down` show the highest values first. A value of null is missing, and sorts last.

const ARMS = [
  "real_hard", "syn_hard", "syn_any", "rdm_any", "rdm_hard", "syn_noaug", "rdm_noaug",
  "syn_unified", "rdm_unified",
].map((arm) => [arm, arm.replace("_", "-")]);
const PAGE = 50; // rows in the document at a time; search and sort reach all

const plusMinus = (value) =>
  html("small", {}, ` ± ${percent((value.high - value.low) / 2)}`);
const accuracyOf = (entry, arm) => entry.accuracy[arm]
  ?? (arm === "real_hard" ? entry.real.accuracies : null);

function differenceColumn(key, words) {
  return {
    key, words, term: key, number: true, shown: true, unit: "%", down: key === "ior",
    value: (row) => row.entry[`${key}Estimate`].mean,
    draw: (cell, row) => {
      const value = row.entry[`${key}Estimate`];
      cell.replaceChildren(percent(value.mean), plusMinus(value));
    },
    save: (row) => {
      const value = row.entry[`${key}Estimate`];
      return { [key]: value.mean, [`${key}_low`]: value.low, [`${key}_high`]: value.high };
    },
  };
}

function armColumn([arm, words]) {
  return {
    key: arm, words, term: arm, number: true, shown: false, unit: "%", down: true,
    has: (entry) => accuracyOf(entry, arm),
    value: (row) => {
      const values = accuracyOf(row.entry, arm);
      return values ? mean(values) : null;
    },
    draw: (cell, row) => {
      const values = accuracyOf(row.entry, arm);
      cell.replaceChildren(...(!values ? ["–"] : values.length < 2
        ? [percent(values[0]), html("small", {}, " reported")]
        : [percent(mean(values)), plusMinus(estimate(values))]));
    },
    save: (row) => {
      const values = accuracyOf(row.entry, arm);
      return { [arm]: values ? mean(values) : null };
    },
  };
}

/** A name with places for a line to end inside of long words: between "Data" and "Loader". */
const breakable = (name) => name.split(/(?<=[a-z])(?=[A-Z][a-z])/)
  .flatMap((part, k) => k ? [html("wbr"), part] : [part]);

const COLUMNS = [
  {
    key: "place", words: "Rank", term: "rank", number: true, shown: true, moves: true,
    value: (row) => row.result.place,
    draw: (cell, row) => cell.replaceChildren(html("b", {}, `${row.result.place}`),
      html("small", { class: "ranks" }, span(row.result.lowest, row.result.highest))),
    save: ({ result }) => ({ rank: result.place, rank_low: result.lowest,
      rank_high: result.highest, tie_group: result.group }),
  },
  {
    key: "entry", words: "Entry", term: "entry", shown: true, always: true,
    value: (row) => row.label.toLowerCase(),
    draw: (cell, row) => cell.replaceChildren(
      html("button", { class: "entry", type: "button", "data-entry": row.entry.id },
        html("bdi", { title: row.entry.method }, ...breakable(row.entry.method))), " ",
      ...badges(row.entry)),
    save: ({ entry }) => ({ method: entry.method, recipe: entry.rules.id,
      real_hard_kind: entry.real.kind }),
  },
  {
    key: "ddrs", words: "DDRS", term: "ddrs", number: true, shown: true, moves: true, down: true,
    value: (row) => row.result.alpha.mean,
    draw: (cell, row, range) => drawScore(cell, row.result.ddrs, range),
    save: ({ result }) => ({ ddrs: result.ddrs.mean, ddrs_low: result.ddrs.low,
      ddrs_high: result.ddrs.high }),
  },
  differenceColumn("hlr", "HLR"),
  differenceColumn("ior", "IOR"),
  {
    key: "ars", words: "ARS", term: "ars", number: true, shown: true, down: true,
    has: (entry) => entry.ars,
    value: (row) => row.entry.ars?.mean ?? null,
    draw: (cell, row) => cell.replaceChildren(...(row.entry.ars ? [score(row.entry.ars.mean),
      html("small", {}, ` ± ${((row.entry.ars.high - row.entry.ars.low) / 2).toFixed(3)}`)] : ["–"])),
    save: ({ entry: { ars } }) => ({ ars: ars?.mean ?? null, ars_low: ars?.low ?? null,
      ars_high: ars?.high ?? null }),
  },
  {
    key: "unified", words: "Unified", term: "unified", number: true, shown: true, moves: true,
    has: (entry) => entry.iorUnified,
    value: (row) => row.unified?.place ?? null,
    draw: (cell, row) => cell.replaceChildren(...(row.unified
      ? [`${row.unified.place}`, html("small", {}, ` ${movedWords(row.unified)}`)] : ["–"])),
    save: ({ unified }) => ({ unified_rank: unified?.place ?? null,
      own_rank_among_them: unified?.own ?? null }),
  },
  {
    key: "range", words: "Any w", term: "range", number: true, shown: true,
    value: (row) => row.entry.best + row.entry.worst / 1e6,
    draw: (cell, row) => cell.replaceChildren(span(row.entry.best, row.entry.worst)),
    save: ({ entry }) => ({ best_rank: entry.best, worst_rank: entry.worst }),
  },
  {
    key: "alpha", words: "alpha", term: "alpha", number: true, shown: false, moves: true,
    down: true,
    value: (row) => row.result.alpha.mean,
    draw: (cell, row) => cell.replaceChildren(row.result.alpha.mean.toFixed(4).replace("-", "−")),
    save: ({ result }) => ({ alpha: result.alpha.mean }),
  },
  ...ARMS.map(armColumn),
  {
    key: "labels", words: "Labels", term: "labels", shown: true,
    value: (row) => row.entry.rules.labels,
    draw: (cell, row) => cell.replaceChildren(row.entry.rules.labels),
    save: ({ entry }) => ({ labels: entry.rules.labels }),
  },
  {
    key: "trust", words: "Trust", term: "trust", shown: true,
    value: (row) => row.entry.trust,
    draw: (cell, row) => cell.replaceChildren(html("span", { class: row.entry.trust },
      row.entry.trust)),
    save: ({ entry }) => ({ trust: entry.trust }),
  },
  {
    key: "created", words: "Measured", term: "created", shown: false,
    value: (row) => row.entry.created,
    draw: (cell, row) => cell.replaceChildren(row.entry.created.slice(0, 10)),
    save: ({ entry }) => ({ created: entry.created }),
  },
];

/** Compares rows by a column; missing values come last either way, equals by rank. */
const inOrder = (column, down) => (a, b) => {
  const x = column.value(a), y = column.value(b);
  const lacking = (x === null) - (y === null);
  return lacking || (down ? -1 : 1) * (x < y ? -1 : x > y ? 1 : 0)
    || a.result.place - b.result.place;
};

/** How the unified recipe moves an entry: "↑2" is two ranks better than under its own. */
function movedWords({ own, place }) {
  if (own === place) return "as own";
  return `${place < own ? "↑" : "↓"}${Math.abs(own - place)}`;
}

/** Marks that a reader should see before trusting a row. */
function badges(entry) {
  const mark = (id, words) => html("span", { class: `badge ${id}`, "data-term": id }, words);
  return [
    html("span", { class: "badge recipe" }, html("bdi", {}, entry.rules.name)),
    entry.custom ? mark("custom", "custom recipe") : null,
    entry.markReal ? mark("reported", `real-hard ${entry.real.kind}`) : null,
    entry.front ? mark("front", "Pareto") : null,
    entry.trust === "verified" ? html("span", { class: "badge verified", "data-term": "trust" },
      "verified") : null,
  ].filter(Boolean);
}

/** A score with its interval in numbers and as a dot with whiskers on the board's own range. */
function drawScore(cell, value, range) {
  if (!cell.parts) {
    const parts = { text: html("b", {}), ends: html("small", {}), reach: html("i", {}),
      dot: html("i", { class: "dot" }) };
    cell.replaceChildren(parts.text, parts.ends,
      html("span", { class: "whiskers", "aria-hidden": "true" }, parts.reach, parts.dot));
    cell.parts = parts;
  }
  const at = (v) => (100 * (v - range.low)) / Math.max(range.high - range.low, 1e-9);
  cell.parts.text.textContent = score(value.mean);
  cell.parts.ends.textContent = ` ${score(value.low)}–${score(value.high)}`;
  cell.parts.reach.style.left = `${at(value.low)}%`;
  cell.parts.reach.style.width = `${at(value.high) - at(value.low)}%`;
  cell.parts.dot.style.left = `${at(value.mean)}%`;
}

/** The body and head of the ranking table; remembers its rows so that they can move, not blink. */
class RankingTable {
  constructor(head, body) {
    this.head = head;
    this.body = body;
    this.known = new Map();
    this.signature = "";
  }

  /**
   * Shows `rows` (already filtered, sorted and cut to a page) with `columns`. With `sight`, those
   * outside it may keep what they hold; showing again without it brings them up to date.
   */
  show(rows, columns, { board, sort, pins, range, sight }) {
    const signature = `${board} ${columns.map((column) => column.key).join(" ")}`;
    if (signature !== this.signature) {
      this.known.clear();
      this.drawHead(columns);
      this.signature = signature;
    }
    for (const header of this.head.querySelectorAll("th[data-key]")) {
      const direction = sort.key !== header.dataset.key ? "none"
        : sort.down ? "descending" : "ascending";
      header.setAttribute("aria-sort", direction);
    }
    const [first, end] = sight && this.body.children.length === rows.length ? sight
      : [0, rows.length];
    const shown = rows.slice(first, end).map((row) => this.row(row, columns, pins, range));
    const focused = document.activeElement;
    if (this.body.children.length !== rows.length) this.body.replaceChildren(...shown);
    else this.place(shown, [...this.body.children].slice(first, end));
    if (focused !== document.activeElement && this.body.contains(focused)) {
      focused.focus({ preventScroll: true });
    }
  }

  /** Puts rows where others are, which take their places: what does not move is not touched. */
  place(shown, there) {
    shown.forEach((tr, k) => {
      const old = there[k];
      if (old === tr) return;
      const hole = document.createComment("");
      tr.replaceWith(hole);
      old.replaceWith(tr);
      hole.replaceWith(old); // nowhere, where tr was in no place before
      const at = there.indexOf(tr);
      if (at >= 0) there[at] = old;
      there[k] = tr;
    });
  }

  /** First and end of the rows in the window, with some room. Ask before anything is changed. */
  inSight() {
    const count = this.body.children.length, room = 3;
    const box = this.body.getBoundingClientRect();
    const at = (y) => Math.floor((count * (y - box.top)) / Math.max(box.height, 1));
    const first = Math.min(count, Math.max(0, at(0) - room));
    return [first, Math.max(first, Math.min(count, at(window.innerHeight) + 1 + room))];
  }

  drawHead(columns) {
    this.head.closest("table").classList.toggle("full", columns.length > 8);
    this.head.replaceChildren(html("tr", {},
      html("th", { class: "pin", scope: "col" }, html("span", { class: "unseen" }, "Pin")),
      columns.map((column) => html("th", { scope: "col", "data-key": column.key,
        class: `${column.number ? "number" : ""} column-${column.key}` },
        html("button", { type: "button", "data-sort": column.key, "data-term": column.term,
          "aria-describedby": `term-${column.term}` }, column.words,
          column.unit ? html("small", {}, ` ${column.unit}`) : null)))));
  }

  row(row, columns, pins, range) {
    let tr = this.known.get(row.entry.id);
    const fresh = !tr;
    if (fresh) {
      const box = html("input", { type: "checkbox", "data-pin": row.entry.id,
        "aria-label": `Pin ${row.label}` });
      tr = html("tr", { "data-row": row.entry.id }, html("td", { class: "pin" }, box),
        columns.map((column) => html(column.key === "entry" ? "th" : "td",
          { scope: column.key === "entry" ? "row" : null,
            class: `${column.number ? "number" : ""} column-${column.key}` })));
      tr.box = box;
      this.known.set(row.entry.id, tr);
    }
    columns.forEach((column, k) => {
      if (fresh || column.moves) column.draw(tr.children[k + 1], row, range);
    });
    const pin = pins.indexOf(row.entry.id) + 1;
    tr.box.checked = pin > 0;
    tr.className = `${row.result.group % 2 ? "odd" : "even"}-group ${pin ? `pin-${pin}` : ""}`;
    return tr;
  }
}

// Saving what is shown.

const quoted = (value) => {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return `${value}`;
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value; // no formulas in spreadsheets
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** Comma-separated values; fractions, not percentages. `rows`: plain objects with the same keys. */
function asCsv(rows) {
  const names = Object.keys(rows[0] ?? {});
  return [names, ...rows.map((row) => names.map((name) => row[name]))]
    .map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

const TEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
  "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", '"': "\\char34{}" };
const tex = (words) => words.replace(/[\\~^<>|"&%$#_{}]/g, (sign) => TEX[sign] ?? `\\${sign}`);

/** A booktabs table: rank, entry, DDRS, HLR and IOR in percent with half-intervals, ARS if any. */
function asLatex(rows, caption) {
  const half = (value) => `$\\pm$ ${((100 * (value.high - value.low)) / 2).toFixed(1)}`;
  const points = (value) => `$${(100 * value.mean).toFixed(1)}$ ${half(value)}`;
  const ars = rows.some(({ entry }) => entry.ars);
  const reported = rows.filter(({ entry }) => entry.real.kind === "reported").length;
  const mark = !reported ? "" : `, real-hard reported${
    reported < rows.length ? ` for ${reported} of ${rows.length}` : ""}`;
  const lines = rows.map(({ entry, result, label }) => [
    `${result.place} (${result.lowest}--${result.highest})`, tex(label),
    score(result.ddrs.mean), points(entry.hlrEstimate), points(entry.iorEstimate),
    ...(ars ? [entry.ars ? score(entry.ars.mean) : "--"] : []),
  ].join(" & ") + " \\\\");
  return ["\\begin{table}", "\\centering", `\\caption{${tex(caption + mark)}}`,
    `\\begin{tabular}{llrrr${ars ? "r" : ""}}`, "\\toprule",
    `Rank & Entry & DDRS & HLR (\\%) & IOR (\\%)${ars ? " & ARS" : ""} \\\\`, "\\midrule", ...lines,
    "\\bottomrule", "\\end{tabular}", "\\end{table}", ""].join("\n");
}
