// Learning curves: what is known of them, which are drawn, and the columns that uPlot draws. Nothing here touches the
// page, so that a test can call every function by itself.

// Up to this many trials all curves are drawn; of more, the best, the running and the hovered in front of quantiles.
export const MOST_CURVES = 200;

export function emptyCurves() {
  return { sequence: 0, metric: "", direction: null, trials: new Map(), bands: null };
}

// Takes an answer of GET …/curves into `curves`: each trial in it replaces what was known of that trial.
export function takeIn(curves, answer) {
  curves.sequence = Math.max(curves.sequence, answer.sequence);
  curves.metric = answer.metric;
  curves.direction = answer.direction;
  if (answer.bands) curves.bands = answer.bands;
  answer.numbers.forEach((number, i) => {
    curves.trials.set(number, { state: answer.states[i], steps: answer.steps[i], values: answer.values[i] });
  });
  return curves;
}

// Numbers of the trials whose curves are drawn, in ascending order.
export function chosen(curves, best, hovered) {
  const numbers = [...curves.trials.keys()].filter((number) => curves.trials.get(number).steps.length);
  const drawn =
    curves.bands === null
      ? numbers
      : numbers.filter((n) => best.includes(n) || n === hovered || curves.trials.get(n).state === "RUNNING");
  return drawn.sort((a, b) => a - b);
}

const QUANTILES = ["p10", "p25", "p50", "p75", "p90"];

// Columns for uPlot: all steps, the five quantiles where there are some, then a column for each trial; null is a gap.
export function columns(curves, numbers) {
  const all = new Set(curves.bands ? curves.bands.steps : []);
  for (const number of numbers) for (const step of curves.trials.get(number).steps) all.add(step);
  const steps = [...all].sort((a, b) => a - b);
  const place = new Map(steps.map((step, i) => [step, i]));
  const column = (ownSteps, values) => {
    const filled = new Array(steps.length).fill(undefined); // uPlot draws through undefined, and null is a gap
    ownSteps.forEach((step, i) => (filled[place.get(step)] = values[i]));
    return filled;
  };
  const bands = curves.bands ? QUANTILES.map((name) => column(curves.bands.steps, curves.bands[name])) : [];
  const own = numbers.map((n) => column(curves.trials.get(n).steps, curves.trials.get(n).values));
  return [steps, ...bands, ...own];
}

// The range of values worth drawing: all of them, unless a few bad ones would squeeze the others into a line.
export function valueRange(lists, direction) {
  const values = lists.flat().filter((value) => value !== null && value !== undefined);
  if (!values.length) return [0, 1];
  values.sort((a, b) => a - b);
  const at = (share) => values[Math.round(share * (values.length - 1))];
  let [low, high] = [values[0], values[values.length - 1]];
  const body = at(0.9) - at(0.1);
  if (direction !== "maximize" && high - at(0.9) > 3 * body && body > 0) high = at(0.9) + body;
  if (direction === "maximize" && at(0.1) - low > 3 * body && body > 0) low = at(0.1) - body;
  const margin = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - margin, high + margin];
}

// The last value of a curve with its step, or null where there is none.
export function lastPoint(curve) {
  for (let i = curve.values.length - 1; i >= 0; i--) {
    if (curve.values[i] !== null) return [curve.steps[i], curve.values[i]];
  }
  return null;
}

// A number as people read it: four significant digits.
export function numberWords(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(3).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(4)));
}

// Calls `work` soon after it was asked for, at most once in `milliseconds`, however often that is, and never twice at
// the same time.
export function atMostEvery(milliseconds, work) {
  let timer = null;
  let isWorking = false;
  let isWanted = false;
  async function run() {
    timer = null;
    isWorking = true;
    isWanted = false;
    try {
      await work();
    } finally {
      isWorking = false;
      if (isWanted) timer = setTimeout(run, milliseconds);
    }
  }
  return () => {
    isWanted = true;
    if (timer === null && !isWorking) timer = setTimeout(run, milliseconds);
  };
}
