// Arithmetic of boxes for views: overlaps, matching, its loss, and non-maximum suppression. The same
// formulas as in core/imaging/overlaps.py, core/lessons/matching.py and core/lessons/nms.py. Boxes
// are [x1, y1, x2, y2].
const Boxes = (() => {
  const area = (box) => Math.max(0, box[2] - box[0]) * Math.max(0, box[3] - box[1]);
  const shared = (a, b) => [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
  const around = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
  const ratio = (part, whole) => (whole > 0 ? part / whole : 0);
  const union = (a, b) => area(a) + area(b) - area(shared(a, b));
  const iou = (a, b) => ratio(area(shared(a, b)), union(a, b));
  function giou(a, b) {
    const whole = area(around(a, b));
    return iou(a, b) - ratio(whole - union(a, b), whole);
  }
  function diou(a, b) {
    const c = around(a, b), dx = (a[0] + a[2] - b[0] - b[2]) / 2, dy = (a[1] + a[3] - b[1] - b[3]) / 2;
    return iou(a, b) - ratio(dx * dx + dy * dy, (c[2] - c[0]) ** 2 + (c[3] - c[1]) ** 2);
  }
  const cxcywh = (b) => [(b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]];
  const xyxy = (b) => [b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2];
  function l1(a, b) { // as DETR measures it: of centre, width and height
    const [p, q] = [cxcywh(a), cxcywh(b)];
    return p.reduce((sum, value, i) => sum + Math.abs(value - q[i]), 0);
  }
  function gradient(loss, box) { // by the four sides of `box`; loss(box) is smooth almost everywhere
    return box.map((_, i) => {
      const [more, less] = [box.slice(), box.slice()];
      more[i] += 1e-5;
      less[i] -= 1e-5;
      return (loss(more) - loss(less)) / 2e-5;
    });
  }
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const sigmoid = (z) => 1 / (1 + Math.exp(-Math.min(60, Math.max(-60, z))));
  function softmax(z) {
    const most = Math.max(...z), e = z.map((value) => Math.exp(value - most)), total = sum(e);
    return e.map((value) => value / total);
  }

  // ---- matching: `queries` are [{ z: logits, box }], `truths` [{ box, label }]
  function classCost(z, label, kind) {
    if (kind === "softmax") return -softmax(z)[label];
    const p = sigmoid(z[label]);
    return 0.25 * (1 - p) ** 2 * -Math.log(p + 1e-8) - 0.75 * p ** 2 * -Math.log(1 - p + 1e-8);
  }
  // Three tables of costs, a row for each query: { classes, l1, giou }.
  function costs(queries, truths, kind) {
    const table = (cost) => queries.map((query) => truths.map((truth) => cost(query, truth)));
    return {
      classes: table((query, truth) => classCost(query.z, truth.label, kind)),
      l1: table((query, truth) => l1(query.box, truth.box)),
      giou: table((query, truth) => -giou(query.box, truth.box)),
    };
  }
  const total = (parts, weights) => parts.classes.map((row, q) => row.map((cost, t) =>
    weights[0] * cost + weights[1] * parts.l1[q][t] + weights[2] * parts.giou[q][t]));

  // The assignment with the least sum of costs, exactly: shortest augmenting paths (Jonker and
  // Volgenant, 1987). For each column of `cost` its row, or -1 where there are more columns than rows.
  function assign(cost) {
    const rows = cost.length, columns = rows ? cost[0].length : 0;
    if (!columns) return [];
    const flipped = columns > rows, n = flipped ? rows : columns, m = flipped ? columns : rows;
    const at = flipped ? (i, j) => cost[i][j] : (i, j) => cost[j][i];
    const [u, v] = [new Float64Array(n + 1), new Float64Array(m + 1)], owner = new Int32Array(m + 1);
    for (let i = 1; i <= n; i += 1) { // give each its place, moving others where that is cheaper
      const least = new Float64Array(m + 1).fill(Infinity), done = new Uint8Array(m + 1), from = new Int32Array(m + 1);
      let j = 0;
      owner[0] = i;
      do {
        done[j] = 1;
        let next = 0, delta = Infinity;
        for (let k = 1; k <= m; k += 1) {
          if (done[k]) continue;
          const slack = at(owner[j] - 1, k - 1) - u[owner[j]] - v[k];
          if (slack < least[k]) [least[k], from[k]] = [slack, j];
          if (least[k] < delta) [delta, next] = [least[k], k];
        }
        for (let k = 0; k <= m; k += 1) {
          if (done[k]) { u[owner[k]] += delta; v[k] -= delta; }
          else least[k] -= delta;
        }
        j = next;
      } while (owner[j]);
      for (; j; j = from[j]) owner[j] = owner[from[j]];
    }
    const found = Array(columns).fill(-1);
    for (let k = 1; k <= m; k += 1) if (owner[k]) found[flipped ? k - 1 : owner[k] - 1] = flipped ? owner[k] - 1 : k - 1;
    return found;
  }

  function crossEntropy(z, target, weight) {
    const most = Math.max(...z);
    return weight * (most + Math.log(sum(z.map((value) => Math.exp(value - most)))) - z[target]);
  }
  function varifocal(z, label, score, alpha) { // label -1: a query without a true box
    return sum(z.map((value, c) => {
      const wanted = c === label ? score : 0, p = sigmoid(value);
      const weight = c === label ? wanted : alpha * p * p;
      return weight * (Math.max(value, 0) - value * wanted + Math.log1p(Math.exp(-Math.abs(value))));
    }));
  }
  // The loss of an assignment: { pairs: [{ classes, l1, giou } or null], unmatched }, not weighted.
  function loss(queries, truths, pairs, kind, unmatched) {
    const count = Math.max(1, truths.length), owner = Array(queries.length).fill(-1);
    pairs.forEach((query, t) => { if (query >= 0) owner[query] = t; });
    const none = queries.length ? queries[0].z.length - 1 : 0, matched = owner.filter((t) => t >= 0).length;
    const scale = kind === "softmax" ? Math.max(matched + unmatched * (queries.length - matched), 1e-12) : count;
    const each = queries.map(({ z, box }, q) => {
      const truth = truths[owner[q]];
      if (kind === "softmax") return crossEntropy(z, truth ? truth.label : none, truth ? 1 : unmatched) / scale;
      return varifocal(z, truth ? truth.label : -1, truth ? iou(box, truth.box) : 0, unmatched) / scale;
    });
    return {
      pairs: pairs.map((q, t) => (q < 0 ? null : {
        classes: each[q], l1: l1(queries[q].box, truths[t].box) / count,
        giou: (1 - giou(queries[q].box, truths[t].box)) / count,
      })),
      unmatched: sum(each.filter((_, q) => owner[q] < 0)),
    };
  }

  // ---- non-maximum suppression of boxes within each class: the scores after it, and for each box
  // which one dropped it, or lowered it most (-1: none)
  function suppress(boxes, scores, classes, { method = "hard", limit = .6, sigma = .5 }) {
    const now = Array.from(scores), by = now.map(() => -1), worst = now.map(() => 1), left = new Set(now.keys());
    const factor = (overlap) => method === "gaussian" ? Math.exp(-overlap * overlap / sigma)
      : overlap <= limit ? 1 : method === "hard" ? 0 : 1 - overlap;
    while (left.size) {
      let best = -1;
      for (const i of left) if (best < 0 || now[i] > now[best]) best = i;
      left.delete(best);
      for (const i of left) {
        if (classes[i] !== classes[best]) continue;
        const kept = factor(iou(boxes[best], boxes[i]));
        if (kept >= 1) continue;
        if (kept < worst[i]) [by[i], worst[i]] = [best, kept];
        now[i] *= kept;
        if (method === "hard") left.delete(i);
      }
    }
    return { scores: now, by };
  }
  return { iou, giou, diou, l1, cxcywh, xyxy, gradient, softmax, sigmoid, costs, total, assign, loss, suppress };
})();
