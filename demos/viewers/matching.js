// The matching view: Python sends every query's logits and box once; the assignment, its costs and
// its loss are computed here (boxes.js) whenever a box or a weight moves.
const find = (name) => element.querySelector(".mt-" + name);
const root = element.querySelector(".mt");
const MOST = 20, SHOWN = 12; // true boxes; rows of a cost table
let model = null, image = null;
const at = { truths: [], chosen: 0, weights: [1, 5, 2], rest: .1 };
const letter = (i) => String.fromCharCode(65 + i);
const nameOf = (label) => model.classes[label] || "class " + label;
const node = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });

function solved() {
  const { queries, kind } = model, { truths } = at;
  const parts = Boxes.costs(queries, truths, kind), cost = Boxes.total(parts, at.weights);
  const pairs = Boxes.assign(cost);
  return { parts, cost, pairs, loss: Boxes.loss(queries, truths, pairs, kind, at.rest) };
}
const scoreOf = (query) => {
  const p = model.kind === "softmax" ? Boxes.softmax(query.z).slice(0, -1) : Array.from(query.z, Boxes.sigmoid);
  const label = p.indexOf(Math.max(...p));
  return { label, score: p[label] };
};

// ---- drawing
function drawPicture({ pairs }) {
  const pen = Dragging.picture(find("picture"), image), { width, height } = pen.canvas;
  if (find("all").checked) for (const query of model.queries) Dragging.paint(pen, query.box, { colour: "#fff", width: 1, alpha: .45 });
  const middle = (box) => [(box[0] + box[2]) / 2 * width, (box[1] + box[3]) / 2 * height];
  const truths = [], matched = []; // their names: those of the true boxes first
  at.truths.forEach(({ box, label }, t) => {
    const colour = Dragging.colour(t), query = model.queries[pairs[t]], chosen = t === at.chosen;
    if (query) {
      Dragging.paint(pen, query.box, { colour, dash: [7, 5] });
      matched.push({ box: query.box, colour, name: "query " + (pairs[t] + 1) });
      const [from, to] = [middle(box), middle(query.box)], unit = width / (pen.canvas.clientWidth || width);
      for (const [style, wide] of [["#000", 5], [colour, 3]]) {
        pen.strokeStyle = style; pen.fillStyle = style; pen.lineWidth = wide * unit;
        pen.beginPath(); pen.moveTo(...from); pen.lineTo(...to); pen.stroke();
        for (const end of [from, to]) { pen.beginPath(); pen.arc(...end, (wide + 1) * unit, 0, 7); pen.fill(); }
      }
    }
    Dragging.paint(pen, box, { colour, width: chosen ? 4 : 2.5, handles: chosen });
    truths.push({ box, colour, handles: chosen, name: letter(t) + " " + nameOf(label) });
  });
  truths.sort((a, b) => b.handles - a.handles); // the chosen one is the last to be left out
  Dragging.names(pen, [...truths, ...matched]);
}
function table(title, values, rows, pairs, unit) {
  const figure = document.createElement("figure"), body = document.createElement("table"), head = body.insertRow();
  const [low, high] = Paint.ends(rows.flatMap((q) => values[q]));
  head.append(node("th", "query"), ...at.truths.map((_, t) => node("th", letter(t), { scope: "col" })));
  for (const q of rows) {
    const row = body.insertRow();
    row.append(node("th", q + 1, { scope: "row" }));
    values[q].forEach((value, t) => {
      const cell = row.insertCell(), colour = Paint.colour(high > low ? (value - low) / (high - low) : 0);
      cell.textContent = value.toFixed(2);
      cell.style.background = `rgb(${colour.join(",")})`;
      cell.style.color = inkOn(colour);
      if (pairs[t] === q) cell.dataset.pair = "true";
    });
  }
  const scroll = node("div", "", { className: "mt-scroll", tabIndex: 0 });
  scroll.append(body);
  figure.append(node("figcaption", title + unit), scroll);
  return figure;
}
function drawTables({ parts, cost, pairs }) {
  const place = find("tables");
  if (!at.truths.length) return place.replaceChildren();
  const least = cost.map((row) => Math.min(...row)), matched = pairs.filter((q) => q >= 0);
  const others = [...least.keys()].filter((q) => !matched.includes(q)).sort((a, b) => least[a] - least[b]);
  const rows = [...matched, ...others.slice(0, Math.max(0, SHOWN - matched.length))];
  const by = (i) => " (times " + at.weights[i] + ")";
  return place.replaceChildren(
    table("Class", parts.classes, rows, pairs, by(0)), table("L1", parts.l1, rows, pairs, by(1)),
    table("GIoU", parts.giou, rows, pairs, by(2)), table("Total", cost, rows, pairs, ""));
}
function drawLoss({ loss, pairs }) {
  const weighted = ({ classes, l1, giou }) => [classes, l1, giou].map((value, i) => value * model.lossWeights[i]);
  const body = document.createElement("tbody"), sums = [0, 0, 0];
  const line = (first, query, parts, kind = "") => {
    const row = body.insertRow();
    row.className = kind;
    row.insertCell().append(...first);
    for (const text of [query, ...parts.map((value) => value.toFixed(3)), parts.reduce((a, b) => a + b).toFixed(3)]) row.insertCell().textContent = text;
    if (!kind) parts.forEach((value, i) => { sums[i] += value; });
  };
  loss.pairs.forEach((pair, t) => {
    const dot = node("span", "", { className: "mt-dot" });
    dot.style.background = Dragging.colour(t);
    if (!pair) return line([dot, letter(t) + " " + nameOf(at.truths[t].label)], "none left", [0, 0, 0]);
    const { label, score } = scoreOf(model.queries[pairs[t]]);
    return line([dot, letter(t) + " " + nameOf(at.truths[t].label)], `${pairs[t] + 1} (${nameOf(label)}, ${Paint.share(score)})`, weighted(pair));
  });
  const free = model.queries.length - pairs.filter((q) => q >= 0).length;
  line(["none"], free + " other queries", [loss.unmatched * model.lossWeights[0], 0, 0]);
  line(["Total"], "", sums, "mt-total");
  find("loss").tBodies[0].replaceWith(body);
  return sums.reduce((a, b) => a + b);
}
function draw() {
  if (!model || !image) return;
  const found = solved();
  drawPicture(found);
  drawTables(found);
  const total = drawLoss(found), chosen = at.truths[at.chosen];
  const query = chosen && found.pairs[at.chosen];
  find("said").textContent = !chosen ? `No true box: all ${model.queries.length} queries learn to answer "no object". Loss ${total.toFixed(3)}.`
    : `Box ${letter(at.chosen)}, ${nameOf(chosen.label)}, is matched with ` + (query < 0 ? "no query: there are more boxes than queries." : `query ${query + 1}.`) + ` Loss of all: ${total.toFixed(3)}.`;
  find("class").disabled = find("remove").disabled = !chosen;
  find("next").disabled = at.truths.length < 2;
  find("add").disabled = at.truths.length >= MOST;
  if (chosen) find("class").value = String(chosen.label);
  root.querySelectorAll(".mt-w").forEach((slider, i) => {
    slider.value = String(at.weights[i]);
    slider.nextElementSibling.textContent = at.weights[i];
  });
  find("rest").value = String(at.rest);
  find("rest").nextElementSibling.textContent = at.rest;
  root.dataset.drawn = JSON.stringify({ pairs: found.pairs, chosen: at.chosen, loss: total });
}

