// The comparison. Python sends the answers, and for each what it looks at as bytes; the opacity
// changes here.
const find = (name) => element.querySelector(".cp-" + name);
const root = element.querySelector(".cp");
let model = null, image = null, opacity = .6;

const make = (tag, className, text) => Object.assign(document.createElement(tag), { className: className || "", textContent: text || "" });
function bars(answer, everywhere) {
  const list = make("ol", "cp-bars");
  list.setAttribute("aria-label", "Classes of " + answer.title);
  for (const [label, score] of answer.classes) {
    const line = make("li", everywhere.has(label) ? "cp-shared" : ""), fill = make("span", "cp-fill");
    fill.style.width = 100 * score + "%";
    line.append(fill, make("span", "", label), make("span", "", Paint.share(score)));
    list.append(line);
  }
  return list;
}
function facts(answer) {
  const list = make("dl", "cp-facts");
  for (const [name, said] of answer.facts) list.append(make("dt", "", name), make("dd", "", said));
  return list;
}
function drawOne(canvas, answer, place) {
  const pen = Paint.picture(canvas, image, image.naturalWidth, image.naturalHeight), { width, height } = pen.canvas;
  pen.fillStyle = "rgba(0,0,0,.35)"; // what the model does not see
  const [x1, y1, x2, y2] = answer.seen.map((v, i) => v * (i % 2 ? height : width));
  pen.beginPath(); pen.rect(0, 0, width, height); pen.rect(x1, y1, x2 - x1, y2 - y1); pen.fill("evenodd");
  const [rows, columns] = answer.shape, small = Paint.sized(document.createElement("canvas"), columns, rows);
  Paint.cells(small, model.arrays["heat" + place], { rows, columns, high: 255, opacity: 1 });
  pen.save();
  pen.globalAlpha = opacity; pen.imageSmoothingQuality = "high";
  pen.drawImage(small.canvas, x1, y1, x2 - x1, y2 - y1);
  pen.restore();
}
function draw() {
  if (!model) return;
  root.querySelectorAll(".cp-card canvas").forEach((canvas, place) => drawOne(canvas, model.answers[place], place));
  find("opacity-said").textContent = `${Math.round(100 * opacity)} %`;
  root.dataset.drawn = [model.answers.length, Math.round(100 * opacity)].join(" ");
}
function build() {
  const names = model.answers.map((one) => new Set(one.classes.map(([label]) => label)));
  const everywhere = new Set([...names[0]].filter((label) => names.every((some) => some.has(label))));
  find("said").textContent = model.said;
  find("cards").replaceChildren(...model.answers.map((answer) => {
    const card = make("section", "cp-card"), canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `What ${answer.title} looks at for ${answer.classes[0][0]}`);
    card.append(make("h5", "", answer.title), canvas, bars(answer, everywhere), facts(answer));
    if (answer.note) card.append(make("p", "about", answer.note));
    return card;
  }));
  const head = make("tr"), titles = model.answers.map((one) => one.title);
  head.append(make("td"), ...titles.map((title) => Object.assign(make("th", "", title), { scope: "col" })));
  const rows = titles.map((title, i) => {
    const line = make("tr");
    line.append(Object.assign(make("th", "", title), { scope: "row" }), ...model.agreement[i].map((share) => make("td", "", Paint.share(share))));
    return line;
  });
  find("table").replaceChildren(head, ...rows);
}
find("opacity").addEventListener("input", (event) => {
  opacity = Number(event.target.value) / 100;
  draw();
});
Paint.follow(root, () => { model = null; }, (value, got) => {
  image = got.image;
  model = { ...value, arrays: got.arrays };
  build();
  draw();
});
