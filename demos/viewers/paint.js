// What every view needs that paints a grid of numbers over a picture. Joined in front of the view's
// own scripts, which share its scope; gr.HTML provides element, props, watch.
"use strict";
const Paint = (() => {
  const WARM = [[13, 8, 60], [96, 20, 120], [190, 55, 84], [248, 140, 40], [252, 250, 170]]; // low to high
  const SIGNED = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]]; // -, 0, +
  const TYPES = { uint8: Uint8Array, int8: Int8Array, int16: Int16Array, float32: Float32Array };

  function colour(value, stops = WARM) { // 0..1 to [r, g, b]
    const x = Math.min(1, Math.max(0, value)) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(x));
    return stops[i].map((low, c) => Math.round(low + (stops[i + 1][c] - low) * (x - i)));
  }
  function sized(canvas, width, height = width) { // its pen; the canvas keeps the size that it has
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    return canvas.getContext("2d");
  }
  function picture(canvas, image, width, height = width) { // the picture fills the canvas
    const pen = sized(canvas, width, height);
    pen.drawImage(image, 0, 0, width, height);
    return pen;
  }
  function cells(pen, values, { rows, columns, low = 0, high = 1, opacity = .72, stops = WARM, smooth = false }) {
    const small = document.createElement("canvas"), brush = sized(small, columns, rows);
    const pixels = brush.createImageData(columns, rows);
    for (let i = 0; i < rows * columns; i += 1)
      pixels.data.set([...colour(high > low ? (values[i] - low) / (high - low) : 0, stops), 255], 4 * i);
    brush.putImageData(pixels, 0, 0);
    pen.save();
    [pen.globalAlpha, pen.imageSmoothingEnabled] = [opacity, smooth];
    pen.drawImage(small, 0, 0, pen.canvas.width, pen.canvas.height);
    pen.restore();
  }
  function lines(pen, rows, columns) { // between the patches
    const { width, height } = pen.canvas;
    pen.strokeStyle = "rgba(255,255,255,.35)"; pen.lineWidth = 1;
    pen.beginPath();
    for (let i = 1; i < columns; i += 1) { pen.moveTo(i * width / columns, 0); pen.lineTo(i * width / columns, height); }
    for (let i = 1; i < rows; i += 1) { pen.moveTo(0, i * height / rows); pen.lineTo(width, i * height / rows); }
    pen.stroke();
  }
  function mark(pen, rows, columns, cell) { // a frame around one cell; none if it is below 0
    if (cell < 0) return;
    const w = pen.canvas.width / columns, h = pen.canvas.height / rows;
    const box = [(cell % columns) * w, Math.floor(cell / columns) * h, w, h];
    pen.lineWidth = 5; pen.strokeStyle = "#000"; pen.strokeRect(...box);
    pen.lineWidth = 2.5; pen.strokeStyle = "#fff"; pen.strokeRect(...box);
  }
  function ends(values) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    return [low, high];
  }

  function cellAt(event, rows, columns) { // number of the cell under the pointer
    const box = event.target.getBoundingClientRect();
    const place = (offset, length, count) => Math.min(count - 1, Math.max(0, Math.floor(offset / length * count)));
    return place(event.clientY - box.top, box.height, rows) * columns + place(event.clientX - box.left, box.width, columns);
  }
  function stepped(key, rows, columns, cell) { // the cell beside, in the direction of an arrow key
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    if (!step) return null;
    if (cell < 0) return 0;
    const column = Math.min(columns - 1, Math.max(0, cell % columns + step[0]));
    return Math.min(rows - 1, Math.max(0, Math.floor(cell / columns) + step[1])) * columns + column;
  }
  // Click, touch and arrow keys on a canvas. `grid()` gives { rows, columns, cell }, or null while
  // there is nothing; `choose(cell)` follows; `hover(cell)`, if given, follows the mouse, -1 outside.
  function pick(canvas, grid, choose, hover) {
    canvas.addEventListener("click", (event) => {
      const now = grid();
      if (now) choose(cellAt(event, now.rows, now.columns));
    });
    canvas.addEventListener("keydown", (event) => {
      const now = grid(), next = now && stepped(event.key, now.rows, now.columns, now.cell);
      if (next === null) return;
      event.preventDefault();
      choose(next);
    });
    if (!hover) return;
    canvas.addEventListener("pointermove", (event) => {
      const now = grid();
      if (now) hover(cellAt(event, now.rows, now.columns));
    });
    canvas.addEventListener("pointerleave", () => grid() && hover(-1));
  }
  // Small multiples: a button with a canvas and a name for each; `button.firstChild` is the canvas.
  function smalls(parent, names, each) {
    parent.replaceChildren(...names.map((name, i) => {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.append(document.createElement("canvas"), name);
      each(button, i);
      return button;
    }));
  }
  const pressed = (button, on) => button.setAttribute("aria-pressed", String(on));

  // Picture and numbers of a value from `view.packed`: { image, arrays }; null where they cannot be
  // fetched, or `current()` says that another value came meanwhile.
  async function load(value, current) {
    const image = new Image();
    if (value.picture) image.src = fileAddress(value.picture);
    const answer = await fetch(fileAddress(value.numbers)).catch(() => null);
    if (!answer || !answer.ok) return null;
    const all = await answer.arrayBuffer(), arrays = {};
    for (const [name, { type, offset, shape }] of Object.entries(value.parts))
      arrays[name] = new TYPES[type](all, offset, shape.reduce((product, side) => product * side, 1));
    if (value.picture) await image.decode().catch(() => {});
    return current() ? { image, arrays } : null;
  }
  function first(root, text) { // the view's first line says which model this is, if that may surprise
    const line = root.querySelector(":scope > .pv-which") || root.insertBefore(document.createElement("p"), root.firstChild);
    line.className = "pv-which";
    line.textContent = text;
    line.hidden = !text;
  }
  // Shows each value of the component. `clear()` forgets the one before; `show(value, loaded)` follows
  // when its picture and numbers are there, unless another value came meanwhile.
  function follow(root, clear, show) {
    async function receive(value) {
      const next = value && value.numbers ? value : null;
      root.dataset.empty = String(!next);
      clear();
      if (!next) return;
      const loaded = await load(next, () => props.value === value);
      if (props.value !== value) return;
      root.dataset.empty = String(!loaded);
      if (!loaded) return;
      first(root, next.which || "");
      show(next, loaded);
    }
    watch(["value"], () => receive(props.value));
    receive(props.value);
  }
  // A button that calls `next()` again and again until it is pressed once more, or the view is out
  // of sight. Returns the function that stops it.
  function player(button, root, milliseconds, next) {
    let playing = 0;
    function stop() {
      clearInterval(playing);
      playing = 0;
      pressed(button, false);
    }
    button.addEventListener("click", () => {
      if (playing) return stop();
      pressed(button, true);
      playing = setInterval(() => (root.getClientRects().length ? next() : stop()), milliseconds);
    });
    return stop;
  }
  // The choice of a head, in a list and as small multiples; `mean` is the value for the mean of all.
  function heads(select, parent, count, mean) {
    const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
    const all = [...Array(count).keys()];
    select.replaceChildren(option(mean, "mean of all"), ...all.map((head) => option(head, head + 1)));
    smalls(parent, all.map((head) => String(head + 1)), (button, head) => {
      button.dataset.head = head;
      button.title = "Head " + (head + 1) + ": click for this one, or again for the mean";
    });
  }
  // Calls `draw` when the view's width changes, e.g. as a phone is turned.
  function onResize(node, draw) {
    let width = 0;
    new ResizeObserver(() => {
      if (node.clientWidth === width) return;
      width = node.clientWidth;
      draw();
    }).observe(node);
  }
  // Puts a text into a box of the lesson around `node`, and runs the lesson with it.
  function ask(node, key, box, text) {
    const lesson = node.closest(`#lesson-${key}`) || document;
    const input = lesson.querySelector(`#lesson-${key}-${box} :is(input, textarea)`);
    input.value = text;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    setTimeout(() => lesson.querySelector(`#lesson-${key}-refresh`).click(), 50); // once Gradio has the text
  }
  const share = (value) => (value >= 0.1 ? Math.round(100 * value) : (100 * value).toFixed(1)) + " %";
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  return {
    WARM, SIGNED, colour, sized, picture, cells, lines, mark, ends, cellAt, pick, smalls, pressed, load, follow, player, heads,
    onResize, ask, share, capital,
  };
})();
