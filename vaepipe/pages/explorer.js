"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// --- what is chosen ------------------------------------------------------------------------------------------------------

// the keys of an entry, in the order in which they are chosen: a choice leaves the later ones what there is with it
const KEYS = [
  ["dataset", "Data set"], ["family", "Model"], ["beta", "β"], ["d_z", "d_z"], ["seed", "Training seed"], ["loss", "Attack"],
];
const state = { entry: null, pair: 0, row: 0 };

/** The values that key `k` may take beside the choices before it. */
function values(chosen, k) {
  const before = KEYS.slice(0, k).map(([key]) => key);
  const entries = data.entries.filter((entry) => before.every((key) => entry[key] === chosen[key]));
  const distinct = [...new Set(entries.map((entry) => entry[KEYS[k][0]]))];
  return typeof distinct[0] === "number" ? distinct.sort((a, b) => a - b) : distinct;
}

/** The entry that has the wanted values, or where there is none with them, the nearest number or the first name. */
function nearest(wanted) {
  const chosen = {};
  KEYS.forEach(([key], k) => {
    const all = values(chosen, k);
    const distance = (value) => (typeof value === "number" ? Math.abs(value - wanted[key]) || 0 : 0);
    chosen[key] = all.includes(wanted[key]) ? wanted[key] : all.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  });
  return data.entries.find((entry) => KEYS.every(([key]) => entry[key] === chosen[key]));
}

/** Show the entry nearest to what is wanted; a pair or row of λ that is not given stays. */
function choose(wanted, pair = state.pair, row = state.row) {
  state.entry = nearest(wanted);
  state.pair = Math.min(Math.max(0, Math.round(pair) || 0), state.entry.packed.length - 1);
  // of the λ with pictures, the one nearest in rank
  state.row = state.entry.shown.reduce((a, b) => (Math.abs(b - row) < Math.abs(a - row) ? b : a));
  showControls();
  showNumbers();
  showCurve();
  remember();
  return showPictures();
}

const montageRow = () => state.entry.montage[state.pair];

// --- the address -----------------------------------------------------------------------------------------------------------

function remember() {
  const parts = [...KEYS.map(([key]) => [key, state.entry[key]]), ["pair", state.pair], ["lambda", state.row]];
  try {
    history.replaceState(null, "", "#" + new URLSearchParams(parts));
  } catch {
    // a page inside another one may have no address of its own
  }
}

function remembered() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const numbers = ["beta", "d_z", "seed", "pair", "lambda"].filter((key) => key in given);
  numbers.forEach((key) => (given[key] = Number(given[key])));
  return given;
}

// --- controls ----------------------------------------------------------------------------------------------------------------

const text = (value) => (value === null ? "–" : String(Number(value.toPrecision(5))));

