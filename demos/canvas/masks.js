// Masks from Python, cached by the `rev` of their prompts; and the preview of a click's mask.
const MOST_MASKS = 150; // a mask takes a few kilobytes; the page requests missing ones again
let masks = new Map(), layers = new Map();
let preview = null, previewNumber = 0, previewWaits = 0, previewTimer = 0, previewAt = null;
let previewOn = true;

const maskOf = (object) => masks.get(object.rev);
const chosenOf = (object) => (maskOf(object) || {}).choice ?? 0;

function receive(answer) {
  if (!answer || typeof answer !== "object" || !picture) return;
  if (answer.picture && answer.picture !== picture.id) return;
  if (answer.seq == null) { // only words, such as "Reading the picture"
    if (answer.status != null) find("status").textContent = answer.status;
    if ("everything" in answer && answer.everything !== running) setRunning(answer.everything);
    return;
  }
  if (answer.flush) { masks = new Map(); layers = new Map(); }
  const coming = (answer.masks || []).map(keepMask);
  if (answer.seq >= shown) {
    shown = answer.seq;
    if (answer.status != null) find("status").textContent = answer.status;
    Promise.all(coming).then(() => {
      paint();
      if (answer.seq === shown) root.dataset.painted = String(shown);
      setTimeout(refresh); // paint the mask first, then update the panel
    });
    setBusy(shown < sequence);
  } else refresh();
  if (answer.flush && wanted().length) send("refresh");
}
function keepMask(found) { // resolves when the mask can be painted
  const kept = { ...found, image: null, spot: null };
  masks.delete(found.rev);
  masks.set(found.rev, kept);
  layers.delete(found.rev);
  const needed = new Set(scene.objects.map((object) => object.rev));
  for (const rev of [...masks.keys()]) {
    if (masks.size <= MOST_MASKS) break;
    if (!needed.has(rev)) masks.delete(rev);
  }
  if (!found.mask) return Promise.resolve();
  return load(found.mask).then((loaded) => {
    kept.image = loaded;
    kept.spot = loaded && insideOf(loaded);
    draw();
  });
}
function load(source) {
  return new Promise((resolve) => {
    const loading = new Image();
    loading.onload = () => resolve(loading);
    loading.onerror = () => resolve(null);
    loading.src = source.startsWith("data:") ? source : fileAddress(source);
  });
}

const GLANCE = 48; // pixels a side
function insideOf(mask) { // [x, y] in 0..1: the middle of the longest row of the mask
  const small = document.createElement("canvas");
  [small.width, small.height] = [GLANCE, GLANCE];
  const pen = small.getContext("2d", { willReadFrequently: true });
  pen.drawImage(mask, 0, 0, GLANCE, GLANCE);
  const { data } = pen.getImageData(0, 0, GLANCE, GLANCE);
  let run = 0, longest = 0, spot = null;
  for (let i = 0; i < GLANCE * GLANCE; i += 1) {
    if (i % GLANCE === 0) run = 0;
    run = data[4 * i + 3] > 127 ? run + 1 : 0;
    if (run > longest) {
      longest = run;
      spot = [((i % GLANCE) - run / 2 + 1) / GLANCE, (Math.floor(i / GLANCE) + 0.5) / GLANCE];
    }
  }
  return spot;
}

// ---- the mask in colour with its outline, at the resolution of the screen
function dropLayers() { layers = new Map(); }
function layerOf(object) {
  const found = maskOf(object);
  if (!found || !found.image) return null;
  const kept = layers.get(object.rev);
  if (kept && kept.color === object.color) return kept;
  const made = { sheet: tinted(found.image, object.color, 0.45), color: object.color, view };
  layers.set(object.rev, made);
  return made;
}
function sheet() {
  const made = document.createElement("canvas");
  made.width = canvas.width;
  made.height = canvas.height;
  return [made, made.getContext("2d")];
}
function tinted(mask, color, alpha, outline = true) {
  const [tint, inTint] = sheet();
  const ratio = canvas.width / width;
  inTint.imageSmoothingEnabled = scaleX() * ratio * (picture.w / mask.naturalWidth) < 6;
  const [x, y] = toScreen([0, 0]);
  const size = [picture.w * scaleX(), picture.h * scaleY()];
  inTint.drawImage(mask, x * ratio, y * ratio, size[0] * ratio, size[1] * ratio);
  inTint.globalCompositeOperation = "source-in";
  inTint.fillStyle = color;
  inTint.fillRect(0, 0, tint.width, tint.height);
  const [whole, inWhole] = sheet();
  if (outline) outlined(inWhole, tint);
  inWhole.globalCompositeOperation = "destination-over";
  inWhole.globalAlpha = alpha;
  inWhole.drawImage(tint, 0, 0);
  return whole;
}
function outlined(onto, tint) { // a rim outside the mask: shifted copies less the mask itself
  const reach = 1.75 * density();
  for (let turn = 0; turn < 8; turn += 1) {
    const angle = (turn * Math.PI) / 4;
    onto.drawImage(tint, Math.cos(angle) * reach, Math.sin(angle) * reach);
  }
  onto.globalCompositeOperation = "destination-out";
  onto.drawImage(tint, 0, 0);
}

// ---- preview: one request at a time, at most every 60 ms; late answers are dropped
const REST = 40; // ms before the first, so that a click during a move does not wait behind it
function hover(event) {
  if (!previewOn || event.pointerType !== "mouse" || event.buttons || !image) return;
  const spot = pixel(place(event));
  const exclude = event.shiftKey || mode === "exclude";
  previewAt = [...spot, exclude ? 0 : 1];
  if (!previewTimer) askSoon(REST);
}
function askSoon(wait) {
  previewTimer = setTimeout(() => { previewTimer = 0; askPreview(); }, wait);
}
function askPreview() {
  if (!previewAt || previewTimer || previewWaits || mode === "pick" || shown < sequence) return;
  const point = previewAt;
  previewAt = null;
  if (nearest(point[0] + 0.5, point[1] + 0.5, HIT.mouse) >= 0) return endPreview(); // would delete
  previewNumber += 1;
  previewWaits = setTimeout(() => { previewWaits = 0; askPreview(); }, 3000);
  askSoon(60);
  const { id, rev, name, color, points, box, given, choice } = active();
  trigger("hover", {
    picture: picture.id, seq: previewNumber, point,
    object: { id, rev, name, color, points, box, given, choice },
  });
}
function receivePreview(answer) {
  if (!answer || !picture || answer.picture !== picture.id) return;
  if (answer.seq !== previewNumber) return; // stale
  clearTimeout(previewWaits);
  previewWaits = 0;
  askPreview();
  if (!answer.mask) return endPreview();
  load(answer.mask).then((loaded) => {
    if (!loaded || answer.seq < previewNumber - 1 || !root.dataset.inside) return;
    preview = tinted(loaded, active().color, 0.35, false);
    root.dataset.preview = String(answer.seq);
    draw();
  });
}
function endPreview() {
  if (!preview) return;
  preview = null;
  draw();
  delete root.dataset.preview;
}
function cancelPreview() { // the pointer left, or a gesture made the request stale
  clearTimeout(previewWaits);
  previewWaits = 0;
  previewNumber += 2; // also a mask that is still being decoded
  previewAt = null;
  endPreview();
}
