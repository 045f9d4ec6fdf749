// The visible part of the picture, and the mapping between screen and picture pixels.
let width = 1, height = 1; // of the canvas, in CSS pixels
let view = { x: 0, y: 0, k: 1 }; // upper left corner in picture coordinates; k = 1 shows all of it
let detail = null, settleTimer = 0;

const density = () => window.devicePixelRatio || 1;
const scaleX = () => (width / picture.w) * view.k; // CSS pixels for one pixel of the picture
const scaleY = () => (height / picture.h) * view.k;
const fullScreen = () => document.fullscreenElement === root;
const mostZoom = () => Math.max(8, (24 * picture.w) / width); // a pixel is then 24 wide

function layout() {
  if (!picture || !stage.clientWidth) return; // in a tab that is not open yet
  const style = getComputedStyle(stage);
  const wide = stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const pads = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
  const high = fullScreen() ? stage.clientHeight - pads : Math.max(240, window.innerHeight * 0.62);
  const fit = Math.min(wide / picture.w, high / picture.h);
  [width, height] = [picture.w, picture.h].map((side) => Math.max(1, Math.round(side * fit)));
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  canvas.width = Math.round(width * density());
  canvas.height = Math.round(height * density());
  look(view);
  dropLayers();
  paint();
}
function look(next) { // never outside the picture
  const k = clamp(next.k, 1, mostZoom());
  view = {
    k, x: clamp(next.x, 0, picture.w * (1 - 1 / k)), y: clamp(next.y, 0, picture.h * (1 - 1 / k)),
  };
  root.dataset.zoom = k.toFixed(3);
  root.dataset.seen = [view.x, view.y, view.x + picture.w / k, view.y + picture.h / k].join(",");
  find("zoom").textContent = Math.round(view.k * 100) + " %";
  clearTimeout(settleTimer);
  settleTimer = setTimeout(settle, 160);
  draw();
}
function settle() { // the view rests: redraw sharp outlines, and request finer pixels
  if (!picture) return;
  dropLayers();
  draw();
  askDetail();
}
function zoomBy(factor, spot) { // keeps spot, in CSS pixels of the canvas, in place
  const [sx, sy] = spot || (cross ? toScreen(cross) : [width / 2, height / 2]);
  const [x, y] = [view.x + sx / scaleX(), view.y + sy / scaleY()];
  const k = clamp(view.k * factor, 1, mostZoom());
  const grown = k / view.k;
  look({ k, x: x - sx / (scaleX() * grown), y: y - sy / (scaleY() * grown) });
}
function panBy(dx, dy) { // in CSS pixels, following the hand
  look({ k: view.k, x: view.x - dx / scaleX(), y: view.y - dy / scaleY() });
}
function reveal([x, y]) { // pan just far enough to show the cross-hair
  const [w, h] = [picture.w / view.k, picture.h / view.k];
  const margin = [w / 12, h / 12];
  look({
    k: view.k,
    x: clamp(view.x, x - w + margin[0], x - margin[0]),
    y: clamp(view.y, y - h + margin[1], y - margin[1]),
  });
}
const toScreen = ([x, y]) => [(x - view.x) * scaleX(), (y - view.y) * scaleY()];

function spotOf(event) { // CSS pixels of the canvas, also if the page is zoomed
  const rect = canvas.getBoundingClientRect();
  return [
    ((event.clientX - rect.left) / rect.width) * width,
    ((event.clientY - rect.top) / rect.height) * height,
  ];
}
function place(event) { // picture coordinates
  const [sx, sy] = spotOf(event);
  return [view.x + sx / scaleX(), view.y + sy / scaleY()];
}
const pixel = ([x, y]) => [
  clamp(Math.floor(x), 0, picture.w - 1), clamp(Math.floor(y), 0, picture.h - 1),
];

// ---- finer pixels than the first picture has, for the visible part
function askDetail() {
  if (view.k === 1) { detail = null; return; }
  const have = image ? image.naturalWidth / picture.w : 1;
  if (have >= 1 || scaleX() * density() < have * 1.2) return;
  const rect = [view.x, view.y, view.x + picture.w / view.k, view.y + picture.h / view.k];
  trigger("detail", {
    picture: picture.id, rect: rect.map(Math.round), size: [canvas.width, canvas.height],
  });
}
function receiveDetail(answer) {
  if (!answer || !picture || answer.picture !== picture.id) return;
  load(answer.src).then((loaded) => {
    if (!loaded || picture.id !== answer.picture) return;
    detail = { image: loaded, rect: answer.rect };
    root.dataset.detail = answer.rect.join(",");
    draw();
  });
}
