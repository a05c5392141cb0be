// Make parts of the page. All text goes in as text nodes, so that no text of a user or a model can become markup.

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== ""));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function sized(node, name, value) {
  node.style.setProperty(name, value);
  return node;
}

export function percent(share) {
  const digits = share > 0 && share < 0.0995 ? 1 : 0;
  return new Intl.NumberFormat(document.documentElement.lang, {
    style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits,
  }).format(share);
}

export function number(value, digits = 0) {
  return new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: digits }).format(value);
}

// A list of names with bars. `pick` makes each row a button, and `explain` each number.
export function bars(rows, { pick, strong, explain } = {}) {
  const list = el("ul", { class: "bars" });
  for (const [index, row] of rows.entries()) {
    const share = row.score === null ? "–" : percent(row.score);
    const parts = [
      sized(el("i", { "aria-hidden": "true" }), "--share", row.score ?? 0),
      el("bdi", {}, row.name),
      explain ? null : el("small", {}, share),
    ];
    const kind = (strong ? strong(row) : index === 0) ? "bar best" : "bar";
    list.append(el("li", {}, pick
      ? el("button", { type: "button", class: kind, onclick: () => pick(row) }, parts)
      : el("div", { class: kind }, parts), explain
      ? el("button", { type: "button", class: "number", "aria-label": `${row.name}: ${share}`, onclick: () => explain(row) }, share) : null));
  }
  return list;
}

// Python counts code points, JavaScript counts halves of some characters.
export function characters(text) {
  const points = Array.from(text);
  return (start, end) => points.slice(start, end).join("");
}

// Draw a text with spans marked in it: [{start, end, kind, label, title}], the more important spans first.
export function marked(text, spans) {
  const cut = characters(text);
  const kept = [];
  for (const span of spans) {
    if (span.end > span.start && kept.every((other) => span.end <= other.start || span.start >= other.end)) {
      kept.push(span);
    }
  }
  kept.sort((one, other) => one.start - other.start);
  const node = el("p", { class: "passage" });
  let done = 0;
  for (const span of kept) {
    node.append(cut(done, span.start), el("mark", { class: span.kind, title: span.title ?? "" },
      cut(span.start, span.end), span.label ? el("span", { class: "tag" }, span.label) : null));
    done = span.end;
  }
  node.append(cut(done));
  return node;
}

// Arrow keys move the focus among the nodes of a table with some columns; one of them is in the tab order.
export function arrows(nodes, columns, chosen = 0) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  nodes.forEach((node, index) => {
    node.tabIndex = index === chosen ? 0 : -1;
    node.addEventListener("keydown", (event) => {
      const edge = { Home: 0, End: nodes.length - 1 }[event.key];
      const next = edge ?? index + (steps[event.key] ?? NaN);
      if (!nodes[next]) return;
      event.preventDefault();
      nodes[next].focus();
    });
    node.addEventListener("focus", () => nodes.forEach((other) => { other.tabIndex = other === node ? 0 : -1; }));
  });
}
