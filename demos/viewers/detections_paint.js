// Draws boxes and their labels. Boxes are [x1, y1, x2, y2] in 0..1 of the picture; `look` is
// { k, x, y }: the picture is k times as large as the canvas, and begins at (x, y) in its pixels.
const Boxed = (() => {
  const rect = ([x1, y1, x2, y2], [width, height], { k, x, y }) =>
    [x1 * width * k + x, y1 * height * k + y, x2 * width * k + x, y2 * height * k + y];
  const meet = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

  // The free place that is nearest to the label's box, or null: no two labels overlap.
  function place([x1, y1, x2, y2], [w, h], [width, height], taken) {
    const spots = [[x1, y1 - h], [x1, y1], [x2 - w, y1 - h], [x1, y2], [x1, y2 - h], [x2 - w, y2 - h]];
    for (let d = h / 2; d < Math.max(y2 - y1, x2 - x1) + 2 * h; d += h / 2) spots.push([x1, y1 + d], [x1 + d, y1], [x1, y1 - h - d]);
    for (const [x, y] of spots) {
      const left = Math.min(Math.max(x, 0), width - w), top = Math.min(Math.max(y, 0), height - h);
      const found = [left, top, left + w, top + h];
      if (left >= 0 && top >= 0 && !taken.some((one) => meet(found, one))) return found;
    }
    return null;
  }
  // boxes: { box, text, colour, ink, faint, strong }, the most important first. Returns the places
  // of the labels, null where there is no room or the box is out of sight.
  function paint(pen, boxes, look, unit = 1) {
    const size = [pen.canvas.width, pen.canvas.height], places = boxes.map(() => null), taken = [];
    const corners = boxes.map(({ box }) => rect(box, size, look)), seen = corners.map((one) => meet(one, [0, 0, ...size]));
    pen.font = `600 ${13 * unit}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    for (let i = boxes.length - 1; i >= 0; i -= 1) {
      const [x1, y1, x2, y2] = corners[i], { colour, faint, strong } = boxes[i];
      pen.globalAlpha = faint ? .25 : 1;
      for (const [style, more] of [["#000", 2], [colour, 0]]) {
        [pen.strokeStyle, pen.lineWidth] = [style, ((strong ? 4 : 2.5) + more) * unit];
        pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
      }
    }
    pen.globalAlpha = 1;
    const order = boxes.map((_, i) => i).sort((a, b) => Boolean(boxes[b].strong) - Boolean(boxes[a].strong));
    for (const i of order) {
      if (!seen[i] || boxes[i].faint) continue; // beside the chosen box, labels would hide the picture
      const { text, colour, ink } = boxes[i], wide = pen.measureText(text).width + 10 * unit;
      const spot = place(corners[i], [Math.min(wide, size[0]), 19 * unit], size, taken);
      places[i] = spot;
      if (!spot) continue;
      taken.push(spot);
      pen.fillStyle = colour;
      pen.fillRect(spot[0], spot[1], spot[2] - spot[0], spot[3] - spot[1]);
      pen.fillStyle = ink;
      pen.fillText(text, spot[0] + 5 * unit, (spot[1] + spot[3]) / 2 + unit, spot[2] - spot[0] - 8 * unit);
    }
    return places;
  }
  return { rect, place, paint };
})();
