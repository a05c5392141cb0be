"""The inputs of benchmarks: a user's text and model, or generated text of realistic lengths and random weights.

Generated words consist of syllables and are drawn by Zipf's law. So a vocabulary learned from them cuts rare words into
pieces, as one learned from real text does. The same seed gives the same text everywhere.
"""

import hashlib
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

WORDS, VOCABULARY = 20_000, 30_522
LAYERS, HIDDEN, HEADS = 6, 384, 12  # MiniLM-L6's shape
# Words of a sentence: mean and deviation of the logarithm, maximum. A word has about 1.4 pieces; two special tokens.
MIXED = (2.95, 0.65, 90)
SST2 = (2.0, 0.75, 48)
PREMISE, HYPOTHESIS = (2.75, 0.45, 60), (2.0, 0.45, 30)
_FEWEST, _MOST = 15, 900  # characters of a sentence that is taken from a file


def arguments(parser: ArgumentParser, *, model: bool = True) -> None:
    """Add the flags for a user's text and model."""
    parser.add_argument("--text", type=Path, help="UTF-8 text file (default: generated text)")
    if model:
        parser.add_argument("--model", type=Path, help="BERT folder (default: MiniLM-L6's shape with random weights)")


@cache
def words() -> list[str]:
    """Generate the words, the most frequent first; frequent words are short."""
    random = Random(7)
    starts, middles, ends = (
        [*"bcdfghjklmnprstvwz", "th", "st", "tr", "ch"],
        list("aeiou"),
        ["", "n", "r", "s", "l"],
    )
    found: dict[str, None] = {}
    while len(found) < WORDS:
        syllables = 1 + min(4, int(random.expovariate(1.2 if len(found) < 500 else 0.5)))
        word = "".join(random.choice(part) for _ in range(syllables) for part in (starts, middles, ends))
        found.setdefault(word)
    return list(found)


def generated(count: int, shape: tuple[float, float, int] = MIXED, *, seed: int = 0) -> list[str]:
    """Generate sentences whose lengths in words are log-normal."""
    random = np.random.default_rng(seed)
    mean, deviation, most = shape
    lengths = np.clip(random.lognormal(mean, deviation, count).astype(np.int64), 2, most)
    weights = 1.0 / np.arange(2, WORDS + 2)
    drawn = random.choice(WORDS, int(lengths.sum()), p=weights / weights.sum())
    edges = np.concatenate([[0], np.cumsum(lengths)])
    known = words()
    texts = (" ".join(known[word] for word in drawn[start:end]) for start, end in pairwise(edges))
    return [f"{text[0].upper()}{text[1:]}." for text in texts]


def sentences(count: int, text: str | None, *, seed: int = 0) -> list[str]:
    """Take `count` different sentences from a file, in random order, or generate them.

    Raises:
        SystemExit: the file has too few.
    """
    if text is None:
        return generated(count, seed=seed)
    whole = Path(text).read_text(encoding="utf-8", errors="replace")
    parts = (" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+|\n\s*\n", whole))
    kept = list(dict.fromkeys(part for part in parts if _FEWEST <= len(part) <= _MOST))
    if len(kept) < count:
        raise SystemExit(
            f"--text {Path(text).name} has {len(kept)} sentences of {_FEWEST} to {_MOST} characters, but {count} are "
            "needed; give a larger file"
        )
    order = np.random.default_rng(seed).permutation(len(kept))[:count]
    return [kept[index] for index in order]


def document_text(characters: int, text: str | None) -> str:
    """Return the beginning of a file, or generated documents of twelve sentences, separated by blank lines."""
    if text is not None:
        with Path(text).open(encoding="utf-8", errors="replace") as stream:
            return stream.read(characters)
    drawn = generated(characters // 90 + 12, seed=1)  # a sentence has about 110 characters
    documents = (" ".join(drawn[start : start + 12]) for start in range(0, len(drawn), 12))
    return "\n\n".join(documents)[:characters]


def described(text: str | None, texts: Sequence[str]) -> dict[str, Any]:
    """Describe inputs, so that one can see whether two results have the same ones."""
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    return {"text": "generated" if text is None else Path(text).name, "items": len(texts), "sha256": digest}


def tokenizer_folder(folder: Path, options: Namespace) -> Path:
    """Return the user's model folder, or the folder of a tokenizer learned from generated text."""
    if getattr(options, "model", None):
        return Path(options.model)
    from bertie import progress
    from bertie.tokenizer.train import train
    from bertie.tokenizer.writing import save_tokenizer

    progress.set_quiet(True)  # the vocabulary is expected to be smaller than asked for; no warning
    path = folder / "tokenizer"
    if not path.exists():
        path.mkdir()
        save_tokenizer(train(generated(8000, seed=2), vocab_size=VOCABULARY), path)
    return path


def model_folder(folder: Path, options: Namespace) -> Path:
    """Return the user's model folder, or write one with random weights (two small layers for a smoke run)."""
    from bertie.tokenizer.reading import load_tokenizer

    if getattr(options, "model", None):
        return Path(options.model)
    from bertie.formats.format import new
    from bertie.formats.huggingface import write
    from bertie.models.bert import BertConfig
    from bertie.tasks.features import FeaturesTask

    path = folder / "model"
    if not path.exists():
        small = options.smoke
        config = BertConfig(
            VOCABULARY,
            hidden_size=64 if small else HIDDEN,
            num_layers=2 if small else LAYERS,
            num_heads=2 if small else HEADS,
            intermediate_size=256 if small else 4 * HIDDEN,
        )
        tokenizer = load_tokenizer(tokenizer_folder(folder, options))
        write(new(config, FeaturesTask(), tokenizer, seed=0), path)
    return path


def rust_tokenizer(folder: Path) -> Any:
    """Open a folder's tokenizer with the tokenizers package, with [CLS] and [SEP] and without truncation.

    The file of a plain vocabulary doesn't ask for the two special tokens; programs on top of the package add them.
    """
    from tokenizers import Tokenizer
    from tokenizers.processors import BertProcessing

    tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ends = [(piece, tokenizer.token_to_id(piece)) for piece in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = BertProcessing(*ends)
    return tokenizer
