// How a model reads a text: its pieces, and for every head of every layer where each token looks.

import { arrows, el, percent, sized, svg } from "./dom.js";
import { say } from "./words.js";

export function drawPieces(answer) {
  const row = el("ol", { class: "pieces" });
  for (const token of answer.tokens) {
    const isPiece = token.side !== null;
    const piece = el("span", { title: isPiece && token.end ? say("range", token.start, token.end, token.id) : undefined },
      el("bdi", {}, token.token), el("small", {}, token.id));
    const kind = isPiece ? `side${token.side}` : "special";
    if (isPiece && !token.starts && row.lastChild.className === kind) row.lastChild.append(piece);
    else row.append(el("li", { class: kind }, piece));
  }
  const cut = answer.cut ? ` · ${say("cut", answer.cut)}` : "";
  return el("div", {}, row, el("p", { class: "remark" }, say("piecesCount", answer.tokens.length) + cut));
}

// Where a head looks on average: the share of the weights on the token before, on itself and so on.
export function habits(weights, tokens) {
  const shares = { before: 0, after: 0, itself: 0, first: 0, separators: 0, other: 0 };
  const count = tokens.length;
  weights.forEach((row, from) => row.forEach((weight, to) => {
    const special = tokens[to].side === null;
    const place = to === from ? "itself" : special && to === 0 ? "first" : special ? "separators"
      : to === from - 1 ? "before" : to === from + 1 ? "after" : "other";
    shares[place] += weight / count;
  }));
  return Object.entries(shares).sort((one, other) => other[1] - one[1]);
}

function habitName(name, tokens) {
  if (name === "first") return say("first", tokens[0].token);
  if (name === "separators") return tokens.at(-1).token;
  return say(name);
}

// Draw a head's weights into a canvas, one dot for each pair of tokens.
function paint(canvas, weights) {
  const size = weights.length;
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--heat").split(",").map(Number);
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d");
  const dots = context.createImageData(size, size);
  weights.flat().forEach((weight, index) => {
    dots.data.set([...colour, Math.round(255 * Math.min(1, 0.04 + Math.sqrt(weight) * 0.96))], 4 * index);
  });
  context.putImageData(dots, 0, 0);
}

// Choose the head that shows most to begin with: the one whose tokens look most clearly at a word that is no neighbour.
function interesting(layers, tokens) {
  let best = [0, 0, -1];
  const isWord = tokens.map((token) => token.side !== null && /[\p{L}\p{N}]/u.test(token.token));
  const clearest = (row, from) => Math.max(0, ...row.filter((_, to) => Math.abs(to - from) > 1 && isWord[to]));
  layers.forEach((heads, layer) => heads.forEach((weights, head) => {
    const score = weights.reduce((sum, row, from) => sum + (isWord[from] ? clearest(row, from) : 0), 0);
    if (score > best[2]) best = [layer, head, score];
  }));
  return best;
}

const ROW = 30; // pixels between two tokens, as in the style sheet
const WIDTH = 100; // of the drawing between the columns, in its own units

function drawLines(weights, only) {
  const height = ROW * weights.length;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", class: "lines", "aria-hidden": "true" });
  weights.forEach((row, from) => row.forEach((weight, to) => {
    if (weight < 0.02 || (only !== null && only !== from)) return;
    const [a, b] = [ROW * (from + 0.5), ROW * (to + 0.5)];
    drawing.append(svg("path", {
      d: `M0 ${a}C${WIDTH / 2} ${a} ${WIDTH / 2} ${b} ${WIDTH} ${b}`, "stroke-opacity": Math.min(1, weight * (only === null ? 0.8 : 1) + 0.03).toFixed(3),
    }));
  }));
  return drawing;
}

