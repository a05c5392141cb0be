// Two things that Sphinx's search lacks. It fetches the pages that it quotes, which browsers refuse for pages from disk:
// here they come from texts.js. And a result leads to the section that has the words, not to the top of the page.
const fetchFromSite = window.fetch;

function queryStems() {
  const stemmer = new Stemmer();
  const words = splitQuery(new URLSearchParams(window.location.search).get("q") || "").map((word) => word.toLowerCase());
  return words.filter((word) => !stopwords.has(word)).map((word) => stemmer.stemWord(word));
}

// The shortest section with the most of the words.
function bestSection(page) {
  const stems = queryStems();
  let best = null;
  for (const section of page.querySelectorAll("section")) {
    const text = section.textContent.toLowerCase();
    const found = stems.filter((stem) => text.includes(stem)).length;
    if (!best || found > best.found || (found === best.found && text.length < best.length)) {
      best = { found, length: text.length, section };
    }
  }
  return best && best.section;
}

window.fetch = async (place, ...rest) => {
  const address = new URL(place, document.location);
  const text = SITE_TEXTS[decodeURI(address.href.replace(new URL(".", document.location).href, ""))];
  if (text === undefined) return fetchFromSite(place, ...rest);
  const section = bestSection(new DOMParser().parseFromString(text, "text/html"));
  if (!section) return new Response(text);
  await Promise.resolve(); // the result is in the list now
  for (const link of document.querySelectorAll("#search-results li.kind-text > a")) {
    if (section.dataset.title && link.href === address.href) {
      link.href += `#${section.id}`;
      link.append(` › ${section.dataset.title}`);
    }
  }
  // The summary quotes the first place with a word; results that have an anchor look for it in the whole page.
  return new Response(`<div role="main"><div>${section.innerHTML}</div>${text}</div>`);
};