// ---- what the person does
const choices = {
  boxes: () => (model ? at.truths.map(({ box }) => box) : []),
  chosen: () => at.chosen,
  choose(i) { at.chosen = i; draw(); },
  change(i, box) { at.truths[i] = { ...at.truths[i], box }; draw(); },
  add(box) {
    if (!model || at.truths.length >= MOST) return -1;
    at.truths.push({ box, label: Number(find("class").value) || 0 });
    at.chosen = at.truths.length - 1;
    draw();
    return at.chosen;
  },
  remove(i) {
    at.truths.splice(i, 1);
    at.chosen = Math.max(0, Math.min(at.chosen, at.truths.length - 1));
    draw();
  },
};
Dragging.listen(find("picture"), choices);
find("class").addEventListener("change", (event) => {
  if (!at.truths[at.chosen]) return;
  at.truths[at.chosen].label = Number(event.target.value);
  draw();
});
find("next").addEventListener("click", () => choices.choose((at.chosen + 1) % at.truths.length));
find("add").addEventListener("click", () => choices.add([.4, .4, .6, .6]));
find("remove").addEventListener("click", () => choices.remove(at.chosen));
find("reset").addEventListener("click", () => { begin(); draw(); });
find("paper").addEventListener("click", () => { published(); draw(); });
find("all").addEventListener("change", draw);
root.querySelectorAll(".mt-w").forEach((slider, i) => slider.addEventListener("input", () => {
  at.weights[i] = Number(slider.value);
  draw();
}));
find("rest").addEventListener("input", (event) => { at.rest = Number(event.target.value); draw(); });

