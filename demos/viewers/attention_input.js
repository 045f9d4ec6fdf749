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
function stop() {
  clearInterval(playing);
  playing = 0;
  Paint.pressed(find("play"), false);
}
find("layer").addEventListener("input", (event) => { stop(); toLayer(Number(event.target.value) - 1); });
find("head").addEventListener("change", (event) => toHead(Number(event.target.value)));
find("temp").addEventListener("input", (event) => {
  at.temperature = 10 ** Number(event.target.value);
  draw();
});
find("play").addEventListener("click", () => {
  if (playing) return stop();
  Paint.pressed(find("play"), true);
  playing = setInterval(() => {
    if (!element.isConnected || !root.getClientRects().length) return stop();
    toLayer((at.layer + 1) % count());
  }, 700);
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
  const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
  const heads = [...Array(model.heads).keys()];
  find("head").replaceChildren(option(MEAN, "mean of all"), ...heads.map((head) => option(head, head + 1)));
  Paint.smalls(find("heads"), heads.map((head) => String(head + 1)), (button, head) => {
    button.dataset.head = head;
    button.title = "Head " + (head + 1) + ": click for this one, or again for the mean";
  });
  find("who").replaceChildren(...model.special.map((name, token) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "pv-btn";
    button.dataset.token = token;
    button.textContent = name;
    return button;
  }));
}
async function receive(value) {
  stop();
  const next = value && value.numbers ? value : null;
  root.dataset.empty = String(!next);
  model = null;
  if (!next) return;
  const loaded = await Paint.load(next, () => props.value === value);
  if (props.value !== value) return; // another picture came meanwhile
  if (!loaded) {
    root.dataset.empty = "true";
    return;
  }
  image = loaded.image;
  model = { ...next, ...loaded.arrays };
  at.layer = Math.min(at.layer || model.layers - 1, count() - 1);
  if (at.head >= model.heads) at.head = MEAN;
  at.token = Math.min(at.token, model.tokens - 1);
  if (!at.token && !model.special.length) at.token = Math.floor(model.tokens / 2);
  place();
  find("layer").value = String(at.layer + 1);
  find("head").value = String(at.head);
  draw();
}
watch(["value"], () => receive(props.value));
receive(props.value);
