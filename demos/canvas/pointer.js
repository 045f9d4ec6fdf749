// Mouse, pen and touch. A short press adds or deletes a point, a drag draws a box; space, the
// middle button or two fingers move the picture, the wheel or a pinch zooms.
const DRAG = 6, HIT = { mouse: 11, pen: 14, touch: 18 }; // CSS px
const fingers = new Map();
let pinch = null, lastAdd = { time: 0, x: 0, y: 0 }, space = false;

canvas.addEventListener("pointerdown", (event) => {
  if (!picture || event.button > 2) return;
  cancelPreview();
  canvas.focus({ preventScroll: true, focusVisible: false });
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, spotOf(event));
  if (fingers.size === 2) { drag = null; pinch = spread(); return draw(); }
  if (fingers.size > 2) return;
  cross = null;
  const from = place(event), pan = event.button === 1 || (space && event.button === 0);
  drag = {
    from, to: from, start: [event.clientX, event.clientY], spot: spotOf(event), pan,
    right: event.button === 2, moved: false,
  };
  root.dataset.panning = String(pan);
  draw();
});
canvas.addEventListener("pointermove", (event) => {
  if (!picture) return;
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, spotOf(event));
  if (pinch) return fingers.size === 2 ? movePinch() : undefined;
  if (!drag) return hover(event);
  const spot = spotOf(event);
  if (drag.pan) {
    panBy(spot[0] - drag.spot[0], spot[1] - drag.spot[1]);
    drag.spot = spot;
    return;
  }
  drag.to = place(event);
  const moved = Math.hypot(event.clientX - drag.start[0], event.clientY - drag.start[1]) >= DRAG;
  if (moved && !drag.right && mode !== "pick") drag.moved = true;
  draw();
});
canvas.addEventListener("pointerup", (event) => {
  fingers.delete(event.pointerId);
  if (pinch) { if (!fingers.size) pinch = null; return; } // the second finger is not a click
  if (!drag) return;
  const done = drag;
  drag = null;
  root.dataset.panning = "false";
  draw();
  if (done.pan) return;
  if (done.moved) return setBox(done.from, place(event));
  tap(done, event);
});
canvas.addEventListener("pointercancel", (event) => {
  fingers.delete(event.pointerId);
  if (!fingers.size) pinch = null;
  drag = null;
  draw();
});
canvas.addEventListener("pointerenter", () => { root.dataset.inside = "true"; });
canvas.addEventListener("pointerleave", () => { delete root.dataset.inside; cancelPreview(); });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("mousedown", (event) => { // no scrolling by the middle button
  if (event.button === 1) event.preventDefault();
});
canvas.addEventListener("wheel", (event) => {
  if (!picture) return;
  const closer = event.deltaY < 0;
  if (!closer && view.k === 1 && !event.ctrlKey) return; // the whole picture is visible: let the page scroll
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 16 : 1;
  zoomBy(Math.exp(clamp(-event.deltaY * lines, -240, 240) * (event.ctrlKey ? 0.01 : 0.0022)), spotOf(event));
}, { passive: false });

function spread() { // distance and midpoint of two fingers
  const [a, b] = [...fingers.values()];
  return { far: Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1])), mid: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] };
}
function movePinch() {
  const next = spread();
  panBy(next.mid[0] - pinch.mid[0], next.mid[1] - pinch.mid[1]);
  zoomBy(next.far / pinch.far, next.mid);
  pinch = next;
}
function tap(done, event) {
  const [x, y] = done.from;
  if (mode === "pick") return pickAt(pixel([x, y]));
  if (event.altKey) return deletePoint(nearest(x, y, 2 * HIT.touch));
  const away = Math.hypot(event.clientX - lastAdd.x, event.clientY - lastAdd.y);
  if (event.timeStamp - lastAdd.time < 350 && away < 4) return; // the second half of a double click
  const hit = nearest(x, y, HIT[event.pointerType] || HIT.mouse);
  if (hit >= 0) return deletePoint(hit);
  lastAdd = { time: event.timeStamp, x: event.clientX, y: event.clientY };
  const exclude = done.right || event.shiftKey || event.ctrlKey || mode === "exclude";
  addPoint(...pixel([x, y]), exclude ? 0 : 1);
}
function pickAt([x, y]) { // a mask of everything mode becomes an object; Python knows which
  trigger("pick", { picture: picture.id, x, y });
  say("Picking the mask at " + x + ", " + y);
}
