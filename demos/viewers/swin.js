// The view of Swin's windows. Python sends the scores of every block once (int16, with a scale for
// each head) and the position biases; masks, softmax and drawing happen here.
const find = (name) => element.querySelector(".sw-" + name);
const root = element.querySelector(".sw");
const MEAN = -1, SIDE = 480;
const { share } = Paint;
let model = null, image = null;
const at = { block: 0, head: MEAN, x: .5, y: .5, mode: "both" }; // the place as shares of the picture

// ---- geometry, as core/lessons/swin.py has it
const here = () => model.blocks[at.block];
const weighted = () => model.scales.length > 0;
const mod = (a, n) => ((a % n) + n) % n;
const cellIn = ({ grid: [rows, columns] }) =>
  Math.min(rows - 1, Math.floor(at.y * rows)) * columns + Math.min(columns - 1, Math.floor(at.x * columns));
const countOf = ({ grid, window }, axis) => Math.ceil(grid[axis] / window[axis]);
function lineOf({ grid, window, shift }, axis, place) { // 0, 1 or 2: which part of the rolled grid
  const whole = Math.ceil(grid[axis] / window[axis]) * window[axis];
  return shift[0] || shift[1] ? Number(place >= whole - window[axis]) + Number(place >= whole - shift[axis]) : 0;
}
function placeOf(block, cell) { // window, place inside it, and region of one patch
  const { grid: [rows, columns], window: [h, w], shift } = block;
  const y = mod(Math.floor(cell / columns) - shift[0], rows), x = mod(cell % columns - shift[1], columns);
  return {
    window: Math.floor(y / h) * countOf(block, 1) + Math.floor(x / w),
    inside: (y % h) * w + x % w,
    region: 3 * lineOf(block, 0, y) + lineOf(block, 1, x),
  };
}
function cellsOf(block, window) { // for each place of a window its patch, -1 for padding, and region
  const { grid: [rows, columns], window: [h, w], shift } = block, across = countOf(block, 1), found = [];
  for (let i = 0; i < h * w; i += 1) {
    const y = Math.floor(window / across) * h + Math.floor(i / w), x = (window % across) * w + i % w;
    const cell = y < rows && x < columns ? mod(y + shift[0], rows) * columns + mod(x + shift[1], columns) : -1;
    found.push({ cell, region: 3 * lineOf(block, 0, y) + lineOf(block, 1, x) });
  }
  return found;
}

// ---- numbers
function weightsOf(number, head) { // over the grid of the block, 0 outside the window
  const block = model.blocks[number], { window: [h, w] } = block, n = h * w;
  const mine = placeOf(block, cellIn(block)), cells = cellsOf(block, mine.window);
  const bias = model["bias" + number], scores = model["scores" + number], wide = 2 * w - 1;
  const from = ((mine.window * block.heads + head) * n + mine.inside) * n, scale = model.scales[number][head];
  const raw = cells.map(({ region }, j) => {
    const dy = Math.floor(mine.inside / w) - Math.floor(j / w) + h - 1, dx = mine.inside % w - j % w + w - 1;
    const content = at.mode === "bias" ? 0 : scores[from + j] * scale;
    const place = at.mode === "content" ? 0 : bias[(head * (2 * h - 1) + dy) * wide + dx];
    return content + place - (region === mine.region ? 0 : 100);
  });
  const most = Math.max(...raw), shares = raw.map((one) => Math.exp(one - most));
  const sum = shares.reduce((total, one) => total + one, 0);
  const grid = new Float32Array(block.grid[0] * block.grid[1]);
  cells.forEach(({ cell }, j) => { if (cell >= 0) grid[cell] = shares[j] / sum; });
  return grid;
}
function chosenWeights() {
  if (at.head !== MEAN) return weightsOf(at.block, at.head);
  const all = [...Array(here().heads).keys()].map((head) => weightsOf(at.block, head));
  return all[0].map((_, i) => all.reduce((sum, one) => sum + one[i], 0) / all.length);
}

