// One text in one file: what a model says of it, and how it reads it. `bertie show --attention` puts the file together.

import { drawAttention, drawPieces } from "./attention.js";
import { el } from "./dom.js";
import { begin, drawFrame, facts } from "./frame.js";
import { PANELS } from "./panels.js";
import { say } from "./words.js";

const shown = JSON.parse(document.getElementById("shown").textContent);
const at = {};

// Each weight is stored in two bytes as a share of 65,535: weights[layer][head][from][to].
function unpacked({ shape: [layers, heads, size], shares }) {
  const bytes = Uint8Array.from(atob(shares), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  let place = -2;
  const weight = () => view.getUint16(place += 2, true) / 65535;
  const rows = (count, row) => Array.from({ length: count }, row);
  return rows(layers, () => rows(heads, () => rows(size, () => rows(size, weight))));
}

const answer = { ...shown, weights: unpacked(shown.weights) };

function drawPrediction({ model, prediction, values }) {
  const name = model.panel;
  const panel = PANELS[name];
  const use = { model, hidden: [], guesses: null, again() {} };
  const drawn = panel.draw([prediction], values, use);
  const under = panel.under ? panel.under(values, use) : null;
  return el("section", { class: "try" }, el("h2", {}, say(name)), el("div", { class: "card alone" }, under, el("div", { class: "result" }, drawn)));
}

function draw() {
  const { model } = shown;
  drawFrame(`${model.name} · ${say("attention")}`, say("attention").toLowerCase(), say("alone"), draw);
  const texts = [shown.text, shown.pair].filter((text) => text !== null);
  document.getElementById("main").replaceChildren(...[
    el("div", { class: "title" }, el("h1", {}, model.name), facts(model)),
    el("div", { class: "texts" }, texts.map((text) => el("blockquote", { class: "passage" }, text))),
    shown.prediction === null ? null : drawPrediction(shown),
    el("section", {}, el("h2", {}, say("pieces")), el("p", { class: "remark" }, say("piecesHint")), el("div", { class: "card" }, drawPieces(answer))),
    el("section", {}, el("h2", {}, say("attention")), el("p", { class: "remark" }, say("attentionHint")), el("div", { class: "card" }, drawAttention(answer, at))),
  ].filter(Boolean));
}

begin(draw);
