// The page: a sentence with hidden words, the model's guesses, how it reads, where it looks, its vectors, how it learned.

import { arrows, el, number, percent, sized } from "./dom.js";
import { currentLanguage, EXAMPLES, say } from "./words.js";
import { drawAttention, drawPieces } from "./attention.js";
import { begin, drawFrame, facts } from "./frame.js";
import { masked, PANELS, parts } from "./panels.js";
import { wordPiece } from "./wordpiece.js";
import { encode, guess } from "./encoder.js";
import { unpack } from "./weights.js";
import { tell } from "./words_live.js";
import { ofComponent, ofGuess, ofWeight } from "./formulas.js";
import { drawBest, drawCurve, drawSlider } from "./learning.js";

const shown = JSON.parse(document.getElementById("shown").textContent);
const { model, config, tokenizer, stages, lines } = shown;
const MASK = model.mask;
const TOP = 5; // guesses that are shown for a hidden word
const main = document.getElementById("main");
const cut = wordPiece(tokenizer);
const loaded = new Map(); // the tensors of each stage that was unpacked
const state = { text: "", hidden: [], stage: stages.length - 1, quiz: null, at: {}, token: null, level: config.layers };
const places = {}; // the parts of the page that are drawn again
let answer = null; // all numbers of the last computation
let turn = 0;

async function tensorsOf(stage) {
  if (!loaded.has(stage)) loaded.set(stage, await unpack(stages[stage], shown.shapes));
  return loaded.get(stage);
}

// Cut a text into the tokens that the model reads.
function read(text) {
  const pieces = cut(text);
  const kept = pieces.slice(0, config.length - 2);
  const special = (id) => ({ id, token: tokenizer.tokens[id], starts: true, side: null });
  const tokens = [special(tokenizer.start), ...kept.map(({ id, starts }) => ({ id, token: tokenizer.tokens[id], starts, side: 0 })), special(tokenizer.separator)];
  return { tokens, cut: pieces.length - kept.length };
}

const hasToken = (id) => Boolean(tokenizer.tokens[id]);

// The places of the best guesses, best first; of equal ones the earlier first.
function best(probabilities) {
  const ids = Array.from(probabilities, (_, id) => id).filter(hasToken);
  return ids.sort((one, other) => probabilities[other] - probabilities[one] || one - other);
}

function compute(tensors, reading) {
  const run = encode({ tensors, config }, reading.tokens.map((token) => token.id));
  const vectors = run.states.at(-1).vectors;
  const guesses = reading.tokens.flatMap((token, at) => (token.id === tokenizer.mask && token.side === 0
    ? [guess({ tensors, config }, vectors[at])] : []));
  return { ...reading, run, guesses, tensors };
}

const asRows = ({ probabilities }) => best(probabilities).slice(0, TOP)
  .map((id) => ({ token: tokenizer.tokens[id], score: probabilities[id], token_id: id }));

