// The view of a DETR's queries, second part: drawing.
const unitOf = (pen) => pen.canvas.width / (pen.canvas.clientWidth || pen.canvas.width);
const middle = (pen, box) => [(box[0] + box[2]) / 2 * pen.canvas.width, (box[1] + box[3]) / 2 * pen.canvas.height];
const made = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
function dot(pen, x, y, radius, colour, alpha = 1) {
  pen.save();
  pen.globalAlpha = alpha;
  pen.fillStyle = colour; pen.strokeStyle = "#000"; pen.lineWidth = unitOf(pen);
  pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.fill(); pen.stroke();
  pen.restore();
}
function shade(pen, alpha = .45) { // so that what is painted over the picture stands out
  pen.fillStyle = `rgba(0,0,0,${alpha})`;
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
}

// `mix` 0..1 is how far the boxes have moved from where they stood at the stage before.
let moving = { from: 0, mix: 1, frame: 0 };
function placed(query) {
  const to = boxOf(at.stage, query);
  if (moving.mix >= 1 || moving.from >= stages()) return to;
  const from = boxOf(moving.from, query);
  return to.map((side, i) => from[i] + (side - from[i]) * moving.mix);
}
function drawBoxes() {
  const pen = Dragging.picture(find("boxes"), image), chosen = current(), ranked = ranking(at.stage).reverse();
  const named = [];
  for (const query of ranked) {
    const { name, number, p } = bestOf(at.stage, query);
    if (query === chosen) continue;
    if (p < at.threshold) Dragging.paint(pen, placed(query), { colour: "#fff", width: 1, alpha: .35 });
    else {
      const colour = Dragging.colour(number), box = placed(query);
      Dragging.paint(pen, box, { colour, width: 2.5 });
      named.unshift({ box, colour, name: `${name} ${share(p)}` });
    }
  }
  const { name, number, p } = bestOf(at.stage, chosen);
  drawTrail(pen, chosen);
  const colour = p < at.threshold ? "#fff" : Dragging.colour(number), box = placed(chosen);
  Dragging.paint(pen, box, { colour, width: 4 });
  Dragging.names(pen, [{ box, colour, name: `${chosen + 1}: ${name} ${share(p)}` }, ...named]);
}
function drawTrail(pen, query) { // where the middle of its box was after each layer
  const unit = unitOf(pen), spots = [...Array(stages()).keys()].map((stage) => middle(pen, boxOf(stage, query)));
  for (const [style, wide] of [["#000", 4], ["#fff", 2]]) {
    pen.strokeStyle = style; pen.lineWidth = wide * unit;
    pen.beginPath(); spots.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y))); pen.stroke();
  }
  spots.forEach(([x, y], stage) => dot(pen, x, y, (stage === at.stage ? 6 : 3) * unit, stage === at.stage ? "#ff6b35" : "#fff"));
}
function drawPoints(pen, layer, head, query, size) {
  const found = pointsOf(layer, head, query), most = Math.max(...found.map(({ w }) => w)) || 1, { width, height } = pen.canvas;
  for (const { x, y, w, level } of found.sort((a, b) => a.w - b.w))
    dot(pen, x * width, y * height, size * unitOf(pen) * (.12 + .88 * Math.sqrt(w / most)), Dragging.colour(level), .35 + .65 * w / most);
  return found;
}
function drawLook(canvas, head, side) { // what the chosen query looks at, in one head
  const layer = layerOf(at.stage), query = current(), small = side > 0;
  const pen = small ? Paint.picture(canvas, image, side, Math.round(side * image.naturalHeight / image.naturalWidth)) : Dragging.picture(canvas, image);
  let weights = null;
  if (layer < 0) drawOrigins(pen, query, small);
  else if (model.sampling) {
    shade(pen);
    Dragging.paint(pen, boxOf(at.stage - 1, query), { colour: "#fff", width: 1, dash: [5, 5], alpha: .8 }); // it reads around this one
    weights = drawPoints(pen, layer, head, query, small ? 4 : 9);
  } else {
    const [rows, columns] = model.over.grid;
    weights = attention("over", layer, head, query);
    Paint.cells(pen, weights, { rows, columns, low: 0, high: Math.max(...weights), smooth: true });
  }
  Dragging.paint(pen, boxOf(at.stage, query), { colour: "#fff", width: small ? 1 : 2 });
  return weights;
}
function drawOrigins(pen, query, small) {
  shade(pen);
  const { width, height } = pen.canvas, unit = unitOf(pen);
  for (const one of [...Array(model.queries).keys()].filter((i) => i !== query).concat(query)) {
    const radius = (one === query ? 2 : 1) * (small ? 1.5 : 3.5) * unit;
    dot(pen, model.places[2 * one] * width, model.places[2 * one + 1] * height, radius, Dragging.colour(model.origins[one]));
  }
}
function legend(place, text) { // with the colour of each map, where points of several are drawn
  place.replaceChildren(document.createTextNode(text + " "));
  if (!model.sampling) return;
  for (const level of [...new Set(layerOf(at.stage) < 0 ? model.origins : model.sampling.levels)].sort()) {
    const spot = made("span", "", { className: "qy-dot" });
    spot.style.background = Dragging.colour(level);
    place.append(spot, document.createTextNode(mapName(level) + " "));
  }
}
function drawOver() {
  const weights = drawLook(find("over"), at.head, 0), query = current();
  if (!weights) {
    legend(find("over-said"), `Where the queries come from: the ${model.queries} places with the best class; ${nameOf(query)} is the large dot.`);
    return [model.places[2 * query], model.places[2 * query + 1]];
  }
  if (model.sampling) {
    const out = weights.filter(({ x, y }) => x < 0 || y < 0 || x > 1 || y > 1).length, [top] = weights.slice(-1);
    legend(find("over-said"), `${capital(nameOf(query))} reads these ${weights.length} points around the box that it had (dashed), larger ones more${out ? `; ${out} lie outside of the picture` : ""}.`);
    return [top.x, top.y];
  }
  const top = weights.indexOf(Math.max(...weights)), [rows, columns] = model.over.grid;
  find("over-said").textContent = `What ${nameOf(query)} looks at: brighter places more, up to ${share(weights[top])}.`;
  return [(top % columns + .5) / columns, (Math.floor(top / columns) + .5) / rows];
}
function drawAmong() {
  const pen = Dragging.picture(find("among"), image), query = current(), layer = layerOf(at.stage), unit = unitOf(pen);
  shade(pen, .3);
  if (layer < 0) {
    Dragging.paint(pen, boxOf(at.stage, query), { colour: "#fff", width: 2 });
    find("among-said").textContent = "The queries look at each other from the first layer on.";
    return { weights: null, top: [] };
  }
  const weights = attention("among", layer, at.head, query), top = others(weights, query).slice(0, SHOWN);
  const from = middle(pen, boxOf(at.stage, query)), most = weights[top[0]] || 1;
  for (const other of top.slice().reverse()) {
    const strength = weights[other] / most, box = boxOf(at.stage, other), to = middle(pen, box);
    Dragging.paint(pen, box, { colour: Dragging.colour(bestOf(at.stage, other).number), width: 2, alpha: .15 + .85 * strength });
    pen.save();
    pen.globalAlpha = .2 + .8 * strength; pen.strokeStyle = "#ff6b35"; pen.lineWidth = (1 + 5 * strength) * unit;
    pen.beginPath(); pen.moveTo(...from); pen.lineTo(...to); pen.stroke();
    pen.restore();
    dot(pen, ...to, 3 * unit, "#ff6b35");
  }
  Dragging.paint(pen, boxOf(at.stage, query), { colour: "#fff", width: 3 });
  dot(pen, ...from, 4 * unit, "#fff");
  find("among-said").textContent = `The ${top.length} other queries that it looks at most; wider lines are more. At itself: ${share(weights[query])} of its attention.`;
  return { weights, top };
}
function drawHeads() {
  const { children } = find("heads");
  find("heads").hidden = find("heads-title").hidden = layerOf(at.stage) < 0;
  if (layerOf(at.stage) < 0) return;
  for (const button of children) {
    const head = Number(button.dataset.head);
    drawLook(button.firstChild, head, 144);
    Paint.pressed(button, head === at.head);
  }
}