// ---- two boxes, and what each loss would push
const two = { boxes: [[.12, .2, .4, .55], [.58, .45, .9, .85]], chosen: 0, kind: "giou" };
const pushes = (kind) => {
  const loss = kind === "l1" ? (box) => Boxes.l1(box, two.boxes[1]) : (box) => 1 - Boxes[kind](box, two.boxes[1]);
  return Boxes.gradient(loss, two.boxes[0]);
};
function arrow(pen, x, y, dx, dy) {
  const size = Math.hypot(dx, dy), unit = pen.canvas.width / (pen.canvas.clientWidth || pen.canvas.width);
  if (size < 1) return;
  const angle = Math.atan2(dy, dx), head = 9 * unit;
  pen.strokeStyle = pen.fillStyle = "#e8590c"; pen.lineWidth = 3 * unit;
  pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x + dx, y + dy); pen.stroke();
  pen.beginPath(); pen.moveTo(x + dx + head * Math.cos(angle), y + dy + head * Math.sin(angle));
  for (const turn of [2.5, -2.5]) pen.lineTo(x + dx + head * Math.cos(angle + turn), y + dy + head * Math.sin(angle + turn));
  pen.fill();
}
function drawTwo() {
  const canvas = find("two"), width = Math.round((canvas.clientWidth || 520) * Math.min(2, devicePixelRatio || 1));
  const pen = Paint.sized(canvas, width, Math.round(width * .6)), { height } = canvas;
  pen.clearRect(0, 0, width, height);
  const [mine, truth] = two.boxes;
  const marks = [
    { box: mine, colour: Dragging.colour(0), handles: two.chosen === 0, name: "P predicted" },
    { box: truth, colour: Dragging.colour(3), handles: two.chosen === 1, name: "T true" },
  ];
  Dragging.paint(pen, truth, { ...marks[1], width: 3 });
  Dragging.paint(pen, mine, { ...marks[0], width: 3, dash: [7, 5] });
  const g = pushes(two.kind), most = Math.max(...g.map(Math.abs)), far = most > 1e-9 ? width * .1 / most : 0;
  const [x, y] = [(mine[0] + mine[2]) / 2 * width, (mine[1] + mine[3]) / 2 * height];
  [mine[0], mine[2]].forEach((side, i) => arrow(pen, side * width, y, -g[2 * i] * far, 0));
  [mine[1], mine[3]].forEach((side, i) => arrow(pen, x, side * height, 0, -g[2 * i + 1] * far));
  Dragging.names(pen, marks);
  const shown = ["IoU", "GIoU", "DIoU"].map((name) => `${name} ${Boxes[name.toLowerCase()](mine, truth).toFixed(3)}`);
  const none = most < 1e-9 ? " This loss pushes nothing here." : "";
  find("two-said").textContent = `${shown.join(", ")}, L1 ${Boxes.l1(mine, truth).toFixed(3)}.${none}`;
  for (const button of find("kinds").children) Paint.pressed(button, button.dataset.kind === two.kind);
  root.dataset.two = JSON.stringify({ boxes: two.boxes, chosen: two.chosen, gradient: g });
}
Dragging.listen(find("two"), {
  boxes: () => two.boxes,
  chosen: () => two.chosen,
  choose(i) { two.chosen = i; drawTwo(); },
  change(i, box) { two.boxes[i] = box; drawTwo(); },
});
find("kinds").addEventListener("click", (event) => {
  if (!event.target.dataset.kind) return;
  two.kind = event.target.dataset.kind;
  drawTwo();
});
find("step").addEventListener("click", () => {
  const g = pushes(two.kind), most = Math.max(...g.map(Math.abs));
  if (most < 1e-9) return;
  const box = two.boxes[0].map((side, i) => Math.min(1, Math.max(0, side - .02 * g[i] / most)));
  two.boxes[0] = [box[0], box[1], Math.max(box[2], box[0] + .02), Math.max(box[3], box[1] + .02)];
  drawTwo();
});

// ---- values from Python
function published() {
  at.weights = model.weights.slice();
  at.rest = model.unmatched;
}
function begin() {
  at.truths = model.start.map(([x1, y1, x2, y2, label]) => ({ box: [x1, y1, x2, y2], label }));
  at.chosen = 0;
}
Paint.follow(root, () => { model = null; }, (value, loaded) => {
  const { logits, boxes } = loaded.arrays, count = boxes.length / 4, wide = logits.length / count;
  image = loaded.image;
  model = { ...value, queries: Array.from({ length: count }, (_, q) => ({
    z: Array.from(logits.subarray(q * wide, (q + 1) * wide)), box: Boxes.xyxy(Array.from(boxes.subarray(4 * q, 4 * q + 4))),
  })) };
  const known = Object.entries(model.classes).filter(([, name]) => name !== "N/A");
  find("class").replaceChildren(...known.map(([number, name]) => node("option", name, { value: number })));
  find("rest-name").textContent = model.kind === "softmax" ? "No object (in the loss)" : "Queries without a box (in the loss)";
  find("note").textContent = model.kind === "softmax"
    ? "The loss is weighted as published, 1, 5 and 2: the sliders of the cost change who is matched. Class: cross entropy; L1 and GIoU are divided by the number of true boxes."
    : "The loss is weighted as published, 1, 5 and 2: the sliders of the cost change who is matched. This model has no class \"no object\": each class is a sigmoid of its own, and a matched query should score the IoU of its box (varifocal loss).";
  published();
  begin();
  draw();
  drawTwo();
});
Paint.onResize(root, () => { if (model) { draw(); drawTwo(); } });
