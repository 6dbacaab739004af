// How a figure of Optuna's is shown on a page: in its colours, light or dark, and in its width. Nothing here touches
// the page, so that a test can call every function by itself.

const LEAST_WIDTH_OF_SLICE = 230; // pixels; more slices than fit beside each other at this width come in further rows
const HEIGHT_OF_SLICE = 240;
const HEIGHT = 460;
const LEAST_WIDTH_BETWEEN_AXES = 88; // of parallel coordinates: narrower, and their labels would lie on each other
const SPACE_BESIDE_AXES = 120;
const GAP = 0.2; // between slices, as a part of their width; twice as much of their height, for the names below them

const BAR = { thickness: 14, lenmode: "pixels", len: 260, y: 1, yanchor: "top" };

// Returns a figure's data and layout for a place that is so many pixels wide. `colour(name)` is a variable of the page's
// style, and `isDark` says whether the page is dark now.
export function themed({ data, layout }, { colour, isDark, width }) {
  const states = ["RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"];
  const traces = data.map((trace) => {
    const shown = { ...trace };
    for (const part of ["line", "marker"]) if (trace[part]) shown[part] = recoloured(trace[part], isDark);
    // of a timeline, in the colours that states have all over the page
    if (states.includes(trace.name)) shown.marker = { ...shown.marker, color: colour(`--state-${trace.name.toLowerCase()}`) };
    return shown;
  });
  return { data: traces, layout: placed(themedLayout(layout, colour), width) };
}

function themedLayout(layout, colour) {
  const text = colour("--chart-text");
  const axes = {};
  for (const name of axisNames(layout)) {
    axes[name] = { ...layout[name], gridcolor: colour("--chart-grid"), zerolinecolor: colour("--chart-grid"), automargin: true };
  }
  return {
    ...layout,
    ...axes,
    paper_bgcolor: colour("--surface"),
    plot_bgcolor: "rgba(0,0,0,0)",
    colorway: [0, 1, 2, 3, 4].map((place) => colour(`--chart-compare-${place}`)),
    font: { ...layout.font, color: text, family: "system-ui, sans-serif" },
    hoverlabel: { font: { family: "system-ui, sans-serif" } },
    // parallel coordinates write the values beside their axes as annotations: in a grey that is meant for white paper, and
    // hundreds of lines run through them
    annotations: (layout.annotations ?? []).map((one) => ({
      ...one,
      font: { ...one.font, color: text },
      bgcolor: colour("--surface"),
      borderpad: 0,
    })),
    margin: { l: 56, r: 24, t: 48, b: 48 },
  };
}

function axisNames(layout, letters = "xy") {
  const found = Object.keys(layout).filter((name) => new RegExp(`^[${letters}]axis\\d*$`).test(name));
  return [...new Set([...[...letters].map((letter) => `${letter}axis`), ...found])];
}

// The colours of a line or of markers, and of their scale, as they are told apart from the page: Optuna's are meant for
// white paper, where dark is what matters most.
function recoloured(part, isDark) {
  const shown = { ...part };
  if (part.colorbar) shown.colorbar = { ...part.colorbar, ...BAR };
  if (typeof part.color === "string") shown.color = visible(part.color, isDark);
  if (Array.isArray(part.colorscale)) shown.colorscale = part.colorscale.map(([at, one]) => [at, visible(one, isDark)]);
  return shown;
}

// A colour as strong on dark paper as it is on white: its lightness is turned round. What would vanish stays visible.
export function visible(colour, isDark) {
  const channels = /^rgb\(([\d.]+),\s*([\d.]+),\s*([\d.]+)\)$/.exec(colour)?.slice(1).map(Number) ?? hexChannels(colour);
  if (!channels) return colour;
  const [hue, saturation, lightness] = hsl(channels.map((one) => one / 255));
  const seen = isDark ? 0.9 - 0.55 * lightness : 0.08 + 0.78 * lightness;
  const pale = Math.min(saturation, 0.65); // what is nearly white has a hue that nobody has seen in it
  return `hsl(${Math.round(hue)}, ${Math.round(100 * pale)}%, ${Math.round(100 * seen)}%)`;
}

function hexChannels(colour) {
  return /^#[0-9a-f]{6}$/i.test(colour) ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : null;
}

function hsl([red, green, blue]) {
  const most = Math.max(red, green, blue);
  const span = most - Math.min(red, green, blue);
  const lightness = most - span / 2;
  if (!span) return [0, 0, lightness];
  let sector = 4 + (red - green) / span;
  if (most === red) sector = ((green - blue) / span + 6) % 6;
  else if (most === green) sector = 2 + (blue - red) / span;
  return [60 * sector, span / (1 - Math.abs(2 * lightness - 1)), lightness];
}

// A layout whose parts are as wide as they must be to be read: slices in rows, and parallel axes far enough apart, even
// if the plot is wider than its place then.
function placed(layout, width) {
  const slices = axisNames(layout, "x").filter((name) => layout[name]?.domain);
  if (slices.length > 1) return inRows(layout, slices, width);
  const nAxes = layout.xaxis.ticktext?.length ?? 0;
  const least = nAxes ? nAxes * LEAST_WIDTH_BETWEEN_AXES + SPACE_BESIDE_AXES : 0;
  // the title of a plot that is scrolled stands where it is seen first
  const title = least > width ? { ...layout.title, x: 0.02, xanchor: "left" } : layout.title;
  return { ...layout, title, width: Math.max(width, least), height: HEIGHT };
}

function inRows(layout, slices, width) {
  const nRows = Math.ceil(slices.length / Math.max(1, Math.floor(width / LEAST_WIDTH_OF_SLICE)));
  const nColumns = Math.ceil(slices.length / nRows);
  const wide = 1 / (nColumns + GAP * (nColumns - 1));
  const high = 1 / (nRows + 2 * GAP * (nRows - 1));
  const shown = { ...layout, width, height: nRows * HEIGHT_OF_SLICE + 120 };
  slices.forEach((name, place) => {
    const [row, column] = [Math.floor(place / nColumns), place % nColumns];
    const left = column * wide * (1 + GAP);
    const bottom = (nRows - 1 - row) * high * (1 + 2 * GAP);
    const other = name.replace("x", "y");
    // long names of choices end below their place instead of beginning there, where they would run into what is beside
    const turned = shown[name].categoryarray?.some((one) => one.length > 8) ? { tickangle: -30 } : {};
    shown[name] = { ...shown[name], ...turned, domain: [left, Math.min(left + wide, 1)] };
    shown[other] = { ...shown[other], domain: [bottom, Math.min(bottom + high, 1)], showticklabels: column === 0 };
    if (column === 0) shown[other].title = layout.yaxis.title;
  });
  return shown;
}
