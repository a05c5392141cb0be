// The page: header, choice of the model, its panel, and how it reads the text.

import { drawAttention, drawPieces } from "./attention.js";
import { el } from "./dom.js";
import { begin, drawFrame, facts } from "./frame.js";
import { masked, PANELS } from "./panels.js";
import { currentLanguage, EXAMPLES, say, taskName } from "./words.js";

const PAUSE = 350; // milliseconds without a key before the pieces are drawn again
const state = { models: null, model: null, error: null, values: {}, at: {} };
const main = document.getElementById("main");

// Call a route of the server; errors have its message.
async function call(route, body) {
  const request = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let reply;
  try {
    reply = await fetch(`playground/${route}`, request);
  } catch {
    throw new Error(say("failed"));
  }
  const answer = await reply.json().catch(() => ({}));
  if (reply.ok) return answer;
  throw new Error(answer.error?.message ?? `${reply.status} ${reply.statusText}`);
}

// The language of the examples: that of the page if the model knows it, else the model's first.
function exampleLanguage(model) {
  return model.languages.includes(currentLanguage()) ? currentLanguage() : model.languages[0] ?? "en";
}

function examplesOf(model) {
  const first = exampleLanguage(model);
  const languages = [first, ...model.languages.filter((name) => name !== first)];
  const kind = model.panel === "classes" && model.pairs ? "pairs" : model.panel === "number" ? "pairs" : model.panel || "none";
  return languages.flatMap((name) => EXAMPLES[name][kind].map((values) => ({ name, values })));
}

function shortened(text) {
  const plain = text.replace(/[⟨⟩]/g, "").split("\n")[0];
  const points = Array.from(plain);
  return points.length > 34 ? `${points.slice(0, 32).join("").trimEnd()}…` : plain;
}

function drawModels() {
  if (state.models.length < 2) return null;
  const buttons = state.models.map((model) => el("button", {
    type: "button", "aria-pressed": String(model === state.model), onclick: () => choose(model),
  }, el("b", {}, model.name), el("small", {}, taskName(model.task))));
  return el("nav", { class: "models", "aria-label": say("models") }, buttons);
}

// On a narrow page the models are in one row that can be scrolled.
function showChosen() {
  const row = document.querySelector(".models");
  const chosen = row?.querySelector("[aria-pressed=true]");
  if (chosen) row.scrollLeft = chosen.offsetLeft - row.offsetLeft - (row.clientWidth - chosen.offsetWidth) / 2;
}

function choose(model) {
  state.model = model;
  history.replaceState(null, "", `#${encodeURIComponent(model.name)}`);
  drawAll();
  document.querySelector(".models [aria-pressed=true]")?.focus();
}

function drawAll() {
  drawFrame(`bertie ${say("playground")}`, say("playground"), say("footer"), drawAll);
  if (state.error) {
    main.replaceChildren(el("p", { class: "alert", role: "alert" }, state.error.message));
  } else if (!state.models) {
    main.replaceChildren(el("p", { class: "remark" }, say("busy")));
  } else if (!state.models.length) {
    main.replaceChildren(el("p", { class: "alert" }, say("nothing")));
  } else {
    drawModel(state.model);
  }
}

