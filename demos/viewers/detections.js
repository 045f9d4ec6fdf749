// The boxes of Detect on the picture and in a list: each shows the other, classes and single boxes
// can be hidden, and the picture can be zoomed. What is hidden stays so while the threshold moves.
const root = element.querySelector(".dv");
const find = (name) => root.querySelector(".dv-" + name);
const stage = find("stage"), over = find("over"), list = find("list");
const at = { sort: "score", only: new Set(), hidden: new Set(), chosen: -1, under: -1, look: { k: 1, x: 0, y: 0 } };
let model = null, image = null;

const percent = (score) => Math.round(100 * score) + "%";
const nameOf = (i) => model.names[model.of[i]];
const isWanted = (i) => !at.only.size || at.only.has(nameOf(i)); // no class chosen: all of them
const isShown = (i) => !at.hidden.has(i) && isWanted(i);
const all = () => model.boxes.map((_, i) => i);
const size = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
const ORDERS = {
  score: (a, b) => a - b, // Python sends the best first
  name: (a, b) => nameOf(a).localeCompare(nameOf(b)) || a - b,
  size: (a, b) => size(model.boxes[b]) - size(model.boxes[a]) || a - b,
  left: (a, b) => model.boxes[a][0] - model.boxes[b][0] || a - b,
};

// ---- drawing
function painted(chosen) {
  return all().filter(isShown).map((i) => ({
    i, box: model.boxes[i], text: `${nameOf(i)} ${percent(model.scores[i])}`, ...model.colours[model.of[i]],
    faint: chosen >= 0 && i !== chosen, strong: i === chosen,
  }));
}
function draw() {
  if (!model || !image) return;
  const [wide, high] = model.size, ratio = window.devicePixelRatio || 1;
  const width = Math.min(root.clientWidth, Math.max(200, .58 * window.innerHeight * wide / high));
  [stage.style.width, stage.style.height] = [width + "px", width * high / wide + "px"];
  const { k, x, y } = at.look, chosen = at.under >= 0 ? at.under : at.chosen;
  find("picture").style.transform = `translate(${x * width}px, ${y * width * high / wide}px) scale(${k})`;
  stage.dataset.zoomed = String(k > 1);
  const pen = Paint.sized(over, Math.round(width * ratio), Math.round(width * ratio * high / wide));
  pen.clearRect(0, 0, over.width, over.height);
  const boxes = painted(chosen), labels = Boxed.paint(pen, boxes, { k, x: x * over.width, y: y * over.height }, ratio);
  const shown = boxes.map(({ i }) => i), count = model.boxes.length;
  find("said").textContent = shown.length === count ? `${count} ${count === 1 ? "box" : "boxes"}` : `${shown.length} of ${count} boxes shown`;
  find("all").disabled = shown.length === count;
  root.dataset.shown = JSON.stringify(shown);
  root.dataset.drawn = JSON.stringify({ chosen, zoom: Number(k.toFixed(3)), labels: labels.map((one) => one && one.map(Math.round)) });
  for (const item of list.children) {
    const i = Number(item.dataset.box);
    item.dataset.chosen = String(i === chosen);
    item.dataset.hidden = String(at.hidden.has(i));
    Paint.pressed(item.firstChild, i === at.chosen);
    item.lastChild.textContent = at.hidden.has(i) ? "Show" : "Hide";
    item.lastChild.setAttribute("aria-label", `${item.lastChild.textContent} ${item.dataset.name}`);
  }
  for (const button of find("classes").children) Paint.pressed(button, at.only.has(button.dataset.name));
}
const made = (tag, fields, ...inside) => {
  const node = Object.assign(document.createElement(tag), fields);
  node.append(...inside);
  return node;
};
function fill() { // the list and the classes
  const pixels = (i) => model.boxes[i].map((v, n) => Math.round(v * model.size[n % 2])).join(", ");
  list.replaceChildren(...all().filter(isWanted).sort(ORDERS[at.sort]).map((i) => {
    const row = made("button", { type: "button", className: "dv-row", title: "x1, y1, x2, y2 in pixels: " + pixels(i) },
      made("i", {}), made("span", { textContent: nameOf(i) }), made("span", { textContent: percent(model.scores[i]) }), made("span", { textContent: pixels(i) }));
    const item = made("li", {}, row, made("button", { type: "button", className: "dv-hide" }));
    Object.assign(item.dataset, { box: i, name: `${nameOf(i)} ${i + 1}` });
    item.style.setProperty("--of-class", model.colours[model.of[i]].colour);
    return item;
  }));
  const counts = model.names.map((name, n) => [name, model.of.filter((one) => one === n).length, n]);
  find("classes").replaceChildren(...counts.map(([name, count, n]) => {
    const button = made("button", { type: "button", className: "pv-btn", textContent: `${name} ${count}` });
    button.dataset.name = name;
    button.style.setProperty("--of-class", model.colours[n].colour);
    return button;
  }));
}

