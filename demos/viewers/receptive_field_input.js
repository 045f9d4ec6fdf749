// The receptive field view, second part: what the person does, and values from Python.
const make = (tag, fields, ...children) => {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
};
function number(i, name) { // the input of one number of one layer
  const [low, high] = LIMITS[name], step = at.steps[i];
  const made = make("input", { type: "number", min: low, max: high, step: 1, value: step[name], inputMode: "numeric" });
  made.setAttribute("aria-label", `${name} of layer ${i + 1}`);
  made.addEventListener("input", () => {
    const value = Number(made.value);
    const fine = Number.isInteger(value) && value >= low && value <= high;
    made.setAttribute("aria-invalid", String(!fine));
    if (!fine) {
      find("wrong").textContent = `The ${name} of layer ${i + 1} must be a whole number between ${low} and ${high}.`;
      root.dataset.drawn = "wrong";
      return;
    }
    const same = step.kind === "conv" && step.padding === Math.floor((step.kernel - 1) * step.dilation / 2);
    step[name] = value;
    if (same) step.padding = Math.floor((step.kernel - 1) * step.dilation / 2);
    edited();
    at.row = i;
    draw();
  });
  return make("td", {}, made);
}
function edited() {
  at.chain = "yours";
  find("preset").value = "yours";
  find("about").textContent = "Your own chain. A convolution whose map kept its size before keeps it: its padding follows the kernel.";
}
function rows() {
  find("rows").replaceChildren(...at.steps.map((step, i) => {
    const pick = make("button", { type: "button", className: "rf-pick", textContent: step.name, title: step.kind });
    pick.dataset.row = i;
    const away = make("button", { type: "button", className: "rf-away", textContent: "×", title: "Remove this layer" });
    away.setAttribute("aria-label", `Remove layer ${i + 1}, ${step.name}`);
    away.dataset.away = i;
    const open = step.kind !== "attention";
    const cells = ["kernel", "stride", "dilation"].map((name) => (open ? number(i, name) : make("td", { textContent: "" })));
    return make("tr", {}, make("td", {}, pick), make("td", { className: "rf-size" }), ...cells,
      make("td", { className: "rf-jump" }), make("td", { className: "rf-units" }), make("td", {}, away));
  }));
}
function load(key) {
  const chosen = model.chains.find((one) => one.key === key);
  if (!chosen) return;
  at.chain = key;
  at.steps = chosen.steps.map((step) => ({ ...step }));
  at.side = chosen.side;
  const last = fields(at.steps, at.side), seen = last.findLastIndex((field) => field.size <= at.side);
  at.row = last.at(-1).size === Infinity && seen >= 0 ? seen : at.steps.length - 1;
  find("preset").value = key;
  find("side").value = String(at.side);
  find("about").textContent = chosen.about;
  rows();
  draw();
}
find("preset").addEventListener("change", (event) => load(event.target.value));
find("side").addEventListener("input", (event) => {
  const value = Number(event.target.value);
  if (!Number.isInteger(value) || value < 8 || value > 4096) {
    find("wrong").textContent = "The picture must have 8 to 4096 pixels a side.";
    return;
  }
  at.side = value;
  draw();
});
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !model) return;
  if (button.dataset.row) { at.row = Number(button.dataset.row); draw(); }
  if (button.dataset.layer) show(Number(button.dataset.layer));
  if (button.dataset.away) {
    at.steps.splice(Number(button.dataset.away), 1);
    edited(); rows(); draw();
    (find("rows").querySelector(".rf-pick") || find("preset")).focus();
  }
  if (button.dataset.kind) {
    const conv = button.dataset.kind === "conv", most = model.most;
    if (at.steps.length >= most) {
      find("wrong").textContent = `A chain can have at most ${most} layers.`;
      return;
    }
    const name = button.dataset.kind + (at.steps.filter((step) => step.kind === button.dataset.kind).length + 1);
    at.steps.push({ name, kind: button.dataset.kind, kernel: conv ? 3 : 2, stride: conv ? 1 : 2, dilation: 1, padding: conv ? 1 : 0, ceil: false });
    at.row = at.steps.length - 1;
    edited(); rows(); draw();
  }
});
// ---- the measured unit
let asking = 0;
function show(layer) { // one that has been measured
  clearTimeout(asking);
  at.layer = layer;
  at.unit = model.measured[layer];
  drawMeasured();
}
function measure(name, row, column, pause) { // any other one, after a pause in which it may still move
  const known = model.measured.findIndex((one) => one.name === name && one.row === row && one.column === column);
  if (known >= 0) return show(known);
  clearTimeout(asking);
  at.unit = { name, row, column };
  drawMeasured();
  asking = setTimeout(() => Paint.ask(element, "receptive-field", "unit", `${name} ${row + 1} ${column + 1}`), pause);
}
const units = () => {
  if (!model) return null;
  const [rows, columns] = gridOf(at.unit.name);
  return { rows, columns, cell: at.unit.row * columns + at.unit.column };
};
Paint.pick(find("measured"), units, (cell) => {
  const { columns } = units();
  measure(at.unit.name, Math.floor(cell / columns), cell % columns, 400);
});
find("any").addEventListener("change", (event) => { // the unit at the same place of that layer
  const [old, now] = [at.unit.name, event.target.value].map(gridOf);
  const moved = (index, i) => Math.floor((index + .5) * now[i] / old[i]);
  measure(event.target.value, moved(at.unit.row, 0), moved(at.unit.column, 1), 0);
});
find("picture").addEventListener("click", (event) => {
  const box = event.target.getBoundingClientRect();
  [at.x, at.y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  draw();
});
find("picture").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step || !model) return;
  event.preventDefault();
  [at.x, at.y] = [at.x + step[0] / 28, at.y + step[1] / 28].map((v) => Math.min(1, Math.max(0, v)));
  draw();
});
Paint.follow(root, () => { clearTimeout(asking); model = null; }, (value, got) => {
  image = got.image;
  const steps = JSON.stringify(at.chain === OWN ? at.own : null);
  model = { ...value, ...got.arrays };
  const option = (one) => make("option", { value: one.key, textContent: one.title });
  find("preset").replaceChildren(...model.chains.map(option), option({ key: "yours", title: "Your own" }));
  find("layers").replaceChildren(...model.measured.map((one, layer) => {
    const own = value.chosen && layer === model.measured.length - 1;
    const button = make("button", { type: "button", className: "pv-btn", textContent: own ? `${one.name}, ${placeOf(one)}` : one.name });
    button.dataset.layer = layer;
    return button;
  }));
  find("any").replaceChildren(...model.units.map((one) => make("option", { value: one.name, textContent: `${one.name}, ${one.grid.join(" x ")}` })));
  at.own = model.chains.find((one) => one.key === OWN)?.steps;
  // A chain stays with a new picture, and the checkpoint's own with a new unit.
  const kept = at.steps.length && (at.chain === OWN ? steps === JSON.stringify(at.own) : at.chain);
  if (kept) { find("preset").value = at.chain; rows(); draw(); } else load(model.chains[0].key);
  const last = model.measured.length - 1;
  show(value.chosen ? last : Math.min(last, Math.max(at.layer, Math.floor((last + 1) / 2))));
});
