// The last part: messages from Python, and startup.
let segments = null; // the coloured masks of everything mode, laid over the picture
let veiled = false; // they are temporarily hidden
let lastCommand = null;
let running = false, begun = 0; // everything mode is running, and since when

const actions = {
  include: () => setMode("include"),
  exclude: () => setMode("exclude"),
  pick: () => setMode("pick"),
  veil: () => { veiled = !veiled; setMode(veiled ? "include" : "pick"); },
  everything: () => {
    if (!running) startEverything();
    else if (performance.now() - begun > 600) stopEverything(); // not the second half of a double click
  },
  preview: () => { previewOn = !previewOn; cancelPreview(); refresh(); },
  undo: () => travel(-1),
  redo: () => travel(1),
  clear: clearAll,
  "add-object": addObject,
  closer: () => zoomBy(1.5),
  farther: () => zoomBy(1 / 1.5),
  whole: () => look({ x: 0, y: 0, k: 1 }),
  full: () => (fullScreen() ? document.exitFullscreen() : root.requestFullscreen()),
};

function setPicture(next) {
  next = next && next.src ? next : null;
  if ((next && next.id) === (picture && picture.id)) return;
  const come = next ? [...keptObjects(next), ...(next.objects || [])] : [];
  picture = next;
  image = detail = shownChoices = null;
  dropSegments();
  if (running) stopEverything();
  sequence += 1;
  shown = sequence; // drop answers to the previous picture
  cross = corner = drag = null;
  masks = new Map();
  view = { x: 0, y: 0, k: 1 };
  mode = "include";
  cancelPreview();
  resetScene();
  find("status").textContent = "";
  root.dataset.empty = String(!picture);
  root.dataset.painted = String(shown);
  find("choosing").hidden = true;
  refresh();
  if (!picture) return;
  canvas.textContent = picture.alt || "Your picture";
  load(picture.src).then((loaded) => {
    if (picture !== next || !loaded) return;
    image = loaded;
    shownChoices = null;
    layout();
    refresh();
  });
  layout();
  if (come.length) insertObjects(come, "preset");
}
function dropSegments() {
  segments = null;
  veiled = false;
  delete root.dataset.segments;
}
function setSegments(next) {
  if (next && picture && next.picture !== picture.id) return; // of an earlier picture
  if (!next || !picture) {
    dropSegments();
    if (mode === "pick") setMode("include");
    return refresh();
  }
  const first = !segments;
  segments = { image: segments && segments.image };
  load(next.src).then((loaded) => {
    if (!segments) return;
    segments.image = loaded;
    root.dataset.segments = String(next.count);
    draw();
  });
  if (first) setMode("pick"); else refresh();
}
function setRunning(on) {
  running = on;
  find("everything").textContent = on ? "Cancel" : "Everything";
  find("everything").setAttribute("aria-label", on ? "Cancel everything mode" : "Everything");
  root.dataset.running = String(on);
}
function startEverything() {
  begun = performance.now();
  setRunning(true);
  find("status").textContent = "Looking for everything.";
  trigger("everything", { picture: picture.id });
}
function stopEverything() {
  setRunning(false);
  trigger("stop", { picture: picture ? picture.id : null });
}
function obey(command) { // add objects from Python
  if (!command || !picture || command.picture !== picture.id || command.id === lastCommand) return;
  lastCommand = command.id;
  insertObjects(command.objects, "insert");
}

element.parentElement.style.padding = "0"; // gr.HTML indents its content, other blocks do not
root.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button && picture && button.getAttribute("aria-disabled") !== "true") actions[button.dataset.act]();
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
watch(["preview"], () => receivePreview(props.preview));
watch(["detail"], () => receiveDetail(props.detail));
watch(["segments"], () => setSegments(props.segments));
watch(["command"], () => obey(props.command));
resetScene();
refresh();
setPicture(props.picture);
receive(props.value);
setSegments(props.segments);
