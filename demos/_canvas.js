// Runs as the body of gr.HTML's js_on_load, which hands in: element, trigger, props, watch.
// The prompts live here, in the browser. Each gesture sends all of them under a rising number,
// so a late answer can neither lose a click nor paint over a newer result. Drawing is in
// _canvas_paint.js, which Python appends to this text, so both share one scope.
"use strict";
const find = (name) => element.querySelector(".pp-" + name);
const root = element.querySelector(".pp");
const [stage, canvas, busy] = [find("stage"), find("canvas"), find("busy")];
const context = canvas.getContext("2d");
const DRAG = 6, HIT = { mouse: 11, pen: 14, touch: 18 }, MOST_POINTS = 200; // CSS px, count
const EMPTY = { points: [], box: null };

let picture = null, image = null; // what Python sent, and its decoded pixels
let prompts = EMPTY, history = [EMPTY], at = 0; // prompts is always history[at]
let mode = "include", sequence = 0, shown = 0;
let mask = null, layer = null, color = "";
let cross = null, corner = null, drag = null, lastAdd = { time: 0, x: 0, y: 0 };
let frame = 0, busyTimer = 0, busyMotion = null, sayTimer = 0;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const isEmpty = () => !prompts.points.length && !prompts.box;
const fullScreen = () => document.fullscreenElement === root;

function say(text, delay = 0) { // for screen readers; delayed while a key repeats
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => { find("say").textContent = text; }, delay);
}

// ---- prompts and their history
function commit(next, gesture) {
  history = [...history.slice(0, at + 1), next];
  at = history.length - 1;
  show(gesture);
}
function travel(step) {
  if (at + step < 0 || at + step >= history.length) return;
  at += step;
  show(step < 0 ? "undo" : "redo");
  say(step < 0 ? "Undone" : "Redone");
}
function show(gesture) {
  prompts = history[at];
  sequence += 1;
  if (isEmpty()) { // nothing asked, so nothing to wait for and nothing older may be painted
    shown = sequence;
    setMask(null);
    find("status").textContent = "";
  }
  refresh();
  trigger("prompt", {
    picture: picture.id, seq: sequence, gesture, mode, points: prompts.points, box: prompts.box,
  });
}
function addPoint(x, y, label) {
  if (prompts.points.length >= MOST_POINTS) return say("No more than " + MOST_POINTS + " points");
  commit({ points: [...prompts.points, [x, y, label]], box: prompts.box }, label ? "include" : "exclude");
  say((label ? "Include" : "Exclude") + " point at " + x + ", " + y);
}
function deletePoint(index) {
  if (index < 0) return say("No point there");
  commit({ points: prompts.points.filter((_, i) => i !== index), box: prompts.box }, "delete");
  say("Point removed");
}
function setBox(a, b) { // two corners in picture coordinates
  const x = [a[0], b[0]].map((v) => clamp(Math.round(v), 0, picture.w)).sort((p, q) => p - q);
  const y = [a[1], b[1]].map((v) => clamp(Math.round(v), 0, picture.h)).sort((p, q) => p - q);
  if (x[0] === x[1] || y[0] === y[1]) return;
  commit({ points: prompts.points, box: [x[0], y[0], x[1], y[1]] }, "box");
  say("Box " + (x[1] - x[0]) + " by " + (y[1] - y[0]));
}
function dropBox() {
  if (drag || corner) { drag = corner = null; return draw(); }
  if (!prompts.box) return;
  commit({ points: prompts.points, box: null }, "unbox");
  say("Box removed");
}
function nearest(x, y, reach) { // reach in CSS px; index of the nearest point, or -1
  const scale = canvas.getBoundingClientRect().width / picture.w;
  let best = -1, least = reach;
  prompts.points.forEach(([px, py], index) => {
    const distance = Math.hypot(px + 0.5 - x, py + 0.5 - y) * scale;
    if (distance <= least) { least = distance; best = index; }
  });
  return best;
}
function setMode(next) {
  mode = next;
  refresh();
  say(next === "include" ? "Clicks include" : "Clicks exclude");
}
const actions = {
  include: () => setMode("include"),
  exclude: () => setMode("exclude"),
  undo: () => travel(-1),
  redo: () => travel(1),
  clear: () => { if (!isEmpty()) { commit(EMPTY, "clear"); say("Cleared"); } },
  full: () => (fullScreen() ? document.exitFullscreen() : root.requestFullscreen()),
};

