"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// --- what is chosen ------------------------------------------------------------------------------------------------------

// the keys of an entry, in the order in which they are chosen: a choice leaves the later ones what there is with it
const KEYS = [
  ["dataset", "Data set"], ["family", "Model"], ["beta", "β"], ["d_z", "d_z"], ["seed", "Seed"], ["loss", "Attack"],
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
  byId("wrong").textContent = "";
  showControls();
  showNumbers();
  showCurve();
  remember();
  return showPictures();
}

const montageRow = () => state.entry.montage[state.pair];

// --- robust pairs ----------------------------------------------------------------------------------------------------------

const FOOLED = 0.5; // (A − T)/(O − T) below it: nearer to the target's reconstruction than to the original's

/** The row of λ with the smallest distortion that fools a pair, if one does; how near the others come; that size. */
function fooling(entry, pair) {
  const [original, target] = [entry.original_distance[pair], entry.target_distance[pair]];
  let best = { row: null, norm: Infinity, ratio: Infinity };
  for (const row of entry.shown) {
    const ratio = (entry.adversarial_distance[row][pair] - target) / (original - target);
    const norm = entry.norm[row][pair];
    if (ratio < FOOLED && norm < best.norm) best = { ...best, row, norm };
    best.ratio = Math.min(best.ratio, ratio);
  }
  return best;
}

/** The pairs from the least to the most robust: by the smallest distortion that fools them, then by how near it comes. */
function byRobustness(entry) {
  const found = entry.packed.map((_, pair) => ({ pair, ...fooling(entry, pair) }));
  return found.sort((a, b) => (a.norm === b.norm ? a.ratio - b.ratio : a.norm - b.norm));
}

function jump(share) {
  const order = byRobustness(state.entry);
  const { pair, row } = order[Math.round(share * (order.length - 1))];
  choose(state.entry, pair, row ?? state.entry.montage[pair]);
}

// --- the address -----------------------------------------------------------------------------------------------------------

/** λ as a power of two with up to three decimals, such as 2^-20 or 2^5.306; in text with raised digits. */
const power = (lambda) => `2^${Number(Math.log2(lambda).toFixed(3))}`;
const RAISED = Object.fromEntries([..."-.0123456789"].map((sign, i) => [sign, [..."⁻·⁰¹²³⁴⁵⁶⁷⁸⁹"][i]]));
const raised = (lambda) => "2" + [...power(lambda).slice(2)].map((sign) => RAISED[sign]).join("");

/** A number, or a power of two as the address has it. */
const parse = (value) => (value.startsWith("2^") ? 2 ** Number(value.slice(2) || NaN) : Number(value || NaN));

function remember() {
  const parts = KEYS.map(([key]) => `${key}=${encodeURIComponent(state.entry[key])}`);
  parts.push(`pair=${state.pair}`, `lam=${power(state.entry.lambdas[state.row])}`);
  try {
    history.replaceState(null, "", "#" + parts.join("&"));
  } catch {
    // a page inside another one may have no address of its own
  }
}

function remembered() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const numbers = ["beta", "d_z", "seed", "pair", "lam"].filter((key) => key in given);
  numbers.forEach((key) => (given[key] = parse(given[key])));
  return given;
}

/** Show what the address names; what it does not name is as in `otherwise`. Say where the page has no such attack. */
function follow(otherwise) {
  const given = remembered();
  const entry = nearest({ ...otherwise, ...given });
  const pair = Math.min(Math.max(0, Math.round(given.pair ?? state.pair) || 0), entry.packed.length - 1);
  const distance = (row) => Math.abs(Math.log2(entry.lambdas[row] / given.lam));
  const nearestRow = given.lam > 0 ? entry.shown.reduce((a, b) => (distance(b) < distance(a) ? b : a)) : entry.montage[pair];
  choose(entry, pair, nearestRow);
  const shown = { ...entry, pair: state.pair, lam: entry.lambdas[state.row] };
  const same = (key) => (key === "lam" ? distance(state.row) < 0.002 : shown[key] === given[key]);
  const known = [...KEYS.map(([key]) => key), "pair", "lam"];
  const wrong = Object.keys(given).filter((key) => !known.includes(key) || !same(key));
  byId("wrong").textContent = wrong.length
    ? `The address asks for ${wrong.map((key) => `${key} = ${given[key]}`).join(", ")}, which this page has not. Shown is the nearest attack.`
    : "";
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
  byId("lam").addEventListener("input", (event) => choose(state.entry, state.pair, state.entry.shown[event.target.value]));
  byId("montage").addEventListener("click", () => choose(state.entry, state.pair, montageRow()));
  Object.entries({ least: 0, median: 0.5, most: 1 }).forEach(([id, share]) => byId(id).addEventListener("click", () => jump(share)));
  byId("copy").addEventListener("click", copy);
  byId("log").addEventListener("change", showCurve);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("rule").textContent = data.rule;
}

