// The page of a trial: a chart of each metric, its buttons, and its log as it grows.

import { act, request } from "./api.js";
import { follow, on } from "./live.js";
import { CurveChart } from "./curve_chart.js";
import { atMostEvery, emptyCurves } from "./curves.js";
import { patch } from "./patch.js";

const root = document.getElementById("trial");
const { study } = root.dataset;
const number = Number(root.dataset.number);
const api = `/v1/studies/${encodeURIComponent(study)}/trials/${number}`;

// --- curves ---

const charts = new Map();

function chartOf(metric) {
  if (!charts.has(metric)) {
    const figure = document.createElement("figure");
    const title = document.createElement("figcaption");
    title.textContent = metric;
    const place = document.createElement("div");
    place.className = "chart";
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `Learning curve of ${metric}`);
    figure.append(title, place);
    document.getElementById("metric-charts").append(figure);
    charts.set(metric, new CurveChart(place, { height: 200, label: "epoch" }));
  }
  return charts.get(metric);
}

async function loadCurves() {
  const trial = await request("GET", api);
  // values of a part of the validation rows lie beside the curve of the whole split
  const evaluations = trial.intermediate_values.filter((one) => !one.partial);
  document.getElementById("no-curves").hidden = evaluations.length > 0;
  const metrics = [...new Set(evaluations.flatMap((one) => Object.keys(one.metrics)))].filter((name) => name !== "cached_rows");
  for (const metric of metrics) {
    const points = evaluations.filter((one) => metric in one.metrics);
    const curves = emptyCurves();
    const curve = {
      state: trial.state,
      steps: points.map((one) => one.epoch),
      values: points.map((one) => one.metrics[metric]),
    };
    curves.trials.set(number, curve);
    chartOf(metric).draw(curves, [number], [number]);
  }
}

// --- what changes while one looks ---

const loadCurvesSoon = atMostEvery(500, loadCurves);
const refreshSoon = atMostEvery(1000, () => patch(location.href));
function onChange() {
  loadCurvesSoon();
  refreshSoon();
}

for (const kind of ["trial", "value", "replay"]) {
  on(kind, (happened) => happened.study === study && happened.number === number && onChange());
}
// what happened before the stream was open, or while the tab was hidden
on("live", ({ isOpen }) => isOpen && onChange());
follow("/v1/events");
loadCurves();

// --- the log ---

const MOST_CHARACTERS = 400_000;
const POLL_MILLISECONDS = 2000;
const log = document.getElementById("log");
let position = 0;

async function readLog() {
  if (document.hidden && position) return;
  const answer = await fetch(`${api}/log?after=${position}`, { credentials: "same-origin" });
  if (!answer.ok) return;
  position = Number(answer.headers.get("Log-Position"));
  const text = await answer.text();
  const isCut = log.textContent.length + text.length > MOST_CHARACTERS;
  if (isCut) log.textContent = (log.textContent + text).slice(-MOST_CHARACTERS);
  else log.append(text);
  if (text && document.getElementById("log-follow").checked) log.scrollTop = log.scrollHeight;
  const note = document.getElementById("log-note");
  if (isCut) note.textContent = "Only the end of the log is shown.";
  else if (!log.textContent) note.textContent = "The log is empty.";
  else if (note.textContent === "The log is empty.") note.textContent = "";
}

async function followLog() {
  await readLog();
  if (["WAITING", "RUNNING"].includes(root.dataset.state)) setTimeout(followLog, POLL_MILLISECONDS);
}
followLog();

// --- buttons ---

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-act]");
  if (!button) return;
  const { act: verb, dialog } = button.dataset;
  if (dialog && !(await confirmed(dialog))) return;
  const answer = await act("POST", `${api}/${verb}`);
  if (!answer) return;
  if (verb === "retry") location.href = `/studies/${encodeURIComponent(study)}/trials/${answer.number}`;
  else await patch(location.href);
});

function confirmed(id) {
  const dialog = document.getElementById(id);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
