// BERT itself: the encoder and its masked-LM head, one sequence at a time, in the order of the formulas.
//
// A vector is a Float64Array, a sequence is an array of vectors. Matrices are {rows, columns, values} with a row for each
// output, as in torch. `encode` returns all numbers in between, so that the page can show them.

// The error function, with errors below 1.2e-7 (Numerical Recipes, 6.2).
function erf(x) {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const series = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
    -0.82215223, 0.17087277].reduceRight((sum, factor) => sum * t + factor, 0);
  const rest = t * Math.exp(-x * x + series);
  return x >= 0 ? 1 - rest : rest - 1;
}

const ACTIVATIONS = {
  gelu: (x) => x * 0.5 * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => x * 0.5 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => Math.max(0, x),
};

export function dot(one, other, from = 0, to = one.length, shift = 0) {
  let sum = 0;
  for (let index = from; index < to; index += 1) sum += one[index] * other[index + shift];
  return sum;
}

const rowOf = (matrix, row) => matrix.values.subarray(row * matrix.columns, (row + 1) * matrix.columns);
const add = (one, other) => one.map((value, index) => value + other[index]);

// y = W x + b
function linear(vector, matrix, bias) {
  const result = new Float64Array(matrix.rows);
  for (let row = 0; row < matrix.rows; row += 1) result[row] = dot(vector, matrix.values, 0, matrix.columns, row * matrix.columns) + bias[row];
  return result;
}

// y = (x - mean) / sqrt(variance + epsilon) * gain + bias
function normalise(vector, gain, bias, epsilon) {
  const mean = vector.reduce((sum, x) => sum + x, 0) / vector.length;
  const variance = vector.reduce((sum, x) => sum + (x - mean) ** 2, 0) / vector.length;
  const scale = 1 / Math.sqrt(variance + epsilon);
  return { vector: vector.map((x, index) => (x - mean) * scale * gain[index] + bias[index]), mean, variance };
}

export function softmax(logits) {
  const most = logits.reduce((best, x) => Math.max(best, x), -Infinity);
  const exponentials = logits.map((x) => Math.exp(x - most));
  const sum = exponentials.reduce((total, x) => total + x, 0);
  return exponentials.map((x) => x / sum);
}

// Attention of one layer: queries, keys and values of all heads, the weights of each head, and what each token has seen.
function attend(hidden, part, heads) {
  const size = hidden[0].length;
  const width = size / heads;
  const projected = hidden.map((vector) => linear(vector, part("attention.qkv.weight"), part("attention.qkv.bias")));
  const [queries, keys, values] = [0, 1, 2].map((third) => projected.map((vector) => vector.subarray(third * size, (third + 1) * size)));
  const weights = Array.from({ length: heads }, (_, head) => queries.map((query) => softmax(Float64Array.from(
    keys, (key) => dot(query, key, head * width, (head + 1) * width) / Math.sqrt(width)))));
  const seen = hidden.map((_, from) => Float64Array.from({ length: size }, (__, at) =>
    weights[Math.floor(at / width)][from].reduce((sum, weight, to) => sum + weight * values[to][at], 0)));
  return { queries, keys, weights, seen };
}

// Run the encoder. `states` has, for the embeddings and for each layer, the vectors before and after their last LayerNorm.
export function encode({ tensors, config }, ids) {
  const get = (name) => tensors[name];
  const { layers, heads, epsilon, activation } = config;
  const norm = (name, vector) => normalise(vector, get(`${name}.weight`), get(`${name}.bias`), epsilon);
  const state = (name, parts) => {
    const done = parts.map((terms) => norm(name, terms.map(([, vector]) => vector).reduce(add)));
    return { name, parts, norms: done, vectors: done.map(({ vector }) => vector) };
  };
  const states = [state("embeddings.norm", ids.map((id, place) => [
    ["word", Float64Array.from(rowOf(get("embeddings.word.weight"), id))],
    ["place", rowOf(get("embeddings.position.weight"), place)],
    ["segment", get("embeddings.segment.weight")]]))];
  const attention = [];
  for (let layer = 0; layer < layers; layer += 1) {
    const part = (name) => get(`blocks.${layer}.${name}`);
    const hidden = states.at(-1).vectors;
    const looked = attend(hidden, part, heads);
    attention.push(looked);
    const mixed = looked.seen.map((seen) => linear(seen, part("attention.output.weight"), part("attention.output.bias")));
    const between = hidden.map((vector, at) => norm(`blocks.${layer}.attention_norm`, add(vector, mixed[at])).vector);
    const fed = between.map((vector) => linear(
      linear(vector, part("feedforward.up.weight"), part("feedforward.up.bias")).map(ACTIVATIONS[activation]),
      part("feedforward.down.weight"), part("feedforward.down.bias")));
    states.push(state(`blocks.${layer}.feedforward_norm`, between.map((vector, at) => [["attended", vector], ["fed", fed[at]]])));
  }
  return { states, attention };
}

// The masked-LM head at one place: a logit and a probability for every token of the vocabulary.
export function guess({ tensors, config }, vector) {
  const dense = linear(vector, tensors["head.dense.weight"], tensors["head.dense.bias"]).map(ACTIVATIONS[config.activation]);
  const transformed = normalise(dense, tensors["head.norm.weight"], tensors["head.norm.bias"], config.epsilon).vector;
  const matrix = tensors["head.embedding"] ?? tensors["embeddings.word.weight"];
  const bias = tensors["head.bias"];
  const logits = linear(transformed, matrix, bias);
  return { transformed, logits, probabilities: softmax(logits), row: (id) => rowOf(matrix, id), bias };
}
