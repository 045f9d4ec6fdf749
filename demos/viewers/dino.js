// The view of features. Python sends those of every layer once (int16), their principal components as
// colours, and the class attention; cosines, nearest patches and drawing happen here.
const find = (name) => element.querySelector(".di-" + name);
const root = element.querySelector(".di");
const MEAN = -1, SIDE = 480;
const { share } = Paint;
let model = null, image = null;
const at = { level: 0, head: MEAN, x: .5, y: .5, count: 8 }; // the place as shares of the picture

// ---- numbers
const here = () => model.levels[at.level];
function cellIn({ grid: [rows, columns] }) {
  return Math.min(rows - 1, Math.floor(at.y * rows)) * columns + Math.min(columns - 1, Math.floor(at.x * columns));
}
function alike(level, cell) { // the cosine between one patch and each
  const { dim } = model.levels[level], values = model["features" + level], count = values.length / dim;
  const dots = new Float32Array(count), norms = new Float32Array(count);
  for (let i = 0; i < count; i += 1) {
    let dot = 0, norm = 0;
    for (let j = 0, a = i * dim, b = cell * dim; j < dim; j += 1, a += 1, b += 1) {
      dot += values[a] * values[b];
      norm += values[a] * values[a];
    }
    [dots[i], norms[i]] = [dot, Math.sqrt(norm)];
  }
  return dots.map((dot, i) => dot / Math.max(1e-9, norms[i] * norms[cell]));
}
function nearest(found, cell) {
  const order = [...found.keys()].filter((i) => i !== cell).sort((a, b) => found[b] - found[a] || a - b);
  return order.slice(0, at.count);
}
function attended(head) { // the class token's share for each patch
  const { grid, heads } = here(), n = grid[0] * grid[1], all = model["attention" + at.level];
  if (head !== MEAN) return all.subarray(head * n, (head + 1) * n);
  const found = new Float32Array(n);
  for (let i = 0; i < heads * n; i += 1) found[i % n] += all[i] / heads;
  return found;
}

// ---- drawing
function drawPicture(found, cell) {
  const [rows, columns] = here().grid, pen = Paint.picture(find("picture"), image, SIDE);
  const [w, h] = [SIDE / columns, SIDE / rows];
  Paint.lines(pen, rows, columns);
  nearest(found, cell).forEach((one, i) => {
    const [x, y] = [one % columns * w, Math.floor(one / columns) * h];
    pen.fillStyle = "rgba(255,212,59,.3)"; pen.fillRect(x, y, w, h);
    pen.lineWidth = 2; pen.strokeStyle = "#ffd43b"; pen.strokeRect(x, y, w, h);
    if (w < 22) return;
    pen.font = "bold 12px sans-serif"; pen.textAlign = "center"; pen.lineWidth = 3; pen.strokeStyle = "#000";
    pen.strokeText(String(i + 1), x + w / 2, y + h / 2 + 4);
    pen.fillStyle = "#fff"; pen.fillText(String(i + 1), x + w / 2, y + h / 2 + 4);
  });
  Paint.mark(pen, rows, columns, cell);
}
function drawColours(cell) {
  const [rows, columns] = here().grid, values = model["colours" + at.level];
  const small = document.createElement("canvas"), brush = Paint.sized(small, columns, rows);
  const pixels = brush.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i += 1)
    pixels.data.set([values[3 * i], values[3 * i + 1], values[3 * i + 2], 255], 4 * i);
  brush.putImageData(pixels, 0, 0);
  const pen = Paint.sized(find("colours"), SIDE);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, SIDE, SIDE);
  Paint.mark(pen, rows, columns, cell);
}
function drawMap(canvas, values, low, high, side, cell = -1) {
  const [rows, columns] = here().grid, pen = Paint.picture(canvas, image, side);
  Paint.cells(pen, values, { rows, columns, low, high, opacity: .75 });
  Paint.mark(pen, rows, columns, cell);
}
function drawAttention(cell) {
  root.dataset.attends = String(here().heads > 0);
  if (!here().heads) return;
  const values = attended(at.head), [, most] = Paint.ends(values);
  drawMap(find("class"), values, 0, most, SIDE, cell);
  find("most").textContent = `(up to ${share(most)})`;
  for (const button of find("heads").children) {
    const head = Number(button.dataset.head), its = attended(head);
    drawMap(button.firstChild, its, 0, Paint.ends(its)[1], 96);
    Paint.pressed(button, head === at.head);
  }
}
function draw() {
  if (!model || !image) return;
  const level = here(), cell = cellIn(level), found = alike(at.level, cell), columns = level.grid[1];
  const [low] = Paint.ends(found), best = nearest(found, cell)[0];
  drawPicture(found, cell);
  drawColours(cell);
  drawMap(find("alike"), found, low, 1, SIDE, cell);
  drawAttention(cell);
  find("level-said").textContent = `${at.level + 1} of ${model.levels.length}: ${level.name}`;
  find("count-said").textContent = String(at.count);
  find("range").textContent = `(cosine ${low.toFixed(2)} to 1)`;
  find("explained").textContent = `(three components: ${share(level.explained.reduce((sum, one) => sum + one, 0))} of the variance)`;
  const name = (one) => `row ${Math.floor(one / columns) + 1}, column ${one % columns + 1}`;
  find("said").textContent = `The patch in ${name(cell)} is most like the one in ${name(best)}: cosine ${found[best].toFixed(3)}.`;
  root.dataset.drawn = [at.level, at.head, cell, at.count].join(" ");
}
