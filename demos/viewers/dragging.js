// Boxes that a person draws, drags and sizes on a canvas: pointer, touch and keyboard. Boxes are
// [x1, y1, x2, y2] in 0..1 of the canvas.
const Dragging = (() => {
  const LEAST = .02, STEP = .01, NEAR = 16; // shares of the canvas; pixels around a corner
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  function moved(box, dx, dy) {
    const x = clamp(dx, -box[0], 1 - box[2]), y = clamp(dy, -box[1], 1 - box[3]);
    return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
  }
  function sized(box, corner, x, y) { // corner: 0..3 for top left, top right, bottom left, bottom right
    const next = box.slice(), [right, bottom] = [corner % 2, corner > 1];
    if (right) next[2] = clamp(x, box[0] + LEAST, 1);
    else next[0] = clamp(x, 0, box[2] - LEAST);
    if (bottom) next[3] = clamp(y, box[1] + LEAST, 1);
    else next[1] = clamp(y, 0, box[3] - LEAST);
    return next;
  }
  const corners = (b) => [[b[0], b[1]], [b[2], b[1]], [b[0], b[3]], [b[2], b[3]]];
  function place(canvas, event) {
    const area = canvas.getBoundingClientRect();
    return [clamp((event.clientX - area.left) / area.width, 0, 1), clamp((event.clientY - area.top) / area.height, 0, 1), area];
  }
  // What lies under a point: a corner of the chosen box first, then the smallest box around it.
  function under(boxes, chosen, [x, y, area]) {
    const order = boxes.map((_, i) => i).sort((a, b) => (b === chosen) - (a === chosen));
    for (const i of order)
      for (const [corner, [cx, cy]] of corners(boxes[i]).entries())
        if (Math.hypot((cx - x) * area.width, (cy - y) * area.height) <= NEAR) return { i, corner };
    const size = (b) => (b[2] - b[0]) * (b[3] - b[1]);
    const inside = order.filter((i) => boxes[i][0] <= x && x <= boxes[i][2] && boxes[i][1] <= y && y <= boxes[i][3]);
    inside.sort((a, b) => size(boxes[a]) - size(boxes[b]));
    return inside.length ? { i: inside[0], corner: -1 } : null;
  }
  // `on` gives boxes(), chosen(), choose(i), change(i, box); add(box) and remove(i) where boxes may
  // come and go, else null.
  function listen(canvas, on) {
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const at = place(canvas, event), found = under(on.boxes(), on.chosen(), at);
      if (!found && !on.add) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      held = { id: event.pointerId, x: at[0], y: at[1], ...found, start: found && on.boxes()[found.i] };
      if (found) on.choose(found.i);
    });
    canvas.addEventListener("pointermove", (event) => {
      const at = place(canvas, event), [x, y] = at;
      if (!held || held.id !== event.pointerId) {
        const found = under(on.boxes(), on.chosen(), at);
        canvas.style.cursor = !found ? "crosshair" : found.corner < 0 ? "move" : [0, 3].includes(found.corner) ? "nwse-resize" : "nesw-resize";
        return;
      }
      if (!held.start) { // a new box, from where the pointer went down
        if (Math.abs(x - held.x) < LEAST || Math.abs(y - held.y) < LEAST) return;
        const box = [Math.min(x, held.x), Math.min(y, held.y), Math.max(x, held.x), Math.max(y, held.y)];
        const i = on.add(box);
        held = i < 0 ? null : { ...held, i, start: box, corner: (x > held.x ? 1 : 0) + (y > held.y ? 2 : 0) };
      } else if (held.corner < 0) on.change(held.i, moved(held.start, x - held.x, y - held.y));
      else on.change(held.i, sized(held.start, held.corner, x, y));
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
      const i = on.chosen(), box = on.boxes()[i];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (step && box) {
        if (event.shiftKey) on.change(i, sized(box, 3, box[2] + step[0], box[3] + step[1]));
        else on.change(i, moved(box, ...step));
      } else if (event.key.toLowerCase() === "n" && on.boxes().length) on.choose((i + 1) % on.boxes().length);
      else if (event.key.toLowerCase() === "a" && on.add) on.add([.4, .4, .6, .6]);
      else if ((event.key === "Delete" || event.key === "Backspace") && on.remove && box) on.remove(i);
      else return;
      event.preventDefault();
    });
  }
  // A box; `handles` shows what can be dragged.
  function paint(pen, box, { colour, dash = [], width = 2, handles = false, alpha = 1 }) {
    const { width: w, height: h } = pen.canvas, unit = w / (pen.canvas.clientWidth || w);
    const [x, y, x2, y2] = [box[0] * w, box[1] * h, box[2] * w, box[3] * h];
    pen.save();
    pen.globalAlpha = alpha;
    pen.setLineDash(dash.map((value) => value * unit));
    pen.strokeStyle = "rgba(0,0,0,.65)"; pen.lineWidth = (width + 2) * unit; pen.strokeRect(x, y, x2 - x, y2 - y);
    pen.strokeStyle = colour; pen.lineWidth = width * unit; pen.strokeRect(x, y, x2 - x, y2 - y);
    pen.setLineDash([]);
    if (handles) for (const [cx, cy] of corners(box)) {
      pen.fillStyle = "#fff"; pen.strokeStyle = "#000"; pen.lineWidth = unit;
      pen.beginPath(); pen.arc(cx * w, cy * h, 6 * unit, 0, 7); pen.fill(); pen.stroke();
    }
    pen.restore();
  }
  // The names of boxes, the most important first, and each as near to its box as there is room
  // (detections_paint.js): none covers another, or a handle. One without room is left out.
  function names(pen, boxes) {
    const { width: w, height: h } = pen.canvas, unit = w / (pen.canvas.clientWidth || w), taken = [];
    const at = ([x1, y1, x2, y2]) => [x1 * w, y1 * h, x2 * w, y2 * h], grip = 8 * unit;
    for (const { box } of boxes.filter(({ handles }) => handles))
      for (const [x, y] of corners(at(box))) taken.push([x - grip, y - grip, x + grip, y + grip]);
    pen.save();
    pen.font = `600 ${12 * unit}px sans-serif`;
    for (const { box, colour, name } of boxes) {
      const size = [Math.min(w, pen.measureText(name).width + 8 * unit), 17 * unit];
      const spot = Boxed.place(at(box), size, [w, h], taken);
      if (!spot) continue;
      taken.push(spot);
      pen.fillStyle = colour; pen.fillRect(spot[0], spot[1], ...size);
      pen.fillStyle = "#000"; pen.fillText(name, spot[0] + 4 * unit, spot[1] + 13 * unit);
    }
    pen.restore();
  }
  // The picture fills the canvas, which keeps the shape of the picture in the width that it has.
  function picture(canvas, image) {
    const width = Math.round((canvas.clientWidth || 640) * Math.min(2, devicePixelRatio || 1));
    return Paint.picture(canvas, image, width, Math.round(width * image.naturalHeight / image.naturalWidth));
  }
  // Distinct colours on which black letters are legible.
  const COLOURS = ["#ffd43b", "#4dd0e1", "#ff8a80", "#a5d66f", "#d7a6ff", "#ffb74d", "#90b4ff", "#f48fb1"];
  return { listen, paint, names, picture, colour: (i) => COLOURS[i % COLOURS.length] };
})();
