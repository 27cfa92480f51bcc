"use strict";
// The page's state is its address. Every change goes: event -> state -> show(), once a frame.

const data = JSON.parse(byId("data").textContent);
const MOST_PINS = 4;
const MANY = 300; // entries of which all pairs cannot be compared in every frame
const HUES = 8; // the first entries at w = 0.5 have a colour of their own in both charts
const START = { dataset: "", ipc: "", board: "", w: 0.5, labels: "", q: "", sort: "place", down: "",
  cols: "", page: 1, pin: "", entry: "", compare: "" };
const ALL = "all"; // the board that shows every matching track together

for (const board of data.boards) {
  for (const entry of board.entries) {
    entry.real = data.shared[entry.real];
    entry.space = data.shared[entry.space];
  }
  const kinds = new Set(board.entries.map((entry) => entry.real.kind));
  const n = board.entries.length; // Python has told the pairs apart at one weight already
  limits.set(board.entries, new Map([[board.judged.w, limitAfter(board.judged.apart,
    (n * (n - 1)) / 2, data.level, board.track.seeds)]]));
  board.ids = new Set(board.entries.map((entry) => entry.id));
  board.label = `${board.track.title} · ${board.track.student}${board.track.custom ? " · custom" : ""}`;
  board.entries.forEach((entry, k) => {
    entry.hue = k < HUES ? `hue-${k}` : "";
    entry.rules = data.recipes[entry.recipe];
    const arms = entry.accuracy, plain = differences(arms.syn_noaug, arms.rdm_noaug);
    const lost = (real) => arms.syn_hard.map((value, seed) => (real[seed] ?? real[0]) - value);
    const common = board.reference?.accuracies, own = entry.real.accuracies;
    entry.hlr = lost(common ?? own);
    entry.ior = differences(arms.syn_any, arms.rdm_any);
    entry.ars = plain && arsOf(entry.ior, plain);
    entry.markReal = kinds.size > 1; // where all are alike, one note under the table says so
    entry.hlrEstimate = estimate(entry.hlr);
    entry.iorEstimate = estimate(entry.ior);
    entry.label = `${entry.method} (${entry.rules.name})`;
    entry.iorUnified = entry.recipe === board.unified ? entry.ior
      : entry.unified === board.unified ? differences(arms.syn_unified, arms.rdm_unified) : null;
    if (common && `${common}` !== `${own}`) entry.hlrOwn = estimate(lost(own));
  });
  board.both = board.entries.filter((entry) => entry.iorUnified);
  board.both.forEach((entry, k) => { entry.among = k; });
  board.pairs = { own: board.both,
    unified: board.both.map(({ hlr, iorUnified }) => ({ hlr, ior: iorUnified })) };
}

let state = { ...START };
let board = null, judged = null, rows = [], wanted = false;
let resized = 0; // how often; asking for a width would lay the page out
let moving = 0; // changes of w since it last rested: meanwhile rows out of sight may lag behind
const table = new RankingTable(byId("head"), byId("body"));
const pins = () => state.pin.split(",").filter(Boolean);
const together = () => !board && data.boards.length > 0;
/** Columns that the board has something for: ARS, say, is measured in some records only. */
const offered = () => COLUMNS.filter((column) => !column.has || board?.entries.some(column.has));
const columns = () => offered().filter((column) => column.always
  || (state.cols ? state.cols.split(",").includes(column.key) : column.shown));

// Address

let addressTimer = 0;

/** A weight as a number, or null where the text is none in [0, 1]. */
function asWeight(text) {
  const w = /^\d*\.?\d*(e-\d+)?$/.test(text) && text !== "" ? Number(text) : NaN;
  return w >= 0 && w <= 1 ? Math.round(w * 1e6) / 1e6 : null;
}

