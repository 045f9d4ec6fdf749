// Detectors side by side. Python sends all boxes once; the page applies the threshold and pairs the
// boxes of the same objects (boxes.js), as core/lessons/detectors.py does.
const root = element.querySelector(".dt");
const find = (name) => root.querySelector(".dt-" + name);
const make = (tag, className, text) => Object.assign(document.createElement(tag), { className: className || "", textContent: text || "" });
let model = null, image = null, shown = null;
const at = { score: .5, limit: .5, chosen: null }; // chosen: [answer, box]

const above = (one) => one.scores.filter((score) => score > at.score).length; // best first
function pairs(a, b) { // [[box of a, box of b], …] that show the same objects
  const [rows, columns] = [above(a), above(b)];
  const fits = (i, j) => a.classes[i] === b.classes[j] && Boxes.iou(a.boxes[i], b.boxes[j]) >= at.limit;
  const cost = Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (__, j) => (fits(i, j) ? -1 - a.scores[i] * b.scores[j] : 0)));
  return Boxes.assign(cost).map((i, j) => [i, j]).filter(([i, j]) => i >= 0 && cost[i][j] < 0);
}
function solved(answers) {
  const foundBy = answers.map((one) => Array(above(one)).fill(1)), partners = answers.map((one) => Array.from({ length: above(one) }, () => []));
  const agreement = answers.map((_, i) => answers.map((__, j) => (i === j ? 1 : 0)));
  answers.forEach((a, i) => answers.slice(i + 1).forEach((b, more) => {
    const j = i + 1 + more, found = pairs(a, b), boxes = above(a) + above(b);
    for (const [p, q] of found) {
      foundBy[i][p] += 1;
      foundBy[j][q] += 1;
      partners[i][p].push([j, q]);
      partners[j][q].push([i, p]);
    }
    agreement[i][j] = agreement[j][i] = boxes ? 2 * found.length / boxes : 1;
  }));
  return { foundBy, partners, agreement };
}
const words = (count, one) => `${count} ${one}${count === 1 ? "" : one.endsWith("x") ? "es" : "s"}`;
const known = ([i, p]) => shown.foundBy[i] && p < shown.foundBy[i].length;

// ---- drawing
function lit() { // the chosen box and its partners, as "answer box"
  if (!at.chosen || !known(at.chosen)) return null;
  const [i, p] = at.chosen;
  return new Set([[i, p], ...shown.partners[i][p]].map((one) => one.join(" ")));
}
function drawCard(card, i, marked) {
  const one = model.answers[i], { foundBy } = shown, all = model.answers.length;
  const pen = Dragging.picture(card.querySelector("canvas"), image);
  const named = [];
  for (let p = foundBy[i].length - 1; p >= 0; p -= 1) {
    const on = marked && marked.has(i + " " + p), colour = Dragging.colour(one.classes[p]), box = one.boxes[p];
    Dragging.paint(pen, box, {
      colour, width: on ? 4 : 2.5, alpha: !marked || on ? 1 : .3, dash: foundBy[i][p] < all ? [6, 4] : [],
    });
    if (!marked || on) named.unshift({ box, colour, name: `${one.labels[p]} ${one.scores[p].toFixed(2)}` });
  }
  Dragging.names(pen, named);
  const list = card.querySelector(".dt-list");
  while (list.children.length > foundBy[i].length) list.lastChild.remove();
  foundBy[i].forEach((count, p) => { // the buttons stay, so that the focus does
    const item = list.children[p] || list.appendChild(make("li"));
    const button = item.firstChild || item.appendChild(Object.assign(make("button", "pv-btn"), { type: "button" }));
    button.dataset.box = p;
    button.textContent = `${one.labels[p]} ${one.scores[p].toFixed(2)}${count === all ? "" : count === 1 ? ", alone" : `, ${count} of ${all}`}`;
    Paint.pressed(button, Boolean(marked) && marked.has(i + " " + p));
  });
  card.querySelector("figcaption").textContent = `${words(foundBy[i].length, "box")}, ${foundBy[i].filter((count) => count === all).length} found by all`;
}
function draw() {
  if (!model || !image) return;
  shown = solved(model.answers);
  const marked = lit();
  root.querySelectorAll(".cp-card").forEach((card, i) => drawCard(card, i, marked));
  for (const name of ["score", "limit"]) {
    find(name).value = String(at[name]);
    find(name).nextElementSibling.textContent = at[name].toFixed(2);
  }
  const all = shown.foundBy[0].filter((count) => count === model.answers.length).length;
  find("said").textContent = `${all ? words(all, "object") : "No object"} found by all; dashed boxes are not. Choose a box to see it everywhere.`;
  const titles = model.answers.map((one) => one.title), head = make("tr");
  head.append(make("td"), ...titles.map((title) => Object.assign(make("th", "", title), { scope: "col" })));
  find("table").replaceChildren(head, ...titles.map((title, i) => {
    const line = make("tr");
    line.append(Object.assign(make("th", "", title), { scope: "row" }), ...shown.agreement[i].map((share) => make("td", "", Paint.share(share))));
    return line;
  }));
  root.dataset.drawn = JSON.stringify({ found: shown.foundBy, agreement: shown.agreement, lit: marked ? [...marked].sort() : [] });
}

// ---- what the person does
function choose(i, p) {
  at.chosen = p < 0 || (at.chosen && at.chosen[0] === i && at.chosen[1] === p) ? null : [i, p];
  draw();
}
function under(event, i) { // the smallest box under the pointer
  const area = event.target.getBoundingClientRect(), { boxes } = model.answers[i];
  const [x, y] = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  const size = (p) => (boxes[p][2] - boxes[p][0]) * (boxes[p][3] - boxes[p][1]);
  const here = shown.foundBy[i].map((_, p) => p).filter((p) => boxes[p][0] <= x && x <= boxes[p][2] && boxes[p][1] <= y && y <= boxes[p][3]);
  return here.length ? here.sort((a, b) => size(a) - size(b))[0] : -1;
}
function card(one, i) {
  const part = make("section", "cp-card"), figure = make("figure"), canvas = make("canvas"), list = make("ul", "dt-list"), facts = make("dl", "cp-facts");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Boxes of ${one.title}; the buttons below choose one`);
  canvas.addEventListener("click", (event) => choose(i, under(event, i)));
  list.setAttribute("aria-label", "Boxes of " + one.title);
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(i, Number(button.dataset.box));
  });
  for (const [name, said] of one.facts) facts.append(make("dt", "", name), make("dd", "", said));
  figure.append(canvas, make("figcaption"));
  part.append(make("h5", "", one.title), figure, list, facts);
  if (one.note) part.append(make("p", "about", one.note));
  return part;
}
for (const name of ["score", "limit"]) find(name).addEventListener("input", (event) => {
  at[name] = Number(event.target.value);
  draw();
});

// ---- values from Python
Paint.follow(root, () => { model = null; }, (value, loaded) => {
  const four = (flat) => Array.from({ length: flat.length / 4 }, (_, i) => Array.from(flat.subarray(4 * i, 4 * i + 4)));
  image = loaded.image;
  model = { answers: value.answers.map((one, i) => ({
    ...one, boxes: four(loaded.arrays["boxes" + i]), scores: Array.from(loaded.arrays["scores" + i]), classes: Array.from(loaded.arrays["classes" + i]),
  })) };
  at.chosen = null;
  find("cards").replaceChildren(...model.answers.map(card));
  draw();
});
Paint.onResize(root, draw);