// ---- beside the pictures
function drawClasses(query) {
  const bars = classesOf(at.stage, query).flatMap(({ name, p }) => {
    const bar = made("div", "", { className: "qy-bar" }), filled = bar.appendChild(document.createElement("i"));
    filled.style.width = 100 * p + "%";
    return [made("span", name), bar, made("span", share(p))];
  });
  find("bars").replaceChildren(...bars);
}
function drawSteps(query) {
  const last = boxOf(stages() - 1, query), body = document.createElement("tbody");
  for (let stage = 0; stage < stages(); stage += 1) {
    const line = body.insertRow();
    for (const text of [layerOf(stage) < 0 ? "start" : String(layerOf(stage) + 1), told(query, stage), Boxes.iou(boxOf(stage, query), last).toFixed(2)])
      line.insertCell().textContent = text;
    line.setAttribute("aria-current", String(stage === at.stage));
  }
  find("steps").tBodies[0].replaceWith(body);
}
function drawList(sure) { // the buttons stay, so that the focus does
  const place = find("list");
  while (place.children.length > sure.length) place.lastChild.remove();
  sure.forEach((query, n) => {
    const button = place.children[n] || place.appendChild(made("button", "", { type: "button", className: "pv-btn" }));
    button.textContent = `${capital(nameOf(query))}: ${told(query, at.stage)}`;
    button.dataset.query = query;
    Paint.pressed(button, query === at.query);
  });
}
function drawPlace() { // encoder attention of the chosen place
  if (!model.encoder) return -1;
  const pen = Dragging.picture(find("place"), image), [rows, columns] = model.encoder.grid;
  const weights = attention("encoder", at.elayer, at.ehead, at.place), most = Math.max(...weights), top = weights.indexOf(most);
  Paint.cells(pen, weights, { rows, columns, low: 0, high: most, smooth: true });
  Paint.mark(pen, rows, columns, at.place);
  find("place-said").textContent = `What the place in row ${Math.floor(at.place / columns) + 1}, column ${at.place % columns + 1} of ${rows} x ${columns} looks at: brighter places more, up to ${share(most)}.`;
  find("elayer").value = String(at.elayer + 1);
  find("elayer-said").textContent = `${at.elayer + 1} of ${model.encoder.layers}`;
  return top;
}
function sentence(query, { weights, top }, count) {
  const one = `${capital(nameOf(query))} ${afterStage(at.stage)}: ${told(query, at.stage)}.`;
  const all = `${count} of ${model.queries} queries are above ${at.threshold.toFixed(2)}.`;
  if (!weights || !top.length) return `${one} ${all}`;
  return `${one} Of the others, it looks most at ${nameOf(top[0])} (${told(top[0], at.stage)}), with ${share(weights[top[0]])} of its attention. ${all}`;
}
function draw() {
  if (!model || !image) return;
  const query = current(), ranked = ranking(at.stage), sure = ranked.filter((one) => bestOf(at.stage, one).p >= at.threshold);
  drawBoxes();
  const over = drawOver(), among = drawAmong();
  drawHeads();
  drawClasses(query);
  drawSteps(query);
  drawList(sure);
  find("stage").value = String(at.stage);
  find("stage-said").textContent = stageName(at.stage);
  find("head").value = String(at.head);
  find("threshold-said").textContent = at.threshold.toFixed(2);
  find("count").textContent = `All ${model.queries} queries ${afterStage(at.stage)}. The line shows how the middle of the chosen box moved through the layers.`;
  find("said").textContent = sentence(query, among, sure.length);
  const place = drawPlace(), { name, p } = bestOf(at.stage, query);
  root.dataset.drawn = JSON.stringify({ stage: at.stage, head: at.head, query, name, p, box: boxOf(at.stage, query), over, among: among.top, sure, place });
}
