"""How many megabytes of text a second become piece ids, and how long does one short query take?

Paragraphs come in batches of 1,000, and all must give the same ids. bertie's row is `Tokenizer.pack`, which returns
flat arrays that are ready for a batch. The peers' ids stay in the form that their call returns. (The file is not called
tokenize, because Python has a module of that name.)

Usage: python -m benchmarks.tokenization [--model FOLDER] [--text FILE] [--megabytes 10]
"""

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import inputs, rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference

BATCH, ENOUGH = 1000, 1 << 20
QUERY, QUERIES = "how do i reset my password?", 1000
PROOF_TEXTS = 500
SAME = largest_difference(0.0)
Encode = Callable[[Sequence[str]], list[Any]]
"""Texts -> one row of ids for each text."""


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    inputs.arguments(parser)
    parser.add_argument("--megabytes", type=float, default=10.0, help="size of the text (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make a case for many paragraphs and one for a query."""
    makers: list[tuple[str, Callable[..., Any], tuple[str, ...]]] = [
        ("bertie pack", bertie_pack, ()),
        ("tokenizers encode_batch", partial(rust, "encode_batch"), ("tokenizers",)),
        ("tokenizers encode_batch_fast", partial(rust, "encode_batch_fast"), ("tokenizers",)),
        ("transformers BertTokenizer", transformers, ("transformers",)),
        ("nanotoken encode_batch", nanotoken, ("nanotoken",)),
    ]

    def contestants(measure: Callable[..., Ready]) -> tuple[Contestant, ...]:
        return tuple(Contestant(name, partial(measure, make), needs) for name, make, needs in makers)

    settings = {"megabytes": size(options), "batch": BATCH}
    return [
        Case("paragraphs", "MB/s", contestants(ready_paragraphs), SAME, settings=settings),
        Case("one query", "µs", contestants(ready_query), SAME, "lower", settings={"query": QUERY}),
    ]


def size(options: Namespace) -> float:
    """Return the size of the text in megabytes."""
    return 0.05 if options.smoke else float(options.megabytes)


def paragraphs(options: Namespace) -> list[str]:
    """Return the text's lines without empty ones."""
    return [line for line in inputs.document_text(int(1e6 * size(options)), options.text).split("\n") if line]


def prepare(work: Work) -> dict[str, Any]:
    """Learn a vocabulary unless the user gives a model, and describe the text."""
    inputs.tokenizer_folder(work.folder, work.options)
    return inputs.described(work.options.text, paragraphs(work.options))


def ready_paragraphs(make: Callable[..., tuple[Callable[..., Any], Encode]], work: Work) -> Ready:
    """Prepare to measure megabytes a second."""
    texts = paragraphs(work.options)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    call, rows = make(work)

    def repeat() -> float:
        started = time.perf_counter()
        for start in range(0, len(texts), BATCH):
            call(texts[start : start + BATCH])
        return megabytes / (time.perf_counter() - started)

    call([QUERY])
    # No warm-up on the same text, which would favour a tokenizer with a cache.
    return Ready(lambda: flat(rows(texts[:PROOF_TEXTS])), repeat, warmups=0)


def ready_query(make: Callable[..., tuple[Callable[..., Any], Encode]], work: Work) -> Ready:
    """Prepare to measure microseconds a query."""
    call, rows = make(work)

    def repeat() -> float:
        started = time.perf_counter()
        for _ in range(QUERIES):
            call([QUERY])
        return 1e6 * (time.perf_counter() - started) / QUERIES

    return Ready(lambda: flat(rows([QUERY])), repeat)


def flat(rows: Sequence[Any]) -> Any:
    """Concatenate rows, each after its length."""
    return np.concatenate([np.asarray([len(row), *row], np.int64) for row in rows])


def bertie_pack(work: Work) -> tuple[Callable[..., Any], Encode]:
    """Return bertie's call, and a function that returns its ids as rows."""
    from bertie.tokenizer.reading import load_tokenizer

    tokenizer = load_tokenizer(inputs.tokenizer_folder(work.folder, work.options))
    call = partial(tokenizer.pack, max_length=ENOUGH)

    def rows(texts: Sequence[str]) -> list[Any]:
        pieces = call(texts)
        return np.split(pieces.tokens, pieces.offsets[1:-1])

    return call, rows


def rust(method: str, work: Work) -> tuple[Callable[..., Any], Encode]:
    """Return a method of the tokenizers package, and a function that returns its ids as rows."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tokenizer = inputs.rust_tokenizer(inputs.tokenizer_folder(work.folder, work.options))
    call = getattr(tokenizer, method)
    return call, lambda texts: [encoding.ids for encoding in call(texts)]


def transformers(work: Work) -> tuple[Callable[..., Any], Encode]:
    """Return the call of a transformers tokenizer, and a function that returns its ids as rows."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from transformers import BertTokenizer

    folder = inputs.tokenizer_folder(work.folder, work.options)
    tokenizer: Any = BertTokenizer.from_pretrained(str(folder))
    tokenizer.model_max_length = ENOUGH
    return tokenizer, lambda texts: tokenizer(texts)["input_ids"]


def nanotoken(work: Work) -> tuple[Callable[..., Any], Encode]:
    """Return nanotoken's call, and a function that returns its ids as rows."""
    import nanotoken as package

    path = work.folder / "nanotoken.json"
    inputs.rust_tokenizer(inputs.tokenizer_folder(work.folder, work.options)).save(str(path))
    tokenizer = package.Tokenizer(str(path))
    return tokenizer.encode_batch, lambda texts: list(tokenizer.encode_batch(texts).to_list())


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.tokenization", words, rounds=5, repeats=1)


if __name__ == "__main__":
    main()
