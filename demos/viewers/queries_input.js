// The view of a DETR's queries, third part: what the person does, and values from Python.
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
function toStage(stage) {
  const next = Math.min(stages() - 1, Math.max(0, stage));
  if (next === at.stage) return;
  cancelAnimationFrame(moving.frame);
  moving = { from: at.stage, mix: still() ? 1 : 0, frame: 0 };
  at.stage = next;
  draw();
  const begin = performance.now(), step = (now) => { // the boxes glide; all else is there at once
    if (!model) return;
    moving.mix = Math.min(1, Math.max(0, (now - begin) / 280));
    drawBoxes();
    if (moving.mix < 1) moving.frame = requestAnimationFrame(step);
  };
  if (moving.mix < 1) moving.frame = requestAnimationFrame(step);
}
function choose(query) {
  at.hover = -1;
  at.query = query;
  draw();
}
function toHead(head) {
  at.head = head;
  draw();
}

// ---- the picture with all boxes
const GRIP = 10, FAINT = 14; // pixels around a side; what a faint box stands behind
let clicked = null; // where the last click was: another one there chooses the next box
function pointed(event) { // the boxes at the pointer, the one with the nearest side first
  const area = find("boxes").getBoundingClientRect();
  const x = event.clientX - area.left, y = event.clientY - area.top;
  const found = [];
  for (let query = 0; query < model.queries; query += 1) {
    const [l, t, r, b] = boxOf(at.stage, query).map((side, i) => side * (i % 2 ? area.height : area.width));
    const far = Math.min(x - l, r - x, y - t, b - y); // to the nearest side; below 0 outside
    if (far > -GRIP) found.push({ query, far: Math.abs(far) + (bestOf(at.stage, query).p < at.threshold ? FAINT : 0) });
  }
  return found.sort((a, b) => a.far - b.far).map(({ query }) => query);
}
const near = (event) => clicked && Math.hypot(event.clientX - clicked.x, event.clientY - clicked.y) < 6;
find("boxes").addEventListener("click", (event) => {
  if (!model) return;
  const here = pointed(event), again = near(event) ? here.indexOf(at.query) : -1;
  clicked = { x: event.clientX, y: event.clientY };
  if (here.length) choose(here[(again + 1) % here.length]);
});
find("boxes").addEventListener("pointermove", (event) => {
  if (!model || event.pointerType !== "mouse" || near(event)) return;
  clicked = null;
  const [first = -1] = pointed(event);
  if (first === at.hover) return;
  at.hover = first;
  draw();
});
find("boxes").addEventListener("pointerleave", () => {
  if (!model || at.hover < 0) return;
  at.hover = -1;
  draw();
});
find("boxes").addEventListener("keydown", (event) => {
  if (!model || event.ctrlKey || event.metaKey || event.altKey) return;
  const ranked = ranking(stages() - 1), now = ranked.indexOf(at.query), last = ranked.length - 1;
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key], layer = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (way) choose(ranked[Math.min(last, Math.max(0, now + way))]);
  else if (layer) { stop(); toStage(at.stage + layer); }
  else return;
  event.preventDefault();
});

// ---- the controls
const stop = Paint.player(find("play"), root, 900, () => toStage(at.stage + 1 < stages() ? at.stage + 1 : 0));
find("stage").addEventListener("input", (event) => { stop(); toStage(Number(event.target.value)); });
find("head").addEventListener("change", (event) => toHead(Number(event.target.value)));
find("threshold").addEventListener("input", (event) => { at.threshold = Number(event.target.value); draw(); });
find("elayer").addEventListener("input", (event) => { at.elayer = Number(event.target.value) - 1; draw(); });
find("ehead").addEventListener("change", (event) => { at.ehead = Number(event.target.value); draw(); });
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !model) return;
  if (button.dataset.query) choose(Number(button.dataset.query));
  if (button.dataset.head) toHead(Number(button.dataset.head) === at.head ? MEAN : Number(button.dataset.head));
});
const map = () => model && model.encoder && { rows: model.encoder.grid[0], columns: model.encoder.grid[1], cell: at.place };
Paint.pick(find("place"), map, (cell) => { at.place = cell; draw(); });

// ---- values from Python
function equip() { // the controls of this model
  find("stage").max = String(stages() - 1);
  Paint.heads(find("head"), find("heads"), model.heads, MEAN);
  find("encoder").hidden = !model.encoder;
  find("encoder-none").textContent = model.encoder ? ""
    : "The encoder of this model is convolutional, with no attention in it; other DETRs, such as RT-DETRv2, show here what each place looks at.";
  if (!model.encoder) return;
  find("elayer").max = String(model.encoder.layers);
  find("elayer-label").hidden = model.encoder.layers < 2;
  const option = (value, text) => made("option", text, { value });
  find("ehead").replaceChildren(option(MEAN, "mean of all"), ...[...Array(model.encoder.heads).keys()].map((head) => option(head, head + 1)));
  find("ehead").value = String(at.ehead);
}
Paint.follow(root, () => {
  stop();
  cancelAnimationFrame(moving.frame);
  model = null;
}, (value, loaded) => {
  image = loaded.image;
  const { best, shares } = value.parts, more = { kept: best.shape[2], first: shares.shape[0] - value.layers };
  model = { ...value, ...loaded.arrays, ...more };
  moving = { from: 0, mix: 1, frame: 0 };
  at.stage = stages() - 1;
  [at.hover, clicked] = [-1, null];
  if (at.head >= model.heads) at.head = MEAN;
  [at.query] = ranking(at.stage);
  if (model.encoder) {
    const { grid: [rows, columns], heads, layers } = model.encoder;
    at.place = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    at.elayer = layers - 1;
    if (at.ehead >= heads) at.ehead = MEAN;
  }
  equip();
  draw();
});
Paint.onResize(root, draw);