// One head: the tokens twice, and lines from each to those it looks at. With `state.explain` the numbers are buttons, and
// the chosen token, `state.from`, stays chosen.
function drawHead(weights, tokens, at, state) {
  const { explain } = state;
  const from = tokens.map((token) => el("button", { type: "button", class: token.side === null ? "token special" : "token" }, el("bdi", {}, token.token)));
  const to = tokens.map((token, index) => el("li", { class: token.side === null ? "token special" : "token" }, el("bdi", {}, token.token),
    explain ? el("button", { type: "button", class: "number", onclick: () => explain(at, state.from, index) }) : el("small", {})));
  const middle = el("div", { class: "between" }, drawLines(weights, null));
  let pinned = explain ? state.from : null;
  const pin = (index) => { pinned = index; if (explain) state.from = index; show(index); };
  const show = (only) => {
    middle.replaceChildren(drawLines(weights, only));
    from.forEach((node, index) => node.classList.toggle("chosen", index === only));
    to.forEach((node, index) => {
      const share = only === null ? 0 : weights[only][index];
      sized(node, "--share", share);
      node.lastChild.textContent = share >= 0.02 || (explain && only !== null) ? percent(share) : "";
      if (explain) {
        node.lastChild.disabled = only === null;
        node.lastChild.setAttribute("aria-label", `${tokens[index].token}: ${percent(share)}`);
      }
    });
  };
  from.forEach((node, index) => {
    node.addEventListener("mouseenter", () => show(index));
    node.addEventListener("mouseleave", () => show(pinned));
    node.addEventListener("focus", () => pin(index));
    node.addEventListener("click", () => pin(index)); // a tap doesn't move the focus in every browser
    if (!explain) node.addEventListener("blur", () => pin(null));
    node.addEventListener("keydown", (event) => { if (event.key === "Escape") pin(null); });
  });
  arrows(from, 1, pinned ?? 0);
  if (pinned !== null) show(pinned);
  const most = habits(weights, tokens).slice(0, 3).filter(([, share]) => share >= 0.05);
  return el("div", { class: "headview" },
    el("h3", {}, say("at", at[0] + 1, at[1] + 1)),
    el("p", { class: "habits" }, el("span", {}, say("mostly"), " "), most.map(([name, share]) =>
      el("span", { class: "chip" }, el("bdi", {}, habitName(name, tokens)), " ", el("small", {}, percent(share))))),
    el("div", { class: "bipartite" },
      el("div", { class: "column", role: "group", "aria-label": say("from") }, from), middle,
      el("ul", { class: "column", "aria-label": say("to"), "aria-live": "polite" }, to)));
}

// The grid of all heads, and the one that is chosen. `state` keeps the choice while the text changes.
export function drawAttention(answer, state) {
  const { tokens, weights: layers } = answer;
  const columns = Math.max(...layers.map((heads) => heads.length));
  if (!layers[state.layer]?.[state.head]) [state.layer, state.head] = interesting(layers, tokens);
  const view = el("div", { class: "view" });
  const cells = [];
  const choose = (layer, head) => {
    [state.layer, state.head] = [layer, head];
    cells.forEach((cell) => cell.setAttribute("aria-pressed", String(cell.dataset.at === `${layer}.${head}`)));
    view.replaceChildren(drawHead(layers[layer][head], tokens, [layer, head], state));
  };
  const grid = sized(el("div", { class: "heads", role: "group", "aria-label": say("grid") }), "--columns", columns);
  grid.append(el("span", { class: "corner" }), ...Array.from({ length: columns }, (_, head) => el("span", { class: "edge" }, head + 1)));
  layers.forEach((heads, layer) => {
    grid.append(el("span", { class: "edge" }, layer + 1));
    heads.forEach((weights, head) => {
      const canvas = el("canvas", { "aria-hidden": "true" });
      paint(canvas, weights);
      const name = say("at", layer + 1, head + 1);
      const cell = el("button", { type: "button", class: "cell", "aria-label": name, title: name, onclick: () => choose(layer, head) }, canvas);
      cell.dataset.at = `${layer}.${head}`;
      cell.addEventListener("focus", () => choose(layer, head));
      cells.push(cell);
      grid.append(cell);
    });
  });
  arrows(cells, columns, cells.findIndex((cell) => cell.dataset.at === `${state.layer}.${state.head}`));
  choose(state.layer, state.head);
  return el("div", { class: "explorer" },
    el("div", { class: "map" }, el("p", { class: "axis" }, `${say("head")} →`), grid, el("p", { class: "axis" }, `↓ ${say("layer")}`)), view);
}
