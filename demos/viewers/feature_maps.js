// The feature map view. Python sends the chosen channels of every layer as bytes, and the filters of
// the first; layers and channels change here.
const find = (name) => element.querySelector(".fm-" + name);
const root = element.querySelector(".fm");
const SIDE = 480, GAP = 3, COLUMNS = 8;
let model = null, image = null;
const at = { layer: 0, channel: 0, opacity: .75 };

const layer = () => model.layers[at.layer];
const mapOf = (place) => {
  const [, h, w] = layer().shape, size = h * w;
  return model.arrays["layer" + at.layer].subarray(place * size, (place + 1) * size);
};
const grid = () => model && { rows: Math.ceil(layer().channels.length / COLUMNS), columns: COLUMNS, cell: at.channel };
const number = (value) => (Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));

function drawSheet() {
  const { rows } = grid(), cell = SIDE / COLUMNS, [, h, w] = layer().shape;
  const pen = Paint.sized(find("sheet"), SIDE, rows * cell), small = document.createElement("canvas");
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, SIDE, rows * cell);
  pen.imageSmoothingEnabled = false;
  layer().channels.forEach((_, place) => {
    Paint.cells(Paint.sized(small, w, h), mapOf(place), { rows: h, columns: w, high: 255, opacity: 1 });
    const [x, y] = [(place % COLUMNS) * cell, Math.floor(place / COLUMNS) * cell];
    pen.drawImage(small, x + GAP / 2, y + GAP / 2, cell - GAP, cell - GAP);
  });
  Paint.mark(pen, rows, COLUMNS, at.channel);
}
function drawLarge() {
  const [, h, w] = layer().shape, pen = Paint.picture(find("large"), image, SIDE);
  Paint.cells(pen, mapOf(at.channel), { rows: h, columns: w, high: 255, opacity: at.opacity });
  const [low, high] = layer().ranges[at.channel];
  find("said").textContent = `Channel ${layer().channels[at.channel] + 1} of ${layer().count}, from ${number(low)} (dark) to ${number(high)} (bright).`;
  find("opacity-said").textContent = `${Math.round(100 * at.opacity)} %`;
}
function drawFilters() {
  const [count, k] = model.filters || [0, 0];
  find("first").hidden = !count;
  if (!count) return;
  const columns = Math.min(16, count), rows = Math.ceil(count / columns), cell = k + 1, zoom = Math.max(1, Math.round(SIDE / (columns * cell)));
  const small = document.createElement("canvas"), brush = Paint.sized(small, columns * cell, rows * cell), from = model.arrays.filters;
  for (let i = 0; i < count; i += 1) {
    const pixels = brush.createImageData(k, k);
    for (let j = 0; j < k * k; j += 1)
      pixels.data.set([from[3 * (i * k * k + j)], from[3 * (i * k * k + j) + 1], from[3 * (i * k * k + j) + 2], 255], 4 * j);
    brush.putImageData(pixels, (i % columns) * cell, Math.floor(i / columns) * cell);
  }
  const pen = Paint.sized(find("filters"), small.width * zoom, small.height * zoom);
  pen.imageSmoothingEnabled = false;
  pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
  pen.drawImage(small, 0, 0, pen.canvas.width, pen.canvas.height);
  const own = at.layer === 0 && layer().count === model.filterCount && layer().channels[at.channel] < count;
  if (own) Paint.mark(pen, rows, columns, layer().channels[at.channel]);
  find("filters-said").textContent = `${model.filterCount} filters of ${k} x ${k} pixels on red, green and blue; grey is 0.` +
    (count < model.filterCount ? ` The first ${count} are shown.` : "") + (own ? " The framed one makes the chosen channel." : "");
}
function draw() {
  if (!model || !image) return;
  drawSheet();
  drawLarge();
  drawFilters();
  const { name, kind, count, size, channels, silent, patches } = layer();
  find("layer").value = String(at.layer + 1);
  find("layer-said").textContent = `${at.layer + 1} of ${model.layers.length}: ${name}`;
  find("about").textContent = `${kind}: ${count} channels of ${size[1]} x ${size[0]} ${patches ? "patches" : "cells"}` +
    (channels.length < count ? `; shown are the ${channels.length} that vary most` : ", the most varied first") + "." +
    (silent > 0 ? ` ${Paint.share(silent)} of the channels are the same everywhere.` : "");
  root.dataset.drawn = [at.layer, name, at.channel, channels[at.channel]].join(" ");
}

function toLayer(next) {
  at.layer = next;
  at.channel = Math.min(at.channel, layer().channels.length - 1);
  draw();
}
const stop = Paint.player(find("play"), root, 700, () => toLayer((at.layer + 1) % model.layers.length));
Paint.pick(find("sheet"), grid, (cell) => {
  if (cell >= layer().channels.length) return;
  at.channel = cell;
  draw();
});
find("layer").addEventListener("input", (event) => { stop(); toLayer(Number(event.target.value) - 1); });
find("opacity").addEventListener("input", (event) => {
  at.opacity = Number(event.target.value) / 100;
  if (model) drawLarge();
});
Paint.follow(root, () => {
  stop();
  model = null;
}, (value, got) => {
  image = got.image;
  model = { ...value, arrays: got.arrays };
  at.layer = Math.min(at.layer, model.layers.length - 1);
  at.channel = Math.min(at.channel, layer().channels.length - 1);
  find("layer").max = String(model.layers.length);
  draw();
});
