// Where a number comes from: its formula, the values that went into it, and the lines of Python that compute it.

import { el, percent } from "./dom.js";
import { dot } from "./encoder.js";
import { tell } from "./words_live.js";

const MOST = 24; // products that are shown of a long sum

export function short(value) {
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e7) ? value.toExponential(3) : String(Number(value.toPrecision(6)));
}

function table(heads, rows, chosen = -1) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": tell("values") }, el("table", { class: "values" },
    el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map((cells, index) => el("tr", { class: index === chosen ? "same" : undefined },
      cells.map((cell) => el("td", {}, typeof cell === "number" ? short(cell) : el("bdi", {}, cell))))))));
}

// A sum of products, the largest first if there are many.
function products(one, other, names) {
  const rows = Array.from(one, (value, index) => [String(index + 1), value, other[index], value * other[index]]);
  const many = rows.length > MOST;
  if (many) rows.sort((a, b) => Math.abs(b[3]) - Math.abs(a[3]));
  const title = many ? tell("largest", MOST) : tell("products", rows.length);
  return el("details", {}, el("summary", {}, title), table(["", ...names, tell("product")], rows.slice(0, MOST)));
}

const steps = (lines) => el("div", { class: "sums" }, lines.map(([left, right]) => el("p", {}, el("code", {}, left), el("code", {}, ` = ${right}`))));

function code(lines, names) {
  return [el("h3", {}, tell("code")), ...names.map((name) => el("figure", { class: "line" },
    el("pre", { tabindex: "0" }, el("code", {}, lines[name].code)), el("figcaption", {}, lines[name].place)))];
}

function article(title, sub, said, formula, ...rest) {
  return el("div", {}, el("h2", {}, title), sub ? el("p", { class: "habits" }, sub) : null, el("p", {}, said),
    el("p", { class: "formula" }, formula), rest.flat());
}

// An attention weight: how much token `from` looks at token `to` in a head.
export function ofWeight({ run, tokens }, lines, [layer, head], from, to) {
  const { queries, keys, weights } = run.attention[layer];
  const width = queries[0].length / weights.length;
  const part = (vector) => vector.subarray(head * width, (head + 1) * width);
  const query = part(queries[from]);
  const scores = keys.map((key) => dot(query, part(key)) / Math.sqrt(width));
  const sum = scores.reduce((total, score) => total + Math.exp(score), 0);
  const product = dot(query, part(keys[to]));
  return article(tell("weightTitle", layer + 1, head + 1), tell("looks", tokens[from].token, tokens[to].token), tell("weightSaid"),
    "w = exp(s) / Σ exp(s)\ns = q · k / √D",
    el("h3", {}, tell("values")), steps([
      ["q · k", short(product)], [`s = ${short(product)} / √${width}`, short(scores[to])],
      ["exp(s)", short(Math.exp(scores[to]))], ["Σ exp(s)", short(sum)],
      [`w = ${short(Math.exp(scores[to]))} / ${short(sum)}`, `${short(weights[head][from][to])} (${percent(weights[head][from][to])})`]]),
    products(query, part(keys[to]), [tell("query"), tell("key")]),
    el("details", {}, el("summary", {}, tell("allTokens")), table(["", tell("score"), "exp(s)", tell("weight")],
      tokens.map((token, at) => [token.token, scores[at], Math.exp(scores[at]), weights[head][from][at]]), to)),
    code(lines, ["project", "score", "weight"]));
}

// The probability of a piece at a hidden place.
export function ofGuess(found, lines, id, token) {
  const { transformed, logits, probabilities, row, bias } = found;
  const product = dot(transformed, row(id));
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  return article(tell("guessTitle", token), null, tell("guessSaid"), "p = exp(z) / Σ exp(z)\nz = h · e + b",
    el("h3", {}, tell("values")), steps([
      ["h · e", short(product)], [`z = ${short(product)} + ${short(bias[id])}`, short(logits[id])],
      ["exp(z)", short(Math.exp(logits[id]))], ["Σ exp(z)", short(sum)],
      [`p = ${short(Math.exp(logits[id]))} / ${short(sum)}`, `${short(probabilities[id])} (${percent(probabilities[id])})`]]),
    products(transformed, row(id), [tell("vector"), tell("output")]),
    code(lines, ["transform", "logit", "probability"]));
}

// A number of a token's vector, after the embeddings (level 0) or a layer.
export function ofComponent({ run, tokens }, tensors, epsilon, lines, level, at, index) {
  const state = run.states[level];
  const { mean, variance, vector } = state.norms[at];
  const terms = state.parts[at].map(([name, values]) => [tell("terms")[name], values[index]]);
  const sum = terms.reduce((total, [, value]) => total + value, 0);
  const [gain, bias] = ["weight", "bias"].map((kind) => tensors[`${state.name}.${kind}`][index]);
  return article(tell("componentTitle", index + 1, tokens[at].token), level ? `${tell("level")} ${level}` : tell("embedding"),
    tell(level ? "layered" : "summed"), "y = (x − m) / √(v + ε) · g + b",
    el("h3", {}, tell("values")), steps([
      ...terms.map(([name, value]) => [name, short(value)]), [`x = ${tell("sum")}`, short(sum)],
      [`m, ${tell("mean")}`, short(mean)], [`v, ${tell("variance")}`, short(variance)], ["ε", short(epsilon)],
      [`g, ${tell("gain")}`, short(gain)], [`b, ${tell("bias")}`, short(bias)], ["y", short(vector[index])]]),
    code(lines, level ? ["fed"] : ["summed", "embedded"]));
}