function drawModel(model) {
  const name = model.panel || "none";
  const panel = PANELS[name];
  const stored = state.values[model.name];
  const use = { model, hidden: stored?.hidden ?? [], guesses: null, asked: 0, looked: 0 };
  const form = el("div", { class: "form" });
  const result = el("div", { class: "result", "aria-live": "polite" });
  const under = el("div", { class: "under" });
  const status = el("span", { class: "status", role: "status" });
  const waiting = () => el("p", { class: "remark" }, say("busy"));
  const pieces = el("div", { class: "readable" }, waiting());
  const attention = el("div", { class: "readable" }, waiting());
  const fields = {};
  const values = () => Object.fromEntries(Object.entries(fields).map(([field, node]) => [field, node.value]));
  const stand = (place) => under.querySelectorAll("button")[place]?.focus({ preventScroll: true });
  const again = () => {
    if (!panel.under) return;
    const place = [...under.querySelectorAll("button")].indexOf(document.activeElement);
    under.replaceChildren(panel.under(values(), use));
    if (place >= 0) stand(place);
  };
  const keep = () => { state.values[model.name] = { values: values(), hidden: use.hidden }; };
  let timer = 0;

  async function ask() {
    const turn = ++use.asked;
    keep();
    const items = panel.items(values(), model);
    if (!items.length || typeof items === "string") {
      status.textContent = "";
      result.replaceChildren(typeof items === "string" ? el("p", { class: "remark" }, items) : "");
      return;
    }
    const sent = values();
    const begun = performance.now();
    status.textContent = say("busy");
    result.classList.add("waiting");
    try {
      const { predictions } = await call("predict", { model: model.name, items });
      if (turn !== use.asked) return;
      result.replaceChildren(panel.draw(predictions, sent, use));
      status.textContent = say("took", Math.max(1, Math.round(performance.now() - begun)));
    } catch (error) {
      if (turn !== use.asked) return;
      result.replaceChildren(el("p", { class: "alert", role: "alert" }, error.message));
      status.textContent = "";
    }
    result.classList.remove("waiting");
  }

  async function look() {
    const turn = ++use.looked;
    const body = { model: model.name, ...panel.seen(values()) };
    const draw = async (route, place, make) => {
      try {
        const answer = await call(route, body);
        if (turn === use.looked) place.replaceChildren(make(answer));
      } catch (error) {
        if (turn === use.looked) place.replaceChildren(el("p", { class: "alert" }, error.message));
      }
    };
    await draw("pieces", pieces, drawPieces);
    state.at[model.name] ??= {};
    if (model.attention) await draw("attention", attention, (answer) => drawAttention(answer, state.at[model.name]));
  }

  const changed = () => {
    use.guesses = null;
    keep();
    again();
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  };
  Object.assign(use, { again, stand });
  use.write = (text, field) => { fields[field].value = text; changed(); ask(); };

  for (const field of panel.fields(model)) {
    const id = `field-${field.name}`;
    const node = el("textarea", { id, rows: field.lines, spellcheck: false, oninput: () => { use.hidden = []; changed(); } });
    node.addEventListener("keydown", (event) => {
      const sends = field.name === "choices" || field.name === "sentences" ? event.ctrlKey || event.metaKey : !event.shiftKey;
      if (event.key === "Enter" && sends && !event.isComposing) { event.preventDefault(); ask(); }
    });
    fields[field.name] = node;
    form.append(el("label", { htmlFor: id }, say(field.label), field.optional ? el("small", {}, ` ${say("optional")}`) : null), node);
  }

  const isList = "sentences" in fields;
  const put = (example) => {
    use.guesses = null;
    use.hidden = [];
    for (const [field, node] of Object.entries(fields)) {
      let text = example[field] ?? "";
      if (name === "fill") ({ text, hidden: use.hidden } = masked(text, model.mask));
      node.value = text;
    }
  };
  const examples = examplesOf(model);
  if (stored) for (const [field, node] of Object.entries(fields)) node.value = stored.values[field] ?? "";
  else put(examples[0].values);
  const chips = examples.map(({ name: spoken, values: example }) => el("button", {
    type: "button", lang: spoken === "zh" ? "zh-Hans" : "en", onclick: () => { put(example); again(); ask(); look(); },
  }, shortened(example.text ?? example.question ?? example.sentences)));
  form.append(
    el("div", { class: "act" }, name === "none" ? null : el("button", { type: "button", class: "primary", title: isList ? "Ctrl + Enter" : "Enter", onclick: () => { ask(); look(); } }, say("predict")), status),
    el("div", { class: "examples", role: "group", "aria-label": say("examples") }, el("span", { class: "soft" }, say("examples")), chips));

  main.replaceChildren(...[
    drawModels(),
    el("div", { class: "title" }, el("h1", {}, model.name), facts(model)),
    el("section", { class: "try" }, el("h2", {}, say(name)), el("p", { class: "remark" }, say(`${name}Hint`)),
      el("div", { class: name === "none" ? "card alone" : "card" }, form, el("div", { class: "outcome" }, under, result))),
    el("section", {}, el("h2", {}, say("pieces")), el("p", { class: "remark" }, say("piecesHint")), el("div", { class: "card" }, pieces)),
    model.attention ? el("section", {}, el("h2", {}, say("attention")), el("p", { class: "remark" }, say("attentionHint")), el("div", { class: "card" }, attention)) : null,
  ].filter(Boolean));
  showChosen();
  again();
  ask();
  look();
}

async function load() {
  try {
    state.models = (await call("models")).models;
    state.model = state.models.find((model) => `#${encodeURIComponent(model.name)}` === location.hash) ?? state.models[0];
  } catch (error) {
    state.error = error;
  }
  drawAll();
}

begin(drawAll);
load();