// ---- drawing
function edges(pen, block) { // the frames of all windows, as they lie on the picture
  const { grid, window, shift } = block, { width, height } = pen.canvas;
  pen.beginPath();
  for (let y = 0; y <= grid[0]; y += 1)
    if (y === 0 || y === grid[0] || mod(y - shift[0], grid[0]) % window[0] === 0) {
      pen.moveTo(0, y * height / grid[0]); pen.lineTo(width, y * height / grid[0]);
    }
  for (let x = 0; x <= grid[1]; x += 1)
    if (x === 0 || x === grid[1] || mod(x - shift[1], grid[1]) % window[1] === 0) {
      pen.moveTo(x * width / grid[1], 0); pen.lineTo(x * width / grid[1], height);
    }
  pen.stroke();
}
function windows(pen, block) {
  pen.lineWidth = 5; pen.strokeStyle = "rgba(0,0,0,.75)"; edges(pen, block);
  pen.lineWidth = 2.5; pen.strokeStyle = "#ffd43b"; edges(pen, block);
}
function shade(pen, block) { // dark outside the window; hatched where it is masked
  const [rows, columns] = block.grid, w = pen.canvas.width / columns, h = pen.canvas.height / rows;
  const mine = placeOf(block, cellIn(block));
  for (let cell = 0; cell < rows * columns; cell += 1) {
    const its = placeOf(block, cell), same = its.window === mine.window;
    if (same && its.region === mine.region) continue;
    pen.fillStyle = same ? "rgba(220,50,47,.45)" : "rgba(0,0,0,.45)";
    pen.fillRect(cell % columns * w, Math.floor(cell / columns) * h, w + .5, h + .5);
  }
}
function drawPicture() {
  const block = here(), pen = Paint.picture(find("picture"), image, SIDE), [rows, columns] = block.grid;
  shade(pen, block);
  Paint.lines(pen, rows, columns);
  windows(pen, block);
  Paint.mark(pen, rows, columns, cellIn(block));
}
function drawMap(canvas, weights, side) { // the window alone, enlarged, as the rolled grid has it
  const block = here(), { grid: [rows, columns], window: [h, w] } = block, mine = placeOf(block, cellIn(block));
  const pen = Paint.sized(canvas, side), [dw, dh] = [side / w, side / h], [, most] = Paint.ends(weights);
  const [sw, sh] = [image.naturalWidth / columns, image.naturalHeight / rows];
  pen.clearRect(0, 0, side, side);
  cellsOf(block, mine.window).forEach(({ cell, region }, i) => {
    const place = [i % w * dw, Math.floor(i / w) * dh, dw + .5, dh + .5];
    if (cell < 0) return; // padding
    pen.globalAlpha = 1;
    pen.drawImage(image, cell % columns * sw, Math.floor(cell / columns) * sh, sw, sh, ...place);
    const [r, g, b] = region === mine.region ? Paint.colour(weights[cell] / most) : [220, 50, 47];
    pen.globalAlpha = .7;
    pen.fillStyle = `rgb(${r},${g},${b})`;
    pen.fillRect(...place);
  });
  pen.globalAlpha = 1;
  if (side > 200) Paint.mark(pen, h, w, mine.inside);
}
function drawBias() {
  const { window: [h, w], heads } = here(), rows = 2 * h - 1, columns = 2 * w - 1, all = model["bias" + at.block];
  const which = at.head === MEAN ? [...Array(heads).keys()] : [at.head];
  const values = new Float32Array(rows * columns);
  // Turned, so that a place stands for a patch in that direction from the one that looks.
  for (const head of which)
    for (let i = 0; i < values.length; i += 1) values[values.length - 1 - i] += all[head * values.length + i] / which.length;
  const most = Math.max(...values.map(Math.abs)), pen = Paint.sized(find("bias"), SIDE);
  pen.clearRect(0, 0, SIDE, SIDE);
  Paint.cells(pen, values, { rows, columns, low: -most, high: most, opacity: 1, stops: Paint.SIGNED });
  Paint.mark(pen, rows, columns, (values.length - 1) / 2);
}
function drawHeads() {
  for (const button of find("heads").children) {
    const head = Number(button.dataset.head);
    drawMap(button.firstChild, weightsOf(at.block, head), 96);
    Paint.pressed(button, head === at.head);
  }
}
function drawStages() {
  for (const button of find("stages").children) {
    const number = Number(button.dataset.block), block = model.blocks[number], [rows, columns] = block.grid;
    const pen = Paint.picture(button.firstChild, image, 224);
    Paint.lines(pen, rows, columns);
    windows(pen, block);
    Paint.mark(pen, rows, columns, cellIn(block));
    if (block.stage < here().stage) { // all that was merged into the chosen patch
      const [y, x] = [Math.floor(cellIn(here()) / here().grid[1]), cellIn(here()) % here().grid[1]];
      Paint.mark(pen, ...here().grid, y * here().grid[1] + x);
    }
    Paint.pressed(button, block.stage === here().stage);
  }
}
function draw() {
  if (!model || !image) return;
  const block = here(), cell = cellIn(block), [rows, columns] = block.grid, [h, w] = block.window;
  const shifted = block.shift[0] || block.shift[1], mine = placeOf(block, cell);
  drawPicture();
  drawStages();
  find("block-said").textContent = `${at.block + 1} of ${model.blocks.length}`;
  find("windows").textContent = `Stage ${block.stage + 1}, block ${block.number + 1}: ${rows} x ${columns} patches in ` +
    `windows of ${h} x ${w}` + (shifted ? `, shifted by ${block.shift[0]}` : "");
  const partners = cellsOf(block, mine.window).filter((one) => one.cell >= 0);
  const seen = partners.filter((one) => one.region === mine.region).length;
  let said = `The patch in row ${Math.floor(cell / columns) + 1}, column ${cell % columns + 1} sees ${seen} of ${rows * columns} patches`;
  if (seen < partners.length) said += `; ${partners.length - seen} more share its rolled window and are masked (red)`;
  if (weighted()) {
    const weights = chosenWeights(), [, most] = Paint.ends(weights), best = weights.indexOf(most);
    drawMap(find("weights"), weights, SIDE);
    drawBias();
    drawHeads();
    find("most").textContent = `(up to ${share(most)})`;
    said += `. It takes most from ${best === cell ? "itself" : `row ${Math.floor(best / columns) + 1}, column ${best % columns + 1}`} (${share(most)})`;
  }
  find("said").textContent = said + ".";
  for (const one of root.querySelectorAll("[data-mode]")) Paint.pressed(one, one.dataset.mode === at.mode);
  root.dataset.drawn = [at.block, at.head, cell, at.mode].join(" ");
}