function readAddress() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const next = { ...START };
  for (const key of Object.keys(START)) if (key in given) next[key] = given[key];
  const known = (key) => COLUMNS.some((column) => column.key === key);
  next.w = asWeight(`${next.w}`) ?? START.w;
  next.page = Math.max(1, Number.parseInt(next.page, 10) || 1);
  if (!["", "hard", "soft"].includes(next.labels)) next.labels = "";
  if (next.cols !== "none" && !next.cols.split(",").some(known)) next.cols = "";
  state = next;
}

/** Drops from the state what means nothing on the board shown: an address may say anything. */
function forgetUnknown() {
  state.pin = [...new Set(pins())].filter((id) => board?.ids.has(id)).slice(0, MOST_PINS).join(",");
  if (state.sort !== START.sort && !columns().some((column) => column.key === state.sort)) {
    Object.assign(state, { sort: START.sort, down: "" });
  }
}

function writeAddress() {
  addressTimer = 0;
  const changed = Object.entries(state).filter(([key, value]) => `${value}` !== `${START[key]}`);
  const hash = changed.length ? `#${new URLSearchParams(changed)}` : "";
  if (hash !== location.hash) history.replaceState(null, "", hash || "#");
}

function rest() {
  writeAddress();
  if (!moving) return;
  moving = 0;
  document.body.classList.remove("moving");
  show();
}

function change(values) {
  const onlyWeight = Object.keys(values).join() === "w", mixed = wanted && !moving;
  moving = onlyWeight && !mixed ? moving + 1 : 0; // mixed: the coming frame shows more than w
  document.body.classList.toggle("moving", moving > 0);
  Object.assign(state, values);
  clearTimeout(addressTimer);
  addressTimer = setTimeout(rest, 200); // browsers limit how often an address may change
  if (!wanted) {
    wanted = true;
    requestAnimationFrame(() => { wanted = false; show(); });
  }
}

// Choosing a board

function options(select, pairs, chosen) {
  const signature = JSON.stringify(pairs);
  if (select.dataset.signature !== signature) {
    select.replaceChildren(...pairs.map(([value, words]) => html("option", { value }, words)));
    select.dataset.signature = signature;
  }
  select.value = chosen;
}

const matching = () => data.boards.filter((one) => (!state.dataset
  || one.track.dataset === state.dataset) && (!state.ipc || `${one.track.ipc}` === state.ipc));

function chooseBoard() {
  const distinct = (values) => [...new Set(values)];
  const datasets = distinct(data.boards.map((one) => one.track.dataset));
  if (!datasets.includes(state.dataset)) state.dataset = "";
  const ofDataset = data.boards.filter((one) => !state.dataset || one.track.dataset === state.dataset);
  const ipcs = distinct(ofDataset.map((one) => one.track.ipc)).sort((a, b) => a - b);
  if (!ipcs.map(String).includes(state.ipc)) state.ipc = "";
  const found = matching();
  const largest = found.reduce((a, b) => (b.entries.length > (a?.entries.length ?? -1) ? b : a), null);
  if (state.board !== ALL || found.length < 2) {
    board = found.find((one) => one.id === state.board) ?? largest;
  } else board = null;
  options(byId("dataset"), [["", "All"], ...datasets.map((name) => [name, name])], state.dataset);
  options(byId("ipc"), [["", "All"], ...ipcs.map((ipc) => [`${ipc}`, `${ipc}`])], state.ipc);
  const copies = (one) => found.filter((other) => other.label === one.label).length > 1
    ? ` · copy ${one.dataset.digest.slice(7, 13)}` : "";
  options(byId("board"), [...(found.length > 1 ? [[ALL, `All ${found.length} together: mean rank`]]
    : []), ...found.map((one) => [one.id, `${one.label}${copies(one)} (${one.entries.length})`])],
  board ? board.id : ALL);
  byId("labels").value = together() ? "" : state.labels;
  byId("labels").disabled = together();
  if (byId("q").value !== state.q) byId("q").value = state.q;
}

// Showing

