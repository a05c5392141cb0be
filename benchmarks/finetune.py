"""How many examples a second does fine-tuning a classifier do, compared with a bare transformers loop and Trainer?

The model has MiniLM-L6's shape. Batches hold 32 sentences with the lengths of SST-2, or 32 pairs with those of an NLI
set. Before timing, all must give the same logits. The best setting of a peer is bf16, if the processor multiplies it
natively, and batches grouped by length. Peers get tokenized texts, while bertie tokenizes during each step. A repeat
is an epoch.

Usage: python -m benchmarks.finetune [--model FOLDER] [--data FOLDER with sst2.tsv and nli.tsv]
"""

import itertools
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import inputs, machine, rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference

BATCH, LENGTH, RATE = 32, 128, 2e-5
KINDS = ("sst2", "nli")
LOGITS = largest_difference(1e-4)
KEEPS_MEMORY = True


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--model", type=Path, help="BERT folder (default: MiniLM-L6's shape with random weights)")
    parser.add_argument("--data", type=Path, help="folder with sst2.tsv and nli.tsv (default: generated text)")
    parser.add_argument("--examples", type=int, default=960, help="number of examples in each table (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make one case for the lengths of SST-2 and one for those of NLI."""
    best = "bf16" if machine.native_bf16() else "fp32"
    loops = [(f"transformers loop, grouped, {best}", partial(ready_loop, bf16=best == "bf16"))]
    trainers = [("transformers Trainer, default", partial(ready_trainer, best=False))]
    trainers.append((f"transformers Trainer, grouped, {best}", partial(ready_trainer, best=True)))
    found = []
    for kind in KINDS:
        contestants = [
            Contestant("bertie", partial(ready_ours, kind)),
            *(Contestant(name, partial(make, kind), ("transformers",)) for name, make in loops),
            *(Contestant(name, partial(make, kind), ("transformers", "accelerate")) for name, make in trainers),
        ]
        settings = {"batch_size": BATCH, "max_length": LENGTH, "examples": examples(options)}
        found.append(Case(kind, "examples/s", tuple(contestants), LOGITS, settings=settings))
    return found


def examples(options: Namespace) -> int:
    """Return the number of rows of a table."""
    return 2 * BATCH if options.smoke else int(options.examples)


def table(kind: str, options: Namespace) -> list[Any]:
    """Read or generate a table of `bertie.items.item.Text`."""
    from bertie.items.text import Text
    from bertie.readers.table import read_table

    count = examples(options)
    if options.data:
        rows = list(read_table(Path(options.data) / f"{kind}.tsv", labelled=True).items)[:count]
        if len(rows) < count:
            raise SystemExit(f"{kind}.tsv has {len(rows)} rows; --examples asks for {count}")
        return rows
    labels = [str(label) for label in np.random.default_rng(3).integers(0, 2, count)]
    first = inputs.generated(count, inputs.SST2 if kind == "sst2" else inputs.PREMISE, seed=4)
    second: Sequence[str | None] = [None] * count
    if kind == "nli":
        second = inputs.generated(count, inputs.HYPOTHESIS, seed=5)
    return [Text(text, pair, label) for text, pair, label in zip(first, second, labels, strict=True)]


def prepare(work: Work) -> dict[str, Any]:
    """Write a model folder with a classification head for each table; all contestants load it."""
    from bertie.formats.huggingface import read, write
    from bertie.tasks.classification import Classification

    whole = []
    for kind in KINDS:
        rows = table(kind, work.options)
        whole += [f"{row.text}\t{row.pair}\t{row.label}" for row in rows]
        labels = {"labels": Classification.learn(rows, {})["labels"], "max_length": LENGTH}
        bundle = read(
            inputs.model_folder(work.folder, work.options), task="classification", settings=labels, new_head=True
        )
        write(bundle, work.folder / kind)
    return inputs.described(work.options.data, whole)


def ready_ours(kind: str, work: Work) -> Ready:
    """Prepare the training loop of `bertie finetune`."""
    import torch

    from bertie.formats.huggingface import read
    from bertie.training.feed import table_feed
    from bertie.training.loop import train
    from bertie.training.optimizer import build
    from bertie.training.precision import resolve
    from bertie.training.settings import OptimizerSettings, TrainingSettings

    bundle, rows, cpu = read(work.folder / kind), table(kind, work.options), torch.device("cpu")
    micro = TrainingSettings().micro_tokens
    feed = table_feed(rows, bundle.task, bundle.tokenizer, batch_size=BATCH, micro_tokens=micro, seed=0, state={})
    steps = train(
        bundle.model,
        bundle.task,
        feed,
        optimizer=build(bundle.model, OptimizerSettings("adamw")),
        rate=lambda number: RATE,
        clip_norm=1.0,
        precision=resolve("auto", cpu),
        device=cpu,
        seed=0,
    )

    def prove() -> Any:
        bundle.model.eval()
        with torch.no_grad():
            return bundle.model(bundle.task.encode(rows[:BATCH], bundle.tokenizer)).numpy()

    def repeat() -> float:
        started = time.perf_counter()
        for _ in itertools.islice(steps, -(-len(rows) // BATCH)):
            pass
        return len(rows) / (time.perf_counter() - started)

    return Ready(prove, repeat)


class Theirs:
    """The model and the tokenized examples, shared by loop and Trainer."""

    def __init__(self, kind: str, work: Work) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

        rows, folder = table(kind, work.options), str(work.folder / kind)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa")
        texts = [row.text for row in rows], [row.pair for row in rows] if rows[0].pair is not None else None
        encoded = self.tokenizer(*texts, truncation=True, max_length=LENGTH)
        known = self.model.config.label2id
        self.examples = [
            {**{key: values[number] for key, values in encoded.items()}, "labels": known[row.label]}
            for number, row in enumerate(rows)
        ]
        self.collate = DataCollatorWithPadding(self.tokenizer)
        self.torch: Any = torch

    def prove(self) -> Any:
        """Return the logits of the first batch."""
        self.model.eval()
        with self.torch.no_grad():
            return self.model(**self.collate(self.examples[:BATCH])).logits.numpy()


def ready_loop(kind: str, work: Work, *, bf16: bool) -> Ready:
    """Prepare a bare loop: batches of similar length in random order, autocast, fused AdamW, clipping."""
    import torch

    parts = Theirs(kind, work)
    random = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(parts.model.parameters(), RATE, weight_decay=0.01, fused=True)

    def grouped() -> list[list[Any]]:
        order = sorted(
            random.permutation(len(parts.examples)), key=lambda index: -len(parts.examples[index]["input_ids"])
        )
        batches = [
            [parts.examples[index] for index in order[start : start + BATCH]] for start in range(0, len(order), BATCH)
        ]
        return [batches[index] for index in random.permutation(len(batches))]

    def repeat() -> float:
        parts.model.train()
        started = time.perf_counter()
        for batch in grouped():
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = parts.model(**parts.collate(batch)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parts.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return len(parts.examples) / (time.perf_counter() - started)

    return Ready(parts.prove, repeat)


def ready_trainer(kind: str, work: Work, *, best: bool) -> Ready:
    """Prepare Trainer, with its defaults except for the batch size, or with its best setting."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    parts = Theirs(kind, work)

    class Clock(TrainerCallback):
        """Record the time at which the first step begins."""

        started = 0.0

        def on_step_begin(self, *arguments: Any, **more: Any) -> None:
            self.started = self.started or time.perf_counter()

    def repeat() -> float:
        clock = Clock()
        grouped = {"train_sampling_strategy": "group_by_length", "bf16": machine.native_bf16()}
        more: dict[str, Any] = grouped if best else {}
        with tempfile.TemporaryDirectory() as folder:
            settings: Any = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=BATCH,
                num_train_epochs=1,
                learning_rate=RATE,
                use_cpu=True,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                **more,
            )
            trainer = Trainer(
                model=parts.model,
                args=settings,
                train_dataset=parts.examples,
                data_collator=parts.collate,
                callbacks=[clock],
            )
            trainer.train()
            return len(parts.examples) / (time.perf_counter() - clock.started)

    return Ready(parts.prove, repeat)


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.finetune", words, rounds=5, repeats=1)


if __name__ == "__main__":
    main()
