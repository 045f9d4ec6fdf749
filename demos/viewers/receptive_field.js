// The receptive field view. Python sends chains, and for each measured layer the gradient of one
// unit as bytes; the arithmetic and the drawing are done here. Another unit is a run of the lesson.
const find = (name) => element.querySelector(".rf-" + name);
const root = element.querySelector(".rf");
const SIDE = 480, OWN = "own", LIMITS = { kernel: [1, 64], stride: [1, 32], dilation: [1, 32] };
let model = null, image = null;
const at = { chain: "", steps: [], side: 224, row: 0, x: .5, y: .5, layer: 0, unit: null };

// ---- arithmetic, as in core.nets.chains
function fields(steps, side) {
  let size = 1, jump = 1, start = .5, units = side;
  return steps.map((step, i) => {
    if (step.kind === "attention") size = Infinity;
    else {
      const reach = (step.kernel - 1) * step.dilation;
      let before = step.padding, left = 2 * step.padding;
      if (step.padding === null) {
        left = Math.max((Math.ceil(units / step.stride) - 1) * step.stride + reach + 1 - units, 0);
        before = Math.floor(left / 2);
      }
      let count = Math[step.ceil ? "ceil" : "floor"]((units + left - reach - 1) / step.stride) + 1;
      if (step.ceil && (count - 1) * step.stride >= units + before) count -= 1;
      if (count < 1)
        throw Error(`Layer ${i + 1} (${step.name}) needs ${reach + 1} positions, but only ${units} are left; make the picture larger or the chain shorter.`);
      size += reach * jump;
      start += (reach / 2 - before) * jump;
      jump *= step.stride;
      units = count;
    }
    return { size, jump, start, units };
  });
}
function boxOf(field) { // of the unit nearest to the chosen place, in pixels of the input
  const near = (share) => Math.min(field.units - 1, Math.max(0, Math.round((share * at.side - field.start) / field.jump)));
  const [column, row] = [near(at.x), near(at.y)];
  const [x, y] = [field.start + column * field.jump, field.start + row * field.jump];
  const all = field.size === Infinity, half = all ? 0 : field.size / 2;
  return { x, y, box: all ? [0, 0, at.side, at.side] : [x - half, y - half, x + half, y + half] };
}

// ---- drawing
function outline(pen, box, scale, width, dash) {
  const [x1, y1, x2, y2] = box.map((v) => v * scale);
  for (const [colour, more] of [["#000", 2], ["#fff", 0]]) {
    pen.strokeStyle = colour; pen.lineWidth = width + more; pen.setLineDash(dash || []);
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  pen.setLineDash([]);
}
function drawPicture(all) {
  const pen = Paint.picture(find("picture"), image, SIDE), scale = SIDE / at.side;
  const chosen = boxOf(all[at.row]), [x1, y1, x2, y2] = chosen.box.map((v) => v * scale);
  pen.fillStyle = "rgba(0,0,0,.5)";
  pen.beginPath(); pen.rect(0, 0, SIDE, SIDE); pen.rect(x1, y1, x2 - x1, y2 - y1); pen.fill("evenodd");
  pen.globalAlpha = .45;
  all.slice(0, at.row).forEach((field) => outline(pen, boxOf(field).box, scale, .7));
  pen.globalAlpha = 1;
  outline(pen, chosen.box, scale, 2.5);
  pen.fillStyle = "#ff7c00"; pen.strokeStyle = "#000"; pen.lineWidth = 1.5;
  pen.beginPath(); pen.arc(chosen.x * scale, chosen.y * scale, 5, 0, 7); pen.fill(); pen.stroke();
}
const gridOf = (name) => model.units.find((one) => one.name === name).grid;
const placeOf = (unit) => `row ${unit.row + 1}, column ${unit.column + 1}`;
function drawMeasured() {
  const one = model.measured[at.layer], s = model.side, inner = Paint.sized(document.createElement("canvas"), s);
  const pixels = inner.createImageData(s, s);
  for (let i = 0, from = at.layer * s * s; i < s * s; i += 1) {
    const value = model.maps[from + i] / 255;
    pixels.data.set([...Paint.colour(value), 150 + 105 * value], 4 * i);
  }
  inner.putImageData(pixels, 0, 0);
  const pen = Paint.picture(find("measured"), image, SIDE);
  pen.drawImage(inner.canvas, 0, 0, SIDE, SIDE);
  const scale = SIDE / s, { name, row, column } = at.unit, [rows, columns] = gridOf(name);
  if (one.box) outline(pen, one.box, scale, 2);
  if (one.square) outline(pen, one.square, scale, 1.5, [6, 4]);
  const waits = name !== one.name || row !== one.row || column !== one.column;
  if (waits) Paint.mark(pen, rows, columns, row * columns + column);
  const field = one.box ? (one.field === null ? "the whole picture" : `${one.field} x ${one.field} pixels`) : "not known for this network";
  const share = one.held ? ` Nine tenths of the gradient lie in a square of ${one.held} pixels (dashed).` : " The unit is off, so no pixel counts.";
  find("found").textContent = waits ? `Measuring the unit in ${placeOf(at.unit)} of ${name}.`
    : `Measured: how much each pixel counts for the unit in ${placeOf(one)} of ${name} (${one.kind}), a map of ${rows} x ${columns}. Field by arithmetic: ${field}.${share}` +
    (model.aside && one.box ? " Squeeze-and-excitation lets it see a mean of the rest." : "");
  find("any").value = name;
  for (const button of find("layers").children) Paint.pressed(button, !waits && Number(button.dataset.layer) === at.layer);
  root.dataset.measured = waits ? "" : [name, row, column].join(" ");
}
const sizeText = (field) => (field.size === Infinity ? "all" : String(field.size));
function draw() {
  if (!model || !image) return;
  let all;
  find("wrong").textContent = "";
  try {
    if (!at.steps.length) throw Error("Add a layer: a chain needs at least one.");
    all = fields(at.steps, at.side);
  } catch (error) {
    find("wrong").textContent = error.message;
    find("said").textContent = "";
    root.dataset.drawn = "wrong";
    return;
  }
  at.row = Math.min(at.row, all.length - 1);
  drawPicture(all);
  const field = all[at.row], size = sizeText(field), step = at.steps[at.row];
  const beyond = field.size !== Infinity && field.size > at.side ? `, more than the ${at.side} of the picture` : "";
  find("said").textContent = field.size === Infinity
    ? `After ${step.name} a unit sees the whole picture.`
    : `After ${step.name} a unit sees ${size} x ${size} pixels${beyond}. The next unit lies ${field.jump} pixels on.`;
  [...find("rows").children].forEach((line, i) => {
    line.querySelector(".rf-size").textContent = sizeText(all[i]);
    line.querySelector(".rf-jump").textContent = all[i].jump;
    line.querySelector(".rf-units").textContent = all[i].units;
    line.classList.toggle("rf-on", i === at.row);
    Paint.pressed(line.querySelector(".rf-pick"), i === at.row);
  });
  root.dataset.drawn = [at.chain, at.steps.length, at.row, size, field.jump, field.units].join(" ");
}