function show() {
  const sight = moving ? table.inSight() : null;
  chooseBoard();
  forgetUnknown();
  for (const id of ["w", "w-number"]) {
    if (Number.parseFloat(byId(id).value) !== state.w) byId(id).value = state.w;
  }
  byId("w").setAttribute("aria-valuetext", `w is ${state.w}`);
  byId("ranking").hidden = !board;
  byId("charts").hidden = !board?.entries.length;
  byId("overall").hidden = !together();
  for (const id of ["leaders", "leaders-name"]) byId(id).hidden = !board?.entries.length;
  byId("empty").hidden = data.boards.length > 0;
  if (board) showBoard(sight);
  else showPlain();
  if (together()) showOverall();
  showReported();
  showDialogs();
}

/** Without a single board there is no leader, nothing pinned and nothing taken out to show. */
function showPlain() {
  for (const id of ["lead", "leaders"]) byId(id).replaceChildren();
  delete byId("leaders").dataset.board;
  for (const id of ["tray", "invalidated"]) byId(id).hidden = true;
}

function showBoard(sight) {
  const hasty = moving > 1 && board.entries.length > MANY;
  judged = judge(board.entries, state.w, data.level, hasty);
  const unified = board.both.length ? unifiedRanks(board.pairs, state.w, data.level) : [];
  rows = judged.order.map((index) => ({ index, entry: board.entries[index],
    label: board.entries[index].label, result: judged.result(index),
    unified: unified[board.entries[index].among] }));
  showSummary();
  const shown = filtered(), cut = onePage(shown, byId("no-match"));
  const range = scoreOf({ mean: 0, low: Math.min(...rows.map((row) => row.result.alpha.low)),
    high: Math.max(...rows.map((row) => row.result.alpha.high)) });
  table.show(cut, columns(), { board: board.id, pins: pins(), range, sight,
    sort: { key: state.sort, down: state.down !== "" } });
  showColumns();
  byId("count").textContent = `${shown.length === rows.length ? ""
    : `${shown.length} of `}${counted(rows.length, "entry", "entries")}`;
  byId("no-match").hidden = shown.length > 0 || !rows.length;
  byId("head").closest("table").classList.toggle("chosen", state.cols !== "");
  showRules();
  showCharts(shown);
  showPins();
}

/** The rows of the page asked for; the buttons that turn it stand after `place`. */
function onePage(all, place) {
  const pages = Math.max(1, Math.ceil(all.length / PAGE)), bar = byId("pages");
  state.page = Math.min(state.page, pages);
  const first = (state.page - 1) * PAGE, cut = all.slice(first, first + PAGE);
  if (place.nextElementSibling !== bar) place.after(bar);
  bar.hidden = pages < 2;
  byId("page-words").textContent = `Rows ${first + 1}–${first + cut.length} of ${all.length}`;
  byId("previous").disabled = state.page <= 1;
  byId("next").disabled = state.page >= pages;
  return cut;
}

/** The menu of columns, where the board or the address has changed it. */
function showColumns() {
  const menu = byId("columns"), shown = columns(), signature = `${board.id} ${state.cols}`;
  if (menu.dataset.signature === signature) return;
  menu.dataset.signature = signature;
  const focused = document.activeElement?.dataset?.column;
  menu.replaceChildren(...offered().filter((column) => !column.always).map((column) =>
    html("label", {}, html("input", { type: "checkbox", "data-column": column.key,
      checked: shown.includes(column) }), column.words)));
  menu.querySelector(`[data-column="${focused}"]`)?.focus();
}

function filtered() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const text = ({ entry, label }) => `${label} ${entry.authors ?? ""} ${entry.trust} ${
    entry.rules.title}`.toLowerCase();
  const found = rows.filter((row) => (!state.labels || row.entry.rules.labels === state.labels)
    && (!words.length || words.every((word) => text(row).includes(word))));
  const column = COLUMNS.find((one) => one.key === state.sort);
  if (state.sort !== "place" || state.down) found.sort(inOrder(column, state.down));
  return found;
}

