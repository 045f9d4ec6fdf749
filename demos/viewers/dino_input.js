// The view of features, second part: what the person does, and values from Python.
function toLevel(level) {
  at.level = level;
  find("level").value = String(level + 1);
  heads();
  draw();
}
function toHead(head) {
  at.head = head;
  find("head").value = String(head);
  draw();
}
function stop() {
  clearInterval(playing);
  playing = 0;
  Paint.pressed(find("play"), false);
}
const patches = () => model && { rows: here().grid[0], columns: here().grid[1], cell: cellIn(here()) };
for (const name of ["picture", "colours", "alike", "class"])
  Paint.pick(find(name), patches, (cell) => {
    const [rows, columns] = here().grid;
    [at.x, at.y] = [(cell % columns + .5) / columns, (Math.floor(cell / columns) + .5) / rows];
    draw();
  });
find("level").addEventListener("input", (event) => { stop(); toLevel(Number(event.target.value) - 1); });
find("head").addEventListener("change", (event) => toHead(Number(event.target.value)));
find("count").addEventListener("input", (event) => { at.count = Number(event.target.value); draw(); });
find("play").addEventListener("click", () => {
  if (playing) return stop();
  Paint.pressed(find("play"), true);
  playing = setInterval(() => {
    if (!element.isConnected || !root.getClientRects().length) return stop();
    toLevel((at.level + 1) % model.levels.length);
  }, 800);
});
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button && model && button.dataset.head) toHead(Number(button.dataset.head) === at.head ? MEAN : Number(button.dataset.head));
});

function heads() { // of this layer
  const count = here().heads;
  if (at.head >= count) at.head = MEAN;
  if (find("heads").children.length === count) return;
  const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
  const all = [...Array(count).keys()];
  find("head").replaceChildren(option(MEAN, "mean of all"), ...all.map((head) => option(head, head + 1)));
  Paint.smalls(find("heads"), all.map((head) => String(head + 1)), (button, head) => {
    button.dataset.head = head;
    button.title = "Head " + (head + 1) + ": click for this one, or again for the mean";
  });
  find("head").value = String(at.head);
}
async function receive(value) {
  stop();
  const next = value && value.numbers ? value : null, before = model ? model.levels.length : 0;
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
  find("level").max = String(model.levels.length);
  find("heads").replaceChildren();
  toLevel(before === model.levels.length ? at.level : model.levels.length - 1);
}
watch(["value"], () => receive(props.value));
receive(props.value);
