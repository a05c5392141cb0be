"""How many tokens a second does MLM + NSP pre-training do, compared with transformers' best loop on the same batches?

The cases are sizes from tiny to base, with the paper's dropout of 0.1 and without dropout. One more case trains on
single lines of about 40 tokens, which `transformers` calls "line by line": padded to the longest line of the batch, or
grouped by length, with less padding and similar lengths in a batch. Before timing, both networks get the same weights
and must agree on the loss without dropout. All compute in bf16 if the processor multiplies it natively, else in fp32,
which is then the fastest for all. fp32 without compilation is Trainer's default. Padding is not counted as tokens.
Every process keeps the memory that it frees: `bertie pretrain` sets this itself, the others get it by the environment.

`mfu` is the arithmetic that the tokens need, as a share of the bf16 speed of the processor. That speed is measured in
the same process: the best of several runs of a large oneDNN product.

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
# Tokens of a step for sizes with which 8,192 would take a minute and several gigabytes.
FEWER_TOKENS = {"small": 4096, "base": 2048}
BATCHES = 4
LINES = (3.5, 0.6)  # mean and deviation of the logarithm of a line's tokens; 40 tokens on average
LAYERS_AND_WIDTH = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "base": (12, 768)}
MASKED = 0.15
LOSS = largest_difference(1e-4)
KEEPS_MEMORY = True


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--sizes", nargs="+", default=["tiny", "mini", "small", "base"], help="network sizes")


def cases(options: Namespace) -> list[Case]:
    """Make a case for each size and dropout, and one for single lines."""
    found = []
    for size in ["tiny"] if options.smoke else options.sizes:
        rows = (512 if options.smoke else FEWER_TOKENS.get(size, TOKENS)) // LENGTH
        for dropout in (0.0, 0.1):
            ours = partial(ready_ours, size, rows, LENGTH)
            theirs = partial(ready_theirs, size, rows, LENGTH, dropout)
            contestants = [Contestant("bertie", partial(ours, dropout, 0.0))]
            if dropout:
                contestants.append(Contestant("bertie, attention dropout 0.1", partial(ours, dropout, dropout)))
            # Attention dropout rules out torch's fast attention, so transformers runs with and without it.
            attention = [("", 0.0)] + ([(", attention dropout 0.1", dropout)] if dropout else [])
            for suffix, rate in attention:
                for name, mode in (("transformers compiled", "default"), ("transformers eager", "")):
                    make = partial(theirs, rate, compiled=mode)
                    contestants.append(Contestant(name + suffix, make, ("transformers",)))
            if machine.native_bf16():  # without it all compute in fp32 anyway
                plain = partial(theirs, dropout, fp32=True)
                contestants.append(Contestant("transformers eager fp32", plain, ("transformers",)))
            settings = {"length": LENGTH, "rows": rows, "dropout": dropout}
            name = f"{size}, dropout {dropout:g}"
            found.append(Case(name, "tokens/s", tuple(contestants), LOSS, settings=settings))
    return [*found, *([] if "mini" not in options.sizes else [line_by_line(8 if options.smoke else 205)])]


def line_by_line(rows: int) -> Case:
    """Make the case of single lines."""
    arguments = ("mini", rows, LENGTH)
    contestants = [Contestant("bertie", partial(ready_ours, *arguments, 0.0, 0.0, lengths="lines"))]
    for suffix, lengths in (("padded", "lines"), ("grouped by length", "grouped")):
        for name, mode in (("transformers compiled", "default"), ("transformers eager", "")):
            make = partial(ready_theirs, *arguments, 0.0, 0.0, compiled=mode, lengths=lengths)
            contestants.append(Contestant(f"{name}, {suffix}", make, ("transformers",)))
    return Case("mini, line by line", "tokens/s", tuple(contestants), LOSS, settings={"rows": rows, "dropout": 0.0})


def flops_per_token(size: str, length: int) -> float:
    """Return the operations of forward and backward: six per weight, attention's two products, and the head.

    The head counts only at masked positions. With L layers of width H, S tokens a row and a vocabulary of V:
    6 L 12 H^2 + 12 L H S + 6 (H^2 + H V) 0.15.
    """
    layers, width = LAYERS_AND_WIDTH[size]
    head = 6 * (width**2 + width * VOCABULARY) * MASKED
    return 6 * layers * 12 * width**2 + 12 * layers * width * length + head


def drawn_lengths(random: np.random.Generator, rows: int, length: int, kind: str) -> NDArray[np.int64]:
    """Draw the lengths of rows: by the recipe (nine in ten full, the rest uniform), all full, or those of lines."""
    if kind in ("lines", "grouped"):
        return np.clip(random.lognormal(*LINES, rows), 8, length).astype(np.int64)
    short = random.random(rows) >= (1.0 if kind == "full" else 0.9)
    return np.where(short, random.integers(8, length + 1, rows), length)


def padded_batches(count: int, rows: int, length: int, kind: str = "recipe") -> "list[dict[str, torch.Tensor]]":
    """Draw (rows, longest row) batches; grouped ones have the same lengths, sorted over all batches."""
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
    """Build bertie's network and its task, with random values in the head's matrices instead of zeros."""
    import torch

    from bertie.models.bert import BertConfig
    from bertie.tasks.pretraining import Pretraining
    from bertie.tasks.task import TaskModel

    torch.manual_seed(0)  # torch draws the biases of the head
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
    """Return a batch without padding."""
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
    """Tell whether a device multiplies bf16 natively."""
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
    """Prepare bertie's training loop."""
    import torch

    model, task = ours(size, dropout, attention_dropout)
    batches = [packed(padded) for padded in padded_batches(BATCHES, rows, length, lengths)]
    target = torch.device(device)

    def prove() -> float:
        model.to(target).eval()
        batch = batches[0].to(target)
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
    """Prepare the same training with transformers: autocast, fused AdamW, clipping.

    `compiled` is a mode of torch.compile; "" doesn't compile.
    """
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
    """Return a function from tokens a second to `mfu`; it returns no figure without native bf16."""

    def derive(figure: float) -> dict[str, float]:
        return {"mfu": figure * flops_per_token(size, length) / roof()} if machine.native_bf16() else {}

    return derive


def roof() -> float:
    """Return the operations a second of a large bf16 product with a packed weight."""
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
    """Train with bertie's loop, and yield each step's number of tokens."""
    import torch

    from bertie.training.loop import StepBatches, train
    from bertie.training.optimizer import build
    from bertie.training.settings import OptimizerSettings

    target = torch.device(device)
    optimizer = build(model.to(target), OptimizerSettings("adamw"))
    draws = (StepBatches([batches[number % len(batches)]]) for number in range(1 << 30))
    precision: Any = "bf16" if in_bf16(device) else "fp32"
    arguments: dict[str, Any] = {"clip_norm": 1.0, "precision": precision, "device": target, "seed": 0}
    for step in train(model, task, draws, optimizer=optimizer, rate=lambda number: 1e-4, **arguments):
        yield step.tokens


def their_steps(
    model: Any, batches: "list[dict[str, torch.Tensor]]", *, compiled: str = "", fp32: bool = False, device: str = "cpu"
) -> Iterator[int]:
    """Train a transformers model in the same way, and yield each step's number of tokens without padding."""
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
    """Return a function that times the next step and returns its tokens a second."""

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
