// Draws learning curves with uPlot, in the colours of the page.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { columns, lastPoint, numberWords, valueRange } from "./curves.js";

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function styleOf(curve, number, best, hovered) {
  if (number === hovered) return { stroke: colour("--chart-hovered"), width: 2.5 };
  if (best.includes(number)) return { stroke: colour("--chart-best"), width: 2.5 };
  if (curve.state === "RUNNING") return { stroke: colour("--chart-running"), width: 1.5 };
  if (curve.state === "PRUNED" || curve.state === "FAIL") return { stroke: colour("--chart-dimmed"), width: 1 };
  return { stroke: colour("--chart-line"), width: 1 };
}

function bandSeries() {
  const hidden = { stroke: "transparent", width: 0, points: { show: false } };
  const median = { stroke: colour("--chart-median"), width: 1.5, dash: [4, 4], points: { show: false } };
  return [hidden, hidden, median, hidden, hidden].map((one) => ({ ...one }));
}

function axis(label, values) {
  return {
    ...(label ? { label, labelSize: 22, labelFont: "12px system-ui, sans-serif" } : {}),
    font: "12px system-ui, sans-serif",
    stroke: colour("--chart-text"),
    grid: { stroke: colour("--chart-grid"), width: 1 },
    ticks: { show: false },
    ...values,
  };
}

// Marks where a curve ended early (a cross) and where a running one is (a dot).
function drawEnds(plot, curves, numbers) {
  const { ctx } = plot;
  const size = 3 * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  ctx.clip();
  for (const number of numbers) {
    const curve = curves.trials.get(number);
    const last = lastPoint(curve);
    if (last === null || curve.state === "COMPLETE" || curve.state === "WAITING") continue;
    const [x, y] = [plot.valToPos(last[0], "x", true), plot.valToPos(last[1], "y", true)];
    ctx.beginPath();
    if (curve.state === "RUNNING") {
      ctx.fillStyle = colour("--chart-running");
      ctx.arc(x, y, size, 0, 2 * Math.PI);
      ctx.fill();
    } else {
      ctx.strokeStyle = colour(curve.state === "FAIL" ? "--chart-failed" : "--chart-ended");
      ctx.lineWidth = 1.25 * devicePixelRatio;
      ctx.moveTo(x - size, y - size);
      ctx.lineTo(x + size, y + size);
      ctx.moveTo(x + size, y - size);
      ctx.lineTo(x - size, y + size);
      ctx.stroke();
    }
  }
  ctx.restore();
}

// A chart inside `element`. `onHover(number)` is told the trial under the pointer, or null; `onClick(number)` which one
// was clicked.
export class CurveChart {
  constructor(
    element,
    { label = "evaluation", height = 320, isComparison = false, onHover = () => {}, onClick = () => {} } = {},
  ) {
    this.element = element;
    this.isComparison = isComparison;
    this.label = label;
    this.height = height;
    this.onHover = onHover;
    this.onClick = onClick;
    this.plot = null;
    this.numbers = [];
    this.under = null;
    new ResizeObserver(() => this.resize()).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  draw(curves, numbers, best = [], hovered = null) {
    this.last = [curves, numbers, best, hovered];
    const data = columns(curves, numbers);
    const key = JSON.stringify([curves.bands !== null, hovered, best, numbers.map((n) => [n, curves.trials.get(n).state])]);
    this.range = valueRange(data.slice(1), curves.direction);
    this.curves = curves;
    if (this.plot && key === this.key) {
      this.plot.setData(data);
      return;
    }
    this.key = key;
    this.numbers = numbers;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(curves, numbers, best, hovered), data, this.element);
    this.plot.over.addEventListener("click", () => this.under !== null && this.onClick(this.under));
  }

  options(curves, numbers, best, hovered) {
    const bands = curves.bands === null ? [] : bandSeries();
    return {
      width: this.element.clientWidth || 600,
      height: this.height,
      legend: { show: false },
      cursor: { focus: { prox: 24 }, points: { show: false }, drag: { x: true, y: false } },
      focus: { alpha: 1 },
      scales: { x: { time: false }, y: { range: () => this.range } },
      axes: [
        axis(this.label, { size: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] }),
        axis(curves.metric, { size: 64, values: (_, ticks) => ticks.map(numberWords) }),
      ],
      series: [
        {},
        ...bands,
        ...numbers.map((number, i) => {
          const curve = curves.trials.get(number);
          const style = this.isComparison
            ? { stroke: colour(`--chart-compare-${i}`), width: 2 }
            : styleOf(curve, number, best, hovered);
          return { ...style, points: { show: curve.steps.length === 1, size: 6, fill: style.stroke } };
        }),
      ],
      bands: bands.length
        ? [
            { series: [5, 1], fill: colour("--chart-band") },
            { series: [4, 2], fill: colour("--chart-band") },
          ]
        : [],
      hooks: {
        draw: [(plot) => drawEnds(plot, this.curves, this.numbers)],
        setSeries: [
          (_, index) => {
            const under = index === null ? null : (this.numbers[index - 1 - bands.length] ?? null);
            if (under === this.under) return;
            this.under = under;
            this.element.classList.toggle("is-over-curve", under !== null);
            this.onHover(under);
          },
        ],
      },
    };
  }

  redraw() {
    this.key = null;
    if (this.last) this.draw(...this.last);
  }

  resize() {
    const width = this.element.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }
}
