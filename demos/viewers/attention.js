// The attention view. Python sends queries and keys once (int16, with a scale for each layer and
// head); every row, head, layer and temperature is computed and drawn here. gr.HTML provides:
// element, props, watch.
"use strict";
const find = (name) => element.querySelector(".at-" + name);
const root = element.querySelector(".at");
const MEAN = -1;
const STOPS = [[13, 8, 60], [96, 20, 120], [190, 55, 84], [248, 140, 40], [252, 250, 170]];
let model = null, image = null, playing = 0;
const at = { layer: 0, head: MEAN, token: 0, temperature: 1 };

// ---- numbers
function dots(layer, head, token) { // N scores of one row
  const { heads, tokens, dim, queries, keys, scale } = model;
  const first = (layer * heads + head) * tokens * dim, row = new Float32Array(tokens);
  const unit = scale[layer][head], from = first + token * dim;
  for (let j = 0; j < tokens; j += 1) {
    let sum = 0;
    for (let i = 0, to = first + j * dim; i < dim; i += 1) sum += queries[from + i] * keys[to + i];
    row[j] = sum * unit;
  }
  return row;
}
function softmax(scores, temperature) {
  let most = -Infinity, sum = 0;
  for (const score of scores) most = Math.max(most, score);
  const found = scores.map((score) => Math.exp((score - most) / temperature));
  for (const one of found) sum += one;
  return found.map((one) => one / sum);
}
const mean = (rows) => rows[0].map((_, j) => rows.reduce((sum, row) => sum + row[j], 0) / rows.length);
const headsOf = (head) => (head === MEAN ? [...Array(model.heads).keys()] : [head]);
const scoresOf = (layer, head, token) => mean(headsOf(head).map((one) => dots(layer, one, token)));
const weightsOf = (layer, head, token) =>
  mean(headsOf(head).map((one) => softmax(dots(layer, one, token), at.temperature)));
const bits = (weights) => -weights.reduce((sum, p) => sum + (p > 0 ? p * Math.log2(p) : 0), 0);
const share = (value) => (value >= 0.1 ? Math.round(100 * value) : (100 * value).toFixed(1)) + " %";

// ---- names
const first = () => model.special.length;
const columnOf = (token) => (token - first()) % model.columns;
const rowOf = (token) => Math.floor((token - first()) / model.columns);
const nameOf = (token) => token < first()
  ? "the " + model.special[token] : `the patch in row ${rowOf(token) + 1}, column ${columnOf(token) + 1}`;

