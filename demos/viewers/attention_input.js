// The attention view, second part: what the person does, and values from Python.
function choose(token) {
  at.token = Math.min(model.tokens - 1, Math.max(0, token));
  draw();
}
find("picture").addEventListener("click", (event) => {
  if (!model) return;
  const box = event.target.getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / box.width * model.columns);
  const row = Math.floor((event.clientY - box.top) / box.height * model.rows);
  choose(first() + Math.min(model.rows - 1, row) * model.columns + Math.min(model.columns - 1, column));
});
find("picture").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step || !model) return;
  event.preventDefault();
  if (at.token < first()) return choose(first());
  const column = Math.min(model.columns - 1, Math.max(0, columnOf(at.token) + step[0]));
  const row = Math.min(model.rows - 1, Math.max(0, rowOf(at.token) + step[1]));
  choose(first() + row * model.columns + column);
});
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
  find("play").setAttribute("aria-pressed", "false");
}
find("layer").addEventListener("input", (event) => { stop(); toLayer(Number(event.target.value) - 1); });
find("head").addEventListener("change", (event) => toHead(Number(event.target.value)));
find("temp").addEventListener("input", (event) => {
  at.temperature = 10 ** Number(event.target.value);
  draw();
});
find("play").addEventListener("click", () => {
  if (playing) return stop();
  find("play").setAttribute("aria-pressed", "true");
  playing = setInterval(() => {
    if (!element.isConnected || !root.getClientRects().length) return stop();
    toLayer((at.layer + 1) % model.layers);
  }, 700);
});
find("all").addEventListener("toggle", draw);
find("matrix").addEventListener("pointermove", (event) => {
  const box = event.target.getBoundingClientRect();
  const place = (offset, length) => Math.min(model.tokens - 1, Math.max(0, Math.floor(offset / length * model.tokens)));
  const i = place(event.clientY - box.top, box.height), j = place(event.clientX - box.left, box.width);
  const name = nameOf(i)[0].toUpperCase() + nameOf(i).slice(1);
  find("pair").textContent = `${name} looks at ${nameOf(j)}: ${share(weightsOf(at.layer, at.head, i)[j])}.`;
});
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !model) return;
  if (button.dataset.t) toTemperature(Number(button.dataset.t));
  if (button.dataset.head) toHead(Number(button.dataset.head) === at.head ? MEAN : Number(button.dataset.head));
  if (button.dataset.token) choose(Number(button.dataset.token));
});

function place() { // the controls of this model
  find("layer").max = String(model.layers);
  const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
  const heads = [...Array(model.heads).keys()];
  find("head").replaceChildren(option(MEAN, "mean of all"), ...heads.map((head) => option(head, head + 1)));
  find("heads").replaceChildren(...heads.map((head) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.head = head;
    button.title = "Head " + (head + 1) + ": click for this one, or again for the mean";
    button.append(document.createElement("canvas"), String(head + 1));
    return button;
  }));
  find("who").replaceChildren(...model.special.map((name, token) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "at-btn";
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
  const loading = new Image();
  loading.src = fileAddress(next.picture);
  const answer = await fetch(fileAddress(next.numbers)).catch(() => null);
  if (!answer || !answer.ok) {
    root.dataset.empty = "true";
    return;
  }
  const all = new Int16Array(await answer.arrayBuffer());
  await loading.decode().catch(() => {});
  if (props.value !== value) return; // another picture came meanwhile
  image = loading;
  model = { ...next, queries: all.subarray(0, all.length / 2), keys: all.subarray(all.length / 2) };
  at.layer = Math.min(at.layer || model.layers - 1, model.layers - 1);
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
