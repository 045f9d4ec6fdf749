// The parts around the canvas: tools, the list of objects, the masks to choose from, texts.
let sayTimer = 0, busyTimer = 0, busyMotion = null, shownChoices = null, listed = 0;

function say(text, delay = 0) { // for screen readers; delayed while a key repeats
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => { find("say").textContent = text; }, delay);
}
function setMode(next) {
  mode = next;
  cancelPreview();
  refresh();
  say({ include: "Clicks include", exclude: "Clicks exclude", pick: "Clicks pick a mask" }[next]);
}
function plural(count, one) { return count + " " + one; }

function refresh() {
  root.dataset.seq = String(sequence);
  if (picture) { listObjects(); listChoices(); describe(); } else find("count").textContent = "";
  for (const name of ["include", "exclude", "pick"])
    find(name).setAttribute("aria-pressed", String(mode === name));
  find("pick").hidden = !segments || veiled;
  find("veil").hidden = !segments;
  find("veil").setAttribute("aria-pressed", String(!veiled));
  find("preview").setAttribute("aria-pressed", String(previewOn));
  // aria-disabled keeps the focus on a button that runs out of work
  const idle = {
    everything: !picture, undo: at === 0, redo: at >= history.length - 1, full: !picture,
    clear: !picture || (scene.objects.length === 1 && isBare(scene.objects[0])),
  };
  for (const [name, off] of Object.entries(idle))
    root.querySelector('[data-act="' + name + '"]').setAttribute("aria-disabled", String(off));
  setBusy(shown < sequence);
  draw();
}
function describe() { // the prompts of the active object, and all objects in view
  const { points, box, given } = active();
  const excluded = points.filter((point) => !point[2]).length, parts = [];
  if (given) parts.push("1 picked mask");
  if (points.length > excluded) parts.push(plural(points.length - excluded, "include"));
  if (excluded) parts.push(plural(excluded, "exclude"));
  if (box) parts.push("1 box");
  find("count").textContent = parts.join(", ");
  const seen = scene.objects.filter((object) => maskOf(object)).map(
    (object) => object.name + ", " + maskOf(object).note,
  );
  const name = (props.label ? props.label + ": " : "") + (picture.alt || "Your picture");
  canvas.setAttribute("aria-label", seen.length ? name + ". " + seen.join(". ") : name);
}
function setBusy(on) {
  canvas.setAttribute("aria-busy", String(on));
  clearTimeout(busyTimer);
  if (!on) {
    busy.hidden = true;
    if (busyMotion) busyMotion.cancel();
    return;
  }
  busyTimer = setTimeout(() => {
    busy.hidden = false;
    const travelled = [{ left: "-30%" }, { left: "100%" }];
    busyMotion = busy.animate(travelled, { duration: 1100, iterations: Infinity });
    busyTimer = setTimeout(() => setBusy(false), 60000); // an error sends no answer
  }, 250);
}

