// The attention view, second part: what the person does, and values from Python.
function choose(token) {
  at.token = Math.min(model.tokens - 1, Math.max(0, token));
  draw();
}
const patches = () => model && { rows: model.rows, columns: model.columns, cell: at.token - first() };
Paint.pick(find("picture"), patches, (cell) => choose(first() + cell));
const count = () => model.layers + (model.readout ? 1 : 0);
function toLayer(layer) {
  at.layer = layer;
  find("layer").value = String(layer + 1);
  draw();
}
function toHead(head) {
  at.head = head;
  find("head").value = String(head);
  draw();
}
function toTemperature(value) {
  at.temperature = value;
  find("temp").value = String(Math.log10(value));
  draw();
}
const stop = Paint.player(find("play"), root, 700, () => toLayer((at.layer + 1) % count()));
find("layer").addEventListener("input", (event) => { stop(); toLayer(Number(event.target.value) - 1); });
find("head").addEventListener("change", (event) => toHead(Number(event.target.value)));
find("temp").addEventListener("input", (event) => {
  at.temperature = 10 ** Number(event.target.value);
  draw();
});
find("all").addEventListener("toggle", draw);
find("matrix").addEventListener("pointermove", (event) => {
  const cell = Paint.cellAt(event, model.tokens, model.tokens);
  const i = Math.floor(cell / model.tokens), j = cell % model.tokens;
  find("pair").textContent = `${capital(nameOf(i))} looks at ${nameOf(j)}: ${share(isReadout(at.layer) && i ? 0 : weightsOf(at.layer, at.head, i)[j])}.`;
});
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !model) return;
  if (button.dataset.t) toTemperature(Number(button.dataset.t));
  if (button.dataset.head) toHead(Number(button.dataset.head) === at.head ? MEAN : Number(button.dataset.head));
  if (button.dataset.token) choose(Number(button.dataset.token));
});

function place() { // the controls of this model
  find("layer").max = String(count());
  Paint.heads(find("head"), find("heads"), model.heads, MEAN);
  find("who").replaceChildren(...model.special.map((name, token) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "pv-btn";
    button.dataset.token = token;
    button.textContent = name;
    return button;
  }));
}
Paint.follow(root, () => {
  stop();
  model = null;
  matrix = "";
}, (value, loaded) => {
  image = loaded.image;
  model = { ...value, ...loaded.arrays };
  at.layer = Math.min(at.layer || model.layers - 1, count() - 1);
  if (at.head >= model.heads) at.head = MEAN;
  at.token = Math.min(at.token, model.tokens - 1);
  if (!at.token && !model.special.length) at.token = Math.floor(model.tokens / 2);
  place();
  find("layer").value = String(at.layer + 1);
  find("head").value = String(at.head);
  draw();
});
