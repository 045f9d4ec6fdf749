// The attention view. Python sends queries and keys once (int16, with a scale for each layer and
// head); every row, head, layer and temperature is computed and drawn here. gr.HTML provides:
// element, props, watch; paint.js gives Paint.
const find = (name) => element.querySelector(".at-" + name);
const root = element.querySelector(".at");
const MEAN = -1;
const { share, capital } = Paint;
let model = null, image = null;
const at = { layer: 0, head: MEAN, token: 0, temperature: 1 };

// ---- numbers
const isReadout = (layer) => layer === model.layers; // a step after the layers, if the model has it
const looker = () => (isReadout(at.layer) ? 0 : at.token); // there, only the class token looks
function readoutScores(head) {
  const { dim, tokens, answer_query: query, answer_keys: keys } = model, count = tokens - first();
  const row = new Float32Array(tokens).fill(-Infinity); // it does not look at special tokens
  for (let j = 0; j < count; j += 1) {
    let sum = 0;
    for (let i = 0, to = (head * count + j) * dim; i < dim; i += 1) sum += query[head * dim + i] * keys[to + i];
    row[first() + j] = sum * model.readout[head];
  }
  return row;
}
function dots(layer, head, token) { // N scores of one row
  if (isReadout(layer)) return readoutScores(head);
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

// ---- names
const first = () => model.special.length;
const columnOf = (token) => (token - first()) % model.columns;
const rowOf = (token) => Math.floor((token - first()) / model.columns);
const nameOf = (token) => token < first()
  ? "the " + model.special[token] : `the patch in row ${rowOf(token) + 1}, column ${columnOf(token) + 1}`;

// ---- drawing
const mark = (pen) => Paint.mark(pen, model.rows, model.columns, looker() - first());
function drawMap(canvas, values, low, high, side) {
  const pen = Paint.picture(canvas, image, side), { rows, columns } = model;
  Paint.cells(pen, values.slice(first()), { rows, columns, low, high });
  if (side > 150) mark(pen);
}
function drawPicture() {
  const pen = Paint.picture(find("picture"), image, 480);
  Paint.lines(pen, model.rows, model.columns);
  mark(pen);
}
const ends = (values) => Paint.ends(values.slice(first()));
function draw() {
  if (!model || !image) return;
  const token = looker(), scores = scoresOf(at.layer, at.head, token), weights = weightsOf(at.layer, at.head, token);
  const [low, high] = ends(scores), most = ends(weights)[1];
  drawPicture();
  drawMap(find("scores"), scores, low, high, 320);
  drawMap(find("weights"), weights, 0, most, 320);
  find("range").textContent = `(${low.toFixed(1)} to ${high.toFixed(1)})`;
  find("most").textContent = `(up to ${share(most)})`;
  find("from").textContent = capital(nameOf(token));
  find("layer-said").textContent = isReadout(at.layer) ? "class attention" : `${at.layer + 1} of ${model.layers}`;
  find("temp-said").textContent = at.temperature.toFixed(at.temperature < 10 ? 1 : 0);
  const best = weights.indexOf(Math.max(...weights));
  const own = first() ? `, and ${share(weights[0])} at the ${model.special[0]}` : "";
  const start = isReadout(at.layer) ? "The answer is read here: the class token takes the CNN's own vectors, and it" : capital(nameOf(token));
  find("said").textContent = `${start} looks most at ` +
    `${best === token ? "itself" : nameOf(best)} (${share(weights[best])})${best ? own : ""}. Entropy ` +
    `${bits(weights).toFixed(2)} of at most ${Math.log2(model.tokens - (isReadout(at.layer) ? first() : 0)).toFixed(2)} bits.`;
  drawHeads();
  drawFar();
  if (find("all").open) drawMatrix();
  for (const one of root.querySelectorAll("[data-t]"))
    Paint.pressed(one, Number(one.dataset.t) === at.temperature);
  for (const one of find("who").children)
    Paint.pressed(one, Number(one.dataset.token) === token);
  root.dataset.drawn = [at.layer, at.head, at.token, at.temperature].join(" ");
}
function drawHeads() {
  for (const button of find("heads").children) {
    const head = Number(button.dataset.head), weights = weightsOf(at.layer, head, looker());
    drawMap(button.firstChild, weights, 0, ends(weights)[1], 96);
    Paint.pressed(button, head === at.head);
  }
}
function drawFar() {
  const canvas = find("far"), ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || 320, 180], pen = Paint.sized(canvas, width * ratio, height * ratio);
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
const WARM = Array.from({ length: 256 }, (_, i) => [...Paint.colour(i / 255), 255]);
let matrix = ""; // what it shows: a choice of patch does not change it
function drawMatrix() {
  const wanted = [at.layer, at.head, at.temperature].join(" ");
  if (matrix === wanted) return;
  matrix = wanted;
  const n = model.tokens, pen = Paint.sized(find("matrix"), n), pixels = pen.createImageData(n, n);
  for (let i = 0; i < n; i += 1) {
    const weights = isReadout(at.layer) && i ? new Float32Array(n) : weightsOf(at.layer, at.head, i);
    const most = Math.max(...weights) || 1;
    for (let j = 0; j < n; j += 1)
      pixels.data.set(WARM[Math.round(255 * Math.sqrt(weights[j] / most))], 4 * (i * n + j));
  }
  pen.putImageData(pixels, 0, 0);
}
