// The view of non-maximum suppression: Python sends all boxes of two detectors once; suppression is
// computed here (boxes.js) whenever a slider moves.
const root = element.querySelector(".nm");
const find = (name, side = "") => root.querySelector(".nm-" + name + (side ? `[data-side="${side}"]` : ""));
const SIDES = ["dense", "queries"];
let model = null, image = null, shown = {};
const at = { score: .5, method: "hard", limit: .6, sigma: .5, side: "dense", chosen: -1 };

function solved({ boxes, scores, classes }) { // of the boxes above the threshold, which come first
  const count = scores.filter((score) => score > at.score).length;
  const parts = [boxes, scores, classes].map((values) => values.slice(0, count));
  const found = Boxes.suppress(...parts, at);
  const kept = found.scores.map((_, i) => i).filter((i) => found.scores[i] > at.score);
  const of = (i) => found.by.map((by, j) => (by === i ? j : -1)).filter((j) => j >= 0);
  return { count, kept, of, by: found.by, after: found.scores };
}
const nameOf = (side, i) => {
  const number = model[side].classes[i];
  return model[side].labels[number] || "class " + number;
};
const words = (count, one) => `${count} ${one}${count === 1 ? "" : one.endsWith("x") ? "es" : "s"}`;

// ---- drawing
function paintBox(pen, side, i, more) {
  const { boxes, classes } = model[side];
  Dragging.paint(pen, boxes[i], { colour: Dragging.colour(classes[i]), width: 2, ...more });
}
function drawSide(side) {
  const found = solved(model[side]), chosen = at.side === side && found.kept.includes(at.chosen) ? at.chosen : -1;
  const gone = chosen < 0 ? [] : found.of(chosen);
  shown[side] = { ...found, chosen };
  const before = Dragging.picture(find("before", side), image), after = Dragging.picture(find("after", side), image);
  for (let i = found.count - 1; i >= 0; i -= 1) paintBox(before, side, i, { alpha: chosen < 0 || i === chosen || gone.includes(i) ? 1 : .2, width: 1.5 });
  for (const j of gone) paintBox(after, side, j, { colour: "#ff6b35", dash: [5, 4], width: 2 });
  for (const i of found.kept.slice().reverse()) {
    const score = found.after[i] < model[side].scores[i] ? `${model[side].scores[i].toFixed(2)} → ${found.after[i].toFixed(2)}` : found.after[i].toFixed(2);
    paintBox(after, side, i, { width: i === chosen ? 4 : 2.5, alpha: chosen < 0 || i === chosen ? 1 : .45, name: `${nameOf(side, i)} ${score}` });
  }
  find("before", side).nextElementSibling.textContent = `Before: ${words(found.count, "box")}`;
  find("after", side).nextElementSibling.textContent = `After: ${words(found.kept.length, "box")}`;
  find("title", side).textContent = model[side].title;
  drawKept(side);
}
function drawKept(side) {
  const { kept, of, chosen } = shown[side], place = find("kept", side);
  const texts = kept.map((i) => `${nameOf(side, i)}: ${of(i).length} ${at.method === "hard" ? "dropped" : "lowered"}`);
  while (place.children.length > kept.length) place.lastChild.remove();
  texts.forEach((text, n) => { // the buttons stay, so that the focus does
    const button = place.children[n] || place.appendChild(Object.assign(document.createElement("button"), { type: "button", className: "pv-btn" }));
    button.textContent = text;
    button.dataset.box = kept[n];
    Paint.pressed(button, kept[n] === chosen);
  });
}
function drawLevels() {
  const { levels, fired } = model;
  let first = 0;
  levels.forEach(([rows, columns], n) => {
    const figure = find("levels").children[n], scores = fired.subarray(first, first + rows * columns);
    const pen = Dragging.picture(figure.firstChild, image);
    Paint.cells(pen, scores, { rows, columns, low: 0, high: 255, opacity: .66 });
    const best = scores.filter((score) => score / 255 > at.score).length;
    figure.lastChild.textContent = `${rows} x ${columns} tokens: ${best} above the score`;
    first += rows * columns;
  });
}
function draw() {
  if (!model || !image) return;
  for (const side of SIDES) drawSide(side);
  drawLevels();
  for (const name of ["score", "limit", "sigma"]) {
    find(name).value = String(at[name]);
    find(name).nextElementSibling.textContent = at[name].toFixed(2);
  }
  find("of-limit").hidden = at.method === "gaussian";
  find("of-sigma").hidden = at.method !== "gaussian";
  const { dense, queries } = shown, { side, chosen } = at, picked = shown[side].chosen >= 0;
  const verb = at.method === "hard" ? "drops" : "lowers", name = picked && nameOf(side, chosen);
  find("said").textContent = picked
    ? `This ${name} (${model[side].scores[chosen].toFixed(2)}) ${verb} ${words(shown[side].of(chosen).length, "box")} of its class.`
    : `The dense detector goes from ${words(dense.count, "box")} to ${dense.kept.length}, DETR from ${queries.count} to ${queries.kept.length}.`;
  root.dataset.drawn = JSON.stringify(Object.fromEntries(SIDES.map((one) => [one, {
    count: shown[one].count, kept: shown[one].kept, by: shown[one].by, chosen: shown[one].chosen,
  }])));
}

// ---- what the person does
function choose(side, i) {
  [at.side, at.chosen] = [side, at.side === side && at.chosen === i ? -1 : i];
  draw();
}
for (const side of SIDES) {
  find("kept", side).addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(side, Number(button.dataset.box));
  });
  const under = (event) => {
    const area = event.target.getBoundingClientRect(), { boxes } = model[side];
    const [x, y] = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
    const size = (i) => (boxes[i][2] - boxes[i][0]) * (boxes[i][3] - boxes[i][1]);
    const here = shown[side].kept.filter((i) => boxes[i][0] <= x && x <= boxes[i][2] && boxes[i][1] <= y && y <= boxes[i][3]);
    return here.length ? here.sort((a, b) => size(a) - size(b))[0] : -1;
  };
  find("after", side).addEventListener("click", (event) => model && choose(side, under(event)));
  find("after", side).addEventListener("pointermove", (event) => {
    if (!model || event.pointerType !== "mouse") return;
    const i = under(event);
    if (at.side === side && at.chosen === i) return;
    [at.side, at.chosen] = [side, i];
    draw();
  });
}
for (const name of ["score", "limit", "sigma"]) find(name).addEventListener("input", (event) => {
  at[name] = Number(event.target.value);
  draw();
});
find("method").addEventListener("change", (event) => { at.method = event.target.value; draw(); });

// ---- values from Python
Paint.follow(root, () => { model = null; }, (value, loaded) => {
  const { arrays } = loaded, four = (flat) => Array.from({ length: flat.length / 4 }, (_, i) => Array.from(flat.subarray(4 * i, 4 * i + 4)));
  image = loaded.image;
  model = { levels: value.levels, fired: arrays.fired };
  for (const side of SIDES) model[side] = {
    ...value[side], boxes: four(arrays[side + "_boxes"]), scores: Array.from(arrays[side + "_scores"]),
    classes: Array.from(arrays[side + "_classes"]),
  };
  find("levels").replaceChildren(...model.levels.map((_, n) => {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Best score of each token of level " + (n + 1));
    figure.append(canvas, document.createElement("figcaption"));
    return figure;
  }));
  at.chosen = -1;
  shown = {};
  draw();
});
Paint.onResize(root, draw);