function showControls() {
  const { entry, pair, row } = state;
  KEYS.forEach(([key], k) => {
    const all = values(entry, k);
    const named = { family: "name", loss: "title" }[key];
    const names = all.map((value) => (named ? data.entries.find((e) => e[key] === value)[named] : String(value)));
    byId(key).replaceChildren(...names.map((name) => element("option", name)));
    byId(key).selectedIndex = all.indexOf(entry[key]);
  });
  byId("masked").textContent = entry.masked && `† Attack too weak by its checks, do not call this model robust: ${entry.masked}.`;
  const [image, target] = entry.pairs[pair];
  slider("pair", pair, entry.packed.length, `${pair + 1} of ${entry.of_pairs}`, `pair ${pair + 1}: image ${image}, target ${target}`);
  const lambda = `${raised(entry.lambdas[row])} = ${text(entry.lambdas[row])}`;
  slider("lam", entry.shown.indexOf(row), entry.shown.length, lambda, `λ ${lambda}`);
  const { norm } = fooling(entry, pair);
  byId("fooled").textContent = norm < Infinity
    ? `This pair is fooled from ‖d‖₂ = ${text(Number(norm.toPrecision(3)))} on.` : "No λ fools this pair.";
  byId("code").textContent = python();
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

const READING = "Above: what the encoder is given. Below: what the decoder makes of one sample of its posterior (rec).";

function makePictures() {
  for (const [name, title] of PICTURES) {
    if (!name) {
      byId("pictures").append(element("p", READING, { class: "hint" }));
      continue;
    }
    const figure = element("figure");
    const caption = element("figcaption", title);
    caption.append(element("small", "", { id: `${name}-note` }));
    figure.append(caption, element("canvas", "", { id: `${name}-picture`, role: "img", "aria-label": title }));
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
  const all = { x, adversarial, target, reconstruction, target_reconstruction };
  all.adversarial_reconstruction = picture(4 + entry.shown.length + at);
  for (const [name, pixels] of Object.entries(all)) draw(byId(`${name}-picture`), pixels, entry.shape);
  draw(byId("d-picture"), diverging(scaled, entry.shape), [3, ...entry.shape.slice(1)]);
  const [image, targetImage] = entry.pairs[pair];
  const notes = { x: `held-out image ${image}`, target: `held-out image ${targetImage}` };
  const most = text(Number(reach.toPrecision(3)));
  notes.d = `±${most}: red adds`;
  notes.adversarial = `‖d‖₂ = ${text(entry.norm[current][pair])}`;
  notes.adversarial_reconstruction = `A = ${text(entry.adversarial_distance[current][pair])} from xₜ`;
  notes.reconstruction = `${text(entry.original_distance[pair])} from xₜ`;
  notes.target_reconstruction = `${text(entry.target_distance[pair])} from xₜ`;
  for (const [name, note] of Object.entries(notes)) byId(`${name}-note`).textContent = note;
  document.body.dataset.shown = `${row}`;
}

const [RED, BLUE] = [[178, 24, 43], [33, 102, 172]];

/** The mean over channels of a distortion, C,H,W levels with 128 for 0, as 3,H,W bytes: white at 0, red above, blue below. */
function diverging(levels, [C, H, W]) {
  const bytes = new Uint8Array(3 * H * W);
  for (let i = 0; i < H * W; i++) {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += (levels[c * H * W + i] - 128) / 127;
    const end = sum > 0 ? RED : BLUE;
    for (let c = 0; c < 3; c++) bytes[c * H * W + i] = Math.round(255 + (end[c] - 255) * Math.abs(sum / C));
  }
  return bytes;
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

// -----------------------------------------------------------------------------------------------------------------------------------

makeControls();
makePictures();
follow(data.start);
byId("answer").open = innerWidth > 1000 && innerHeight > 800;
window.addEventListener("hashchange", () => follow(state.entry));
dark.addEventListener("change", showCurve);
