"use strict";
// One entry in full, and up to four side by side.

const section = (title, id, ...children) => html("section", {},
  html("h3", {}, id ? term(id, title) : title), children);
const facts = (pairs) => html("dl", { class: "facts" }, pairs
  .filter(([, value]) => value !== null && value !== undefined && value !== "")
  .map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
const short = (digest) => html("code", { title: digest }, `${digest.slice(0, 19)}…`);

function tiles(row) {
  const { entry, result } = row;
  const tile = (id, words, value, rest) => html("div", { class: "tile" },
    html("span", {}, term(id, words)), html("b", {}, value), html("small", {}, rest));
  return html("div", { class: "tiles" },
    tile("rank", "Rank", `${result.place}`, `may be ${span(result.lowest, result.highest)}`),
    tile("ddrs", "DDRS", score(result.ddrs.mean),
      `${score(result.ddrs.low)} to ${score(result.ddrs.high)}`),
    tile("hlr", "HLR", `${percent(entry.hlrEstimate.mean)} %`,
      `${percentSpan(entry.hlrEstimate)}, lower is better`),
    tile("ior", "IOR", `${percent(entry.iorEstimate.mean)} %`,
      `${percentSpan(entry.iorEstimate)}, higher is better`),
    tile("range", "Any w", span(entry.best, entry.worst), "best and worst rank"),
    entry.ars ? tile("ars", "ARS", score(entry.ars.mean),
      `${score(entry.ars.low)} to ${score(entry.ars.high)}`) : null,
    row.unified ? tile("unified", "Unified rank", `${row.unified.place}`,
      `of ${row.unified.of}; own recipe: ${row.unified.own}`) : null);
}

function armsOf(entry) {
  return ARMS.filter(([arm]) => accuracyOf(entry, arm)).map(([arm, name]) => ({
    name, values: accuracyOf(entry, arm), reported: arm === "real_hard" && !entry.accuracy[arm],
  }));
}

/**
 * Where the accuracy comes from: from random images under the common hard recipe to distilled ones
 * under the method's own, changing one thing a step; scoring/decomposition.py tells the same.
 */
function stepsOf({ accuracy }) {
  const apart = accuracy.syn_noaug && accuracy.rdm_noaug;
  const rules = (images) => (apart
    ? [["labels, loss, schedule", `${images}_hard`, `${images}_noaug`],
      ["augmentation", `${images}_noaug`, `${images}_any`]]
    : [["labels and augmentation", `${images}_hard`, `${images}_any`]]);
  const steps = (list) => list.map(([name, before, after]) => ({ name, before, after,
    from: mean(accuracy[before]), to: mean(accuracy[after]),
    effect: estimate(differences(accuracy[after], accuracy[before])) }));
  return { distilled: steps([["images", "rdm_hard", "syn_hard"], ...rules("syn")]),
    random: steps(rules("rdm")) };
}

function decomposition(entry, width) {
  if (!entry.accuracy.rdm_hard) return null;
  const { distilled, random } = stepsOf(entry);
  const points = ({ effect }) => `${effect.mean > 0 ? "+" : ""}${percent(effect.mean)} (${
    percentSpan(effect)})`;
  return section("Where the accuracy comes from", "decomposition",
    html("p", {}, "From random images under the track's hard rules to the distilled ones under the "
      + "method's own recipe, one change a step, in points of accuracy with 95 % intervals."),
    waterfall(mean(entry.accuracy.rdm_hard), distilled, width),
    html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Steps" },
      html("table", {}, html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "Change of"),
        html("th", { scope: "col" }, "Distilled"), html("th", { scope: "col" }, "Random"))),
      html("tbody", {}, distilled.map((step) => html("tr", {}, html("th", { scope: "row" }, step.name),
        html("td", {}, points(step)), html("td", {}, random.filter((other) =>
          other.name === step.name).map(points).join("") || "–")))))));
}

/** The entry under the recipe that is the same for everyone. */
function underUnified(row, board, data, w) {
  if (!row.unified) return null;
  const { own, place, of, ranks } = row.unified, recipe = data.recipes[board.unified];
  const ior = estimate(row.entry.iorUnified);
  return section("Under one recipe for everyone", "unified", facts([
    ["Recipe", recipe.id],
    ["IOR under it", `${percent(ior.mean)} %, ${percentSpan(ior)}`],
    [`Rank under it at w = ${w}`, `${place} of ${of}, may be ${span(ranks.lowest, ranks.highest)}`],
    ["Under their own recipes", `${own} of the same ${of}`]]));
}

/** Accuracies as a table for those who do not see the chart. */
function armTable(entry) {
  return html("details", {}, html("summary", {}, "The same as numbers, seed by seed (%)"),
    html("div", { class: "scroll", tabindex: 0, role: "region",
      "aria-label": "Accuracies seed by seed" },
      html("table", {}, html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "Arm"),
        html("th", { scope: "col" }, "Mean"), html("th", { scope: "col" }, "Each seed"))),
      html("tbody", {}, armsOf(entry).map((arm) => html("tr", {},
        html("th", { scope: "row" }, arm.name), html("td", {}, percent(mean(arm.values), 2)),
        html("td", {}, arm.values.map((value) => percent(value, 2)).join("  "))))))));
}

