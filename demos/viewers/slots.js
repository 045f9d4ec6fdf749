// The view of a DETR's slots: the boxes of every query over several pictures, as figure 7 of the
// paper draws them.
const root = element.querySelector(".sl");
const find = (name) => root.querySelector(".sl-" + name);
const COLOURS = { small: "#2f9e44", wide: "#e03131", tall: "#3b82f6" };
const SMALL = 1 / 9; // share of the picture
let model = null;
const at = { slot: 0 };
function boxOf(picture, slot) { // cx, cy, w, h in 0..1
  const i = 4 * (picture * model.slots + slot);
  return model.boxes.subarray(i, i + 4);
}
const kindOf = ([, , w, h]) => (w * h < SMALL ? "small" : w > h ? "wide" : "tall");
const pictures = () => [...model.names.keys()];

function plot(canvas, slot, side, whole) { // `whole` draws the boxes too
  const pen = Paint.sized(canvas, side), inner = side * .9, edge = side * .05;
  pen.fillStyle = "#f5f5f4"; pen.fillRect(0, 0, side, side);
  pen.strokeStyle = "#a8a29e"; pen.lineWidth = side / 150; pen.strokeRect(edge, edge, inner, inner);
  for (const picture of pictures()) {
    const box = boxOf(picture, slot), [cx, cy, w, h] = box, colour = COLOURS[kindOf(box)];
    pen.fillStyle = pen.strokeStyle = colour;
    if (whole) {
      pen.globalAlpha = .5; pen.lineWidth = side / 200;
      pen.strokeRect(edge + (cx - w / 2) * inner, edge + (cy - h / 2) * inner, w * inner, h * inner);
      pen.globalAlpha = 1;
    }
    pen.beginPath(); pen.arc(edge + cx * inner, edge + cy * inner, side / (whole ? 60 : 24), 0, 7); pen.fill();
  }
}
function reason() {
  if (model.habits === model.chosen) return "the numbers below show it, although it is not expected of this kind of detector.";
  return model.chosen
    ? "as expected, because this model chooses its queries for each picture, best first, so that a slot (a query by its number) is only a rank."
    : "as expected, because these queries are learned once and are the same for every picture.";
}
function draw() {
  if (!model) return;
  const mean = model.spread.reduce((sum, one) => sum + one, 0) / model.slots;
  find("sum").textContent = `Here ${model.habits ? "slots have places" : "no slot has a place"} of ${model.habits ? "their" : "its"} own: ${reason()}`;
  find("why").textContent = `Over ${model.names.length} pictures, the boxes of a slot lie on average ${mean.toFixed(2)} of the picture's side from their mean place. With slots exchanged at random it would be ${model.chance.toFixed(2)}.`;
  for (const button of find("all").children) {
    const slot = Number(button.dataset.slot);
    plot(button.firstChild, slot, 96, false);
    Paint.pressed(button, slot === at.slot);
  }
  drawOne();
}
function drawOne() {
  plot(find("big"), at.slot, 600, true);
  const counts = { small: 0, wide: 0, tall: 0 }, body = document.createElement("tbody");
  for (const picture of pictures()) {
    const box = boxOf(picture, at.slot), line = body.insertRow();
    counts[kindOf(box)] += 1;
    for (const text of [model.names[picture], `${model.labels[picture][at.slot]}, ${Paint.share(model.scores[picture * model.slots + at.slot])}`, `${box[2].toFixed(2)} x ${box[3].toFixed(2)}`])
      line.insertCell().textContent = text;
  }
  find("rows").tBodies[0].replaceWith(body);
  find("said").textContent = `Slot ${at.slot + 1}: ${counts.small} small boxes, ${counts.wide} large and wide, ${counts.tall} large and tall; on average ${model.spread[at.slot].toFixed(2)} from their mean place.`;
  root.dataset.drawn = JSON.stringify({ slot: at.slot, ...counts, slots: model.slots });
}
find("all").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !model) return;
  at.slot = Number(button.dataset.slot);
  for (const one of find("all").children) Paint.pressed(one, one === button);
  drawOne();
});
Paint.follow(root, () => { model = null; }, (value, loaded) => {
  model = { ...value, ...loaded.arrays };
  at.slot = Math.min(at.slot, model.slots - 1);
  find("fold").open = model.habits; // otherwise there is little to see
  Paint.smalls(find("all"), [...Array(model.slots).keys()].map((slot) => String(slot + 1)), (button, slot) => { button.dataset.slot = slot; });
  draw();
});
