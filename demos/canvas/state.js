// The script of the point-prompt canvas, first part: the objects with their prompts, and the undo
// history. Python joins the scripts of this folder in the order of component.py into the body of
// gr.HTML's js_on_load, which provides: element, trigger, props, watch. So they share one scope.
//
// A scene is never modified, only replaced: undo is a step back in a list of scenes. Every state of
// an object's prompts has its own number, its `rev`. Masks are cached by `rev`, so undo paints at
// once, and a late answer can neither lose a click nor paint over a newer mask.
"use strict";
const find = (name) => element.querySelector(".pp-" + name);
const root = element.querySelector(".pp");
const [stage, canvas, busy] = [find("stage"), find("canvas"), find("busy")];
const context = canvas.getContext("2d");
const NOTHING = "Click what you want to cut out.";
const MOST_POINTS = 64, MOST_OBJECTS = 40; // of one object, as in core.segment; of a picture
const COLORS = [
  "#1e90ff", "#ff7f0e", "#2ca02c", "#e377c2", "#9467bd", "#17becf", "#ffd60a", "#d62728",
  "#7fdb6a", "#8c564b", "#b39ddb", "#00695c",
];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

let picture = null, image = null; // from Python, and its decoded pixels
let lastId = 0, lastRev = 0, sequence = 0, shown = 0;
let scene = null, history = [], at = 0; // scene is always history[at]
let mode = "include", cross = null, corner = null, drag = null;

function freeColor(taken) { // the first of the least used colours
  const uses = (color) => taken.filter((object) => object.color === color).length;
  const least = Math.min(...COLORS.map(uses));
  return COLORS.find((color) => uses(color) === least);
}
const isBare = (object) => !object.points.length && !object.box && !object.given;
const active = () => scene.objects.find((object) => object.id === scene.active) || scene.objects[0];

function newObject(given = {}, others = []) {
  lastId += 1;
  lastRev += 1;
  return {
    id: lastId, rev: lastRev, name: given.name || "Object " + lastId, color: freeColor(others),
    points: given.points || [], box: given.box || null, given: given.given || null, choice: null,
  };
}
function resetScene() { // a new picture
  lastId = 0;
  const made = newObject();
  scene = { objects: [made], active: made.id };
  history = [scene];
  at = 0;
}

// ---- changes and their history
function commit(next, gesture) {
  history = [...history.slice(0, at + 1), next];
  at = history.length - 1;
  show(gesture);
}
function change(object, values, gesture) { // new prompts, so a new rev
  lastRev += 1;
  const changed = { ...object, ...values, rev: lastRev };
  commit(withObject(changed), gesture);
}
const withObject = (changed) => ({
  objects: scene.objects.map((object) => (object.id === changed.id ? changed : object)),
  active: changed.id,
});
function travel(step) {
  if (at + step < 0 || at + step >= history.length) return;
  at += step;
  show(step < 0 ? "undo" : "redo");
  say(step < 0 ? "Undone" : "Redone");
}
function show(gesture) {
  scene = history[at];
  if (!scene.objects.some((object) => object.id === scene.active))
    scene = history[at] = { ...scene, active: scene.objects[0].id };
  send(gesture);
}
function send(gesture) {
  sequence += 1;
  cancelPreview();
  keepObjects();
  const want = wanted(); // objects without a mask
  if (!want.length) { // nothing to wait for
    shown = sequence;
    find("status").textContent = maskOf(active()) ? maskOf(active()).status || "" : NOTHING;
  } else if (want.length > 1) find("status").textContent = `Cutting out ${want.length} objects.`;
  refresh();
  trigger("prompt", {
    picture: picture.id, seq: sequence, gesture, active: scene.active, want,
    objects: scene.objects.map(({ id, rev, name, color, points, box, given, choice }) => (
      { id, rev, name, color, points, box, given, choice }
    )),
  });
}
const wanted = () =>
  scene.objects.filter((object) => !isBare(object) && !maskOf(object)).map((object) => object.id);

