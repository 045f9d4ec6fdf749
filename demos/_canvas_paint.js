// Drawing of the point-prompt canvas; one scope with _canvas.js, which holds the state.
function layout() {
  if (!picture || !stage.clientWidth) return; // in a tab that is not open yet
  const style = getComputedStyle(stage);
  const wide = stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const pads = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
  const high = fullScreen() ? stage.clientHeight - pads : Math.max(240, window.innerHeight * 0.66);
  const scale = Math.min(wide / picture.w, high / picture.h);
  const [w, h] = [picture.w, picture.h].map((side) => Math.max(1, Math.round(side * scale)));
  const density = window.devicePixelRatio || 1;
  canvas.style.width = w + "px";
  canvas.style.height = h + "px";
  canvas.width = Math.round(w * density);
  canvas.height = Math.round(h * density);
  paintLayer();
  paint();
}
function sheet() {
  const made = document.createElement("canvas");
  made.width = canvas.width;
  made.height = canvas.height;
  return [made, made.getContext("2d")];
}
function paintLayer() { // the mask in colour with its outline, at the resolution of the screen
  layer = null;
  if (!mask) return;
  const [tint, inTint] = sheet(), [edge, inEdge] = sheet(), [whole, inWhole] = sheet();
  inTint.drawImage(mask, 0, 0, tint.width, tint.height);
  inTint.globalCompositeOperation = "source-in";
  inTint.fillStyle = color || root.dataset.color || "#1e90ff";
  inTint.fillRect(0, 0, tint.width, tint.height);
  const reach = 1.75 * (window.devicePixelRatio || 1);
  for (let turn = 0; turn < 8; turn += 1) {
    const angle = (turn * Math.PI) / 4;
    inEdge.drawImage(tint, Math.cos(angle) * reach, Math.sin(angle) * reach);
  }
  inEdge.globalCompositeOperation = "destination-out";
  inEdge.drawImage(tint, 0, 0);
  inWhole.globalAlpha = 0.45;
  inWhole.drawImage(tint, 0, 0);
  inWhole.globalAlpha = 1;
  inWhole.drawImage(edge, 0, 0);
  layer = whole;
}
function draw() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(paint);
}
function paint() {
  if (!picture) return;
  const density = canvas.width / (parseFloat(canvas.style.width) || canvas.width);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (layer) context.drawImage(layer, 0, 0);
  context.setTransform(density, 0, 0, density, 0, 0);
  const scale = canvas.width / density / picture.w;
  if (prompts.box) paintBox(prompts.box.map((v) => v * scale));
  const rubber = drag && drag.moved ? [...drag.from, ...drag.to] : corner && cross ? [...corner, ...cross] : null;
  if (rubber) paintBox(rubber.map((v) => v * scale));
  prompts.points.forEach(([x, y, label]) => paintPoint((x + 0.5) * scale, (y + 0.5) * scale, label));
  if (cross && document.activeElement === canvas) paintCross(cross[0] * scale, cross[1] * scale);
}
function twice(path, width) { // a light line on a dark one shows on any picture
  for (const [style, more] of [["rgba(0,0,0,0.65)", 2], ["#fff", 0]]) {
    context.strokeStyle = style;
    context.lineWidth = width + more;
    context.stroke(path);
  }
}
function paintBox([x1, y1, x2, y2]) {
  const path = new Path2D();
  path.rect(x1, y1, x2 - x1, y2 - y1);
  twice(path, 2);
}
function paintPoint(x, y, label) {
  const shape = new Path2D(), sign = new Path2D();
  if (label) shape.arc(x, y, 8, 0, 2 * Math.PI); else shape.rect(x - 7, y - 7, 14, 14);
  sign.moveTo(x - 4, y); sign.lineTo(x + 4, y);
  if (label) { sign.moveTo(x, y - 4); sign.lineTo(x, y + 4); }
  twice(shape, 2);
  context.fillStyle = label ? "#15803d" : "#b91c1c";
  context.fill(shape);
  context.strokeStyle = "#fff";
  context.lineWidth = 2;
  context.stroke(sign);
}
function paintCross(x, y) {
  const path = new Path2D();
  path.moveTo(x, 0); path.lineTo(x, canvas.height);
  path.moveTo(0, y); path.lineTo(canvas.width, y);
  twice(path, 1);
}
