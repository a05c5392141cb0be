"""Measure the selection of documents: planted duplicates found, speed, memory, and planted rows of a test set.

python docs/selection.py plant 'enwiki-0[0-3].txt.xz' --out planted.jsonl   makes a text with 5 % duplicates
python docs/selection.py score planted.jsonl --similarity 0.8               precision and recall
python docs/selection.py memory 'enwiki-0[0-3].txt.xz' --paragraphs         time, peak memory of one process
python docs/selection.py leaks 'enwiki-00.txt.xz' dev.tsv.gz                plants rows of a table and finds them
"""

import argparse
import json
import random
import re
import resource
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from bertie.corpus.documents import read_documents, read_file
from bertie.corpus.selection.select import REASONS, Selection, SelectSettings, select
from bertie.corpus.selection.units import normalized, shingles_of, units_of
from bertie.files.text import expand
from bertie.tables.table import open_rows

_SEED = 1
_PLANTED = 0.05
_CHANGED_WORDS, _CUT_SENTENCES = 0.02, 0.1
_ROWS = 50


def _changed_words(text: str, chance: random.Random, others: list[str]) -> str:
    words = text.split(" ")
    return " ".join(chance.choice(others) if chance.random() < _CHANGED_WORDS else word for word in words)


def _cut_sentences(text: str, chance: random.Random, others: list[str]) -> str:
    sentences = re.split(r"(?<=[.!?]) ", text)
    return " ".join(sentence for sentence in sentences if chance.random() >= _CUT_SENTENCES)


def _case_and_space(text: str, chance: random.Random, others: list[str]) -> str:
    return re.sub(" ", lambda _: chance.choice([" ", " ", "  ", "\t", "\n"]), text.upper())


KINDS = {
    "the same": lambda text, chance, others: text,
    "case and white space": _case_and_space,
    "2 % of the words changed": _changed_words,
    "10 % of the sentences cut": _cut_sentences,
    "words changed, case and white space": lambda text, chance, others: _case_and_space(
        _changed_words(text, chance, others), chance, others
    ),
}


def _texts(pattern: str) -> Iterator[str]:
    """Yield the text of each document; parts of long documents are joined."""
    parts: list[str] = []
    for document in read_documents(pattern):
        if not document.continues and parts:
            yield "\n".join(parts)
            parts = []
        parts += document.paragraphs
    yield "\n".join(parts)


# Documents that share text with an earlier one, too little for near duplicates.
OTHERS = {
    "not a duplicate: 10 % of the words changed": lambda text, chance, others: " ".join(
        chance.choice(others) if chance.random() < 0.1 else word for word in text.split(" ")
    ),
    "not a duplicate: every second sentence cut": lambda text, chance, others: ". ".join(text.split(". ")[::2]),
}


def plant(pattern: str, out: Path) -> None:
    """Write a table of the documents, in which 5 % repeat an earlier one."""
    chance = random.Random(_SEED)
    texts = [text for text in _texts(pattern) if len(units_of(normalized(text))) >= 100]
    others = texts[0].split()
    rows: list[tuple[float, str, str, int]] = [(place, text, "", place) for place, text in enumerate(texts)]
    count = round(_PLANTED / (1 - _PLANTED) * len(texts))
    for number in range(2 * count):
        source = chance.randrange(len(texts))
        kinds = KINDS if number < count else OTHERS
        kind = list(kinds)[number % len(kinds)]
        text = kinds[kind](texts[source], chance, others)
        rows.append((chance.uniform(source, len(texts)), text, kind, source))
    with out.open("w", encoding="utf-8") as output:
        for _, text, kind, source in sorted(rows):
            output.write(json.dumps({"text": text, "kind": kind, "source": source}, ensure_ascii=False) + "\n")
    print(
        f"{len(rows):,} documents, {count:,} duplicates and as many others planted, {out.stat().st_size / 1e6:.1f} MB"
    )


def _select(files: list[Path], separator: str, **settings: Any) -> tuple[Selection, float, list[dict[str, Any]]]:
    read = partial(read_file, bad_utf8="stop", separator=separator, text_column=None, join_lines=False)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        selection = select(
            files,
            read=lambda path, tally: read(path, tally=tally),
            reading={},
            settings=SelectSettings(**settings),
            folder=Path(folder) / "fingerprints",
            num_processes=1,
        )
        seconds = time.process_time() - began
        found = [] if selection.leaks is None else selection.leaks.report(files, selection.store)
        selection.store.close()
        return selection, seconds, found