// ---- what Python sends
function setPicture(next) {
  next = next && next.src ? next : null;
  if ((next && next.id) === (picture && picture.id)) return;
  picture = next;
  image = null;
  sequence += 1;
  shown = sequence; // answers to the picture before are too old now
  prompts = EMPTY; history = [EMPTY]; at = 0;
  cross = corner = drag = null;
  setMask(null);
  find("status").textContent = "";
  root.dataset.empty = String(!picture);
  refresh();
  if (!picture) return;
  const alt = picture.alt || "Your picture";
  canvas.textContent = alt;
  canvas.setAttribute("aria-label", (props.label ? props.label + ": " : "") + alt);
  const loading = new Image();
  loading.onload = () => { if (picture === next) { image = loading; layout(); } };
  loading.src = picture.src;
  layout();
  if ((picture.points || []).length || picture.box)
    commit({ points: picture.points || [], box: picture.box || null }, "preset");
}
function receive(answer) {
  if (!answer || typeof answer !== "object" || !picture) return;
  if (answer.picture && answer.picture !== picture.id) return;
  if (answer.seq == null) { // only words, such as "Reading the picture"
    if (answer.status != null) find("status").textContent = answer.status;
    return;
  }
  if (answer.seq < shown) return;
  shown = answer.seq;
  find("status").textContent = answer.status || "";
  color = answer.color || "";
  setMask(answer.mask);
  refresh();
}
function setMask(source) {
  mask = layer = null;
  root.dataset.painted = String(shown);
  if (!source) return draw();
  const number = shown, loading = new Image();
  root.dataset.painted = "";
  loading.onload = () => {
    if (number !== shown) return;
    mask = loading;
    paintLayer();
    paint();
    root.dataset.painted = String(number);
  };
  loading.src = source;
}

// ---- the tools beside the picture
function refresh() {
  const excluded = prompts.points.filter((point) => !point[2]).length;
  const parts = [];
  if (prompts.points.length > excluded) parts.push(prompts.points.length - excluded + " include");
  if (excluded) parts.push(excluded + " exclude");
  if (prompts.box) parts.push("1 box");
  find("count").textContent = parts.join(", ");
  find("include").setAttribute("aria-pressed", String(mode === "include"));
  find("exclude").setAttribute("aria-pressed", String(mode === "exclude"));
  // aria-disabled keeps the focus on a button that runs out of work
  const idle = { undo: at === 0, redo: at === history.length - 1, clear: isEmpty(), full: !picture };
  for (const [name, off] of Object.entries(idle))
    root.querySelector('[data-act="' + name + '"]').setAttribute("aria-disabled", String(off));
  root.dataset.seq = String(sequence);
  setBusy(shown < sequence);
  draw();
}
function setBusy(on) {
  canvas.setAttribute("aria-busy", String(on));
  clearTimeout(busyTimer);
  if (!on) {
    busy.hidden = true;
    if (busyMotion) busyMotion.cancel();
    return;
  }
  busyTimer = setTimeout(() => {
    busy.hidden = false;
    const travelled = [{ left: "-30%" }, { left: "100%" }];
    busyMotion = busy.animate(travelled, { duration: 1100, iterations: Infinity });
    busyTimer = setTimeout(() => setBusy(false), 60000); // an error leaves no answer behind
  }, 250);
}

// ---- pointer
function place(event) { // picture coordinates; the canvas box has no padding, so a ratio is enough
  const rect = canvas.getBoundingClientRect();
  return [
    ((event.clientX - rect.left) / rect.width) * picture.w,
    ((event.clientY - rect.top) / rect.height) * picture.h,
  ];
}
const pixel = ([x, y]) => [clamp(Math.floor(x), 0, picture.w - 1), clamp(Math.floor(y), 0, picture.h - 1)];

