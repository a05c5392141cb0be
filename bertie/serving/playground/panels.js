// A panel for each kind of prediction: its fields, the items it sends, the text to look at, and how it draws the answer.
//
// A panel has:
//   fields(model)        [{name, label, lines, optional}], text areas of the form
//   items(values)        the items to send; a string instead says what is missing
//   seen(values)         {text, pair} whose pieces and attention are shown
//   draw(answers, values, use)  a node; `use` has the model and what the page can do
//   under(values, use)   a node between form and answer, drawn again when the text changes
// Without `use.write`, a page can't ask the model again, and the panel has no buttons.

import { bars, el, marked, number, percent, sized } from "./dom.js";
import { say } from "./words.js";

const oneText = (label = "text") => [{ name: "text", label, lines: 3 }];
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

const textAndPair = {
  fields: (model) => [
    { name: "text", label: "text", lines: 3 },
    ...(model.pairs === false ? [] : [{ name: "pair", label: "pair", lines: 2, optional: model.pairs === null }]),
  ],
  items: ({ text, pair }) => [pair ? { text, pair } : { text }],
  seen: ({ text, pair }) => ({ text, pair: pair || null }),
};

const justText = {
  fields: () => oneText(),
  items: ({ text }) => [{ text }],
  seen: ({ text }) => ({ text, pair: null }),
};

// The parts of a sentence: words, masks, and what is between.
export function parts(text, mask) {
  const escaped = mask.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const cut = new RegExp(
    `(?<mask>${escaped})|(?<word>\\p{Script=Han}|(?:(?!\\p{Script=Han})[\\p{L}\\p{M}\\p{N}])+`
    + "(?:['’](?!\\p{Script=Han})\\p{L}+)*)|(?<rest>[\\s\\S])", "gu");
  return Array.from(text.matchAll(cut), (match) => ({
    kind: match.groups.mask ? "mask" : match.groups.word ? "word" : "rest", text: match[0],
  }));
}

