// The page that shows trials side by side: their curves in one chart.

import { request } from "./api.js";
import { CurveChart } from "./curve_chart.js";
import { emptyCurves, takeIn } from "./curves.js";

const place = document.getElementById("compare-chart");
const metric = document.getElementById("compare-metric");

if (place) {
  const chart = new CurveChart(place, { isComparison: true });
  const load = async () => {
    const query = new URLSearchParams({ metric: metric.value, trials: place.dataset.trials });
    const answer = await request("GET", `/v1/studies/${encodeURIComponent(place.dataset.study)}/curves?${query}`);
    chart.draw(takeIn(emptyCurves(), answer), place.dataset.trials.split(",").map(Number));
  };
  metric.addEventListener("change", load);
  load();
}
