// The view of a DETR's queries: Python sends boxes, best classes, and queries and keys of every layer
// once; any layer, head, query and threshold is computed here. Stage s is after decoder layer s, or
// with `model.first` = 1 the choice of the queries for s = 0.
const root = element.querySelector(".qy");
const find = (name) => root.querySelector(".qy-" + name);
const MEAN = -1, SHOWN = 8; // of the other queries, those that the chosen one looks at most
const { share, capital } = Paint;
let model = null, image = null;
const at = { stage: 0, head: MEAN, query: 0, hover: -1, threshold: .5, place: -1, elayer: 0, ehead: MEAN };

// ---- numbers
const layerOf = (stage) => stage - model.first; // -1: before the first layer
const stages = () => model.layers + model.first;
const current = () => (at.hover < 0 ? at.query : at.hover);
const boxOf = (stage, query) => {
  const i = 4 * (stage * model.queries + query);
  return Array.from(model.boxes.subarray(i, i + 4));
};
function classesOf(stage, query) { // [{ name, p }], best first
  const i = (stage * model.queries + query) * model.kept;
  const some = [...Array(model.kept).keys()].map((k) => ({ name: model.names[model.best[i + k]], number: model.best[i + k], p: model.shares[i + k] }));
  if (!model.none) return some;
  return [...some, { name: "no object", number: -1, p: model.none[stage * model.queries + query] }].sort((a, b) => b.p - a.p);
}
const bestOf = (stage, query) => {
  const i = (stage * model.queries + query) * model.kept;
  return { name: model.names[model.best[i]], number: model.best[i], p: model.shares[i] };
};
// What token `i` takes from each, in one head: the softmax of its query times all keys.
function inHead(kind, layer, head, i) {
  const { heads, from, to, dim, scale } = model[kind], q = model[kind + "_q"], k = model[kind + "_k"];
  const block = layer * heads + head, start = (block * from + i) * dim, unit = scale[layer][head];
  const scores = new Float32Array(to);
  for (let j = 0; j < to; j += 1) {
    let sum = 0;
    for (let d = 0, other = (block * to + j) * dim; d < dim; d += 1) sum += q[start + d] * k[other + d];
    scores[j] = sum * unit;
  }
  return Boxes.softmax(scores);
}
function attention(kind, layer, head, i) { // of one head, or the mean of all
  if (head !== MEAN) return inHead(kind, layer, head, i);
  const rows = [...Array(model[kind].heads).keys()].map((one) => inHead(kind, layer, one, i));
  return rows[0].map((_, j) => rows.reduce((sum, one) => sum + one[j], 0) / rows.length);
}
function pointsOf(layer, head, query) { // [{ x, y, w, level }] that the query reads, if it reads points
  const { sampling: { levels, far, most }, queries, heads, points, weights } = model, found = [];
  for (const one of head === MEAN ? [...Array(heads).keys()] : [head]) {
    const start = ((layer * heads + one) * queries + query) * levels.length;
    levels.forEach((level, p) => found.push({
      x: points[2 * (start + p)] * far, y: points[2 * (start + p) + 1] * far, level,
      w: weights[start + p] * most / (head === MEAN ? heads : 1),
    }));
  }
  return found;
}
function ranking(stage) { // all queries, best first
  return [...Array(model.queries).keys()].sort((a, b) => bestOf(stage, b).p - bestOf(stage, a).p);
}
const others = (weights, query) => [...weights.keys()].filter((i) => i !== query).sort((a, b) => weights[b] - weights[a]);

// ---- names
const stageName = (stage) => (layerOf(stage) < 0 ? "start" : `${layerOf(stage) + 1} of ${model.layers}`);
const afterStage = (stage) => (layerOf(stage) < 0 ? "before the first layer" : `after layer ${layerOf(stage) + 1}`);
const nameOf = (query) => "query " + (query + 1);
const told = (query, stage) => {
  const { name, p } = bestOf(stage, query);
  return `${name}, ${share(p)}`;
};
const mapName = (level) => `${model.sampling.shapes[level][0]} x ${model.sampling.shapes[level][1]} map`;
