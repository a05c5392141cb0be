"""Generated strings of many scripts through splitters and tokenizers; counts what fails, and how.

Run by hand, with the number of strings and a seed:

    python tests/fuzz/strings.py 1000000 0

Splitters are called as the package calls them, and below our own seam as well, so that a panic of theirs is counted
although a user never sees it. ``tests/corpus/test_native_strings.py`` runs a few thousand of them.
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

import sentencex

from bertie.corpus.sentences import LANGUAGES, split
from bertie.errors import BertieError
from bertie.tokenizer import nano
from bertie.tokenizer.tokenizer import Tokenizer

SCRIPTS = {
    "latin": "abcdefghij XYZ ÄÖÜ éèñ ß İı ﬁ ",
    "marks": ".!?。！？…．｡｡,;:、「」『』（）()[]《》〈〉\"'“”‘’«»‹›。。」」",
    "japanese": "あいうえおかきくけこアイウエオ日本語東京。！？「」『』（）々ー・　",
    "chinese": "中文句子。他说：“你好！”……——《书》",
    "korean": "한국어 문장. 다요까? ",
    "arabic": "العربية جملة. ؟ ، ؛ ۔ ",
    "hebrew": "עברית משפט. ? ",
    "indic": "हिन्दी वाक्य। क्षि ത്മ தமிழ் বাংলা ॥ ",
    "thai": "ภาษาไทย กำลัง ฯ ",
    "cyrillic": "Русский т.е. г. Москва. Ёё ",
    "armenian": "Հայերեն։ ՞ ՜ ",
    "combining": "e\u0301\u0300\u0327\u0483\u20dd\u0e31\u3099",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u115f\u3164",
    "direction": "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "control": "".join(map(chr, [*range(32), *range(127, 160)])),
    "emoji": "😀👩\u200d👩\u200d👧🏳️\u200d🌈🇩🇪👍🏽1️⃣©️",
    "edges": "\ud7ff\ue000\ufffd\uffff\ufdd0\U00010000\U0010ffff\U000e0001",
    "numbers": "1234567890 1.5 3,14 No. 5. §§ ½ ٣ 五 ",
    "spaces": " \t\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\x85",
    "abbreviations": "Dr. Mr. z. B. U.S. e.g. etc. p.m. J. S. Bach ",
}


def strings(count: int, seed: int) -> Iterator[str]:
    """Yield strings, mostly short, of one to four scripts, some of them very long or of one character."""
    draw = random.Random(seed)
    names = [*SCRIPTS]
    for _ in range(count):
        kind = draw.random()
        length = 1 if kind < 0.05 else draw.randint(1, 12) if kind < 0.5 else draw.randint(5, 80)
        if kind > 0.9995:
            length = draw.choice((5_000, 12_000, 30_000))
        japanese = draw.random() < 0.25
        alphabet = "".join(SCRIPTS[name] for name in draw.sample(names, draw.randint(1, 4)))
        if japanese:
            alphabet = SCRIPTS["japanese"] + SCRIPTS["marks"]
        if kind > 0.97:
            yield "".join(chr(_scalar(draw)) for _ in range(min(length, 200)))
        else:
            yield "".join(draw.choices(alphabet, k=length))


def _scalar(draw: random.Random) -> int:
    while 0xD800 <= (code := draw.randrange(draw.choice((0x3000, 0x10000, 0x110000)))) < 0xE000:
        pass
    return code


def tokenizer() -> Tokenizer:
    """Make a small WordPiece tokenizer."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(33, 127)), *"日本語あいう中文한국"]
    return Tokenizer.build([*pieces, *(f"##{piece}" for piece in pieces[5:])], lowercase=True)


def run(count: int, seed: int, *, shown: bool = False) -> Counter[str]:
    """Return how many strings went through, and what failed by kind.

    Args:
        count: how many strings.
        seed: of their choice.
        shown: whether to print what fails.
    """
    found: Counter[str] = Counter()
    words = tokenizer()
    fast = nano.load(words)
    draw = random.Random(seed + 1)
    batch: list[str] = []
    for number, text in enumerate(strings(count, seed), 1):
        language = draw.choice(LANGUAGES)
        unsplit: list[str] = []
        pieces = split(text, language=language, unsplit=unsplit)
        if "".join("".join(pieces).split()) != "".join(text.split()):
            found[f"split by {language}: text lost"] += 1
            if shown:
                print(language, ascii(text)[:200], file=sys.stderr)
        found["not split, handed on whole"] += len(unsplit)
        batch.append(text)
        if len(batch) == 256 or number == count:
            _encode(batch, words, fast, found, shown=shown)
            batch = []
        found["strings"] += 1
        if shown and number % 100_000 == 0:
            print(number, dict(found), f"{time.process_time():.0f} s", flush=True)
    return found


def _encode(
    batch: list[str], words: Tokenizer, fast: nano.NanoTokenizer | None, found: Counter[str], *, shown: bool
) -> None:
    try:
        ids = words.encode_batch(batch)
        aligned = words.encode_batch_aligned(batch)
        found["encoded otherwise with places"] += sum(a != list(b[0]) for a, b in zip(ids, aligned, strict=True))
        found["places outside the text"] += sum(
            not 0 <= start <= end <= len(text)
            for text, (_, spans) in zip(batch, aligned, strict=True)
            for start, end in spans
        )
        if fast is not None:
            flat, lengths = fast.encode(batch)
            same = list(flat) == [piece for each in ids for piece in each] and list(lengths) == [*map(len, ids)]
            found["batches that nanotoken encodes otherwise"] += not same
    except BertieError as error:
        found[f"tokenizer: {type(error).__name__}"] += 1
        if shown:
            print(error, file=sys.stderr)


def raw(count: int, seed: int) -> Counter[str]:
    """Call sentencex itself, and count what comes out of it."""
    found: Counter[str] = Counter()
    draw = random.Random(seed + 1)
    for text in strings(count, seed):
        language = draw.choice(LANGUAGES)
        try:
            sentencex.segment(language, text)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            found[f"sentencex {language}: {type(error).__name__}"] += 1
            if found.total() <= 20:
                print(language, ascii(text)[:200], file=sys.stderr)
    return found


if __name__ == "__main__":
    number, chosen = int(sys.argv[1]), int(sys.argv[2])
    print(run(number, chosen, shown=True))
