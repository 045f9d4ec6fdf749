// The position embeddings: Python sends the similarity of every place to every other once (int16).
const find = (name) => element.querySelector(".po-" + name);
const root = element.querySelector(".po");
const { capital } = Paint;
let model = null;
const at = { place: 0, own: false };

const mapOf = (place) => {
  const count = model.rows * model.columns;
  return Float32Array.from(model.similarity.subarray(place * count, (place + 1) * count), (one) => one * model.scale);
};
const nameOf = (place) => `row ${Math.floor(place / model.columns) + 1}, column ${place % model.columns + 1}`;
const others = (map, place) => [...map].filter((_, i) => i !== place);
const number = (value) => (Math.abs(value) < .005 ? 0 : value).toFixed(2).replace("-", "−");
const ends = (map, place) => (at.own ? Paint.ends(others(map, place)) : model.ends);
function mean(map, place, same) { // of the places for which `same` holds, without the place itself
  let [sum, count] = [0, 0];
  map.forEach((one, i) => { if (i !== place && same(i)) [sum, count] = [sum + one, count + 1]; });
  return count ? sum / count : 0;
}
function draw() {
  if (!model) return;
  const { rows, columns } = model, map = mapOf(at.place), [low, high] = ends(map, at.place);
  const pen = Paint.picture(find("picture"), model.image, 480);
  Paint.lines(pen, rows, columns);
  Paint.mark(pen, rows, columns, at.place);
  const brush = Paint.sized(find("map"), 480);
  Paint.cells(brush, map, { rows, columns, low, high, opacity: 1 });
  Paint.mark(brush, rows, columns, at.place);
  find("range").textContent = `(dark ${number(low)}, light ${number(high)})`;
  find("from").textContent = capital(nameOf(at.place));
  const [row, column] = [Math.floor(at.place / columns), at.place % columns];
  find("row").value = String(row + 1); find("row-said").textContent = String(row + 1);
  find("column").value = String(column + 1); find("column-said").textContent = String(column + 1);
  const rest = map.map((one, i) => (i === at.place ? -2 : one)), best = rest.indexOf(Math.max(...rest));
  const inRow = mean(map, at.place, (i) => Math.floor(i / columns) === row);
  const inColumn = mean(map, at.place, (i) => i % columns === column);
  find("said").textContent = `${capital(nameOf(at.place))} is most like ${nameOf(best)} (${number(map[best])}). Mean ` +
    `similarity in its row ${number(inRow)}, in its column ${number(inColumn)}, everywhere ` +
    `${number(mean(map, at.place, () => true))}.`;
  drawSheet();
  root.dataset.drawn = [at.place, at.own].join(" ");
}
function drawSheet() { // a map for each place, a pixel apart
  const { rows, columns } = model, step = Math.max(1, Math.floor(720 / (columns * (columns + 1))));
  const pen = Paint.sized(find("sheet"), step * columns * (columns + 1), step * rows * (rows + 1));
  const key = [model.key, at.own].join(" ");
  if (model.sheet !== key) {
    const small = document.createElement("canvas"), brush = Paint.sized(small, columns * (columns + 1), rows * (rows + 1));
    const pixels = brush.createImageData(small.width, small.height);
    for (let place = 0; place < rows * columns; place += 1) {
      const map = mapOf(place), [low, high] = ends(map, place);
      const left = (place % columns) * (columns + 1), top = Math.floor(place / columns) * (rows + 1);
      map.forEach((one, i) => pixels.data.set([...Paint.colour((one - low) / (high - low || 1)), 255],
        4 * ((top + Math.floor(i / columns)) * small.width + left + i % columns)));
    }
    brush.putImageData(pixels, 0, 0);
    [model.sheet, model.small] = [key, small];
  }
  pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(model.small, 0, 0, pen.canvas.width, pen.canvas.height);
  Paint.mark(pen, rows, columns, at.place);
}
function choose(place) {
  at.place = place;
  draw();
}
const grid = () => model && { rows: model.rows, columns: model.columns, cell: at.place };
for (const name of ["picture", "map", "sheet"]) Paint.pick(find(name), grid, choose);
for (const name of ["row", "column"])
  find(name).addEventListener("input", () => choose(
    (Number(find("row").value) - 1) * model.columns + Number(find("column").value) - 1));
find("own").addEventListener("change", (event) => { at.own = event.target.checked; draw(); });

Paint.follow(root, () => { model = null; }, (value, loaded) => {
  model = { ...value, image: loaded.image, similarity: loaded.arrays.similarity, key: value.numbers };
  if (root.dataset.count !== String(model.rows * model.columns)) // begin in the middle
    at.place = Math.floor(model.rows / 2) * model.columns + Math.floor(model.columns / 2);
  root.dataset.count = String(model.rows * model.columns);
  [find("row").max, find("column").max] = [String(model.rows), String(model.columns)];
  draw();
});