def score(path: Path, similarity: float) -> None:
    """Print how many planted duplicates are found, and what else is dropped."""
    with open_rows(path) as table:
        rows = [values for _, values in table.rows(["text", "kind", "source"])]
    selection, seconds, _ = _select([path], "file", duplicates="near", similarity=similarity)
    print(f"similarity {similarity}: {path.stat().st_size / 1e6 / seconds:.1f} MB/s of processor time")
    planted: Counter[str] = Counter()
    found: dict[str, list[float]] = defaultdict(list)
    exact: Counter[str] = Counter()
    wrong = []
    others: Counter[str] = Counter()
    for number, (text, kind, source) in enumerate(rows):
        planted[kind] += 1
        if not selection.reasons[number]:
            continue
        kept, _, kept_source = rows[int(selection.kept[number])]
        sets = [set(shingles_of(units_of(normalized(each)))) for each in (text, kept)]
        jaccard = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        exact[kind] += REASONS[selection.reasons[number]] == "exact_duplicate"
        if kind in KINDS and kept_source == source:
            found[kind].append(jaccard)
        else:
            others[kind] += 1
            if jaccard < similarity:
                wrong.append(jaccard)
    for kind in KINDS:
        values = sorted(found[kind])
        print(f"| {kind} | {planted[kind]} | {len(values)} | {len(values) / planted[kind]:.3f} | {exact[kind]} |")
    for kind in OTHERS:
        print(f"| {kind} | {planted[kind]} | {others[kind]} | | |")
    total = sum(planted[kind] for kind in KINDS)
    hits = sum(map(len, found.values()))
    print(
        f"recall {hits / total:.4f}; dropped {hits + others.total()}, of these no planted duplicates {others.total()}"
    )
    precision = 1 - len(wrong) / (hits + others.total())
    print(f"below the similarity {len(wrong)}, lowest {min(wrong, default=1):.3f}; precision {precision:.4f}")


def memory(pattern: str, paragraphs: bool) -> None:
    """Print the time and the peak memory of one process over a text."""
    files = expand(pattern, suffixes=(".txt",))
    with tempfile.TemporaryDirectory() as folder:
        # Decompressed first, so that the speed is that of comparing.
        plain = Path(folder) / "text.txt"
        with plain.open("w", encoding="utf-8") as output:
            for document in read_documents(files):
                output.write(("\n\n" if paragraphs else "\n").join(document.paragraphs) + "\n\n")
        size = plain.stat().st_size / 1e6
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        selection, seconds, _ = _select([plain], "blank-line", duplicates="near")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"| {size:.0f} | {len(selection.reasons):,} | {sum(selection.dropped().values()):,} | {size / seconds:.1f} | "
        f"{before:.0f} | {peak:.0f} |"
    )


def leaks(pattern: str, table: Path) -> None:
    """Put rows of a table into documents, whole and in part, and print the report."""
    chance = random.Random(_SEED)
    with open_rows(table) as opened:
        rows = [max((str(value) for value in values), key=len) for _, values in opened.rows(opened.columns)]
    chosen = [row for row in chance.sample(rows, len(rows)) if len(units_of(normalized(row))) >= 8][:_ROWS]
    texts = list(islice(_texts(pattern), 1000))
    for number, row in enumerate(chosen):
        place = chance.randrange(len(texts[number]))
        texts[number] = f"{texts[number][:place]} {row.upper() if number % 2 else row} {texts[number][place:]}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.jsonl"
        for name, kept in (("planted", texts), ("as it is", list(islice(_texts(pattern), 1000)))):
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in kept), encoding="utf-8")
            _, seconds, (found,) = _select([path], "file", test_sets=(table,))
            figures = " | ".join(
                f"{found[key]:,}" for key in ("rows", "rows_too_short", "rows_found", "rows_found_whole")
            )
            print(f"| {name} | {figures} | {found['documents']:,} | {path.stat().st_size / 1e6 / seconds:.1f} |")
            print(found["examples"])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plant", "score", "memory", "leaks"])
    parser.add_argument("text")
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=Path("planted.jsonl"))
    parser.add_argument("--similarity", type=float, default=0.8)
    parser.add_argument("--paragraphs", action="store_true")
    arguments = parser.parse_args()
    match arguments.what:
        case "plant":
            plant(arguments.text, arguments.out)
        case "score":
            score(Path(arguments.text), arguments.similarity)
        case "memory":
            memory(arguments.text, arguments.paragraphs)
        case "leaks":
            leaks(arguments.text, arguments.table)


if __name__ == "__main__":
    main()
