// Optuna's plots, drawn by plotly.js, which is loaded when the first of them is opened: it is large.

import { request } from "./api.js";
import { themed } from "./plot_theme.js";

let loading = null;

function loadPlotly() {
  loading ??= new Promise((resolve, reject) => {
    writeStylesAsProperties();
    // plotly.js adds rules to a style element of its own, which the page's policy forbids, unless it finds this link
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.id = "plotly.js-style-global";
    sheet.className = "no-inline-styles";
    sheet.href = new URL("./vendor/plotly/plotly.css", import.meta.url).href;
    const script = document.createElement("script");
    // and one for maps, which no plot here is, unless an element has this id
    script.id = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
    script.src = new URL("./vendor/plotly/plotly-strict.min.js", import.meta.url).href;
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error("plotly.js could not be loaded")));
    document.head.append(sheet, script);
  });
  return loading;
}

// plotly.js writes some styles as attributes, which the page's policy forbids; the same styles may be set as properties.
function writeStylesAsProperties() {
  const { setAttribute } = Element.prototype;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

let shown = null;
let drawnWidth = 0;

function draw() {
  const place = document.getElementById("plot");
  drawnWidth = place.clientWidth;
  const { data, layout } = themed(shown, { colour, isDark: dark.matches, width: drawnWidth });
  return window.Plotly.react(place, data, layout, { displayModeBar: false });
}

const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => shown && draw());
new ResizeObserver(([{ target }]) => shown && target.clientWidth && target.clientWidth !== drawnWidth && draw()).observe(
  document.getElementById("plot"),
);

// Draws the plot of this kind below its buttons; the one that is shown already is closed.
export async function showPlot(api, kind, button) {
  const place = document.getElementById("plot");
  const note = document.getElementById("plot-note");
  const isOpen = button.getAttribute("aria-pressed") === "true";
  for (const one of document.querySelectorAll("[data-plot]")) one.setAttribute("aria-pressed", "false");
  if (isOpen) {
    shown = null;
    place.hidden = true;
    note.textContent = "";
    return;
  }
  button.setAttribute("aria-pressed", "true");
  note.textContent = "Drawing …";
  try {
    const [figure] = await Promise.all([request("GET", `${api}/plots/${kind}`), loadPlotly()]);
    if (button.getAttribute("aria-pressed") !== "true") return;
    shown = figure;
    place.hidden = false;
    await draw();
    note.textContent = "";
  } catch (error) {
    place.hidden = true;
    note.textContent = error.detail ?? error.message;
  }
}