// ---- drawing
function colour(value) {
  const x = Math.min(1, Math.max(0, value)) * (STOPS.length - 1), i = Math.min(STOPS.length - 2, Math.floor(x));
  return STOPS[i].map((low, c) => Math.round(low + (STOPS[i + 1][c] - low) * (x - i)));
}
function sized(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  return canvas.getContext("2d");
}
function drawMap(canvas, values, low, high, side) {
  const pen = sized(canvas, side, side);
  const [w, h] = [side / model.columns, side / model.rows];
  pen.drawImage(image, 0, 0, side, side);
  for (let token = first(); token < model.tokens; token += 1) {
    const [r, g, b] = colour(high > low ? (values[token] - low) / (high - low) : 0);
    pen.fillStyle = `rgba(${r},${g},${b},.72)`;
    pen.fillRect(columnOf(token) * w, rowOf(token) * h, w + .5, h + .5);
  }
  if (side > 150) mark(pen, w, h);
}
function mark(pen, w, h) {
  if (at.token < first()) return;
  const box = [columnOf(at.token) * w, rowOf(at.token) * h, w, h];
  pen.lineWidth = 5; pen.strokeStyle = "#000"; pen.strokeRect(...box);
  pen.lineWidth = 2.5; pen.strokeStyle = "#fff"; pen.strokeRect(...box);
}
function drawPicture() {
  const side = 480, pen = sized(find("picture"), side, side);
  const [w, h] = [side / model.columns, side / model.rows];
  pen.drawImage(image, 0, 0, side, side);
  pen.strokeStyle = "rgba(255,255,255,.35)"; pen.lineWidth = 1;
  pen.beginPath();
  for (let x = 1; x < model.columns; x += 1) { pen.moveTo(x * w, 0); pen.lineTo(x * w, side); }
  for (let y = 1; y < model.rows; y += 1) { pen.moveTo(0, y * h); pen.lineTo(side, y * h); }
  pen.stroke();
  mark(pen, w, h);
}
const ends = (values) => {
  const patches = values.slice(first());
  return [Math.min(...patches), Math.max(...patches)];
};
function draw() {
  if (!model || !image) return;
  const scores = scoresOf(at.layer, at.head, at.token), weights = weightsOf(at.layer, at.head, at.token);
  const [low, high] = ends(scores), most = ends(weights)[1];
  drawPicture();
  drawMap(find("scores"), scores, low, high, 320);
  drawMap(find("weights"), weights, 0, most, 320);
  find("range").textContent = `(${low.toFixed(1)} to ${high.toFixed(1)})`;
  find("most").textContent = `(up to ${share(most)})`;
  find("from").textContent = nameOf(at.token)[0].toUpperCase() + nameOf(at.token).slice(1);
  find("layer-said").textContent = `${at.layer + 1} of ${model.layers}`;
  find("temp-said").textContent = at.temperature.toFixed(at.temperature < 10 ? 1 : 0);
  const best = weights.indexOf(Math.max(...weights));
  const own = first() ? `, and ${share(weights[0])} at the ${model.special[0]}` : "";
  find("said").textContent = `${nameOf(at.token)[0].toUpperCase()}${nameOf(at.token).slice(1)} looks most at ` +
    `${best === at.token ? "itself" : nameOf(best)} (${share(weights[best])})${best ? own : ""}. Entropy ` +
    `${bits(weights).toFixed(2)} of at most ${Math.log2(model.tokens).toFixed(2)} bits.`;
  drawHeads();
  drawFar();
  if (find("all").open) drawMatrix();
  for (const one of root.querySelectorAll("[data-t]"))
    one.setAttribute("aria-pressed", String(Number(one.dataset.t) === at.temperature));
  for (const one of find("who").children)
    one.setAttribute("aria-pressed", String(Number(one.dataset.token) === at.token));
  root.dataset.drawn = [at.layer, at.head, at.token, at.temperature].join(" ");
}
function drawHeads() {
  for (const button of find("heads").children) {
    const head = Number(button.dataset.head), weights = weightsOf(at.layer, head, at.token);
    drawMap(button.firstChild, weights, 0, ends(weights)[1], 96);
    button.setAttribute("aria-pressed", String(head === at.head));
  }
}
function drawFar() {
  const canvas = find("far"), ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || 320, 180], pen = sized(canvas, width * ratio, height * ratio);
  const ink = getComputedStyle(root).color, accent = getComputedStyle(root).getPropertyValue("--color-accent");
  const most = Math.max(0.1, ...model.far.flat()), left = 44, bottom = 30;
  const x = (layer) => left + (layer + .5) * (width - left - 8) / model.layers;
  const y = (far) => 8 + (height - 8 - bottom) * (1 - far / most);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = ink; pen.font = "12px sans-serif"; pen.textAlign = "right"; pen.globalAlpha = .85;
  for (const far of [0, most / 2, most]) pen.fillText(share(far), left - 6, y(far) + 4);
  pen.textAlign = "center";
  pen.fillText("layer", left + (width - left) / 2, height - 2);
  for (let layer = 0; layer < model.layers; layer += 1) {
    pen.globalAlpha = .85; pen.fillStyle = ink;
    if (model.layers <= 12 || layer % 4 === 0) pen.fillText(String(layer + 1), x(layer), height - 15);
    model.far[layer].forEach((far, head) => {
      pen.fillStyle = layer === at.layer ? accent : ink;
      pen.globalAlpha = layer === at.layer && (at.head === MEAN || at.head === head) ? 1 : .4;
      pen.beginPath(); pen.arc(x(layer), y(far), 4, 0, 7); pen.fill();
    });
  }
  pen.globalAlpha = 1;
}
function drawMatrix() {
  const n = model.tokens, pen = sized(find("matrix"), n, n), pixels = pen.createImageData(n, n);
  for (let i = 0; i < n; i += 1) {
    const weights = weightsOf(at.layer, at.head, i), most = Math.max(...weights);
    for (let j = 0; j < n; j += 1)
      pixels.data.set([...colour(Math.sqrt(weights[j] / most)), 255], 4 * (i * n + j));
  }
  pen.putImageData(pixels, 0, 0);
}
