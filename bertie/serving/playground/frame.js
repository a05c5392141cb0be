// What surrounds a page: its header with the switches for language and colours, its footer, and what the browser keeps.

import { el, number } from "./dom.js";
import { currentLanguage, say, setLanguage, taskName } from "./words.js";

export function remembered(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(`bertie.${name}`, value);
    return localStorage.getItem(`bertie.${name}`);
  } catch {
    return null; // the browser keeps nothing
  }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function focusSwitch(index) {
  document.querySelectorAll("#switches button")[index].focus();
}

// Draw header and footer. `redraw` draws the whole page after a switch.
export function drawFrame(title, heading, footer, redraw) {
  document.title = title;
  document.querySelector("[data-words]").textContent = heading;
  document.getElementById("footer").textContent = footer;
  const choices = (label, options) => el("div", { class: "switch", role: "group", "aria-label": label },
    options.map(([name, chosen, act]) => el("button", { type: "button", "aria-pressed": String(chosen), onclick: act }, name)));
  const speak = (name) => () => { remembered("language", name); setLanguage(name); redraw(); focusSwitch(name === "zh" ? 1 : 0); };
  const paint = (name) => () => { remembered("theme", name); document.documentElement.dataset.theme = name; redraw(); focusSwitch(name === "dark" ? 3 : 2); };
  document.getElementById("switches").replaceChildren(
    choices(say("language"), [[say("english"), currentLanguage() === "en", speak("en")], [say("chinese"), currentLanguage() === "zh", speak("zh")]]),
    choices(say("theme"), [[say("light"), !isDark(), paint("light")], [say("dark"), isDark(), paint("dark")]]));
}

// Take the language and the colours that the user chose before, else those of the page or the browser, and draw the page.
export function begin(redraw, language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en") {
  const theme = remembered("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const spoken = remembered("language");
  setLanguage(spoken === "en" || spoken === "zh" ? spoken : language);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
}

// The facts of a model under its name.
export function facts(model) {
  const parts = [
    taskName(model.task),
    model.layers ? say("layers", model.layers) : "",
    model.parameters === null ? "" : say("parameters", number(model.parameters / 1e6, model.parameters < 1e7 ? 1 : 0)),
    say("vocabulary", number(model.vocabulary)),
    model.languages.map((name) => say(name)).join(" + "),
  ];
  return el("ul", { class: "facts" }, parts.filter(Boolean).map((part) => el("li", {}, part)));
}