function showSummary() {
  const strip = byId("leaders"), words = byId("lead");
  if (!rows.length) {
    showPlain();
    words.textContent = "Every entry of this track was taken out of the ranking, for the reasons below.";
    return;
  }
  const [first] = rows, ties = rows.filter((row) => row !== first
    && !judged.surely(first.index, row.index)).length;
  board.leaders ??= leaders(board.entries);
  const changes = board.leaders.slice(1).map((stretch) => stretch.from.toFixed(3));
  words.replaceChildren("At ", html("b", {}, `w = ${state.w}`), ", ",
    html("b", {}, html("bdi", {}, first.label)), ` leads with DDRS ${score(first.result.ddrs.mean)}`,
    rows.length < 2 ? "." : !ties ? ", surely ahead of all others."
      : `; ${counted(ties, "other", "others")} cannot be told from it.`,
    rows.length < 2 ? "" : !changes.length ? " It leads at every w."
      : ` The lead changes at w = ${changes.slice(0, 4).join(", ")}${
        changes.length > 4 ? " and further" : ""}.`);
  if (strip.dataset.board !== board.id) {
    strip.dataset.board = board.id;
    strip.replaceChildren(...board.leaders.map((stretch) => {
      const part = html("span", {}, html("bdi", {}, board.entries[stretch.entry].label));
      part.style.flexGrow = `${stretch.to - stretch.from}`;
      return part;
    }));
  }
  board.leaders.forEach((stretch, k) => strip.children[k].classList.toggle("now",
    state.w >= stretch.from && (state.w < stretch.to || stretch.to === 1)));
}

function showRules() {
  const place = byId("rules");
  byId("invalidated").hidden = !board.invalidated.length;
  if (place.dataset.board === board.id) return;
  place.dataset.board = board.id;
  const { track } = board;
  place.replaceChildren(
    facts([["Track", `${track.id}${track.custom ? " (custom: not a released track)" : ""}`],
      ["Dataset", board.dataset.title], ["Images per class", `${track.ipc}`],
      ["Student", track.student], ["Seeds", `${track.seeds}`],
      ["Held out to choose rates", `${track.validation} training images${
        track.selection === "halving" ? ", successive halving" : ""}`]]),
    html("h4", {}, "Hard-label arms are trained with"), facts(Object.entries(track.hard)),
    html("h4", {}, "The whole real set is trained with"), facts(Object.entries(track.whole)));
  byId("reference").textContent = referenceWords();
  byId("reference").hidden = !byId("reference").textContent;
  byId("invalidated-list").replaceChildren(...board.invalidated.map((record) => html("li", {},
    html("b", {}, html("bdi", {}, record.method)), ` (${record.recipe}): ${record.reason} — ${
      record.by}, ${record.date} `, html("a", { href: record.file, download: true }, "Record"))));
}

/** One note on real-hard where it is reported, or where the records of the board disagree on it. */
function referenceWords() {
  const told = (real) => `${percent(mean(real.accuracies))} % (${real.source})`;
  if (board.reference) {
    return "Records of this board carry different whole-set accuracies. Every HLR here uses one of "
      + `them, ${board.reference.kind}: ${told(board.reference)}.`;
  }
  const real = board.entries[0]?.real;
  return real?.kind === "reported" ? `real-hard is reported, not measured, on this board: ${
    told(real)}. It shifts every HLR alike and changes no rank.` : "";
}

let chartsTimer = 0, chartsDrawn = "";

/** Moves what marks w at once; draws the rest anew where the entries shown differ, at rest. */
function showCharts(shown) {
  if (!rows.length) return;
  const drawn = `${board.id} ${resized} ${state.pin} ${rows.slice(0, 5).map((row) =>
    row.index)} ${state.q} ${state.labels} ${state.sort}`;
  if (drawn === chartsDrawn || (moving && chartsDrawn.startsWith(board.id))) {
    moveScatter(byId("scatter"), rows[0].result.alpha.mean, state.w);
    moveLines(byId("lines"), state.w);
    return;
  }
  clearTimeout(chartsTimer);
  chartsTimer = setTimeout(() => { chartsTimer = 0; chartsDrawn = drawn; drawCharts(shown); }, 30);
}