// Open the explanation of a number. Escape, the button and a click beside it close it.
function explain(content) {
  const close = el("button", { type: "button", class: "primary", onclick: () => dialog.close() }, tell("close"));
  const dialog = el("dialog", { class: "card", "aria-label": content.querySelector("h2").textContent }, content, el("div", { class: "act" }, close));
  const before = document.activeElement;
  dialog.addEventListener("close", () => { dialog.remove(); before?.focus(); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
}

const use = {
  model, guesses: null,
  get hidden() { return state.hidden; },
  write(text) { state.quiz = null; put(text); },
  again: () => drawSentence(),
  stand: (place) => places.under.querySelectorAll("button")[place]?.focus({ preventScroll: true }),
  explain: (at, id) => explain(ofGuess(answer.guesses[at], lines, id, tokenizer.tokens[id])),
  remark: (at) => drawHidden(at),
};

function drawSentence() {
  const place = [...places.under.querySelectorAll("button")].indexOf(document.activeElement);
  places.under.replaceChildren(PANELS.fill.under({ text: state.text }, use));
  if (place >= 0) use.stand(place);
}

// What the model gives to a word that the reader knows: its probability and place, if it is one piece.
function given(at, word) {
  const pieces = cut(word);
  const [piece] = pieces;
  if (pieces.length !== 1 || piece.id === tokenizer.unknown) return ` – ${tell("noPiece")}`;
  const { probabilities } = answer.guesses[at];
  const place = 1 + best(probabilities).indexOf(piece.id);
  const why = el("button", { type: "button", class: "number", "aria-label": `${word}: ${percent(probabilities[piece.id])}`, onclick: () => use.explain(at, piece.id) }, percent(probabilities[piece.id]));
  return [": ", why, `, ${tell("place", number(place), number(probabilities.length))}`];
}

function drawHidden(at) {
  const word = state.hidden[at];
  const said = state.quiz?.at === at ? state.quiz.said : null;
  return el("div", { class: "verdicts" },
    word ? el("p", {}, tell("was", word), given(at, word)) : null,
    said ? el("p", {}, tell("said", said), given(at, said), said.toLowerCase() === word?.toLowerCase() ? ` ${tell("same")}` : "") : null);
}

// Hide a word, and ask the reader before the model.
function startQuiz() {
  const tokens = parts(state.text, MASK);
  const fits = (word) => { const pieces = cut(word); return pieces.length === 1 && pieces[0].id !== tokenizer.unknown; };
  const chances = tokens.flatMap((token, index) => (token.kind === "word" && fits(token.text) ? [index] : []));
  if (!chances.length) {
    places.result.replaceChildren(el("p", { class: "remark" }, tell("quizNone")));
    return;
  }
  const index = chances[Math.floor(Math.random() * chances.length)];
  const at = tokens.slice(0, index).filter((token) => token.kind === "mask").length;
  state.hidden.splice(at, 0, tokens[index].text);
  tokens[index].text = MASK;
  state.quiz = { at, said: null };
  put(tokens.map((token) => token.text).join("")).then(() => document.getElementById("yours")?.focus());
}

function drawQuiz() {
  const field = el("input", { id: "yours", type: "text", autocomplete: "off", spellcheck: false });
  const send = (event) => { event.preventDefault(); state.quiz.said = field.value.trim(); drawAnswer(); };
  return el("form", { class: "quiz", onsubmit: send }, el("p", {}, tell("quizHint")),
    el("label", { htmlFor: "yours" }, tell("yours")), field, el("button", { type: "submit", class: "primary" }, tell("show")));
}

function drawGuesses() {
  use.guesses = null;
  const asks = state.quiz && state.quiz.said === null;
  if (!answer.guesses.length) places.result.replaceChildren(el("p", { class: "remark" }, say("fillEmpty")));
  else if (asks) places.result.replaceChildren(drawQuiz());
  else {
    const rows = answer.guesses.map(asRows);
    const focus = [...places.result.querySelectorAll("button")].indexOf(document.activeElement);
    places.result.replaceChildren(PANELS.fill.draw([rows.length === 1 ? rows[0] : rows], { text: state.text }, use));
    if (focus >= 0) places.result.querySelectorAll("button")[focus]?.focus({ preventScroll: true });
    return;
  }
  drawSentence();
}

// The vector of a token after a layer: a coloured cell for each number.
function drawVectors() {
  state.token = Math.min(state.token ?? state.at.from, answer.tokens.length - 1);
  const pick = (name, labels, chosen, choose) => el("div", { class: "switch", role: "group", "aria-label": name }, labels.map((label, at) =>
    el("button", { type: "button", "aria-pressed": String(at === chosen), onclick: () => { choose(at); drawVectors(); focusOn(name, at); } }, el("bdi", {}, label))));
  const focusOn = (name, at) => places.vectors.querySelector(`[aria-label="${name}"]`).children[at].focus();
  const vector = answer.run.states[state.level].vectors[state.token];
  const most = vector.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1e-9);
  const cells = Array.from(vector, (value, index) => sized(el("button", {
    type: "button", class: value < 0 ? "value below" : "value", title: `${index + 1}: ${value.toFixed(4)}`, "aria-label": `${tell("component", index + 1)}: ${value.toFixed(4)}`,
    onclick: () => explain(ofComponent(answer, answer.tensors, config.epsilon, lines, state.level, state.token, index)),
  }), "--share", Math.abs(value) / most));
  arrows(cells, 16);
  places.vectors.replaceChildren(
    pick(tell("token"), answer.tokens.map((token) => token.token), state.token, (at) => { state.token = at; }),
    pick(tell("level"), answer.run.states.map((_, level) => (level ? `${tell("level")} ${level}` : tell("embedding"))), state.level, (at) => { state.level = at; }),
    el("div", { class: "vector", role: "group", "aria-label": tell("vectors") }, cells));
}

function drawAnswer() {
  drawGuesses();
  const mask = answer.tokens.findIndex((token) => token.id === tokenizer.mask);
  state.at.from = Math.min(state.at.from ?? (mask < 0 ? 1 : mask), answer.tokens.length - 1);
  state.at.explain = (at, from, to) => explain(ofWeight(answer, lines, at, from, to));
  places.pieces.replaceChildren(drawPieces(answer));
  const weights = answer.run.attention.map((layer) => layer.weights.map((head) => head.map((row) => Array.from(row))));
  places.attention.replaceChildren(drawAttention({ tokens: answer.tokens, weights }, state.at));
  drawVectors();
}

async function drawStages() {
  if (stages.length < 2) return;
  const now = turn;
  places.curve.replaceChildren(...[drawCurve(shown, state.stage, moveTo)].filter(Boolean));
  places.slider.replaceChildren(drawSlider(shown, state.stage, move));
  const reading = read(state.text);
  if (!reading.tokens.some((token) => token.id === tokenizer.mask) || (state.quiz && state.quiz.said === null)) {
    places.best.replaceChildren();
    return;
  }
  const found = [];
  for (const stage of stages.keys()) {
    const tensors = await tensorsOf(stage);
    await new Promise((resolve) => { setTimeout(resolve); }); // so that the page stays responsive
    if (now !== turn) return;
    found.push(asRows(compute(tensors, reading).guesses[0])[0]);
  }
  places.best.replaceChildren(drawBest(shown, found, state.stage, moveTo));
}

async function ask() {
  const now = ++turn;
  const tensors = await tensorsOf(state.stage);
  if (now !== turn) return;
  const begun = performance.now();
  answer = compute(tensors, read(state.text));
  const spent = say("took", Math.max(1, Math.round(performance.now() - begun)));
  drawAnswer();
  places.status.textContent = answer.cut ? tell("tooLong", answer.cut) : spent;
}

const fail = (error) => {
  if (!loaded.size) places.result.replaceChildren(el("p", { class: "alert", role: "alert" }, tell("broken")));
  throw error;
};
const again = () => {
  const asked = ask();
  asked.then(drawStages).catch(fail);
  return asked;
};

// Move to a stage, by the slider or from elsewhere.
function move(stage) {
  state.stage = stage;
  ask().then(() => {
    document.querySelectorAll(".dot").forEach((dot, at) => dot.setAttribute("aria-pressed", String(at === stage)));
    document.querySelectorAll("#best .bar").forEach((bar, at) => bar.classList.toggle("best", at === stage));
  }).catch(fail);
}
function moveTo(stage) {
  move(stage);
  places.slider.replaceChildren(drawSlider(shown, stage, move));
}

function put(text) {
  if (text !== state.text) state.at.from = state.token = undefined;
  state.text = text;
  document.getElementById("field-text").value = text;
  drawSentence();
  return again();
}

function begins() {
  const language = model.languages.includes(currentLanguage()) ? currentLanguage() : model.languages[0] ?? "en";
  return [language, ...model.languages.filter((name) => name !== language)].flatMap((name) => EXAMPLES[name].fill.map(({ text }) => ({ name, text })));
}

function choose(example) {
  state.quiz = null;
  const { text, hidden } = masked(example, MASK);
  state.hidden = hidden;
  put(text);
}

function section(title, hint, ...content) {
  return el("section", {}, el("h2", {}, title), el("p", { class: "remark" }, hint), el("div", { class: "card" }, content));
}

function drawForm() {
  const field = el("textarea", { id: "field-text", rows: 3, spellcheck: false });
  field.addEventListener("input", () => { state.hidden = []; state.quiz = null; state.at.from = state.token = undefined; state.text = field.value; drawSentence(); again(); });
  const chips = begins().map(({ name, text }) => el("button", { type: "button", lang: name === "zh" ? "zh-Hans" : "en", onclick: () => choose(text) }, text.replace(/[⟨⟩]/g, "")));
  return el("div", { class: "form" }, el("label", { htmlFor: "field-text" }, say("text")), field,
    el("div", { class: "act" }, el("button", { type: "button", class: "primary", onclick: startQuiz }, tell("quiz")), places.status),
    el("div", { class: "examples", role: "group", "aria-label": say("examples") }, el("span", { class: "soft" }, say("examples")), chips));
}

function draw() {
  drawFrame(`${model.name} · ${tell("live")}`, tell("live"), tell("alone"), draw);
  for (const name of ["under", "result", "pieces", "attention", "vectors", "curve", "best", "slider"]) places[name] = el("div", { id: name });
  places.result.className = "result";
  places.result.setAttribute("aria-live", "polite");
  places.status = el("span", { class: "status", role: "status" });
  const coarse = stages.length > 1 ? tell("coarse", stages[0].bits) : "";
  const [guesses, attention] = shown.differences.map((value) => value.toExponential(0));
  main.replaceChildren(...[
    el("div", { class: "title" }, el("h1", {}, model.name), facts(model)),
    el("section", { class: "try" }, el("h2", {}, say("fill")), el("p", { class: "remark" }, tell("hint")),
      el("div", { class: "card" }, drawForm(), el("div", { class: "outcome" }, places.under, places.result))),
    stages.length > 1 ? section(tell("learned"), tell("learnedHint"), places.curve, places.best) : null,
    section(say("pieces"), say("piecesHint"), places.pieces),
    section(say("attention"), tell("lookHint"), places.attention),
    section(tell("vectors"), tell("vectorsHint"), places.vectors),
    el("section", {}, el("h2", {}, tell("about")), el("p", { class: "remark" }, tell("bits", stages.at(-1).bits, guesses, attention), " ", coarse)),
    stages.length > 1 ? places.slider : null,
  ].filter(Boolean));
  if (state.text || answer) put(state.text);
  else choose(begins()[0].text);
}

begin(draw, model.languages[0] ?? "en");