// ---- prompts of the active object
function addPoint(x, y, label) {
  const object = active();
  if (object.points.length >= MOST_POINTS) return say("No more than " + MOST_POINTS + " points");
  change(object, { points: [...object.points, [x, y, label]] }, label ? "include" : "exclude");
  say((label ? "Include" : "Exclude") + " point at " + x + ", " + y);
}
function deletePoint(index) {
  if (index < 0) return say("No point there");
  const object = active(), points = object.points.filter((_, i) => i !== index);
  // The choice among three masks applied to the first click only.
  change(object, { points, choice: index ? object.choice : null }, "delete");
  say("Point removed");
}
function setBox(a, b) { // two corners in picture coordinates
  const x = [a[0], b[0]].map((v) => clamp(Math.round(v), 0, picture.w)).sort((p, q) => p - q);
  const y = [a[1], b[1]].map((v) => clamp(Math.round(v), 0, picture.h)).sort((p, q) => p - q);
  if (x[0] === x[1] || y[0] === y[1]) return;
  change(active(), { box: [x[0], y[0], x[1], y[1]] }, "box");
  say("Box " + (x[1] - x[0]) + " by " + (y[1] - y[0]));
}
function dropBox() {
  if (drag || corner) { drag = corner = null; return draw(); }
  if (!active().box) return;
  change(active(), { box: null }, "unbox");
  say("Box removed");
}
function nearest(x, y, reach) { // reach in CSS px; index of the nearest point, or -1
  let best = -1, least = reach;
  active().points.forEach(([px, py], index) => {
    const distance = Math.hypot((px + 0.5 - x) * scaleX(), (py + 0.5 - y) * scaleY());
    if (distance <= least) { least = distance; best = index; }
  });
  return best;
}

// ---- objects
function addObject() {
  if (scene.objects.length >= MOST_OBJECTS)
    return say("No more than " + MOST_OBJECTS + " objects");
  const bare = scene.objects.find(isBare); // one empty object is enough
  if (bare) return selectObject(bare.id);
  const made = newObject({}, scene.objects);
  commit({ objects: [...scene.objects, made], active: made.id }, "add");
  say(made.name + " added");
}
function insertObjects(found, gesture) { // from Python: boxes from another tab, a picked mask
  const room = MOST_OBJECTS - scene.objects.filter((object) => !isBare(object)).length;
  if (room < found.length) say("No more than " + MOST_OBJECTS + " objects");
  const kept = scene.objects.filter((object) => !isBare(object));
  if (!kept.length) lastId = 0; // replace the empty object
  const made = [];
  for (const one of found.slice(0, Math.max(0, room))) made.push(newObject(one, [...kept, ...made]));
  if (!made.length) return;
  commit({ objects: [...kept, ...made], active: made[made.length - 1].id }, gesture);
  say(made.map((object) => object.name).join(", ") + " added");
}
function removeObject(id) {
  const gone = scene.objects.find((object) => object.id === id);
  let left = scene.objects.filter((object) => object.id !== id);
  if (!left.length) left = [newObject()];
  const next = id === scene.active ? left[left.length - 1].id : scene.active;
  commit({ objects: left, active: next }, "remove");
  say(gone.name + " removed");
}
function renameObject(id, name) {
  const object = scene.objects.find((one) => one.id === id), text = name.trim().slice(0, 60);
  if (!text || text === object.name) return refresh();
  const changed = withObject({ ...object, name: text });
  commit({ ...changed, active: scene.active }, "rename");
}
function selectObject(id) { // undo does not affect the selection
  if (id === scene.active) return;
  scene = history[at] = { ...scene, active: id };
  corner = null;
  send("select");
  say(active().name);
}
function stepObject(step) {
  const index = scene.objects.findIndex((object) => object.id === scene.active);
  const count = scene.objects.length;
  selectObject(scene.objects[(index + step + count) % count].id);
}
function chooseMask(index) { // of three; further clicks refine it
  if (index !== chosenOf(active())) change(active(), { choice: index }, "choose");
}
function clearAll() {
  if (scene.objects.length === 1 && isBare(scene.objects[0])) return;
  const made = newObject();
  commit({ objects: [made], active: made.id }, "clear");
  say("Cleared");
}