function drawCharts(shown) {
  if (!board) return;
  const pinned = pins(), width = (id) => Math.max(280, byId(id).clientWidth);
  const chosen = shown.length ? shown : rows;
  const many = chosen.length > 14;
  const oneRecipe = new Set(board.entries.map((entry) => entry.rules.name)).size === 1;
  const name = (row) => (oneRecipe || chosen.length > 40 ? row.entry.method : row.label);
  byId("scatter").replaceChildren(scatter(chosen.map((row) => ({
    id: row.entry.id, label: name(row), title: row.label,
    hlr: row.entry.hlrEstimate.mean, ior: row.entry.iorEstimate.mean,
    labels: row.entry.rules.labels, front: row.entry.front,
    hue: row.entry.hue, pin: pinned.indexOf(row.entry.id) + 1,
    named: !many || row.result.place <= 5 || row.entry.front || pinned.includes(row.entry.id),
  })), width("scatter")));
  const drawn = chosen.filter((row, k) => k < 12 || pinned.includes(row.entry.id));
  const over = placesOver(board.entries, drawn.map((row) => row.index), 200);
  byId("lines").replaceChildren(rankLines(drawn.map((row, k) => ({
    id: row.entry.id, label: name(row), title: row.label, hue: row.entry.hue,
    pin: pinned.indexOf(row.entry.id) + 1,
    places: over[k],
  })), width("lines")));
  moveScatter(byId("scatter"), rows[0].result.alpha.mean, state.w);
  moveLines(byId("lines"), state.w);
  byId("lines-note").hidden = drawn.length === chosen.length;
}

function showOverall() {
  const boards = matching();
  const { standings, incomplete } = meanRanks(boards, state.w, data.level,
    (entry) => `${entry.method}\n${entry.rules.name}`);
  const name = (key) => html("bdi", {}, key.replace("\n", " (") + ")");
  byId("overall-head").replaceChildren(html("tr", {},
    html("th", { scope: "col", class: "number" }, term("mean", "Mean rank")),
    html("th", { scope: "col" }, "Entry"),
    boards.map((one) => html("th", { scope: "col", class: "number" }, one.track.title))));
  const complete = (row) => html("tr", {},
    html("td", { class: "number" }, html("b", {}, row.mean.toFixed(2)), html("small",
      { class: "ranks" }, ` ${row.lowest.toFixed(1)}–${row.highest.toFixed(1)}`)),
    html("th", { scope: "row" }, name(row.name)),
    row.places.map((place) => html("td", { class: "number" }, `${place}`)));
  const lacking = (row) => html("tr", { class: "incomplete" },
    html("td", { class: "number" }, "no mean"), html("th", { scope: "row" }, name(row.name)),
    row.counts.map((count) => html("td", { class: "number" },
      count === 0 ? "missing" : count === 1 ? "present" : `${count} records`)));
  const cut = onePage([...standings, ...incomplete], byId("overall-body").closest(".scroll"));
  byId("overall-body").replaceChildren(...cut.map((row) => (row.places ? complete : lacking)(row)));
  byId("overall-words").textContent = `${counted(standings.length, "entry stands",
    "entries stand")} on all ${boards.length} tracks; ${counted(incomplete.length,
    "does not and gets", "do not and get")} no mean.`;
}

