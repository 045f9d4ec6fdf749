// The keyboard: a cross-hair for use without a mouse, and shortcuts.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  Enter: (event) => mark(event),
  Delete: () => deletePoint(nearest(...cross, Infinity)),
  Backspace: () => deletePoint(nearest(...cross, Infinity)),
  Escape: () => dropBox(),
  b: () => boxCorner(),
  n: () => addObject(),
  "[": () => stepObject(-1),
  "]": () => stepObject(1),
  "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => look({ x: 0, y: 0, k: 1 }),
};

function startCross() { // in the middle of the view
  cross = cross || pixel([view.x + picture.w / view.k / 2, view.y + picture.h / view.k / 2]).map((v) => v + 0.5);
}
function moveCross(event) {
  const [dx, dy] = ARROWS[event.key];
  const side = Math.max(picture.w, picture.h) / view.k;
  const step = event.ctrlKey ? 1 : Math.max(1, Math.round(side / (event.shiftKey ? 20 : 100)));
  const [x, y] = pixel([cross[0] + dx * step, cross[1] + dy * step]);
  cross = [x + 0.5, y + 0.5];
  if (view.k > 1) reveal(cross);
  say("x " + x + ", y " + y, 400);
  draw();
}
function mark(event) {
  if (mode === "pick") return pickAt(pixel(cross));
  addPoint(...pixel(cross), event.shiftKey || mode === "exclude" ? 0 : 1);
}
function boxCorner() {
  const first = corner;
  corner = first ? null : [...cross];
  if (first) return setBox(first, cross);
  say("First corner of a box set");
  draw();
}
function canvasKey(event) {
  const command = event.ctrlKey || event.metaKey || event.altKey;
  const known = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!ARROWS[event.key] && (!known || command)) return false;
  startCross();
  if (ARROWS[event.key]) moveCross(event); else known(event);
  return true;
}
root.addEventListener("keydown", (event) => {
  if (!picture) return;
  const key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey;
  let taken = true;
  if (command && key === "z") travel(event.shiftKey ? 1 : -1);
  else if (command && key === "y") travel(1);
  else if (key === " " && event.target === canvas) { space = true; root.dataset.space = "true"; }
  else taken = event.target === canvas && !event.metaKey && !event.altKey && canvasKey(event);
  if (taken) event.preventDefault();
});
function endSpace() { space = false; delete root.dataset.space; }
root.addEventListener("keyup", (event) => { if (event.key === " ") endSpace(); });
canvas.addEventListener("focus", () => {
  if (!picture || drag || !canvas.matches(":focus-visible")) return;
  startCross();
  draw();
});
canvas.addEventListener("blur", () => { endSpace(); draw(); });
