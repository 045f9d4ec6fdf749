// Logits and the loss: Python sends the logits of all classes once (float32); what softmax, sigmoid
// and the loss make of them is computed here.
const find = (name) => element.querySelector(".lo-" + name);
const root = element.querySelector(".lo");
const { share } = Paint;
const SHOWN = 10;
let model = null;
const at = { temperature: 1, truth: 0, add: 0, type: "float32" };

// ---- numbers
const sum = (values) => values.reduce((all, one) => all + one, 0);
const largest = (values) => values.reduce((most, one) => Math.max(most, one), -Infinity);
function logSumExp(values) { // the largest is taken out, so that nothing overflows
  const most = largest(values);
  return most + Math.log(sum(values.map((one) => Math.exp(one - most))));
}
function softmax(values, temperature = 1) {
  const all = logSumExp(values.map((one) => one / temperature));
  return values.map((one) => Math.exp(one / temperature - all));
}
const sigmoid = (value) => 1 / (1 + Math.exp(-value));
const crossEntropy = (values, truth) => logSumExp(values) - values[truth];
const slope = (p, truth) => p.map((one, i) => one - (i === truth ? 1 : 0));
function slopeOfTwice(p, truth) { // through the second softmax and then the first
  const back = slope(softmax(p), truth), mean = sum(p.map((one, i) => one * back[i]));
  return p.map((one, i) => one * (back[i] - mean));
}
const length = (values) => Math.sqrt(sum(values.map((one) => one * one)));
function half(value) { // to the nearest float16
  if (!Number.isFinite(value) || value === 0) return value;
  const unit = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(value)))) - 10);
  const found = Math.round(value / unit) * unit;
  return Math.abs(found) > 65504 ? Math.sign(value) * Infinity : found;
}
function naive(values, truth, type) { // -log(exp(z) / sum of exp(z)) as it is written
  const round = type === "float16" ? half : Math.fround;
  const powers = values.map((one) => round(Math.exp(round(one))));
  const total = powers.reduce((all, one) => round(all + one), 0);
  return { power: powers[values.indexOf(largest(values))], total, loss: round(-Math.log(round(powers[truth] / total))) };
}

// ---- words
const fixed = (value, digits = 3) => (Number.isNaN(value) ? "not a number (NaN)"
  : Math.abs(value) === Infinity ? (value < 0 ? "minus infinite" : "infinite")
    : value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < .5 * 10 ** -digits) ? value.toExponential(2) : value.toFixed(digits)).replace("-", "−");
const percent = (value) => (value > 0 && value < 0.0005 ? value.toExponential(0) : share(value));
function row(cells, tag = "td") {
  const line = document.createElement("tr");
  line.append(...cells.map((cell) => {
    const box = document.createElement(tag);
    box.append(cell);
    return box;
  }));
  return line;
}
function bar(from, to, text) { // shares of the width, 0..1
  const box = document.createElement("div"), ground = document.createElement("div"), fill = document.createElement("i");
  ground.className = "lo-bar";
  fill.className = to < from ? "down" : "";
  fill.style.left = 100 * Math.min(from, to) + "%";
  fill.style.width = 100 * Math.abs(to - from) + "%";
  ground.append(fill);
  const said = Object.assign(document.createElement("span"), { className: "lo-number", textContent: text });
  box.append(ground, said);
  return box;
}

// ---- drawing
function draw() {
  if (!model) return;
  const z = model.logits, p = softmax(z, at.temperature), down = slope(p, at.truth);
  const shown = model.order.slice(0, SHOWN);
  if (!shown.includes(at.truth)) shown.push(at.truth);
  const [low, high] = [Math.min(0, ...shown.map((i) => z[i])), Math.max(0, ...shown.map((i) => z[i]))];
  const place = (value) => (value - low) / (high - low || 1);
  find("body").replaceChildren(...shown.map((i) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: model.labels[i] });
    button.dataset.truth = i;
    Paint.pressed(button, i === at.truth);
    return row([button, bar(place(0), place(z[i]), fixed(z[i], 2)), bar(0, p[i], percent(p[i])),
      bar(0, sigmoid(z[i]), percent(sigmoid(z[i]))), bar(.5, .5 + down[i] / 2, fixed(down[i] / at.temperature))]);
  }));
  const inside = sum(shown.map((i) => p[i])), others = model.labels.length - shown.length;
  find("rest").textContent = others ? `the other ${others} share ${percent(Math.max(0, 1 - inside))}.` : "these are all.";
  find("temp-said").textContent = at.temperature.toFixed(2);
  Paint.pressed(find("one"), at.temperature === 1);
  drawLoss(z, p);
  drawTwice(z);
  drawOverflow(z);
  root.dataset.drawn = [at.temperature.toFixed(2), at.truth, at.add, at.type].join(" ");
}