function showReported() {
  const tracks = board ? [board.track] : matching().map((one) => one.track);
  const wantedRow = (set, row) => tracks.some((track) =>
    track.dataset === set.dataset && track.ipc === row.ipc);
  const found = data.reported.flatMap((set) => set.rows
    .filter((row) => !data.boards.length || wantedRow(set, row))
    .filter((row) => together() || !state.labels || row.labels === state.labels)
    .map((row) => ({ ...row, set, score: ddrs(state.w * row.ior - (1 - state.w) * row.hlr) })));
  found.sort((a, b) => a.ipc - b.ipc || b.score - a.score);
  byId("reported").hidden = !found.length;
  byId("reported-body").replaceChildren(...found.map((row) => html("tr", {},
    html("th", { scope: "row" }, row.method), html("td", { class: "number" }, `${row.ipc}`),
    html("td", {}, row.labels), html("td", { class: "number" }, score(row.score)),
    html("td", { class: "number" }, percent(row.hlr, 2)),
    html("td", { class: "number" }, percent(row.ior, 2)))));
  byId("reported-source").replaceChildren("Source: ", ...[...new Set(found.map((row) => row.set))]
    .flatMap((set, k) => [k ? "; " : "", outside(set.link, set.source)]));
}

function showPins() {
  const chosen = pins().map((id) => rows.find((row) => row.entry.id === id)).filter(Boolean);
  byId("tray").hidden = !chosen.length;
  byId("tray-list").replaceChildren(...chosen.map((row, k) => html("li", { class: `pin-${k + 1}` },
    html("bdi", {}, row.label), html("button", { type: "button", "data-pin": row.entry.id,
      "aria-label": `Unpin ${row.label}` }, "×"))));
}

function showDialogs() {
  const open = byId("entry"), compare = byId("compare-dialog");
  const row = board && rows.find((one) => one.entry.id === state.entry);
  const chosen = board ? pins().map((id) => rows.find((one) => one.entry.id === id)).filter(Boolean)
    : [];
  if (row) {
    const signature = `${state.entry} ${state.w} ${state.pin} ${resized}`;
    if (!open.open) open.showModal();
    if (open.dataset.signature !== signature) {
      const focused = document.activeElement?.dataset?.pin;
      byId("entry-body").replaceChildren(...entryDetail(row, board, data, { w: state.w,
        pinned: pins().includes(row.entry.id), width: byId("entry-body").clientWidth })
        .filter(Boolean));
      open.dataset.signature = signature;
      if (focused) byId("entry-body").querySelector("[data-pin]").focus();
    }
  } else if (open.open) open.close();
  if (state.compare && chosen.length) {
    byId("compare-body").replaceChildren(...comparison(chosen, board, judged, state.w).flat());
    if (!compare.open) compare.showModal();
  } else if (compare.open) compare.close();
}

// Events

function pin(id) {
  const now = pins(), at = now.indexOf(id);
  if (at >= 0) now.splice(at, 1);
  else if (now.length < MOST_PINS) now.push(id);
  else announce(`Up to ${MOST_PINS} entries can be pinned; unpin one first`);
  change({ pin: now.join(","), compare: now.length ? state.compare : "" });
}

function setWeight(text) {
  const w = asWeight(text);
  if (w !== null) change({ w });
}

const SAVES = {
  csv: ["text/csv", () => asCsv(filtered().map(savedRow))],
  json: ["application/json", () => `${JSON.stringify({ track: board.track.id,
    dataset: board.dataset, w: state.w, entries: filtered().map(savedRow) }, null, 1)}\n`],
  tex: ["text/x-tex", () => asLatex(filtered(), `DD-Ranking, ${board.track.title}, ${
    board.track.student}, w = ${state.w}, ${board.track.seeds} seeds, 95 % intervals`)],
};
const savedRow = (row) => Object.assign({}, ...columns().map((column) => column.save(row)));

const openMenus = () => document.querySelectorAll("details.menu[open]");
const ELSEWHERE = { pin: "", compare: "", page: 1, entry: "" }; // what another board does not share

