"""How many tokens a second does MLM + NSP pre-training do, beside transformers' best loop on the same batches?

Sizes from tiny to base, with the paper's dropout of 0.1 and with none, and one case of single lines, about 40 tokens
each, as `transformers` trains them "line by line": padded to the longest of a batch, or grouped by length, which pads
less and gives batches of one length each. Before timing, both networks get the same weights and must agree on the loss
without dropout. All compute in bf16 where the processor multiplies it natively, else in fp32, which is then everybody's
fastest; fp32 without compilation is what Trainer does when nothing is asked for. Padding counts for nobody.
Freed memory stays with every process, as `bertie pretrain` has it by itself and others by their environment.

`mfu` is the share of what the processor's products in bf16 reach in the same process (a large one by oneDNN, the better
of several) that the mathematics of a token alone would need.

Usage: python -m benchmarks.pretrain [--sizes mini small]
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine, rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference

if TYPE_CHECKING:
    import torch

    from bertie.batch import Batch

VOCABULARY, LENGTH, TOKENS, MASK = 30522, 128, 8192, 103
# Tokens of a step where 8,192 would take a minute and several gigabytes.
FEWER_TOKENS = {"small": 4096, "base": 2048}
BATCHES = 4
LINES = (3.5, 0.6)  # of the logarithm of a line's tokens: mean and deviation; 40 tokens on average
LAYERS_AND_WIDTH = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "base": (12, 768)}
MASKED = 0.15
LOSS = largest_difference(1e-4)
KEEPS_MEMORY = True


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--sizes", nargs="+", default=["tiny", "mini", "small", "base"], help="of the networks")


def cases(options: Namespace) -> list[Case]:
    """Pair every size with both dropouts."""
    found = []
    for size in ["tiny"] if options.smoke else options.sizes:
        rows = (512 if options.smoke else FEWER_TOKENS.get(size, TOKENS)) // LENGTH
        for dropout in (0.0, 0.1):
            ours = partial(ready_ours, size, rows, LENGTH)
            theirs = partial(ready_theirs, size, rows, LENGTH, dropout)
            contestants = [Contestant("bertie", partial(ours, dropout, 0.0))]
            if dropout:
                contestants.append(Contestant("bertie, attention dropout 0.1", partial(ours, dropout, dropout)))
            # Dropout on attention takes it off its fast path: both are shown.
            attention = [("", 0.0)] + ([(", attention dropout 0.1", dropout)] if dropout else [])
            for said, rate in attention:
                for name, mode in (("transformers compiled", "default"), ("transformers eager", "")):
                    contestants.append(Contestant(name + said, partial(theirs, rate, compiled=mode), ("transformers",)))
            if machine.native_bf16():  # elsewhere all compute in fp32
                plain = partial(theirs, dropout, fp32=True)
                contestants.append(Contestant("transformers eager fp32", plain, ("transformers",)))
            settings = {"length": LENGTH, "rows": rows, "dropout": dropout}
            name = f"{size}, dropout {dropout:g}"
            found.append(Case(name, "tokens/s", tuple(contestants), LOSS, settings=settings))
    return [*found, *([] if "mini" not in options.sizes else [line_by_line(8 if options.smoke else 205)])]


def line_by_line(rows: int) -> Case:
    """Compare on single lines."""
    arguments = ("mini", rows, LENGTH)
    contestants = [Contestant("bertie", partial(ready_ours, *arguments, 0.0, 0.0, lengths="lines"))]
    for said, lengths in (("padded", "lines"), ("grouped by length", "grouped")):
        for name, mode in (("transformers compiled", "default"), ("transformers eager", "")):
            make = partial(ready_theirs, *arguments, 0.0, 0.0, compiled=mode, lengths=lengths)
            contestants.append(Contestant(f"{name}, {said}", make, ("transformers",)))
    return Case("mini, line by line", "tokens/s", tuple(contestants), LOSS, settings={"rows": rows, "dropout": 0.0})


def flops_per_token(size: str, length: int) -> float:
    """Count forward and backward: six a weight, attention's two products, and the head on the masked positions.

    With L layers of width H and S tokens a row: 6 L 12 H^2 + 12 L H S + 6 (H^2 + H V) 0.15.
    """
    layers, width = LAYERS_AND_WIDTH[size]
    head = 6 * (width**2 + width * VOCABULARY) * MASKED
    return 6 * layers * 12 * width**2 + 12 * layers * width * length + head


def drawn_lengths(random: np.random.Generator, rows: int, length: int, kind: str) -> NDArray[np.int64]:
    """Draw tokens a row: the recipe's (nine in ten full, the rest uniform), all full, or those of lines."""
    if kind in ("lines", "grouped"):
        return np.clip(random.lognormal(*LINES, rows), 8, length).astype(np.int64)
    short = random.random(rows) >= (1.0 if kind == "full" else 0.9)
    return np.where(short, random.integers(8, length + 1, rows), length)