function searches(entry, width) {
  const searched = ARMS.filter(([arm]) => entry.selection[arm]?.validation?.length);
  const fixed = ARMS.filter(([arm]) => entry.selection[arm] && !entry.selection[arm].validation);
  return section("Learning rate", "rate",
    searched.length ? html("p", {}, "Searched: the rate with the best mean validation accuracy (%) "
      + "over seeds is used.", searched.some(([arm]) => entry.selection[arm].seeds)
      ? " Hollow marks: rates that fell back and were tried with fewer seeds." : "") : null,
    html("div", { class: "sweeps" }, searched.map(([arm, name]) => html("div", {},
      html("h4", {}, `${name}: ${entry.selection[arm].selected}`),
      sweep(entry.selection[arm], Math.min(width, 270))))),
    fixed.length ? html("p", {}, "Given by the rules, not searched: ",
      fixed.map(([arm, name]) => `${name} ${entry.selection[arm].selected}`).join(", "), ".")
      : null);
}

function bibtex(row, board, w) {
  const plain = (words) => words.replace(/[\\{}]/g, "");
  const { entry, result } = row;
  const key = `${entry.method.toLowerCase().replace(/[^a-z0-9]+/g, "") || "entry"}-ddranking`;
  return [
    `@misc{${key},`,
    `  title = {{${plain(entry.method)}}},`,
    entry.authors ? `  author = {${plain(entry.authors)}},` : null,
    entry.paper ? `  url = {${plain(entry.paper)}},` : null,
    `  note = {DD-Ranking, track ${board.track.id}, recipe ${entry.rules.id}: DDRS `
      + `${score(result.ddrs.mean)} at w = ${w}, record ${entry.id}}`,
    "}",
  ].filter(Boolean).join("\n");
}

/** Who trained the entry again, when and where, and how far each arm was off. */
function verifiedFacts(mark, data) {
  const points = (value) => percent(value, 2);
  return section("Verified", "trust",
    facts([["By", mark.by], ["Date", mark.date],
      ["Margin", `${points(mark.margin)} points of mean accuracy`],
      ...ARMS.filter(([arm]) => mark.arms[arm]).map(([arm, name]) => [`${name} again`,
        `${points(mark.arms[arm].mean)} points, 95 % interval ${points(mark.arms[arm].low)} to ${
          points(mark.arms[arm].high)}, seeds ${mark.arms[arm].seeds.join(", ")}`])]),
    mark.environments.map((index) => environmentFacts(data.shared[index])));
}

const environmentFacts = (environment) => facts(Object.entries(environment)
  .map(([name, value]) => [name, value === null ? null : `${value}`]));

/** Everything the page knows of one entry, for the dialog. */
function entryDetail(row, board, data, { w, pinned, width }) {
  const { entry } = row, rules = entry.rules, cite = bibtex(row, board, w);
  const chart = Math.min(width, 620);
  return [
    html("header", {},
      html("h2", { id: "entry-title" }, html("bdi", {}, entry.method), " ", badges(entry)),
      html("p", {}, [["Paper", entry.paper], ["Code", entry.code]].filter(([, at]) => at)
        .map(([words, at]) => [outside(at, words), " · "]).flat(),
      entry.file ? html("a", { href: entry.file, download: true }, "Record as JSON") : null)),
    tiles(row),
    entry.hlrOwn ? html("p", { class: "note" }, "This board computes every HLR with one whole-set "
      + `accuracy, because its records carry different ones. By the record's own, HLR is ${
        percent(entry.hlrOwn.mean)} %.`) : null,
    html("div", { class: "actions" },
      html("button", { type: "button", "data-pin": entry.id, "aria-pressed": `${pinned}` },
        pinned ? "Unpin" : "Pin to compare"),
      html("button", { type: "button", "data-copy": location.href, "data-what": "Address" },
        "Copy address of this view")),
    section("Accuracy of each arm", "arm", armBars(armsOf(entry), chart), armTable(entry),
      entry.real.kind === "reported" ? html("p", { class: "note" },
        "real-hard is reported, not measured: ", entry.real.source) : null),
    decomposition(entry, chart),
    underUnified(row, board, data, w),
    entry.picture ? section("Images", "images", html("img", { class: "picture",
      src: entry.picture, alt: `Images of the distilled set ${entry.method}` })) : null,
    section("Recipe", "recipe", html("p", {}, html("b", {}, rules.id), rules.title
      ? `: ${rules.title}` : ""),
    facts(Object.entries(rules.rules)),
    html("p", {}, html("b", {}, "Source: "), rules.source || "not given"),
    rules.differs.length ? html("div", {}, html("b", {}, "Differs from its source:"),
      html("ul", {}, rules.differs.map((words) => html("li", {}, words)))) : null),
    searches(entry, chart),
    section("Provenance", "trust", facts([
      ["Trust", entry.trust],
      ["Authors", entry.authors],
      ["Licence", entry.licence],
      ["Distilled set", short(entry.digest)],
      ["Image space", entry.space],
      ["Soft labels", entry.softLabels],
      ["Dataset", `${board.dataset.title}`],
      ["Dataset copy", short(board.dataset.digest)],
      ["Track", `${board.track.id}${board.track.custom ? " (custom)" : ""}`],
      ["Track rules", short(board.track.hash)],
      ["Whole-set accuracy", `${entry.real.kind}: ${entry.real.source}`],
      ["Trainings", `${entry.trainings}, ${duration(entry.seconds)} of training`
        + `${entry.diverged ? `, ${entry.diverged} diverged` : ""}`],
      ["Measured", entry.created],
      ["Implementation", `${entry.implementation}`],
    ]),
    (entry.notes ?? []).map((note) => html("p", { class: "note" }, note))),
    entry.verified ? verifiedFacts(entry.verified, data) : null,
    section("Environment", null, entry.environments.map((index) =>
      environmentFacts(data.shared[index]))),
    section("Cite", null, html("pre", { tabindex: 0 }, cite),
      html("button", { type: "button", "data-copy": cite, "data-what": "BibTeX" }, "Copy BibTeX")),
  ];
}