const ACTIONS = { // by data attribute of what was clicked
  entry: (id) => change({ entry: id }),
  sort: (key) => change(state.sort === key ? { down: state.down ? "" : "1" }
    : { sort: key, down: COLUMNS.find((column) => column.key === key).down ? "1" : "", page: 1 }),
  copy: (text, target) => { writeAddress(); copyText(target.dataset.what === "Address"
    ? location.href : text, target.dataset.what); },
  save: (kind) => saveFile(`${board.track.id.replace("@", "-")}.${kind}`, SAVES[kind][0],
    SAVES[kind][1]()),
  close: (id) => byId(id).close(),
  go: (step) => change({ page: state.page + Number(step) }),
  compare: () => change({ compare: "1" }),
  clear: () => { byId("q").value = ""; change({ q: "", labels: "", page: 1 }); byId("q").focus(); },
  unpin: () => change({ pin: "", compare: "" }),
  jump: (id) => { byId(id).scrollIntoView(); byId(id).focus({ preventScroll: true }); },
  toggle: () => setTheme(currentTheme() === "dark" ? "light" : "dark"),
};

let pressed = null; // where the pointer went down: a drag out of a dialog must not close it
document.addEventListener("pointerdown", (event) => { pressed = event.target; });
document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
  if (event.target.closest("[data-pin]")) pin(event.target.closest("[data-pin]").dataset.pin);
  for (const [name, act] of Object.entries(ACTIONS)) {
    const target = event.target.closest(`[data-${name}]`);
    if (target) act(target.dataset[name], target);
  }
  if (event.target.matches("dialog") && pressed === event.target) event.target.close(); // backdrop
  if (event.target.matches(".reach")) {
    const box = event.target.getBoundingClientRect();
    setWeight(((event.clientX - box.left) / box.width).toFixed(2));
  }
});
document.addEventListener("input", (event) => {
  const { id, value } = event.target;
  if (id === "w" || id === "w-number") setWeight(value);
  else if (id === "q") change({ q: value, page: 1 });
  else if (id === "labels") change({ labels: value, page: 1 });
  else if (["dataset", "ipc"].includes(id)) change({ [id]: value, board: "", ...ELSEWHERE });
  else if (id === "board") change({ board: value, ...ELSEWHERE });
  else if (event.target.dataset.column) {
    change({ cols: [...document.querySelectorAll("[data-column]:checked")]
      .map((box) => box.dataset.column).join(",") || "none" });
  }
});
document.addEventListener("change", ({ target }) => {
  if (target.id === "w-number") target.value = state.w; // what was typed may be no weight
});
document.addEventListener("keydown", (event) => {
  const [menu] = openMenus();
  if (event.key !== "Escape" || !menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
byId("entry").addEventListener("close", () => change({ entry: "" }));
byId("compare-dialog").addEventListener("close", () => change({ compare: "" }));
window.addEventListener("hashchange", () => { readAddress(); show(); });
window.addEventListener("resize", () => { resized++; change({}); });

// Entries that cannot be told from the one under the pointer or focus stand out.
function showTies(event) {
  const id = event.target.closest?.("[data-row]")?.dataset.row;
  const at = rows.find((row) => row.entry.id === id);
  for (const tr of byId("body").children) {
    const other = at && rows.find((row) => row.entry.id === tr.dataset.row);
    tr.classList.toggle("tied", Boolean(at && other && other !== at
      && !judged.surely(at.index, other.index) && !judged.surely(other.index, at.index)));
  }
}
for (const kind of ["mouseover", "focusin"]) byId("body").addEventListener(kind, showTies);
for (const kind of ["mouseleave", "focusout"]) byId("body").addEventListener(kind, showTies);

// Theme: the reader's system decides until they do.
const currentTheme = () => document.documentElement.dataset.theme
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* not kept where storage is closed */ }
}
try {
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch { /* the system's theme then */ }

byId("skipped").hidden = !data.skipped.length;
byId("skipped-list").replaceChildren(...data.skipped.map(({ file, reason }) =>
  html("li", {}, html("code", {}, file), `: ${reason}`)));
startTips();
readAddress();
show();
document.documentElement.dataset.ready = `${Math.round(performance.now())}`;