// ---- objects: rows are kept by id, so that the focus stays where it is
function listObjects() {
  const list = find("objects");
  const rows = new Map([...list.children].map((row) => [Number(row.dataset.id), row]));
  scene.objects.forEach((object, index) => {
    const row = rows.get(object.id) || objectRow(object.id);
    rows.delete(object.id);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] || null);
    const chosen = object.id === scene.active, found = maskOf(object);
    row.style.setProperty("--object", object.color);
    row.querySelector(".pp-pick-object").setAttribute("aria-pressed", String(chosen));
    row.querySelector(".pp-pick-object")
      .setAttribute("aria-label", `Work on object ${object.id}, ${object.name}`);
    const swatch = row.querySelector(".pp-swatch");
    swatch.textContent = String(object.id);
    swatch.style.color = inkOf(object.color);
    const field = row.querySelector(".pp-name");
    if (document.activeElement !== field) field.value = object.name;
    field.size = clamp(object.name.length, 6, 18);
    row.querySelector(".pp-note").textContent = found ? found.note : "";
    row.querySelector(".pp-remove").setAttribute("aria-label", "Remove " + object.name);
  });
  for (const row of rows.values()) row.remove();
  const row = list.querySelector('li:has([aria-pressed="true"])');
  if (!row || scene.active === listed) return;
  listed = scene.active; // a long list scrolls by itself, and not the page
  list.scrollTop = clamp(list.scrollTop, row.offsetTop + row.offsetHeight - list.clientHeight, row.offsetTop);
}
function objectRow(id) {
  const row = document.createElement("li");
  row.dataset.id = String(id);
  row.innerHTML =
    '<button type="button" class="pp-pick-object"><span class="pp-swatch"></span></button>' +
    '<input class="pp-name" aria-label="Name of the object" maxlength="60" spellcheck="false">' +
    '<span class="pp-note"></span>' +
    '<button type="button" class="pp-remove" title="Remove"><span aria-hidden="true">×</span></button>';
  const field = row.querySelector(".pp-name");
  row.querySelector(".pp-pick-object").addEventListener("click", () => selectObject(id));
  row.querySelector(".pp-remove").addEventListener("click", () => removeObject(id));
  row.querySelector(".pp-note").addEventListener("click", () => selectObject(id));
  field.addEventListener("focus", () => selectObject(id));
  field.addEventListener("change", () => renameObject(id, field.value));
  field.addEventListener("keydown", (event) => {
    event.stopPropagation(); // Delete and Ctrl+Z mean the letters here
    if (event.key === "Enter" || event.key === "Escape") canvas.focus();
  });
  return row;
}

// ---- the masks of an ambiguous click, side by side
function listChoices() {
  const found = maskOf(active()), holder = find("choices");
  if (!found && !isBare(active()) && shownChoices) return; // until the answer arrives
  const choices = (found && found.choices) || [];
  if (choices === shownChoices) return markChoice(found);
  shownChoices = choices;
  holder.replaceChildren(...choices.map(choiceButton));
  find("choosing").hidden = choices.length < 2;
  markChoice(found);
}
function markChoice(found) {
  const chosen = found ? found.choice : 0;
  [...find("choices").children].forEach((button, index) => {
    button.setAttribute("aria-checked", String(Boolean(found) && index === chosen));
    button.tabIndex = index === chosen ? 0 : -1; // one tab stop; arrow keys move between masks
  });
}
function choiceButton({ mask, name, facts }, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "pp-choice";
  button.setAttribute("role", "radio");
  button.append(document.createElement("canvas"), words("b", name), words("span", facts));
  button.addEventListener("click", () => chooseMask(index));
  button.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...find("choices").children], next = all[(index + step + all.length) % all.length];
    next.focus();
    next.click();
  });
  const small = button.firstChild, inSmall = small.getContext("2d");
  const side = 160 / Math.max(picture.w, picture.h);
  [small.width, small.height] = [picture.w, picture.h].map((v) => Math.max(1, Math.round(v * side)));
  if (image) inSmall.drawImage(image, 0, 0, small.width, small.height);
  const color = active().color;
  load(mask).then((loaded) => loaded && stain(inSmall, loaded, small, color));
  return button;
}
function words(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
function stain(onto, mask, { width: w, height: h }, color) { // the mask in colour, the rest dimmed
  const made = document.createElement("canvas");
  [made.width, made.height] = [w, h];
  const inside = made.getContext("2d");
  inside.drawImage(mask, 0, 0, w, h);
  inside.globalCompositeOperation = "source-in";
  inside.fillStyle = color;
  inside.fillRect(0, 0, w, h);
  onto.fillStyle = "rgba(0,0,0,0.35)";
  onto.fillRect(0, 0, w, h);
  onto.globalAlpha = 0.75;
  onto.drawImage(made, 0, 0);
  onto.globalAlpha = 1;
}
