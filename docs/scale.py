"""Estimate pre-training on many GPUs: the tables of docs/explanation/scale.md.

    python docs/scale.py draw                                                      the table of the page
    python docs/scale.py dry --corpus FOLDER --size base --processes 64            one process of 64, on this machine

`draw` computes the time of a step from the operations, the bytes of the gradients and the speeds of a GPU's data sheet.
`dry` runs the first step of one process of many, without the others, and prints what it holds and draws.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.page import filled

PAGE = Path(__file__).parent / "explanation" / "scale.md"
SCRIPT = "docs/scale.py"
SIZES = {"base": (12, 768), "large": (24, 1024)}
VOCABULARY, POSITIONS, MASKED, LENGTH = 30_522, 512, 0.15, 128
BATCH = 2**20  # tokens of an update
GPUS, TOKENS = (8, 64, 512), (1e9, 30e9, 1e12)
ITERATIONS = 5  # Newton-Schulz iterations of Muon


@dataclass(frozen=True)
class Machine:
    """Speeds of GPUs in nodes of eight: an H100 by its data sheet, and the shares of them that a program reaches."""

    flops: float = 989e12
    """bf16 operations a second."""
    reached: float = 0.4
    """Share of them; assumed."""
    within: float = 450e9
    """Bytes a second from one GPU to the others of its node."""
    between: float = 400e9
    """Bytes a second from one node to others, by eight cards of 400 Gb/s."""
    carried: float = 0.7
    """Share of both; assumed."""


H100 = Machine()


def num_weights(layers: int, width: int) -> int:
    """Return the number of weights of a BERT with the heads of pre-training; output and word embeddings are one."""
    block = 12 * width**2 + 13 * width
    embeddings = (VOCABULARY + POSITIONS + 2) * width + 2 * width
    heads = width**2 + 3 * width + VOCABULARY + width**2 + width + 2 * width + 2
    return layers * block + embeddings + heads


def flops_per_token(layers: int, width: int) -> float:
    """Return the operations of forward and backward of one token (`benchmarks/pretrain.py`)."""
    head = 6 * (width**2 + width * VOCABULARY) * MASKED
    return 6 * layers * 12 * width**2 + 12 * layers * width * LENGTH + head


def update_flops(layers: int, width: int) -> float:
    """Return the operations of one update by Muon: a few products of every matrix of the blocks with itself."""

    def orthogonalized(rows: int, columns: int) -> float:
        return ITERATIONS * (4.0 * rows**2 * columns + 2.0 * rows**3)

    return layers * (4 * orthogonalized(width, width) + 2 * orthogonalized(width, 4 * width))


@dataclass(frozen=True)
class StepTime:
    """Seconds of the parts of one step, which follow one another."""

    compute: float
    sums: float
    update: float

    @property
    def total(self) -> float:
        """Seconds of the step."""
        return self.compute + self.sums + self.update


def step_time(layers: int, width: int, gpus: int, machine: Machine = H100) -> StepTime:
    """Estimate a step. The gradients are summed in fp32: within each node, then between nodes."""
    size = 4.0 * num_weights(layers, width)
    inside, nodes = min(gpus, 8), max(1, gpus // 8)
    sums = 2 * size * (inside - 1) / inside / machine.within + 2 * size * (nodes - 1) / nodes / machine.between
    speed = machine.flops * machine.reached
    return StepTime(
        compute=BATCH / gpus * flops_per_token(layers, width) / speed,
        sums=sums / machine.carried,
        update=update_flops(layers, width) / speed,
    )


def table() -> str:
    """Return the estimates as a table."""
    head = [
        "",
        "GPUs",
        "compute",
        "sum",
        "update",
        "efficiency",
        "M tokens/s",
        *(f"{_amount(n)} tokens" for n in TOKENS),
    ]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for size, (layers, width) in SIZES.items():
        for gpus in GPUS:
            parts = step_time(layers, width, gpus)
            milliseconds = [f"{1e3 * each:.1f} ms" for each in (parts.compute, parts.sums, parts.update)]
            speed = BATCH / parts.total
            cells = [f"{parts.compute / parts.total:.0%}", f"{speed / 1e6:.1f}", *(_time(n / speed) for n in TOKENS)]
            lines.append(f"| {size} | {gpus} | {' | '.join([*milliseconds, *cells])} |")
    return "\n".join(lines)


def _amount(tokens: float) -> str:
    return "1 T" if tokens >= 1e12 else f"{tokens / 1e9:.0f} G"


def _time(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def dry(corpus: Path, size: str, processes: int, tokens: int) -> dict[str, Any]:
    """Run the first step of process 0 of many without the others, and return what it draws and holds.

    Args:
        corpus: a prepared corpus.
        size: named size of BERT.
        processes: number of processes.
        tokens: tokens of a step for each process.
    """
    import torch

    from bertie.formats.format import new
    from bertie.models.bert import BertConfig
    from bertie.tasks.masked_lm import MaskedLM
    from bertie.tokenizer.reading import load_tokenizer
    from bertie.training import feed
    from bertie.training.loop import train
    from bertie.training.optimizer import build, state_tensors
    from bertie.training.parallel import Group
    from bertie.training.settings import OptimizerSettings

    class Alone(Group):
        """A process whose neighbours all say the same as it does."""

        def exchange(self, value: Any, *, ends_step: bool = False) -> list[Any]:
            return [value] * self.size

    group = Alone(0, processes)
    feed.group = lambda: group
    task, tokenizer = MaskedLM(max_length=LENGTH), load_tokenizer(corpus / "tokenizer")
    model = new(BertConfig.sized(size, vocab_size=VOCABULARY), task, tokenizer, seed=0).model
    optimizer = build(model, OptimizerSettings(name="muon"))
    draws = _draws(corpus, task, tokenizer, processes * tokens, tokens)
    first = next(draws)
    started = time.process_time()
    next(draws)
    drawing = time.process_time() - started
    options: dict[str, Any] = {"optimizer": optimizer, "rate": lambda step: 1e-4, "clip_norm": 1.0, "precision": "bf16"}
    step = next(iter(train(model, task, [first], **options, device=torch.device("cpu"), seed=0, group=group)))
    weights = sum(value.numel() for value in model.parameters())
    held = sum(value.numel() * value.element_size() for value in state_tensors(model, optimizer).values())
    return {
        "weights_millions": round(weights / 1e6, 1),
        "tokens_of_the_step": step.tokens,
        "own_tokens": sum(batch.num_tokens for batch in first.batches),
        "drawing_milliseconds": round(1e3 * drawing, 1),
        "weights_and_optimizer_megabytes": round(held / 1e6),
        "gradients_and_their_buffer_megabytes": round(3 * 4 * weights / 1e6),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def _draws(corpus: Path, task: Any, tokenizer: Any, batch_tokens: int, micro_tokens: int) -> Any:
    """Return the draws of a pre-training run."""
    from bertie.corpus.shards import Corpus
    from bertie.training.feed import corpus_feed
    from bertie.training.schedule import Stage

    sizes = {"batch_tokens": batch_tokens, "micro_tokens": micro_tokens}
    stages = (Stage(LENGTH, 1.0),)
    return corpus_feed(
        Corpus.open(corpus), task, tokenizer, stages=stages, **sizes, seed=0, progress=lambda step, seen: 0.0, state={}
    )


def main(words: Sequence[str] | None = None) -> None:
    """Draw the table, or run one process of many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("draw", help="draw the table of the page")
    running = commands.add_parser("dry", help="run one process of many")
    running.add_argument("--corpus", type=Path, required=True)
    running.add_argument("--size", choices=sorted(SIZES), default="base")
    running.add_argument("--processes", type=int, default=64)
    running.add_argument("--tokens", type=int, default=4096, help="tokens of a step for each process (%(default)s)")
    options = parser.parse_args(words)
    if options.command == "draw":
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), table(), SCRIPT, PAGE.name), encoding="utf-8")
    else:
        print(json.dumps(dry(options.corpus, options.size, options.processes, options.tokens), indent=1))


if __name__ == "__main__":
    main()