const fill = {
  ...justText,
  items: ({ text }, model) => (text.includes(model.mask) ? [{ text }] : say("fillEmpty")),

  // The sentence with a button for each word. `use.hidden` holds the words behind the masks, in order.
  under({ text }, use) {
    const tokens = parts(text, use.model.mask);
    const sentence = el("p", { class: "sentence" });
    const part = (kind, name, act, word) => (use.write
      ? el("button", { type: "button", class: kind, "aria-label": name, onclick: act }, word)
      : el("span", { class: kind }, word));
    let masks = 0;
    tokens.forEach((token, index) => {
      const before = masks;
      const write = (word) => use.write(tokens.map((other, at) => (at === index ? word : other.text)).join(""), "text");
      if (token.kind === "word") {
        const hide = () => { use.hidden.splice(before, 0, token.text); write(use.model.mask); };
        sentence.append(use.write ? part("word", say("hide", token.text), hide, token.text) : token.text);
      } else if (token.kind === "mask") {
        masks += 1;
        const guess = use.guesses?.[before]?.[0];
        const reveal = () => {
          const [word] = use.hidden.splice(before, 1);
          write(word ?? guess?.token ?? "");
        };
        const name = `${say("mask", masks)}. ${say("reveal")}`;
        sentence.append(part(guess ? "word slot filled" : "word slot", name, reveal, guess ? guess.token : " "));
      } else {
        sentence.append(token.text);
      }
    });
    return sentence;
  },

  draw([answer], { text }, use) {
    const guesses = Array.isArray(answer[0]) ? answer : [answer];
    use.guesses = guesses;
    use.again();
    const put = (at, word) => {
      const tokens = parts(text, use.model.mask);
      const masks = tokens.filter((token) => token.kind === "mask");
      masks[at].text = word.replace(/^(##| )/, "");
      use.hidden.splice(at, 1);
      use.write(tokens.map((token) => token.text).join(""), "text");
      use.stand(tokens.filter((token) => token.kind !== "rest").indexOf(masks[at]));
    };
    return el("div", { class: "columns" }, guesses.map((rows, at) => el("section", {},
      guesses.length > 1 ? el("h3", {}, say("mask", at + 1)) : null,
      bars(rows.map((row) => ({ name: row.token, score: row.score, id: row.token_id })),
        { pick: use.write ? (row) => put(at, row.name) : undefined, explain: use.explain && ((row) => use.explain(at, row.id)) }),
      use.remark?.(at))));
  },
};

const classes = {
  ...textAndPair,
  draw([answer], _, { model }) {
    const rows = Object.entries(answer.scores).map(([name, score]) => ({ name, score }));
    rows.sort((one, other) => other.score - one.score);
    const chosen = new Set(model.several ? String(answer.label).split(", ") : [String(answer.label)]);
    return el("div", {},
      model.several ? el("p", { class: "remark" }, say("several"))
        : el("p", { class: "verdict" }, el("b", {}, answer.label), " ", el("span", {}, percent(answer.score))),
      bars(rows.slice(0, 12), { strong: (row) => chosen.has(row.name) }));
  },
};

const value = {
  ...textAndPair,
  draw: ([answer]) => el("p", { class: "figure" }, number(answer.value, 3)),
};

// Words with tags that mark no spans, such as parts of speech.
function tagged(answer) {
  return el("p", { class: "passage tagged" }, answer.words.map((word, index) =>
    el("span", { class: "stack" }, el("span", {}, word), el("small", {}, answer.tags[index]))));
}

const spans = {
  ...justText,
  draw([answer], { text }, { model }) {
    if (answer.tags && !answer.spans.length && answer.tags.some((tag) => tag !== "O")) return tagged(answer);
    const kinds = [...new Set(model.labels.map((label) => label.replace(/^[BIES]-/, "")))].sort();
    const colour = (label) => `kind k${Math.max(0, kinds.indexOf(label)) % 6}`;
    const found = [...answer.spans].sort((one, other) => (other.end - other.start) - (one.end - one.start) || other.score - one.score);
    const drawn = marked(text, found.map((span) => ({ ...span, kind: colour(span.label), title: percent(span.score) })));
    const rows = [...answer.spans].sort((one, other) => one.start - other.start).map((span) => el("li", {},
      el("bdi", {}, span.text), el("span", { class: `chip ${colour(span.label)}` }, span.label), el("small", {}, percent(span.score))));
    return el("div", {}, drawn, rows.length ? el("ul", { class: "list" }, rows) : el("p", { class: "remark" }, say("spansNone")));
  },
};

// The places of the answer and of its runners-up in a passage. Runners-up that overlap are one place.
function answersIn(context, reply, best) {
  const kinds = new Array(Array.from(context).length).fill("");
  const found = best.filter((one) => one.start >= 0);
  found.forEach((one) => kinds.fill("near", one.start, one.end));
  if (reply.text) kinds.fill("right", reply.start, reply.end);
  const places = [];
  kinds.forEach((kind, at) => {
    if (kind && kind === kinds[at - 1]) places.at(-1).end = at + 1;
    else if (kind) places.push({ kind, start: at, end: at + 1 });
  });
  const names = (place) => found.filter((one) => one.start < place.end && one.end > place.start)
    .map((one) => `${one.text} (${percent(one.score)})`).join("\n");
  return places.map((place) => ({ ...place, title: names(place) }));
}

const answer = {
  fields: () => [{ name: "question", label: "question", lines: 2 }, { name: "context", label: "context", lines: 7 }],
  items: ({ question, context }) => [{ question, context }],
  seen: ({ question, context }) => ({ text: question, pair: context }),
  draw([reply], { context }) {
    const best = reply.n_best.slice(0, 5);
    return el("div", {},
      reply.text ? el("p", { class: "verdict" }, el("b", {}, reply.text)) : el("p", { class: "remark" }, say("answerNone")),
      marked(context, answersIn(context, reply, best)),
      bars(best.map((one) => ({ name: one.text || say("noAnswer"), score: one.score })),
        { strong: (row) => row.name === (reply.text || say("noAnswer")) }));
  },
};

const choice = {
  fields: () => [...oneText(), { name: "choices", label: "choices", lines: 4 }],
  items: ({ text, choices }) => (lines(choices).length < 2 ? say("fewer") : [{ text, choices: lines(choices) }]),
  seen: ({ text, choices }) => ({ text, pair: lines(choices)[0] ?? null }),
  draw([chosen], { choices }) {
    const rows = lines(choices).map((name, index) => ({ name, score: chosen.scores[index], index }));
    rows.sort((one, other) => other.score - one.score);
    return bars(rows, { strong: (row) => String(row.index) === String(chosen.label) });
  },
};

function cosine(one, other) {
  let [product, a, b] = [0, 0, 0];
  for (let index = 0; index < one.length; index += 1) {
    product += one[index] * other[index];
    a += one[index] ** 2;
    b += other[index] ** 2;
  }
  return product / Math.sqrt(a * b || 1);
}

const MOST = 12;

const similarity = {
  fields: () => [{ name: "sentences", label: "sentences", lines: 7 }],
  items({ sentences }) {
    const count = lines(sentences).length;
    return count < 2 ? say("fewer") : count > MOST ? say("many") : lines(sentences).map((text) => ({ text }));
  },
  seen: ({ sentences }) => ({ text: lines(sentences)[0] ?? "", pair: null }),
  draw(answers, { sentences }) {
    const texts = lines(sentences);
    const likeness = answers.map((one) => answers.map((other) => cosine(one.vector, other.vector)));
    const pairs = texts.flatMap((_, row) => texts.slice(row + 1).map((__, at) => [likeness[row][row + 1 + at], row, row + 1 + at]));
    pairs.sort((one, other) => other[0] - one[0]);
    const cell = (share, row, column) => sized(el("td", {
      title: `${texts[row]}\n${texts[column]}`, class: row === column ? "same" : undefined,
    }, share.toFixed(2)), "--share", Math.max(0, share));
    const table = el("table", { class: "heat" },
      el("thead", {}, el("tr", {}, el("td"), texts.map((text, index) => el("th", { scope: "col", title: text }, index + 1)))),
      el("tbody", {}, texts.map((text, row) => el("tr", {},
        el("th", { scope: "row" }, el("span", { class: "count" }, row + 1), " ", text),
        likeness[row].map((share, column) => cell(share, row, column))))));
    return el("div", {}, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": say("similarity") }, table),
      el("h3", {}, say("nearest")),
      bars(pairs.slice(0, 3).map(([share, one, other]) => ({ name: `${texts[one]} — ${texts[other]}`, score: Math.max(0, share) }))));
  },
};

const writing = {
  ...justText,
  fields: (model) => oneText(model.task === "causal_lm" ? "start" : "source"),
  draw([generated], { text }, { model }) {
    if (!generated.target) return el("p", { class: "remark" }, say("silence"));
    const before = model.task === "causal_lm" ? el("span", { class: "soft" }, text, " ") : null;
    return el("blockquote", { class: "passage" }, before, generated.target);
  },
};

const replaced = {
  ...justText,
  draw: ([detection]) => el("p", { class: "passage shades" }, detection.pieces.map((piece) =>
    sized(el("span", { title: percent(piece.replaced) }, piece.token), "--share", piece.replaced))),
};

const none = { ...justText, items: () => [] };

export const PANELS = { fill, classes, number: value, spans, answer, choice, similarity, writing, replaced, none };

// Turn the ⟨words⟩ of an example into masks.
export function masked(text, mask) {
  const hidden = Array.from(text.matchAll(/⟨(.*?)⟩/g), (match) => match[1]);
  return { text: text.replace(/⟨.*?⟩/g, mask), hidden };
}
