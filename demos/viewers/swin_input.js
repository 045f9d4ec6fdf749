// The view of Swin's windows, second part: what the person does, and values from Python.
function toBlock(number) {
  at.block = number;
  find("block").value = String(number + 1);
  heads();
  draw();
}
function toHead(head) {
  at.head = head;
  find("head").value = String(head);
  draw();
}
const stop = Paint.player(find("play"), root, 900, () => toBlock((at.block + 1) % model.blocks.length));
const patches = () => model && { rows: here().grid[0], columns: here().grid[1], cell: cellIn(here()) };
Paint.pick(find("picture"), patches, (cell) => {
  const [rows, columns] = here().grid;
  [at.x, at.y] = [(cell % columns + .5) / columns, (Math.floor(cell / columns) + .5) / rows];
  draw();
});
find("block").addEventListener("input", (event) => { stop(); toBlock(Number(event.target.value) - 1); });
find("head").addEventListener("change", (event) => toHead(Number(event.target.value)));
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !model) return;
  if (button.dataset.mode) { at.mode = button.dataset.mode; draw(); }
  if (button.dataset.head) toHead(Number(button.dataset.head) === at.head ? MEAN : Number(button.dataset.head));
  if (button.dataset.block) { stop(); toBlock(Number(button.dataset.block)); }
});

function heads() { // of this block; stages have different numbers of them
  const count = here().heads;
  if (at.head >= count) at.head = MEAN;
  if (!weighted() || find("heads").children.length === count) return;
  Paint.heads(find("head"), find("heads"), count, MEAN);
  find("head").value = String(at.head);
}
function stages() {
  const firsts = model.blocks.map((block, number) => ({ ...block, at: number })).filter((block) => !block.number);
  const names = firsts.map((block) => `Stage ${block.stage + 1}: ${block.grid.join(" x ")} patches of ${block.dim} numbers`);
  Paint.smalls(find("stages"), names, (button, i) => { button.dataset.block = firsts[i].at; });
}
Paint.follow(root, () => {
  stop();
  model = null;
}, (value, loaded) => {
  image = loaded.image;
  model = { ...value, ...loaded.arrays };
  root.dataset.weights = String(weighted());
  find("block").max = String(model.blocks.length);
  find("heads").replaceChildren();
  stages();
  toBlock(Math.min(at.block, model.blocks.length - 1));
});
