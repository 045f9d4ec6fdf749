// Logits and the loss, second part: the loss in words and numbers, and what the person does.
function drawLoss(z, p) {
  const scaled = z.map((one) => one / at.temperature), loss = crossEntropy(scaled, at.truth);
  const name = model.labels[at.truth], best = model.order[0];
  find("said").textContent = `If the picture shows “${name}”, the cross-entropy is ${fixed(loss)}: the model gives it ` +
    `${percent(p[at.truth])}${at.truth === best ? "" : `, and “${model.labels[best]}” ${percent(p[best])}`}.`;
  const over = at.temperature === 1 ? "" : "/T";
  find("formula").textContent = `log Σ exp(z${over}) − z${over} of the true class = ${fixed(logSumExp(scaled))} − ` +
    `${fixed(scaled[at.truth])} = ${fixed(loss)} = −log ${p[at.truth] < 1e-4 ? p[at.truth].toExponential(2) : p[at.truth].toFixed(4)}. ` +
    `A guess among ${z.length.toLocaleString("en")} equal classes has ${fixed(Math.log(z.length))}.`;
}
function drawTwice(z) {
  const p = softmax(z), floor = Math.log(Math.E + z.length - 1) - 1;
  const [once, twice] = [slope(p, at.truth), slopeOfTwice(p, at.truth)];
  find("twice-body").replaceChildren(
    row(["logits", fixed(crossEntropy(z, at.truth)), "0", fixed(length(once), 4)]),
    row(["probabilities", fixed(crossEntropy(p, at.truth)), fixed(floor), fixed(length(twice), 4)]),
  );
  const ratio = length(once) / length(twice);
  find("twice-said").textContent = `Probabilities lie between 0 and 1, so the second softmax sees almost equal numbers: even ` +
    `a perfect model has a loss of ${fixed(floor)}. Here its slope is ` +
    `${Number.isFinite(ratio) && ratio >= 1 ? (ratio >= 1000 ? "more than 1000" : ratio.toFixed(ratio < 10 ? 1 : 0)) + " times shorter" : "not shorter"}, ` +
    "and training learns that much less from this picture.";
}
function drawOverflow(z) {
  const moved = z.map((one) => one + at.add), found = naive(moved, at.truth, at.type), right = crossEntropy(moved, at.truth);
  find("add-said").textContent = (at.add > 0 ? "+" : "") + String(at.add).replace("-", "−");
  find("naive-body").replaceChildren(
    row([`exp of the largest logit, ${fixed(largest(moved), 2)}`, fixed(found.power)]),
    row(["the sum of all exp", fixed(found.total)]),
    row(["−log(exp(z) / Σ exp), as written", fixed(found.loss)]),
    row(["log Σ exp − z, with the largest taken out first", fixed(right)]),
  );
  const most = model.largest[at.type], good = Math.abs(found.loss - right) <= .01 * Math.max(1, Math.abs(right));
  find("naive-said").textContent = good
    ? `Both agree in ${at.type}, as long as no logit is above ${most.toFixed(1)}.`
    : `In ${at.type} exp has no finite value above ${most.toFixed(1)}, and few digits near 0: the formula as written is of no use ` +
      "here. The loss takes the largest logit out before exp, which it can only do if it gets the logits.";
  for (const button of root.querySelectorAll("[data-type]")) Paint.pressed(button, button.dataset.type === at.type);
}
function toTruth(truth) {
  at.truth = truth;
  find("true").value = model.labels[truth];
  find("unknown").textContent = "";
  draw();
}
find("temp").addEventListener("input", (event) => { at.temperature = 10 ** Number(event.target.value); draw(); });
find("add").addEventListener("input", (event) => { at.add = Number(event.target.value); draw(); });
find("true").addEventListener("change", (event) => { // chosen from the list, or typed
  const wanted = event.target.value.trim().toLowerCase();
  if (!model) return;
  if (!wanted) return toTruth(model.order[0]);
  const exact = model.labels.findIndex((one) => one.toLowerCase() === wanted);
  const found = exact >= 0 ? exact : model.order.find((i) => model.labels[i].toLowerCase().includes(wanted));
  if (found === undefined) find("unknown").textContent = `The model knows no class “${event.target.value.trim()}”; choose one of the list.`;
  else toTruth(found);
});
root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !model) return;
  if (button.dataset.truth) {
    toTruth(Number(button.dataset.truth));
    root.querySelector(`[data-truth="${at.truth}"]`).focus(); // drawn again
  }
  if (button.dataset.type) { at.type = button.dataset.type; draw(); }
  if (button.classList.contains("lo-one")) {
    at.temperature = 1;
    find("temp").value = "0";
    draw();
  }
});

Paint.follow(root, () => { model = null; }, (value, loaded) => {
  const logits = Array.from(loaded.arrays.logits);
  const order = logits.map((_, i) => i).sort((a, b) => logits[b] - logits[a] || a - b);
  model = { ...value, logits, order };
  find("names").replaceChildren(...value.labels.map((name) => Object.assign(document.createElement("option"), { value: name })));
  toTruth(order[0]);
});
