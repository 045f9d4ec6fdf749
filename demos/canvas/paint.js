// Drawing of the point-prompt canvas.
let frame = 0;
let base = null; // the picture scaled for this view: scaling takes most of a frame

function draw() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(paint);
}
function paint() {
  if (!picture) return;
  const ratio = canvas.width / width;
  const [left, top] = toScreen([0, 0]);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  paintPicture(ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.imageSmoothingEnabled = true;
  if (segments && segments.image && !veiled)
    context.drawImage(segments.image, left, top, picture.w * scaleX(), picture.h * scaleY());
  context.setTransform(1, 0, 0, 1, 0, 0);
  const others = scene.objects.filter((object) => object.id !== scene.active);
  for (const object of [...others, active()]) paintLayer(layerOf(object), ratio);
  if (preview) context.drawImage(preview, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  paintNumbers();
  paintPrompts();
}
function paintPicture(ratio) {
  const same = base && base.view === view && base.image === image && base.detail === detail;
  if (!same || base.sheet.width !== canvas.width || base.sheet.height !== canvas.height) {
    const [made, onto] = sheet();
    onto.setTransform(ratio, 0, 0, ratio, 0, 0);
    onto.imageSmoothingEnabled = scaleX() < 6; // when zoomed in far, show single pixels
    const [left, top] = toScreen([0, 0]);
    if (image) onto.drawImage(image, left, top, picture.w * scaleX(), picture.h * scaleY());
    if (detail && view.k > 1) {
      const [x1, y1] = toScreen(detail.rect), [x2, y2] = toScreen(detail.rect.slice(2));
      onto.drawImage(detail.image, x1, y1, x2 - x1, y2 - y1);
    }
    base = { sheet: made, view, image, detail };
  }
  context.drawImage(base.sheet, 0, 0);
}
function paintLayer(layer, ratio) { // a layer drawn for another view is moved until the view rests
  if (!layer) return;
  const grown = view.k / layer.view.k;
  const [x, y] = toScreen([layer.view.x, layer.view.y]);
  const [w, h] = [layer.sheet.width * grown, layer.sheet.height * grown];
  context.drawImage(layer.sheet, x * ratio, y * ratio, w, h);
}
function paintPrompts() {
  const onScreen = ([x1, y1, x2, y2]) => [...toScreen([x1, y1]), ...toScreen([x2, y2])];
  const object = active();
  if (object.box) paintBox(onScreen(object.box), object.color);
  const rubber = drag && drag.moved && !drag.pan
    ? [...drag.from, ...drag.to] : corner && cross ? [...corner, ...cross] : null;
  if (rubber) paintBox(onScreen(rubber), object.color);
  object.points.forEach(([x, y, label]) => paintPoint(...toScreen([x + 0.5, y + 0.5]), label));
  if (cross && document.activeElement === canvas) paintCross(...toScreen(cross));
}
function paintNumbers() { // those of the list, so that objects with the same name can be told apart
  if (scene.objects.length < 2) return;
  context.font = "700 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const taken = [];
  scene.objects.forEach((object) => {
    const spot = (maskOf(object) || {}).spot;
    if (!spot) return;
    const at = toScreen([spot[0] * picture.w, spot[1] * picture.h]);
    if (at[0] < 0 || at[1] < 0 || at[0] > width || at[1] > height) return;
    const [x, y] = freePlace(at, taken), disc = new Path2D();
    taken.push([x, y]);
    disc.arc(x, y, 10, 0, 2 * Math.PI);
    twice(disc, 1.5);
    context.fillStyle = object.color;
    context.fill(disc);
    context.fillStyle = inkOf(object.color);
    context.fillText(String(object.id), x, y + 0.5);
  });
}
function freePlace([x, y], taken) { // there, or as near as no other number is: in rings around it
  for (let i = 0; i < 40; i += 1) {
    const ring = Math.ceil(i / 8), angle = (i * Math.PI) / 4 + ring;
    const found = [
      clamp(x + 22 * ring * Math.cos(angle), 11, width - 11),
      clamp(y + 22 * ring * Math.sin(angle), 11, height - 11),
    ];
    if (taken.every((one) => Math.hypot(one[0] - found[0], one[1] - found[1]) >= 21)) return found;
  }
  return [x, y];
}
const inkOf = (color) => inkOn([1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16)));
function twice(path, line, color = "#fff") { // a light line on a dark one is visible on any picture
  for (const [style, more] of [["rgba(0,0,0,0.65)", 2], [color, 0]]) {
    context.strokeStyle = style;
    context.lineWidth = line + more;
    context.stroke(path);
  }
}
function paintBox([x1, y1, x2, y2], color) {
  const path = new Path2D();
  path.rect(x1, y1, x2 - x1, y2 - y1);
  twice(path, 3);
  context.strokeStyle = color;
  context.lineWidth = 1.5;
  context.stroke(path);
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
function paintCross(x, y) { // open in the middle, to show the pixel itself
  const path = new Path2D();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + dx * 5, y + dy * 5);
    path.lineTo(x + dx * (width + height), y + dy * (width + height));
  }
  twice(path, 1);
}
