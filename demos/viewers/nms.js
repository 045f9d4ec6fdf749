// The view of non-maximum suppression: Python sends all boxes of two detectors once; suppression is
// computed here (boxes.js) whenever a slider moves.
const root = element.querySelector(".nm");
const find = (name, side = "") => root.querySelector(".nm-" + name + (side ? `[data-side="${side}"]` : ""));
const SIDES = ["dense", "queries"];
let model = null, image = null, shown = {}, limit = .6;
const COUNTED = { 3: "three", 6: "six", 9: "nine" }; // anchors of a place
const CROP = 7, MOST_CROPS = 12; // places of a proposal on each side; crops shown
const PYRAMID = "The detector reads the picture at several sizes, its pyramid: one map below for each. ";
const at = { score: .5, method: "hard", limit: .6, sigma: .5, colour: "class", count: 50, side: "dense", chosen: -1 };

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
function colourOf(side, i) {
  const { classes, levels } = model[side], byLevel = at.colour === "level" && levels[i] >= 0;
  return Dragging.colour(byLevel ? levels[i] : classes[i]);
}
const paintBox = (pen, side, i, more) => Dragging.paint(pen, model[side].boxes[i], { colour: colourOf(side, i), width: 2, ...more });
function drawSide(side) {
  const found = solved(model[side]), chosen = at.side === side && found.kept.includes(at.chosen) ? at.chosen : -1;
  const gone = chosen < 0 ? [] : found.of(chosen);
  shown[side] = { ...found, chosen };
  const before = Dragging.picture(find("before", side), image), after = Dragging.picture(find("after", side), image);
  for (let i = found.count - 1; i >= 0; i -= 1) paintBox(before, side, i, { alpha: chosen < 0 || i === chosen || gone.includes(i) ? 1 : .2, width: 1.5 });
  for (const j of gone) paintBox(after, side, j, { colour: "#ff6b35", dash: [5, 4], width: 2 });
  const named = [];
  for (const i of found.kept.slice().reverse()) {
    const score = found.after[i] < model[side].scores[i] ? `${model[side].scores[i].toFixed(2)} → ${found.after[i].toFixed(2)}` : found.after[i].toFixed(2);
    paintBox(after, side, i, { width: i === chosen ? 4 : 2.5, alpha: chosen < 0 || i === chosen ? 1 : .45 });
    named.unshift({ i, box: model[side].boxes[i], colour: colourOf(side, i), name: `${nameOf(side, i)} ${score}` });
  }
  Dragging.names(after, named.filter(({ i }) => chosen < 0 || i === chosen));
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
    const kept = shown.dense.kept.filter((i) => model.dense.levels[i] === n).length;
    const swatch = Object.assign(document.createElement("span"), { className: "nm-swatch" });
    swatch.style.background = Dragging.colour(n);
    const what = model.anchors ? "places" : "tokens", score = model.stage ? "with objectness above" : "above";
    figure.lastChild.replaceChildren(swatch, `${rows} x ${columns} ${what}, ${best} ${score} ${at.score.toFixed(2)}; ${words(kept, "box")} kept`);
    first += rows * columns;
  });
}
// ---- the first stage of a detector with two: its proposals, and what of them the second one sees
function drawStage() {
  const { stage } = model, { kept, chosen } = shown.dense;
  find("stage").hidden = !stage;
  if (!stage) return;
  const count = Math.min(at.count, stage.boxes.length), pen = Dragging.picture(find("proposals"), image);
  const paint = (row, more) => Dragging.paint(pen, stage.boxes[row], { colour: Dragging.colour(stage.levels[row]), ...more });
  for (let row = count - 1; row >= 0; row -= 1) paint(row, { width: 1, alpha: .6 });
  const some = chosen < 0 ? kept.slice(0, MOST_CROPS) : [chosen];
  for (const i of some) paint(stage.from[i], { width: 4 });
  Dragging.names(pen, some.map((i) => ({
    box: stage.boxes[stage.from[i]], colour: Dragging.colour(stage.levels[stage.from[i]]), name: nameOf("dense", i),
  })));
  find("proposals").nextElementSibling.textContent = `${count} of ${stage.boxes.length} proposals; scores down to ${stage.scores[count - 1].toFixed(2)}`;
  find("count").max = String(stage.boxes.length);
  find("count").value = String(count);
  find("count").nextElementSibling.textContent = String(count);
  find("crops").replaceChildren(...some.map((i) => {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas"), row = stage.from[i];
    figure.setAttribute("role", "listitem");
    const brush = Paint.sized(canvas, 112), [x1, y1, x2, y2] = stage.boxes[row], { naturalWidth: w, naturalHeight: h } = image;
    brush.drawImage(image, x1 * w, y1 * h, Math.max(1, (x2 - x1) * w), Math.max(1, (y2 - y1) * h), 0, 0, 112, 112);
    Paint.cells(brush, stage.crops.subarray(row * CROP * CROP, (row + 1) * CROP * CROP), { rows: CROP, columns: CROP, low: 0, high: 255, opacity: .45 });
    Paint.lines(brush, CROP, CROP);
    const caption = document.createElement("figcaption");
    caption.textContent = `${nameOf("dense", i)}: proposal ${row + 1}, ${stage.scores[row].toFixed(2)}`;
    figure.append(canvas, caption);
    return figure;
  }));
}
function draw() {
  if (!model || !image) return;
  for (const side of SIDES) drawSide(side);
  drawStage();
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
  }]).concat(model.stage ? [["proposals", Math.min(at.count, model.stage.boxes.length)]] : [])));
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
for (const name of ["method", "colour"]) find(name).addEventListener("change", (event) => { at[name] = event.target.value; draw(); });
find("count").addEventListener("input", (event) => { at.count = Number(event.target.value); draw(); });

// ---- values from Python
Paint.follow(root, () => { model = null; }, (value, loaded) => {
  const { arrays } = loaded, four = (flat) => Array.from({ length: flat.length / 4 }, (_, i) => Array.from(flat.subarray(4 * i, 4 * i + 4)));
  image = loaded.image;
  model = { levels: value.levels, fired: arrays.fired, anchors: value.anchors, stage: null };
  if (arrays.proposals && arrays.proposals.length) model.stage = {
    boxes: four(arrays.proposals), scores: arrays.objectness, levels: arrays.proposal_levels, crops: arrays.crops, from: arrays.from,
  };
  if (value.limit !== limit) at.limit = limit = value.limit; // the detector's own, until it is moved
  for (const side of SIDES) model[side] = {
    ...value[side], boxes: four(arrays[side + "_boxes"]), scores: Array.from(arrays[side + "_scores"]),
    classes: Array.from(arrays[side + "_classes"]), levels: arrays[side + "_levels"],
  };
  const several = `a place with ${COUNTED[model.anchors] || model.anchors} anchors (boxes of set shapes)`;
  find("about-levels").textContent = model.stage
    ? PYRAMID + "Each cell is " + several + "; the first stage says how probably each holds an object. Proposals have the colour of the level that they are cut from."
    : `${PYRAMID}Each cell is ${model.anchors ? several + ", each of which" : "one token, the numbers that describe a place, and"} predicts classes and one box. Fine levels see small objects, coarse ones large objects. Brighter is a better best class.`;
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
