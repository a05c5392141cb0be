"""Make training pairs for generation from Wikipedia: a paragraph with its article's title or with its next sentence.

python examples/wikipedia_pairs.py title 'enwiki/enwiki-0*.txt.xz' --out data/title-train.tsv
python examples/wikipedia_pairs.py next-sentence enwiki/enwiki-valid.txt.xz --out data/next-dev.tsv

Reads files in WikiExtractor's format. `title` pairs the first paragraph of each article with the title. `next-sentence`
pairs, for each paragraph of at least four sentences, all sentences but the last with the last one. The numbers of
skipped articles and paragraphs are printed.
"""

from __future__ import annotations

import argparse
import html
import itertools
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bertie.corpus.plain_text import wiki_parts
from bertie.corpus.sentences import detect_language, split
from bertie.files.text import expand, open_text

_TITLE = re.compile(r'\btitle="(.*)"')
_SHORTEST = 100  # minimum characters of a source; shorter lines are headings, captions and "may refer to:"
_FEWEST = 4  # minimum sentences of a paragraph

Pairs = Iterator[tuple[str, str]]


def articles(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the title and the paragraphs of each article."""
    title, lines = "", list[str]()
    with open_text(file) as stream:
        for line in stream:
            lines.append(line)
            if line.startswith("<doc ") and (match := _TITLE.search(line)):
                title = html.unescape(match[1]).strip()
            if line.strip() == "</doc>":
                yield title, [part for part in wiki_parts(lines, name=str(file)) if isinstance(part, str)]
                title, lines = "", []


def title_pairs(title: str, paragraphs: list[str], left_out: Counter[str]) -> Pairs:
    """Pair an article's first paragraph with its title."""
    if not title or not paragraphs or len(paragraphs[0]) < _SHORTEST:
        left_out["articles without a title or with a short first paragraph"] += 1
        return
    yield paragraphs[0], title


def next_sentence_pairs(title: str, paragraphs: list[str], left_out: Counter[str]) -> Pairs:
    """Pair all sentences of a paragraph but the last with the last one."""
    language = detect_language(paragraphs)
    between = "" if language == "zh" else " "
    for paragraph in paragraphs:
        sentences = split(paragraph, language=language)
        source = between.join(sentences[:-1])
        if len(sentences) < _FEWEST or len(source) < _SHORTEST:
            left_out["paragraphs with few sentences"] += 1
            continue
        yield source, sentences[-1]


KINDS: dict[str, Callable[[str, list[str], Counter[str]], Pairs]] = {
    "title": title_pairs,
    "next-sentence": next_sentence_pairs,
}


def write(kind: str, files: list[str], out: Path, most: int | None) -> tuple[int, Counter[str]]:
    """Write the pairs of some files as a table; return their number and the number of skipped items per reason."""
    left_out: Counter[str] = Counter()
    pairs = (
        pair
        for file in expand(files, suffixes=(".txt",))
        for title, paragraphs in articles(file)
        for pair in KINDS[kind](title, paragraphs, left_out)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("x", encoding="utf-8") as table:
        table.write("source\ttarget\n")
        rows = ["\t".join(" ".join(text.split()) for text in pair) + "\n" for pair in itertools.islice(pairs, most)]
        table.writelines(rows)
    return len(rows), left_out


def main(words: list[str]) -> None:
    """Read the flags and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("files", nargs="+", help="files, folders or patterns such as 'enwiki-*.txt.xz'")
    parser.add_argument("--out", type=Path, required=True, help="path of the table, .tsv; must not exist")
    parser.add_argument("--most", type=int, help="maximum number of pairs (default: all)")
    chosen = parser.parse_args(words)
    number, left_out = write(chosen.kind, chosen.files, chosen.out, chosen.most)
    print(f"{chosen.out}: {number:,} pairs", file=sys.stderr)
    for what, count in left_out.items():
        print(f"left out: {count:,} {what}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