canvas.addEventListener("pointerdown", (event) => {
  if (!picture || (event.button !== 0 && event.button !== 2)) return;
  if (!event.isPrimary) { drag = null; return draw(); } // a second finger: the page is being pinched
  canvas.focus({ preventScroll: true, focusVisible: false });
  cross = null;
  canvas.setPointerCapture(event.pointerId);
  const from = place(event);
  drag = { from, to: from, start: [event.clientX, event.clientY], right: event.button === 2, moved: false };
  draw();
});
canvas.addEventListener("pointermove", (event) => {
  if (!drag || !event.isPrimary) return;
  drag.to = place(event);
  const moved = Math.hypot(event.clientX - drag.start[0], event.clientY - drag.start[1]) >= DRAG;
  if (moved && !drag.right) drag.moved = true;
  draw();
});
canvas.addEventListener("pointerup", (event) => {
  if (!drag || !event.isPrimary) return;
  const done = drag;
  drag = null;
  draw();
  if (done.moved) return setBox(done.from, place(event));
  tap(done, event);
});
canvas.addEventListener("pointercancel", () => { drag = null; draw(); });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());

function tap(done, event) {
  const [x, y] = done.from;
  if (event.altKey) return deletePoint(nearest(x, y, 2 * HIT.touch));
  const away = Math.hypot(event.clientX - lastAdd.x, event.clientY - lastAdd.y);
  if (event.timeStamp - lastAdd.time < 350 && away < 4) return; // the second half of a double click
  const hit = nearest(x, y, HIT[event.pointerType] || HIT.mouse);
  if (hit >= 0) return deletePoint(hit);
  lastAdd = { time: event.timeStamp, x: event.clientX, y: event.clientY };
  const exclude = done.right || event.shiftKey || event.ctrlKey || mode === "exclude";
  addPoint(...pixel([x, y]), exclude ? 0 : 1);
}

// ---- keyboard
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function moveCross(event) {
  const [dx, dy] = ARROWS[event.key];
  const side = Math.max(picture.w, picture.h);
  const step = event.ctrlKey ? 1 : Math.max(1, Math.round(side / (event.shiftKey ? 20 : 100)));
  const [x, y] = pixel([cross[0] + dx * step, cross[1] + dy * step]);
  cross = [x + 0.5, y + 0.5];
  say("x " + x + ", y " + y, 400);
  draw();
}
function canvasKey(event) {
  cross = cross || pixel([picture.w / 2, picture.h / 2]).map((v) => v + 0.5);
  if (ARROWS[event.key]) moveCross(event);
  else if (event.key === "Enter" || event.key === " ")
    addPoint(...pixel(cross), event.shiftKey || mode === "exclude" ? 0 : 1);
  else if (event.key === "Delete" || event.key === "Backspace") deletePoint(nearest(...cross, Infinity));
  else if (event.key === "Escape") dropBox();
  else if (event.key.toLowerCase() === "b" && !event.ctrlKey) {
    const first = corner;
    corner = first ? null : [...cross];
    if (first) setBox(first, cross); else { say("First corner of a box set"); draw(); }
  } else return false;
  return true;
}
root.addEventListener("keydown", (event) => {
  if (!picture) return;
  const key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey;
  let taken = true;
  if (command && key === "z") travel(event.shiftKey ? 1 : -1);
  else if (command && key === "y") travel(1);
  else taken = event.target === canvas && !event.metaKey && !event.altKey && canvasKey(event);
  if (taken) event.preventDefault();
});
canvas.addEventListener("focus", () => {
  if (!picture || drag || !canvas.matches(":focus-visible")) return;
  cross = cross || pixel([picture.w / 2, picture.h / 2]).map((v) => v + 0.5);
  draw();
});
canvas.addEventListener("blur", draw);

// ---- start
element.parentElement.style.padding = "0"; // gr.HTML indents its content, other blocks do not
root.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button && button.getAttribute("aria-disabled") !== "true") actions[button.dataset.act]();
});
document.addEventListener("fullscreenchange", () => {
  find("full").setAttribute("aria-pressed", String(fullScreen()));
  layout();
});
if (!document.fullscreenEnabled) find("full").style.display = "none";
new ResizeObserver(layout).observe(stage);
window.addEventListener("resize", layout); // page zoom changes the pixel density
watch(["picture"], () => setPicture(props.picture));
watch(["value"], () => receive(props.value));
refresh();
setPicture(props.picture);
receive(props.value);
