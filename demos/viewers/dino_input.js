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
const stop = Paint.player(find("play"), root, 800, () => toLevel((at.level + 1) % model.levels.length));
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
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button && model && button.dataset.head) toHead(Number(button.dataset.head) === at.head ? MEAN : Number(button.dataset.head));
});

function heads() { // of this layer
  const count = here().heads;
  if (at.head >= count) at.head = MEAN;
  if (find("heads").children.length === count) return;
  Paint.heads(find("head"), find("heads"), count, MEAN);
  find("head").value = String(at.head);
}
let before = 0; // layers of the model before
Paint.follow(root, () => {
  stop();
  before = model ? model.levels.length : 0;
  model = null;
}, (value, loaded) => {
  image = loaded.image;
  model = { ...value, ...loaded.arrays };
  find("level").max = String(model.levels.length);
  find("heads").replaceChildren();
  toLevel(before === model.levels.length ? at.level : model.levels.length - 1);
});