function element(name, content = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = content;
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

function makeControls() {
  KEYS.forEach(([key, label], k) => {
    const select = element("select", "", { id: key });
    select.addEventListener("change", () => {
      choose({ ...state.entry, [key]: values(state.entry, k)[select.selectedIndex] });
    });
    byId("choices").append(element("label", label, { for: key }), select);
  });
  byId("pair").addEventListener("input", (event) => choose(state.entry, Number(event.target.value)));
  byId("lambda").addEventListener("input", (event) => choose(state.entry, state.pair, state.entry.shown[event.target.value]));
  byId("montage").addEventListener("click", () => choose(state.entry, state.pair, montageRow()));
  byId("log").addEventListener("change", showCurve);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("rule").textContent = data.rule;
}

function showControls() {
  const { entry, pair, row } = state;
  KEYS.forEach(([key], k) => {
    const all = values(entry, k);
    const names = all.map((value) => (key === "family" ? data.entries.find((e) => e.family === value).name : String(value)));
    byId(key).replaceChildren(...names.map((name) => element("option", name)));
    byId(key).selectedIndex = all.indexOf(entry[key]);
  });
  byId("masked").textContent = entry.masked && `† Attack too weak by its checks, do not call this model robust: ${entry.masked}.`;
  const [image, target] = entry.pairs[pair];
  slider("pair", pair, entry.packed.length, `${pair + 1} of ${entry.of_pairs}`, `pair ${pair + 1}: image ${image}, target ${target}`);
  const lambda = text(entry.lambdas[row]);
  slider("lambda", entry.shown.indexOf(row), entry.shown.length, lambda, `λ ${lambda}`);
}

function slider(id, value, count, shown, spoken) {
  byId(id).max = count - 1;
  byId(id).value = value;
  byId(id).disabled = count < 2;
  byId(id).setAttribute("aria-valuetext", spoken);
  byId(`${id}-text`).textContent = shown;
}

// --- pictures ------------------------------------------------------------------------------------------------------------------

const PICTURES = [
  ["x", "original x"], ["d", "distortion d"], ["adversarial", "adversarial x + d"], ["target", "target xₜ"],
  ["reconstruction", "rec(x)"], [null, ""], ["adversarial_reconstruction", "rec(x + d)"],
  ["target_reconstruction", "rec(xₜ)"],
];

function makePictures() {
  for (const [name, title] of PICTURES) {
    const figure = element("figure", "", name ? {} : { class: "empty", "aria-hidden": "true" });
    const caption = element("figcaption", title);
    caption.append(element("small", "", { id: `${name}-note` }));
    figure.append(caption, element("canvas", "", name ? { id: `${name}-picture`, role: "img", "aria-label": title } : {}));
    byId("pictures").append(figure);
  }
}

/** The bytes of a pair's pictures: those that need no λ, the distortions, the reconstructions (vaepipe.explore.pictures). */
async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

let unpacked = { of: null, bytes: null };

async function showPictures() {
  const { entry, pair, row } = state;
  const packed = entry.packed[pair];
  if (unpacked.of !== packed) {
    const bytes = await unpack(packed);
    if (entry !== state.entry || pair !== state.pair) return; // moved on meanwhile
    unpacked = { of: packed, bytes };
  }
  const current = state.row; // λ may have moved while bytes were unpacked
  const size = entry.shape.reduce((a, b) => a * b);
  const picture = (i) => unpacked.bytes.subarray(i * size, (i + 1) * size);
  const at = entry.shown.indexOf(current);
  const [x, reconstruction, target_reconstruction, target] = [0, 1, 2, 3].map(picture);
  const scaled = picture(4 + at);
  const reach = entry.reach[current][pair] || 0;
  const adversarial = x.map((value, i) => Math.round(Math.min(255, Math.max(0, value + ((scaled[i] - 128) / 127) * reach * 255))));
  const d = scaled.map((value) => Math.round(127.5 + ((value - 128) / 127) * 127.5));
  const all = { x, d, adversarial, target, reconstruction, target_reconstruction };
  all.adversarial_reconstruction = picture(4 + entry.shown.length + at);
  for (const [name, pixels] of Object.entries(all)) draw(byId(`${name}-picture`), pixels, entry.shape);
  const [image, targetImage] = entry.pairs[pair];
  const notes = { x: `held-out image ${image}`, target: `held-out image ${targetImage}` };
  notes.d = `white +${text(Number(reach.toPrecision(3)))}, grey 0`;
  notes.adversarial = `‖d‖₂ = ${text(entry.norm[current][pair])}`;
  notes.adversarial_reconstruction = `A = ${text(entry.adversarial_distance[current][pair])} from xₜ`;
  notes.reconstruction = `${text(entry.original_distance[pair])} from xₜ`;
  notes.target_reconstruction = `${text(entry.target_distance[pair])} from xₜ`;
  for (const [name, note] of Object.entries(notes)) byId(`${name}-note`).textContent = note;
  document.body.dataset.shown = `${row}`;
}

/** C,H,W bytes on a canvas of H × W pixels: one channel as grey, else red, green, blue. */
function draw(canvas, pixels, [C, H, W]) {
  canvas.width = W;
  canvas.height = H;
  const context = canvas.getContext("2d");
  const image = context.createImageData(W, H);
  for (let i = 0; i < H * W; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[(C < 3 ? 0 : c) * H * W + i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// --- numbers ---------------------------------------------------------------------------------------------------------------------

const NUMBERS = [
  ["norm", "‖d‖₂", "size of the distortion, images in [0,1]"],
  ["divergence", "divergence", "what the attack minimises beside λ‖d‖₂, UNIT"],
  ["objective", "Δ", "divergence + λ‖d‖₂, the adversarial loss, UNIT"],
  ["initial_divergence", "Δ₀", "divergence without distortion, UNIT"],
  ["adversarial_distance", "A", "‖rec(x + d) − xₜ‖₂"],
  ["original_distance", "O", "‖rec(x) − xₜ‖₂: A without attack"],
  ["target_distance", "T", "‖rec(xₜ) − xₜ‖₂: A of the perfect attack"],
  ["input_distance", "‖x − xₜ‖₂", "distortion that makes x the target itself"],
  ["target_nll", "−log p(xₜ|z*)", "z* from the posterior of x + d, nats"],
];

function showNumbers() {
  const { entry, pair, row } = state;
  const rows = NUMBERS.map(([name, symbol, meaning]) => {
    const value = Array.isArray(entry[name][0]) ? entry[name][row][pair] : entry[name][pair];
    const made = element("tr");
    made.append(element("th", symbol, { scope: "row" }), element("td", text(value), { class: "number", id: `number-${name}` }));
    made.append(element("td", meaning.replace("UNIT", entry.unit))); // the unit of the attack's loss
    return made;
  });
  const solver = element("tr");
  solver.append(element("th", "solver", { scope: "row" }));
  const end = entry.converged[row][pair] ? "converged" : "stopped by its bound";
  solver.append(element("td", end, { colspan: 2, id: "number-converged" }));
  const tables = [rows.slice(0, 4).concat(solver), rows.slice(4)].map((part) => {
    const table = element("table");
    table.append(...part);
    return table;
  });
  byId("numbers").replaceChildren(...tables);
}

// --- curve -----------------------------------------------------------------------------------------------------------------------

const named = (entry) => `${entry.name}, β = ${entry.beta}${entry.masked ? " †" : ""}`;

function line(entry, pair, look) {
  const order = entry.lambdas.map((_, i) => i).sort((a, b) => entry.norm[a][pair] - entry.norm[b][pair]);
  return {
    x: order.map((i) => entry.norm[i][pair]), y: order.map((i) => entry.divergence[i][pair]),
    customdata: order.map((i) => [i, text(entry.lambdas[i])]), name: named(entry), ...look,
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
  const colour = entry.colour;
  const traces = others().map((other) => line(other, pair, {
    mode: "lines", line: { color: "#c4c4c4", width: 1 }, legendgroup: "others", showlegend: false,
  }));
  traces.push(line(entry, pair, {
    mode: "lines+markers", line: { color: colour, width: 1.5 }, marker: { size: 6, color: colour }, cliponaxis: false,
  }));
  traces.push({
    x: [entry.norm[row][pair]], y: [entry.divergence[row][pair]], mode: "markers", name: `λ = ${text(entry.lambdas[row])}`,
    marker: { size: 14, color: "#fff", line: { color: colour, width: 3 } }, hoverinfo: "skip", cliponaxis: false,
  });
  if (traces.length > 2) {
    traces.push({ x: [null], y: [null], mode: "lines", line: { color: "#c4c4c4" }, name: "other models, same pair" });
  }
  const level = entry.initial_divergence[row][pair];
  const logarithmic = byId("log").checked;
  const layout = {
    margin: { l: 60, r: 10, t: 8, b: 42 }, font: { family: "system-ui, sans-serif", size: 12, color: "#222" },
    xaxis: { title: { text: "‖d‖₂, images in [0,1]" }, rangemode: "tozero", zeroline: false },
    yaxis: { title: { text: `divergence, ${entry.unit}` }, type: logarithmic ? "log" : "linear", rangemode: "tozero", zeroline: false },
    legend: { x: 1, xanchor: "right", y: 1, bgcolor: "rgba(255,255,255,0.7)" }, hovermode: "closest",
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: level, y1: level, line: { color: "#888", width: 1, dash: "dot" } }],
    annotations: [{
      xref: "paper", x: 0, xanchor: "left", y: logarithmic ? Math.log10(level) : level, yanchor: "bottom", showarrow: false,
      text: "Δ₀, no distortion", font: { size: 10, color: "#666" },
    }],
  };
  Plotly.react(byId("curve"), traces, layout, { displayModeBar: false, responsive: true });
}

function startCurve() {
  showCurve();
  byId("curve").on("plotly_click", ({ points: [point] }) => {
    const trace = point.data;
    if (!point.customdata) return;
    const entry = [state.entry, ...others()].find((candidate) => named(candidate) === trace.name);
    choose(entry, state.pair, point.customdata[0]);
  });
  document.body.dataset.opened = Math.round(performance.now());
}

// -----------------------------------------------------------------------------------------------------------------------------------

makeControls();
makePictures();
const given = remembered();
choose({ ...data.start, ...given }, given.pair || 0, 0);
choose(state.entry, state.pair, given.lambda ?? montageRow());
window.addEventListener("hashchange", () => {
  const now = remembered();
  choose({ ...state.entry, ...now }, now.pair, now.lambda);
});
