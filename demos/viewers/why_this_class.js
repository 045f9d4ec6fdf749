// Why this class: Python sends the maps of the model and of one with random weights once (float32),
// and the curves when they are measured; opacity, maps and hidden cells are drawn here.
const find = (name) => element.querySelector(".wy-" + name);
const root = element.querySelector(".wy");
const { share } = Paint;
const LINES = ["#4f6bed", "#c2452d", "#1f9d55", "#888888"];
let model = null;
const at = { method: 0, opacity: .6, smooth: false, step: 2 };

const cells = () => model.rows * model.columns;
const mapOf = (array, method) => array.subarray(method * cells(), (method + 1) * cells());
const lineOf = (i) => (i === model.methods.length ? LINES[3] : LINES[i]);
function order(method) {
  const map = mapOf(model.maps, method);
  return [...map.keys()].sort((a, b) => map[b] - map[a] || a - b);
}
function drawMap(canvas, map) {
  const pen = Paint.picture(canvas, model.image, 320), [low, high] = Paint.ends(map), { rows, columns } = model;
  Paint.cells(pen, map, { rows, columns, low, high, opacity: at.opacity, smooth: at.smooth });
}
function drawHidden() {
  const { rows, columns, curves } = model, pen = Paint.picture(find("hidden"), model.image, 320);
  const count = Math.round(curves.shares[at.step] * cells());
  pen.fillStyle = model.mean;
  for (const cell of order(at.method).slice(0, count)) {
    const [x, y] = [cell % columns, Math.floor(cell / columns)];
    pen.fillRect(x * 320 / columns, y * 320 / rows, 320 / columns + .5, 320 / rows + .5);
  }
  const left = curves.deletion[at.method][at.step];
  find("step-said").textContent = `${Math.round(100 * curves.shares[at.step])} %`;
  find("hidden-said").textContent = `${model.methods[at.method]}: with these ${count} cells hidden, ${share(left)} for “${model.label}”`;
}
function drawCurve(canvas, rows) {
  const ratio = window.devicePixelRatio || 1, [width, height] = [canvas.clientWidth || 300, 220];
  const pen = Paint.sized(canvas, Math.round(width * ratio), height * ratio), ink = getComputedStyle(root).color;
  const { shares } = model.curves, most = Math.max(.05, ...rows.flat());
  const x = (one) => 40 + one * (width - 52), y = (one) => 10 + (height - 44) * (1 - one / most);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  [pen.fillStyle, pen.strokeStyle, pen.font, pen.textAlign] = [ink, ink, "12px sans-serif", "right"];
  for (const one of [0, most / 2, most]) pen.fillText(share(one), 36, y(one) + 4);
  pen.textAlign = "center";
  for (const one of [0, .5, 1]) pen.fillText(100 * one + " %", x(one) - (one === 1 ? 8 : 0), height - 18);
  pen.fillText("of the cells", x(.5), height - 3);
  pen.globalAlpha = .3; pen.strokeRect(x(0), y(most), x(1) - x(0), y(0) - y(most));
  rows.forEach((row, i) => {
    pen.globalAlpha = 1; pen.strokeStyle = lineOf(i); pen.lineWidth = i === at.method ? 3.5 : 1.8;
    pen.setLineDash(i === model.methods.length ? [5, 4] : []);
    pen.beginPath();
    row.forEach((one, step) => pen[step ? "lineTo" : "moveTo"](x(shares[step]), y(one)));
    pen.stroke();
  });
  pen.setLineDash([]);
}
function drawCurves() {
  find("waiting").hidden = Boolean(model.curves);
  find("curves").hidden = !model.curves;
  if (!model.curves) return;
  drawHidden();
  drawCurve(find("deletion"), model.curves.deletion);
  drawCurve(find("insertion"), model.curves.insertion);
  find("rows").replaceChildren(...model.curves.names.map((name, i) => {
    const line = document.createElement("tr"), mark = document.createElement("i");
    mark.style.borderTopColor = lineOf(i);
    const texts = [name, model.curves.areas[0][i].toFixed(3), model.curves.areas[1][i].toFixed(3)];
    line.append(...texts.map((text, column) => {
      const cell = document.createElement("td");
      cell.append(...(column ? [text] : [mark, text]));
      return cell;
    }));
    return line;
  }));
}
function draw() {
  if (!model) return;
  for (const button of find("grid").querySelectorAll("button")) {
    const method = Number(button.dataset.method), real = button.dataset.of === "maps";
    drawMap(button.firstChild, mapOf(model[button.dataset.of], method));
    Paint.pressed(button, real && method === at.method);
  }
  find("opacity-said").textContent = `${Math.round(100 * at.opacity)} %`;
  drawCurves();
  root.dataset.drawn = [at.method, at.opacity, at.smooth, at.step, Boolean(model.curves), model.label].join("|");
}
function place() { // the figures and buttons of this model
  find("grid").style.setProperty("--wy-count", Math.max(2, model.methods.length));
  const figure = (of, method, text) => {
    const found = document.createElement("figure"), button = Object.assign(document.createElement("button"), { type: "button" });
    const caption = Object.assign(document.createElement("figcaption"), { textContent: text });
    [button.dataset.of, button.dataset.method] = [of, method];
    button.setAttribute("aria-label", text);
    button.append(document.createElement("canvas"));
    found.append(button, caption);
    return found;
  };
  find("grid").replaceChildren(
    ...model.methods.map((name, i) => figure("maps", i, name)),
    ...model.methods.map((name, i) => figure("random", i, `${name} with random weights: correlation ${model.likeness[i].toFixed(2)}`)));
  find("classes").replaceChildren(...model.best.map(([name, score]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "pv-btn" });
    button.textContent = `${name} ${share(score)}`;
    button.dataset.label = name;
    Paint.pressed(button, name === model.label);
    return button;
  }));
  find("said").textContent = `What counts for “${model.label}” (${share(model.probability)})`;
  find("about").textContent = model.about;
}
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !model) return;
  if (button.dataset.label) Paint.ask(element, "why-this-class", "label", button.dataset.label);
  if (button.dataset.method) { at.method = Number(button.dataset.method); draw(); }
});
find("opacity").addEventListener("input", (event) => { at.opacity = Number(event.target.value); draw(); });
find("smooth").addEventListener("change", (event) => { at.smooth = event.target.checked; draw(); });
find("step").addEventListener("input", (event) => { at.step = Number(event.target.value); draw(); });
Paint.onResize(root, () => model && model.curves && drawCurves());

Paint.follow(root, () => { model = null; }, (value, loaded) => {
  model = { ...value, image: loaded.image, ...loaded.arrays };
  at.method = Math.min(at.method, model.methods.length - 1);
  const [small, pen] = [document.createElement("canvas")].flatMap((one) => [one, Paint.picture(one, loaded.image, 1)]);
  model.mean = `rgb(${[...pen.getImageData(0, 0, small.width, 1).data.slice(0, 3)].join(",")})`;
  place();
  draw();
});