def padded_batches(count: int, rows: int, length: int, kind: str = "recipe") -> "list[dict[str, torch.Tensor]]":
    """Draw (rows, longest row) batches; grouped ones hold the same lengths, sorted over all batches."""
    import torch

    random = np.random.default_rng(0)
    shapes = [drawn_lengths(random, rows, length, kind) for _ in range(count)]
    if kind == "grouped":
        shapes = np.split(np.sort(np.concatenate(shapes)), count)
    batches = []
    for lengths in shapes:
        length = int(lengths.max())
        real = np.arange(length)[None] < lengths[:, None]
        ids = np.where(real, (random.random((rows, length)) ** 4 * (VOCABULARY - 1000)).astype(np.int64) + 1000, 0)
        chosen = real & (random.random((rows, length)) < 0.15)
        arrays = {
            "input_ids": np.where(chosen, MASK, ids),
            "attention_mask": real.astype(np.int64),
            "token_type_ids": (real & (np.arange(length)[None] >= lengths[:, None] // 2)).astype(np.int64),
            "labels": np.where(chosen, ids, -100),
            "next_sentence_label": random.integers(0, 2, rows),
        }
        batches.append({name: torch.from_numpy(array) for name, array in arrays.items()})
    return batches


def ours(size: str, dropout: float, attention_dropout: float) -> Any:
    """Build our network and its task, with a head that isn't all zeros."""
    import torch

    from bertie.models.bert import BertConfig
    from bertie.tasks.pretraining import Pretraining
    from bertie.tasks.task import TaskModel

    torch.manual_seed(0)  # the biases of the head are torch's own
    task = Pretraining()
    config = BertConfig.sized(size, vocab_size=VOCABULARY)
    encoder = replace(config, dropout=dropout, attention_dropout=attention_dropout).build()
    encoder.initialize(0)
    model = TaskModel(encoder, task.head(encoder))
    with torch.no_grad():
        for name, value in model.head.named_parameters():
            if value.dim() == 2 and "embedding" not in name:
                value.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    return model, task


def packed(padded: "dict[str, torch.Tensor]") -> "Batch":
    """Drop the padding of a batch."""
    from bertie.batch import Batch

    batch = Batch.from_padded(padded["input_ids"], padded["attention_mask"], padded.get("token_type_ids"))
    flat = padded["labels"][padded["attention_mask"].bool()]
    positions = (flat >= 0).nonzero().flatten()
    targets = {
        "slot.position": positions,
        "slot.token": flat[positions],
        "sequence.label": padded["next_sentence_label"],
    }
    return replace(batch, targets=targets)


def theirs(size: str, dropout: float, attention_dropout: float) -> Any:
    """Build BertForPreTraining of the same shape."""
    from transformers import BertConfig, BertForPreTraining

    from bertie.models.bert import BertConfig as OurConfig

    values = OurConfig.sized(size, vocab_size=VOCABULARY).to_foreign()
    values |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": attention_dropout}
    made: Any = BertForPreTraining._from_config
    return made(BertConfig(**values), attn_implementation="sdpa")


def in_bf16(device: str) -> bool:
    """Tell whether this device multiplies bf16 natively."""
    import torch

    from bertie.training.precision import resolve

    return resolve("auto", torch.device(device)) == "bf16"


def ready_ours(
    size: str,
    rows: int,
    length: int,
    dropout: float,
    attention_dropout: float,
    work: Work,
    *,
    device: str = "cpu",
    lengths: str = "recipe",
    **more: Any,
) -> Ready:
    """Get our own training loop ready."""
    import torch

    model, task = ours(size, dropout, attention_dropout)
    batches = [packed(padded) for padded in padded_batches(BATCHES, rows, length, lengths)]
    place = torch.device(device)

    def prove() -> float:
        model.to(place).eval()
        batch = batches[0].to(place)
        with torch.no_grad():
            return float(task.loss(model(batch), batch).total(task.counts(batch)))

    more = {"derive": use_of_roof(size, batches[0].num_tokens // rows), **more}
    return Ready(prove, rate_of(our_steps(model, task, batches, device)), warmups=BATCHES, **more)


def ready_theirs(
    size: str,
    rows: int,
    length: int,
    dropout: float,
    attention_dropout: float,
    work: Work,
    *,
    compiled: str = "",
    fp32: bool = False,
    device: str = "cpu",
    lengths: str = "recipe",
    **more: Any,
) -> Ready:
    """Get the same step ready: autocast, fused AdamW, clipping; `compiled` is a mode of torch.compile."""
    import torch

    model = theirs(size, dropout, attention_dropout).to(device)
    batches = [
        {name: value.to(device) for name, value in padded.items()}
        for padded in padded_batches(BATCHES, rows, length, lengths)
    ]

    def prove() -> float:
        from bertie.models.bert import ARCHITECTURE

        model.load_state_dict(ARCHITECTURE.to_foreign(ours(size, 0.0, 0.0)[0].state_dict()), strict=False)
        model.tie_weights()
        model.eval()
        proving = padded_batches(BATCHES, rows, length, "lines" if lengths == "grouped" else lengths)[0]
        with torch.no_grad():
            return float(model(**{name: value.to(device) for name, value in proving.items()}).loss)

    return Ready(
        prove,
        rate_of(their_steps(model, batches, compiled=compiled, fp32=fp32, device=device)),
        warmups=BATCHES,
        **more,
    )


def use_of_roof(size: str, length: int) -> Callable[[float], dict[str, float]]:
    """Say which share of the processor's products in bf16 so many tokens a second need; nothing where it has none."""

    def derive(figure: float) -> dict[str, float]:
        return {"mfu": figure * flops_per_token(size, length) / roof()} if machine.native_bf16() else {}

    return derive


def roof() -> float:
    """Return the operations a second of a large product in bf16 with a weight laid out for it."""
    import torch

    from benchmarks.roofline import bf16_packed

    rows, inner, outer = 4096, 1024, 4096
    with torch.no_grad():
        multiply = bf16_packed(torch.randn(rows, inner), torch.randn(outer, inner))
        seconds = []
        for _ in range(20):
            started = time.perf_counter()
            multiply()
            seconds.append(time.perf_counter() - started)
    return 2 * rows * inner * outer / min(seconds)


def our_steps(model: Any, task: Any, batches: "list[Batch]", device: str = "cpu") -> Iterator[int]:
    """Train by bertie's own loop, and yield each step's tokens."""
    import torch

    from bertie.training.loop import Draw, train
    from bertie.training.optimizer import build
    from bertie.training.settings import OptimizerSettings

    place = torch.device(device)
    learner = build(model.to(place), OptimizerSettings("adamw"))
    draws = (Draw([batches[number % len(batches)]]) for number in range(1 << 30))
    precision: Any = "bf16" if in_bf16(device) else "fp32"
    arguments: dict[str, Any] = {"clip_norm": 1.0, "precision": precision, "device": place, "seed": 0}
    for step in train(model, task, draws, optimizer=learner, rate=lambda number: 1e-4, **arguments):
        yield step.tokens


def their_steps(
    model: Any, batches: "list[dict[str, torch.Tensor]]", *, compiled: str = "", fp32: bool = False, device: str = "cpu"
) -> Iterator[int]:
    """Train a model of transformers in the same way, and yield each step's tokens, padding left out."""
    import torch

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.01, fused=True)
    forward = torch.compile(model, mode=compiled) if compiled else model
    bf16 = in_bf16(device) and not fp32
    counts = [int(batch["attention_mask"].sum()) for batch in batches]
    for number in range(1 << 30):
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = forward(**batches[number % len(batches)]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        float(loss.detach())
        yield counts[number % len(batches)]


def rate_of(steps: Iterator[int]) -> Callable[[], float]:
    """Time the next step, and return what it yields a second."""

    def repeat() -> float:
        started = time.perf_counter()
        count = next(steps)
        return count / (time.perf_counter() - started)

    return repeat


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.pretrain", words, rounds=3, repeats=8)


if __name__ == "__main__":
    main()
