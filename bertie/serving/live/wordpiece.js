// BERT's tokenizer: clean a text, cut it into words, and cut each word into the longest pieces of the vocabulary.
//
// It gives the ids of the package `tokenizers`, which bertie uses. Text is never changed but for what BERT does: control
// characters are dropped, and, if the model was trained so, accents and capitals.

const DROPPED = /[\0\uFFFD]|(?![\t\n\r])\p{C}/u;
const SPACE = /[\p{White_Space}]/u;
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/u;
const HAN = [[0x4e00, 0x9fff], [0x3400, 0x4dbf], [0x20000, 0x2a6df], [0x2a700, 0x2b73f], [0x2b740, 0x2b81f],
  [0x2b920, 0x2ceaf], [0xf900, 0xfaff], [0x2f800, 0x2fa1f]];
const LONGEST = 100; // characters of a word; a longer word is unknown

function isHan(character) {
  const point = character.codePointAt(0);
  return HAN.some(([first, last]) => point >= first && point <= last);
}

// Apply BERT's rules to a text without special tokens.
function normalised(text, { lowercase, accents, han }) {
  let clean = "";
  for (const character of text) {
    if (SPACE.test(character)) clean += " ";
    else if (!DROPPED.test(character)) clean += han && isHan(character) ? ` ${character} ` : character;
  }
  if (accents) clean = clean.normalize("NFD").replace(/\p{Mn}/gu, "");
  // One character at a time: a whole word would get the Greek letter for the end of a word.
  return lowercase ? Array.from(clean, (character) => character.toLowerCase()).join("") : clean;
}

// Cut at spaces, and make each punctuation mark a word.
function wordsOf(text) {
  const words = [];
  let word = "";
  const end = () => { if (word) words.push(word); word = ""; };
  for (const character of text) {
    if (SPACE.test(character)) end();
    else if (PUNCTUATION.test(character)) { end(); words.push(character); } else word += character;
  }
  end();
  return words;
}

// Cut a word into pieces: at each place the longest one of the vocabulary. A word that can't be cut so is unknown.
function piecesOf(word, ids, unknown) {
  const characters = Array.from(word);
  if (characters.length > LONGEST) return [unknown];
  const pieces = [];
  for (let start = 0, end; start < characters.length; start = end) {
    const at = (stop) => ids.get((start ? "##" : "") + characters.slice(start, stop).join(""));
    for (end = characters.length; end > start && at(end) === undefined;) end -= 1;
    if (end === start) return [unknown];
    pieces.push(at(end));
  }
  return pieces;
}

// Return a function from a text to [{id, starts}]: the ids of its pieces, and whether each starts a word.
export function wordPiece({ tokens, rules, specials, unknown }) {
  const ids = new Map(tokens.map((token, id) => [token, id]).filter(([token]) => token));
  const escaped = specials.map((id) => tokens[id].replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&"));
  const cut = new RegExp(`(${escaped.join("|")})`, "u"); // a special token is found before the text is changed
  return (text) => text.split(cut).flatMap((part, index) => (index % 2
    ? [{ id: ids.get(part), starts: true }]
    : wordsOf(normalised(part, rules)).flatMap((word) => piecesOf(word, ids, unknown).map((id, at) => ({ id, starts: at === 0 })))));
}