// ---- what the person does
const itemOf = (event) => event.target.closest("li");
list.addEventListener("click", (event) => {
  const item = itemOf(event), i = item && Number(item.dataset.box);
  if (!item) return;
  if (!event.target.closest(".dv-hide")) at.chosen = at.chosen === i ? -1 : i;
  else if (!at.hidden.delete(i)) at.hidden.add(i);
  if (at.hidden.has(at.chosen)) at.chosen = -1;
  at.under = -1;
  draw();
});
function point(i) {
  const next = i >= 0 && isShown(i) ? i : -1;
  if (!model || at.under === next) return;
  at.under = next;
  draw();
}
for (const name of ["pointerover", "focusin"]) list.addEventListener(name, (event) => point(itemOf(event) ? Number(itemOf(event).dataset.box) : -1));
for (const name of ["pointerleave", "focusout"]) list.addEventListener(name, () => point(-1));
find("classes").addEventListener("click", (event) => {
  const button = event.target.closest("button"), name = button && button.dataset.name;
  if (!button) return;
  if (!at.only.delete(name)) at.only.add(name);
  if (at.chosen >= 0 && !isShown(at.chosen)) at.chosen = -1;
  fill();
  draw();
  [...find("classes").children].find((one) => one.dataset.name === name).focus();
});
find("sort").addEventListener("change", (event) => { at.sort = event.target.value; if (model) { fill(); draw(); } });
find("all").addEventListener("click", () => { at.hidden.clear(); at.only.clear(); fill(); draw(); });
find("save").addEventListener("click", () => { // at the picture's own size, as it is shown
  const canvas = document.createElement("canvas"), [width, height] = [image.naturalWidth, image.naturalHeight];
  const pen = Paint.picture(canvas, image, width, height);
  Boxed.paint(pen, painted(-1), { k: 1, x: 0, y: 0 }, Math.max(1, Math.sqrt(width * height) * .0018));
  canvas.toBlob((blob) => {
    const link = made("a", { href: URL.createObjectURL(blob), download: model.stem + "-boxes.jpg" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/jpeg", .92);
});

// ---- zooming; x and y are shares of the stage
function zoom(factor, spot = [.5, .5]) {
  const k = Math.min(16, Math.max(1, at.look.k * factor)), by = k / at.look.k;
  move({ k, x: spot[0] - (spot[0] - at.look.x) * by, y: spot[1] - (spot[1] - at.look.y) * by });
}
function move({ k, x, y }) {
  at.look = { k, x: Math.min(0, Math.max(1 - k, x)), y: Math.min(0, Math.max(1 - k, y)) };
  draw();
}
const spotOf = (event) => {
  const area = stage.getBoundingClientRect();
  return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
};
function boxUnder([sx, sy]) { // the smallest one that is shown
  const [x, y] = [(sx - at.look.x) / at.look.k, (sy - at.look.y) / at.look.k];
  const here = all().filter((i) => isShown(i) && model.boxes[i][0] <= x && x <= model.boxes[i][2] && model.boxes[i][1] <= y && y <= model.boxes[i][3]);
  return here.length ? here.sort((a, b) => size(model.boxes[a]) - size(model.boxes[b]))[0] : -1;
}
find("zoom").addEventListener("click", (event) => {
  const how = event.target.dataset.zoom;
  if (how === "fit") move({ k: 1, x: 0, y: 0 });
  else if (how) zoom(how === "in" ? 1.5 : 1 / 1.5);
});
stage.addEventListener("wheel", (event) => {
  if (!model || !(event.ctrlKey || event.metaKey)) return; // the page scrolls with the wheel alone
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * .005), spotOf(event));
}, { passive: false });
stage.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [.1, 0], ArrowRight: [-.1, 0], ArrowUp: [0, .1], ArrowDown: [0, -.1] }[event.key];
  const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key], { k, x, y } = at.look;
  if (!model || event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
  if (factor) zoom(factor);
  else if (event.key === "0") move({ k: 1, x: 0, y: 0 });
  else if (step && k > 1) move({ k, x: x + step[0], y: y + step[1] });
  else return;
  event.preventDefault();
});
const down = new Map(); // where each finger is
let moved = false;
stage.addEventListener("pointerdown", (event) => {
  if (!model || event.button || event.target.closest("button")) return;
  moved = down.size > 0;
  down.set(event.pointerId, spotOf(event));
  if (at.look.k > 1 || moved) stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  if (!model) return;
  const spot = spotOf(event), before = down.get(event.pointerId);
  if (!before) return event.pointerType === "mouse" ? show(event.target.closest("button") ? -1 : boxUnder(spot)) : undefined;
  const others = [...down].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
  const [dx, dy] = [spot[0] - before[0], spot[1] - before[1]], { k, x, y } = at.look;
  if (others.length) {
    const [other] = others, far = ([a, b]) => Math.hypot(a - other[0], b - other[1]);
    zoom(far(spot) / Math.max(.01, far(before)), other);
  } else if (k > 1 && (moved || Math.hypot(dx, dy) > .008)) {
    moved = true;
    move({ k, x: x + dx, y: y + dy });
  } else return;
  down.set(event.pointerId, spot);
});
function show(i) { // the row of the box under the mouse comes into sight
  point(i);
  const item = i >= 0 && [...list.children].find((one) => Number(one.dataset.box) === i);
  if (item) list.scrollTop = Math.max(0, Math.min(item.offsetTop, Math.max(list.scrollTop, item.offsetTop + item.offsetHeight - list.clientHeight)));
}
stage.addEventListener("pointerleave", () => point(-1));
for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => {
  if (!down.delete(event.pointerId) || moved || name === "pointercancel") return;
  const i = boxUnder(spotOf(event));
  [at.chosen, at.under] = [at.chosen === i ? -1 : i, -1];
  draw();
});

// ---- values from Python
Paint.follow(root, () => { model = null; }, (value, { image: picture, arrays }) => {
  const four = (flat) => Array.from({ length: flat.length / 4 }, (_, i) => Array.from(flat.subarray(4 * i, 4 * i + 4)));
  const before = root.dataset.of;
  if (before !== value.key) {
    at.hidden.clear();
    at.only.clear();
    at.look = { k: 1, x: 0, y: 0 };
    root.dataset.of = value.key;
  }
  image = picture;
  model = { ...value, boxes: four(arrays.boxes), scores: Array.from(arrays.scores), of: Array.from(arrays.classes) };
  [at.chosen, at.under] = [-1, -1];
  const shown = find("picture");
  if (shown.src !== picture.src) shown.src = picture.src;
  shown.alt = value.names.length ? "Objects found: " + value.names.join(", ") : "No object found";
  fill();
  draw();
});
Paint.onResize(root, draw);
