// The steps of the run: the slider at the bottom of the page, the curve of the loss, and the best guess at each step.

import { bars, el, number, sized, svg } from "./dom.js";
import { tell } from "./words_live.js";

const [WIDTH, HEIGHT] = [600, 150]; // of the drawing, in its own units

function stageName(stage, isLast) {
  if (!isLast) return tell("step", number(stage.step));
  return stage.step === null ? tell("finished") : `${tell("step", number(stage.step))}, ${tell("finished")}`;
}

function lossAt(curve, step) {
  const near = curve.filter(([at]) => at <= step).at(-1);
  return near ? tell("loss", number(near[1], 2)) : "";
}

// The slider. `move` gets the number of a stage.
export function drawSlider({ stages, curve }, chosen, move) {
  const label = (at) => [stageName(stages[at], at === stages.length - 1), lossAt(curve, stages[at].step ?? Infinity)].filter(Boolean).join(" · ");
  const said = el("output", { htmlFor: "stage" }, label(chosen));
  const slider = el("input", { type: "range", id: "stage", min: 0, max: stages.length - 1, step: 1, value: chosen });
  slider.setAttribute("aria-label", tell("slider"));
  slider.setAttribute("aria-valuetext", label(chosen));
  slider.addEventListener("input", () => {
    const at = Number(slider.value);
    said.textContent = label(at);
    slider.setAttribute("aria-valuetext", label(at));
    move(at);
  });
  return el("div", { class: "steps" }, slider, said);
}

// The loss during the run, with a dot for each stored step.
export function drawCurve({ stages, curve }, chosen, move) {
  if (curve.length < 2) return null;
  const last = curve.at(-1)[0];
  const losses = curve.map(([, loss]) => loss);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const x = (step) => step / last;
  const y = (loss) => (high - loss) / (high - low || 1);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "lines", "aria-hidden": "true" },
    svg("path", { d: `M${curve.map(([step, loss]) => `${(WIDTH * x(step)).toFixed(1)} ${(HEIGHT * y(loss)).toFixed(1)}`).join("L")}` }));
  const dots = stages.map((stage, at) => {
    const step = stage.step ?? last;
    const loss = curve.filter(([place]) => place <= step).at(-1)?.[1] ?? curve[0][1];
    const name = stageName(stage, at === stages.length - 1);
    const dot = el("button", { type: "button", class: "dot", title: name, "aria-label": name, "aria-pressed": String(at === chosen), tabIndex: -1, onclick: () => move(at) });
    return sized(sized(dot, "--x", x(step)), "--y", y(loss));
  });
  return el("figure", { class: "curve" }, el("figcaption", { class: "remark" }, tell("curve")),
    el("div", { class: "plot" }, drawing, dots), el("div", { class: "ends" }, el("span", {}, tell("loss", number(losses[0], 2))),
      el("span", {}, [tell("step", number(last)), tell("loss", number(losses.at(-1), 2))].join(" · "))));
}

// The best guess for the first hidden word at each stage; `found` has {token, score} for each.
export function drawBest({ stages }, found, chosen, move) {
  const rows = found.map(({ token, score }, at) => ({ name: `${stageName(stages[at], at === stages.length - 1)}: ${token}`, score, at }));
  return el("div", {}, el("h3", {}, tell("best")), bars(rows, { pick: (row) => move(row.at), strong: (row) => row.at === chosen }));
}
