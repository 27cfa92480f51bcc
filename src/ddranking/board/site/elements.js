"use strict";
// Making elements. Text from records goes in as text nodes and attributes, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const html = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

/** A link to another site, https only; anything else is shown as text. */
function outside(address, words) {
  return /^https:\/\/[^\s<>"']+$/.test(address ?? "")
    ? html("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank" }, words)
    : words;
}

const percent = (fraction, digits = 1) => (100 * fraction).toFixed(digits).replace("-", "−");
const score = (value) => value.toFixed(4);
const span = (low, high) => (low === high ? `${low}` : `${low}–${high}`);
const percentSpan = (value) => `${percent(value.low)} to ${percent(value.high)}`;

const counted = (n, one, several) => `${n} ${n === 1 ? one : several}`;

function duration(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A word with an explanation on hover and focus; the text is the glossary's, in About. */
function term(id, words) {
  return html("span", { class: "term", tabindex: 0, "data-term": id,
    "aria-describedby": `term-${id}` }, words);
}

/** Shows the glossary's text beside whatever carries data-term, while hovered or focused. */
function startTips() {
  const tip = byId("tip");
  let owner = null;
  const show = (event) => {
    const target = event.target.closest?.("[data-term]");
    if (!target || target === owner) return;
    owner = target;
    tip.textContent = byId(`term-${target.dataset.term}`)?.textContent ?? "";
    (target.closest("dialog") ?? document.body).append(tip); // above an open dialog
    tip.hidden = false;
    const box = target.getBoundingClientRect();
    const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const under = box.bottom + 6 + tip.offsetHeight < window.innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${under ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  };
  const hide = () => { owner = null; tip.hidden = true; };
  const leave = (event) => {
    if (owner && !owner.contains(event.relatedTarget) && event.relatedTarget !== tip) hide();
  };
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("mouseout", leave);
  document.addEventListener("focusout", leave);
  document.addEventListener("scroll", hide, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !tip.hidden) { hide(); event.preventDefault(); }
  });
}

function announce(words) {
  const status = byId("status");
  status.textContent = words;
  status.classList.add("shown");
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => status.classList.remove("shown"), 2500);
}

async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = html("textarea", { "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  announce(`${what} copied`);
}

function saveFile(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  html("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