/** Pinned entries side by side, and their paired differences on the same seeds. */
function comparison(rows, board, judged, w) {
  const line = (id, words, cell) => html("tr", {}, html("th", { scope: "row" }, term(id, words)),
    rows.map((row) => html("td", {}, cell(row))));
  const arms = ARMS.filter(([arm]) => rows.some((row) => accuracyOf(row.entry, arm)));
  const interval = (value) => [html("b", {}, percent(value.mean)),
    html("small", {}, ` ${percentSpan(value)}`)];
  return [
    html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Side by side" },
      html("table", { class: "side" },
        html("thead", {}, html("tr", {}, html("td", {}), rows.map((row, k) =>
          html("th", { scope: "col", class: `pin-${k + 1}` }, html("bdi", {}, row.label))))),
        html("tbody", {},
          rows.some((row) => row.entry.picture) ? html("tr", {}, html("th", { scope: "row" },
            "Images"), rows.map((row) => html("td", {}, row.entry.picture
            ? html("img", { src: row.entry.picture, class: "picture",
              alt: `Images of ${row.entry.method}` }) : "none in the record"))) : null,
          line("rank", "Rank", ({ result }) => [html("b", {}, `${result.place}`),
            html("small", {}, ` may be ${span(result.lowest, result.highest)}`)]),
          line("ddrs", "DDRS", ({ result }) => [html("b", {}, score(result.ddrs.mean)),
            html("small", {}, ` ${score(result.ddrs.low)} to ${score(result.ddrs.high)}`)]),
          line("hlr", "HLR %", ({ entry }) => interval(entry.hlrEstimate)),
          line("ior", "IOR %", ({ entry }) => interval(entry.iorEstimate)),
          line("range", "Any w", ({ entry }) => span(entry.best, entry.worst)),
          rows.some((row) => row.entry.ars) ? line("ars", "ARS", ({ entry: { ars } }) => (ars
            ? [html("b", {}, score(ars.mean)), html("small", {}, ` ${score(ars.low)} to ${
              score(ars.high)}`)] : "–")) : null,
          rows.some((row) => row.unified) ? line("unified", "Unified rank", ({ unified }) => (unified
            ? `${unified.place} of ${unified.of}, ${movedWords(unified)}` : "–")) : null,
          arms.map(([arm, name]) => line(arm, `${name} %`, ({ entry }) => {
            const values = accuracyOf(entry, arm);
            return !values ? "–" : values.length > 1 ? interval(estimate(values))
              : `${percent(values[0])} reported`;
          })),
          line("recipe", "Recipe", ({ entry }) => entry.rules.id),
          line("labels", "Labels", ({ entry }) => entry.rules.labels),
          line("rate", "Rate of syn-any", ({ entry }) => `${entry.selection.syn_any?.selected}`),
          line("trust", "Trust", ({ entry }) => entry.trust)))),
    rows.length < 2 ? html("p", {}, "Pin a second entry to see their difference.") : [
      html("h3", {}, term("paired", "Paired differences of alpha"), ` at w = ${w}`),
      html("ul", { class: "verdicts" }, rows.flatMap((a, i) => rows.slice(i + 1).map((b) =>
        html("li", {}, verdict(a, b, judged, w)))))],
  ];
}

function verdict(a, b, judged, w) {
  const other = alphaOf(b.entry, w);
  const difference = estimate(alphaOf(a.entry, w).map((value, seed) => value - other[seed]));
  const words = judged.surely(a.index, b.index) ? "is better"
    : judged.surely(b.index, a.index) ? "is worse" : "cannot be told apart";
  return [html("bdi", {}, html("b", {}, a.label)), " against ", html("bdi", {}, html("b", {},
    b.label)), `: ${percent(difference.mean, 2)} points, 95 % interval ${
    percent(difference.low, 2)} to ${percent(difference.high, 2)}; `,
  html("b", { class: "verdict" }, words)];
}
