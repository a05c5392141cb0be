"""Does the cost of a token stay the same for batches of all sizes and sequences of all lengths?

Measures tokens a second of an exact encoder of MiniLM-L6's shape. Packed batches have 1,024 to 65,536 tokens, in
sequences of 32 to 512 tokens; each batch size is a case. Before timing, the vectors of one text must be the same in all
batches.

Usage: python -m benchmarks.scaling [--precision int8]
"""

import time
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import inputs, rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference

TOKENS, LENGTHS = (1024, 4096, 16_384, 65_536), (32, 64, 128, 256, 512)
SEEN = 24  # length of the text that is in every batch, in tokens
LIMITS = {"exact": 1e-5, "bf16": 2e-2, "int8": 5e-2}
_LEAST_WORK = 16_384  # smallest number of tokens of a repeat


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--model", type=Path, help="BERT folder (default: MiniLM-L6's shape with random weights)")
    parser.add_argument("--precision", choices=sorted(LIMITS), default="exact")


def cases(options: Namespace) -> list[Case]:
    """Make a case for each batch size."""
    sizes = TOKENS[:1] if options.smoke else TOKENS
    return [
        Case(
            f"{tokens:,} tokens a batch",
            "tokens/s",
            tuple(Contestant(f"bertie, {length} a sequence", partial(ready, tokens, length)) for length in LENGTHS),
            largest_difference(LIMITS[options.precision]),
            settings={"tokens": tokens, "precision": options.precision},
        )
        for tokens in sizes
    ]


def prepare(work: Work) -> dict[str, Any]:
    """Write the model folder."""
    inputs.model_folder(work.folder, work.options)
    return {"vocabulary": inputs.VOCABULARY, "precision": work.options.precision}


def ready(tokens: int, length: int, work: Work) -> Ready:
    """Prepare the encoder as prediction runs it, on one batch that is repeated."""
    import torch

    from bertie.batch import Batch
    from bertie.inference.predictor import load

    folder = inputs.model_folder(work.folder, work.options)
    running: dict[str, Any] = {"precision": work.options.precision, "threads": work.options.threads}
    model = load(folder, task="features", device="cpu", **running)
    encoder, vocabulary = model.expect(None).encoder, model.bundle.config.vocab_size
    drawn = np.random.default_rng(0).integers(0, vocabulary, tokens + SEEN)  # the common text comes first
    edges = [0, *range(SEEN, tokens + SEEN + 1, length)]
    batch = Batch.pack(drawn, np.zeros_like(drawn), edges)

    @torch.inference_mode()
    def prove() -> Any:
        vectors: Any = encoder(batch)[:SEEN].numpy()
        return vectors

    @torch.inference_mode()
    def repeat() -> float:
        turns = -(-_LEAST_WORK // tokens)
        started = time.perf_counter()
        for _ in range(turns):
            encoder(batch)
        return turns * batch.num_tokens / (time.perf_counter() - started)

    return Ready(prove, repeat)


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.scaling", words, rounds=1, repeats=5)


if __name__ == "__main__":
    main()
