// The page of a study: its curves, its buttons, and what changes while one looks at it.

import { act, request, toast } from "./api.js";
import { follow, on } from "./live.js";
import { CurveChart } from "./curve_chart.js";
import { MOST_CURVES, atMostEvery, chosen, emptyCurves, numberWords, takeIn } from "./curves.js";
import { patch } from "./patch.js";
import { showPlot } from "./plots.js";

const root = document.getElementById("study");
const study = root.dataset.study;
const api = `/v1/studies/${encodeURIComponent(study)}`;

// --- learning curves ---

const tip = document.getElementById("curve-tip");
const atRest = tip.textContent;
const params = new Map();
let curves = emptyCurves();
let hovered = null;
let highlighted = null;

const chart = new CurveChart(document.getElementById("curves"), {
  onHover: showHovered,
  onClick: (number) => (location.href = `/studies/${encodeURIComponent(study)}/trials/${number}`),
});

function bestNumbers() {
  const links = document.querySelectorAll("#best h2 a, #best tbody th a");
  return [...links].map((link) => Number(link.textContent.match(/\d+$/)[0]));
}

async function showHovered(number) {
  hovered = number;
  if (number === null) {
    tip.textContent = atRest;
    return;
  }
  if (!params.has(number)) {
    tip.textContent = `Trial ${number}`;
    await request("GET", `${api}/trials/${number}`).then((trial) => params.set(number, trial.params));
    if (hovered !== number) return;
  }
  const curve = curves.trials.get(number);
  const words = Object.entries(params.get(number)).map(([name, value]) => `${name} = ${numberWords(value)}`);
  tip.textContent = [`Trial ${number}, ${curve.state.toLowerCase()}`, ...words].join("  ·  ");
}

function draw() {
  const best = bestNumbers();
  const bands = document.querySelector(".key-bands");
  bands.hidden = curves.bands === null;
  chart.draw(curves, chosen(curves, best, highlighted), best, highlighted);
}

// A row of the table that is pointed at, or that holds the focus, has its curve in front of the others.
async function highlight(number) {
  if (number === highlighted) return;
  highlighted = number;
  if (number !== null && curves.bands !== null && !curves.trials.has(number)) {
    const query = new URLSearchParams({ metric: curves.metric, trials: number });
    takeIn(curves, await request("GET", `${api}/curves?${query}`));
  }
  if (number === highlighted && curves.metric) draw();
}

for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, (event) => {
    const box = event.target.closest("#trials tbody tr")?.querySelector("input[name=trials]");
    highlight(box ? Number(box.value) : null);
  });
}

// Of a study with many trials: quantiles over all of them, and the curves of the best and the running.
async function loadFew(query) {
  const { trials } = await request("GET", `${api}/trials?state=RUNNING&limit=100`);
  const wanted = [...new Set([...bestNumbers(), ...trials.map((trial) => trial.number)])].slice(0, MOST_CURVES);
  query.set("bands", "true");
  query.set("trials", wanted.length ? wanted.join(",") : "0");
  const answer = await request("GET", `${api}/curves?${query}`);
  const known = emptyCurves();
  curves = takeIn(known, answer);
}

async function loadCurves() {
  const metric = document.getElementById("curves-metric").value;
  const query = new URLSearchParams({ metric });
  if (Number(root.dataset.nTrials) > MOST_CURVES) {
    await loadFew(query);
  } else {
    if (curves.metric === metric && curves.sequence) query.set("after", curves.sequence);
    const answer = await request("GET", `${api}/curves?${query}`);
    if (curves.metric !== metric) curves = emptyCurves();
    takeIn(curves, answer);
  }
  draw();
}

const loadCurvesSoon = atMostEvery(500, loadCurves);
const loadBandsSoon = atMostEvery(3000, loadCurves);
document.getElementById("curves-metric").addEventListener("change", loadCurves);
loadCurves();

// --- what changes while one looks ---

async function refresh() {
  await patch(location.href);
  root.dataset.nTrials = document.getElementById("study").dataset.nTrials;
}

const refreshSoon = atMostEvery(1000, refresh);
const refreshLater = atMostEvery(5000, refresh);

function onChange() {
  refreshSoon();
  curvesChanged();
}

function curvesChanged() {
  if (Number(root.dataset.nTrials) > MOST_CURVES) loadBandsSoon();
  else loadCurvesSoon();
}

for (const kind of ["study", "trial", "replay"]) on(kind, (happened) => happened.study === study && onChange());
on("value", (happened) => {
  if (happened.study !== study) return;
  curvesChanged();
  refreshLater();
});
// what happened before the stream was open, or while the tab was hidden
on("live", ({ isOpen }) => isOpen && onChange());
follow("/v1/events");

// --- the table ---

async function swap(url) {
  await patch(url);
  history.pushState(null, "", url);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  swap(link.href);
});
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-swap]");
  if (form) swap(`${form.action.split("#")[0]}?${new URLSearchParams(new FormData(form))}#trials`);
});
addEventListener("popstate", () => patch(location.href));
document.addEventListener("submit", (event) => {
  if (!event.target.action.endsWith("/compare")) return;
  const count = event.target.querySelectorAll("input[name=trials]:checked").length;
  if (count >= 2 && count <= 5) return;
  event.preventDefault();
  toast(`Trials chosen: ${count}; choose two to five.`, "bad");
});

// --- buttons ---

// Opens a dialog; the form data it was closed with, or null where it was left.
function ask(id) {
  const dialog = document.getElementById(id);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "yes" ? new FormData(dialog.querySelector("form")) : null),
      { once: true },
    );
  });
}

async function extend() {
  const given = await ask("ask-extend");
  if (!given) return;
  const change = {};
  for (const [name, value] of given) {
    const field = document.querySelector(`#extend-form [name=${name}]`);
    if (value !== field.dataset.before) change[name] = value === "" ? null : Number(value);
  }
  if (await act("PATCH", api, change)) await refresh();
}

async function clone(changes) {
  const list = document.getElementById("clone-changes");
  list.replaceChildren(
    ...changes.map((change) => {
      const item = document.createElement("li");
      item.textContent = change.value === null ? `without ${change.field}` : `${change.field} = ${JSON.stringify(change.value)}`;
      return item;
    }),
  );
  const given = await ask("ask-clone");
  if (!given) return;
  const name = given.get("name");
  if (await act("POST", `${api}/clone`, { name, changes })) location.href = `/studies/${encodeURIComponent(name)}`;
}

async function doAct(verb, dialog) {
  if (dialog && !(await ask(dialog))) return;
  if (await act("POST", `${api}/${verb}`)) await refresh();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { act: verb, dialog, whyNot, plot } = button.dataset;
  if (whyNot) toast(whyNot, "bad");
  else if (verb === "extend") await extend();
  else if (verb === "clone") await clone([]);
  else if (verb) await doAct(verb, dialog);
  else if ("clone" in button.dataset) await clone(JSON.parse(button.dataset.changes));
  else if (plot) await showPlot(api, plot, button);
});
