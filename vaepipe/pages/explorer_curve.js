"use strict";

// the curve over λ and the lines of Python; explorer.js, which comes after, has the state and the controls

// --- the same attack in Python -----------------------------------------------------------------------------------------------------

/** The lines that load the shown row, run in the study's folder. */
function python() {
  const { entry, pair, row } = state;
  const equal = [...KEYS.map(([key]) => [key, entry[key]]), ["snapshot", entry.snapshot], ["pair", pair]];
  const query = equal.map(([key, value]) => `${key} == ${JSON.stringify(value)}`).join(" and ");
  return [
    "import h5py, pandas as pd",
    `row = pd.read_parquet("results/tables/attacks.parquet").query(${JSON.stringify(query).replaceAll('\\"', "'")}).sort_values("lam").iloc[${row}]`,
    `d = h5py.File(${JSON.stringify(entry.file)})["distortion"][${row}, ${pair}]  # channels, height, width`,
  ].join("\n");
}

async function copy() {
  try {
    await navigator.clipboard.writeText(python());
    byId("copied").textContent = "copied";
  } catch {
    getSelection().selectAllChildren(byId("code"));
    byId("copied").textContent = "selected: copy it with Ctrl-C";
  }
}

// --- curve -----------------------------------------------------------------------------------------------------------------------

const OTHERS = "#a9a9a9";
const dark = matchMedia("(prefers-color-scheme: dark)");
const named = (entry) => `${entry.name}, β = ${entry.beta}${entry.masked ? " †" : ""}`;

function line(entry, pair, look) {
  const order = entry.lambdas.map((_, i) => i).sort((a, b) => entry.norm[a][pair] - entry.norm[b][pair]);
  return {
    x: order.map((i) => entry.norm[i][pair]), y: order.map((i) => entry.divergence[i][pair]),
    customdata: order.map((i) => [i, raised(entry.lambdas[i])]), name: named(entry), ...look,
    hovertemplate: "λ = %{customdata[1]}<br>‖d‖₂ = %{x:.4g}<br>divergence %{y:.4g}<extra>%{fullData.name}</extra>",
  };
}

/** The other models attacked with the same pair: the same but for family and β. */
function others() {
  const same = ["dataset", "d_z", "seed", "loss"];
  return data.entries.filter((entry) => entry !== state.entry && same.every((key) => entry[key] === state.entry[key]));
}

function showCurve() {
  if (typeof Plotly === "undefined") return; // its script comes last, so that the pictures need not wait for it
  const { entry, pair, row } = state;
  const [ink, paper, grid] = ["--ink", "--paper", "--line"].map((name) => getComputedStyle(document.body).getPropertyValue(name));
  const colour = dark.matches && entry.colour === data.black ? ink : entry.colour;
  const traces = others().map((other) => line(other, pair, {
    mode: "lines", line: { color: OTHERS, width: 1 }, legendgroup: "others", showlegend: false,
  }));
  traces.push(line(entry, pair, {
    mode: "lines+markers", line: { color: colour, width: 1.5 }, marker: { size: 6, color: colour }, cliponaxis: false,
  }));
  traces.push({
    x: [entry.norm[row][pair]], y: [entry.divergence[row][pair]], mode: "markers", name: `λ = ${raised(entry.lambdas[row])}`,
    marker: { size: 14, color: paper, line: { color: colour, width: 3 } }, hoverinfo: "skip", cliponaxis: false,
  });
  if (traces.length > 2) {
    traces.push({ x: [null], y: [null], mode: "lines", line: { color: OTHERS }, name: "other models, same pair" });
  }
  const level = entry.initial_divergence[row][pair];
  const logarithmic = byId("log").checked;
  const axis = { zeroline: false, rangemode: "tozero", gridcolor: grid, exponentformat: "power" };
  const layout = {
    margin: { l: 64, r: 10, t: 34, b: 42 }, font: { family: "system-ui, sans-serif", size: 12, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    xaxis: { ...axis, title: { text: "distortion ‖d‖₂, images in [0,1]" } },
    yaxis: { ...axis, title: { text: `divergence, ${entry.unit}` }, type: logarithmic ? "log" : "linear", dtick: logarithmic ? 1 : undefined },
    legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)", traceorder: "normal" },
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: level, y1: level, line: { color: "#888", width: 1, dash: "dot" } }],
    annotations: [{
      xref: "paper", x: 1, xanchor: "right", y: logarithmic ? Math.log10(level) : level, yanchor: "bottom", showarrow: false,
      text: "Δ₀, no distortion", font: { size: 10, color: "#888" },
    }],
  };
  Plotly.react(byId("curve"), traces, layout, { displayModeBar: false });
}

function startCurve() {
  showCurve();
  // its place may change without the window, which is all that Plotly's own `responsive` watches; and
  // Plotly.Plots.resize may leave the legend where it was, over the curve
  new ResizeObserver(() => Plotly.Plots.resize(byId("curve")).then(showCurve)).observe(byId("curve"));
  byId("curve").on("plotly_click", ({ points: [point] }) => {
    const trace = point.data;
    if (!point.customdata) return;
    const entry = [state.entry, ...others()].find((candidate) => named(candidate) === trace.name);
    choose(entry, state.pair, point.customdata[0]);
  });
  document.body.dataset.opened = Math.round(performance.now());
}
