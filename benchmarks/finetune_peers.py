"""Which scores does a plain transformers loop reach with the settings of bertie/recipes/finetune?

The loop uses padded batches of similar length; bf16 autocast if the processor multiplies it natively; AdamW with decay
0.01, except on biases and norms; gradients clipped to 1; 10 % warm-up and then linear decay to 0. The last weights are
scored. bertie's code reads the files and computes the scores; the rest is transformers and torch. Prints a JSON list
with one entry for each run, which `python docs/results.py add FILE` adds to the ledger.

Usage: python benchmarks/finetune_peers.py --model MODEL --data data --only mrpc conll2003 --seeds 1 2 3 > peers.json
"""

import argparse
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

CONFIGS = Path(__file__).parents[1] / "bertie" / "recipes" / "finetune"
CPU = torch.device("cpu")
IGNORED = -100
WARMUP, DECAY, CLIP_NORM = 0.1, 0.01, 1.0
Example = dict[str, Any]


class Texts:
    """SST-2, MRPC, LingNLI: one label for a sentence or a pair."""

    def __init__(self, train: Sequence[Any]) -> None:
        self.labels = sorted({item.label for item in train})

    def model(self, name: str) -> Any:
        """Return the encoder with a new classification head."""
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification.from_pretrained(name, num_labels=len(self.labels))

    def encode(self, tokenizer: Any, items: Sequence[Any], length: int) -> list[Example]:
        """Encode sentences or pairs, and their labels."""
        pairs = [item.pair for item in items] if items[0].pair is not None else None
        encoded = tokenizer([item.text for item in items], pairs, truncation=True, max_length=length)
        labels = [self.labels.index(item.label) for item in items]
        return [
            {**{key: values[number] for key, values in encoded.items()}, "labels": label}
            for number, label in enumerate(labels)
        ]

    def score(self, items: Sequence[Any], encoded: Any, logits: Sequence[torch.Tensor]) -> dict[str, float]:
        """Return the scores that bertie reports."""
        from bertie.metrics.classification import accuracy, macro_f1

        gold, guesses = [item.label for item in items], [self.labels[int(row.argmax())] for row in logits]
        return {"accuracy": accuracy(gold, guesses), "macro_f1": macro_f1(gold, guesses)}


class Tags:
    """CoNLL-2003: one tag per word, at its first piece; words that truncation cuts off are O."""

    def __init__(self, train: Sequence[Any]) -> None:
        self.labels = sorted({tag for item in train for tag in item.label})

    def model(self, name: str) -> Any:
        """Return the encoder with a new tagging head."""
        from transformers import AutoModelForTokenClassification

        return AutoModelForTokenClassification.from_pretrained(name, num_labels=len(self.labels))

    def encode(self, tokenizer: Any, items: Sequence[Any], length: int) -> list[Example]:
        """Encode words; only their first pieces have a label."""
        words = [list(item.words) for item in items]
        encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=length)
        examples = []
        for number, item in enumerate(items):
            word_ids = encoded.word_ids(number)
            first = [
                word is not None and (index == 0 or word != word_ids[index - 1]) for index, word in enumerate(word_ids)
            ]
            labels = [
                self.labels.index(item.label[word]) if begins else IGNORED
                for word, begins in zip(word_ids, first, strict=True)
            ]
            examples.append({**{key: values[number] for key, values in encoded.items()}, "labels": labels})
        return examples

    def score(self, items: Sequence[Any], encoded: Any, logits: Sequence[torch.Tensor]) -> dict[str, float]:
        """Return the scores that bertie reports."""
        from bertie.metrics.entities import entity_scores

        guesses = []
        for item, example, rows in zip(items, encoded, logits, strict=True):
            best = rows.argmax(1).tolist()
            tags = [self.labels[best[index]] for index, label in enumerate(example["labels"]) if label != IGNORED]
            guesses.append((*tags, *("O",) * (len(item.words) - len(tags))))
        return entity_scores([item.label for item in items], guesses)


KINDS: dict[str, Any] = {"mrpc": Texts, "sst2": Texts, "lingnli": Texts, "conll2003": Tags}


def padded(examples: Sequence[Example], padding: int) -> dict[str, torch.Tensor]:
    """Pad a batch to its longest example."""
    longest = max(len(example["input_ids"]) for example in examples)
    fill = {"input_ids": padding, "labels": IGNORED}
    return {
        key: torch.tensor(
            [
                example[key] + [fill.get(key, 0)] * (longest - len(example[key]))
                if isinstance(example[key], list)
                else example[key]
                for example in examples
            ]
        )
        for key in examples[0]
    }


def epoch(examples: Sequence[Example], batch_size: int, random: torch.Generator) -> Iterator[list[Example]]:
    """Shuffle, sort by length within groups of 50 batches, and yield the batches in random order."""
    order = torch.randperm(len(examples), generator=random).tolist()
    chunk = 50 * batch_size
    batches = []
    for start in range(0, len(order), chunk):
        part = sorted(order[start : start + chunk], key=lambda index: -len(examples[index]["input_ids"]))
        batches += [part[first : first + batch_size] for first in range(0, len(part), batch_size)]
    for number in torch.randperm(len(batches), generator=random).tolist():
        yield [examples[index] for index in batches[number]]


def optimizer_of(model: Any, rate: float) -> torch.optim.Optimizer:
    """Return AdamW with weight decay on matrices and tables, but not on biases and norms."""
    decaying = [value for value in model.parameters() if value.dim() > 1]
    others = [value for value in model.parameters() if value.dim() <= 1]
    groups = [{"params": decaying, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate)


def learn(
    model: Any, examples: Sequence[Example], settings: dict[str, Any], *, seed: int, padding: int, most: int | None
) -> float:
    """Train and return the duration in seconds."""
    import transformers

    from bertie.training.precision import resolve

    in_bf16 = resolve("auto", CPU) == "bf16"
    size, epochs = settings["batch_size"], settings["epochs"]
    steps = epochs * -(-len(examples) // size)
    optimizer = optimizer_of(model, settings["learning_rate"])
    linear: Any = transformers.get_linear_schedule_with_warmup
    schedule = linear(optimizer, round(WARMUP * steps), steps)
    random, done, start = torch.Generator().manual_seed(seed), 0, time.perf_counter()
    model.train()
    for number in range(epochs):
        for batch in epoch(examples, size, random):
            with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16):
                loss = model(**padded(batch, padding)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
            if done == most:
                return time.perf_counter() - start
        print(f"seed {seed}, epoch {number + 1} of {epochs}: loss {float(loss.detach()):.3f}", file=sys.stderr)
    return time.perf_counter() - start


def measured(model: Any, examples: Sequence[Example], padding: int) -> list[torch.Tensor]:
    """Return the logits of every example in fp32, without those of padding."""
    model.eval()
    order = sorted(range(len(examples)), key=lambda index: len(examples[index]["input_ids"]))
    outputs: list[torch.Tensor] = [torch.empty(0)] * len(examples)
    with torch.inference_mode():
        for start in range(0, len(order), 64):
            indices = order[start : start + 64]
            logits = model(**padded([examples[index] for index in indices], padding)).logits
            for row, index in enumerate(indices):
                outputs[index] = logits[row][: len(examples[index]["input_ids"])] if logits.dim() == 3 else logits[row]
    return outputs


def commit() -> str:
    """Return the repository's current commit, with a + if tracked files differ from it."""
    words = ["git", "-C", str(CONFIGS), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def run(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one model and return its scores with the settings."""
    import transformers

    from bertie.reports.machine import these_versions, this_machine
    from bertie.sampling.part import part
    from bertie.tasks._lookup import task_class
    from bertie.training.precision import resolve

    settings = tomllib.loads((CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
    changed = {} if options.train_limit is None else {"train_limit": options.train_limit}
    train, dev = (
        task_class(settings["task"])
        .read(options.data / Path(settings[split]).relative_to("data"), columns=settings["columns"], labelled=True)
        .items
        for split in ("train", "dev")
    )
    if options.train_limit is not None:
        train = part(train, options.train_limit)
    transformers.set_seed(seed)
    kind = KINDS[name](train)
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(options.model), kind.model(options.model)
    padding = tokenizer.pad_token_id
    seconds = learn(
        model,
        kind.encode(tokenizer, train, settings["length"]),
        settings,
        seed=seed,
        padding=padding,
        most=options.steps,
    )
    encoded = kind.encode(tokenizer, dev, settings["length"])
    scores = kind.score(dev, encoded, measured(model, encoded, padding))
    shown = {key: settings[key] for key in ("epochs", "batch_size", "length", "learning_rate")}
    return {
        "name": name,
        "by": f"transformers {transformers.__version__}",
        "model": Path(options.model).name if Path(options.model).exists() else options.model,
        "seed": seed,
        "scores": {key: round(value, 4) for key, value in scores.items()},
        "minutes": round(seconds / 60, 2),
        "date": time.strftime("%Y-%m-%d"),
        "command": f"python benchmarks/finetune_peers.py --model MODEL --only {name} --seeds {seed}"
        + "".join(f" --{key.replace('_', '-')} {value}" for key, value in changed.items()),
        "changed": changed,
        "settings": {**shown, "weight_decay": DECAY, "warmup": WARMUP, "clip_norm": CLIP_NORM},
        "commit": commit(),
        "machine": {**this_machine(), "precision": resolve("auto", CPU)},
        "versions": {**these_versions(), "transformers": transformers.__version__},
    }


def main() -> None:
    """Run every data set with every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or hub id of the encoder")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--only", nargs="+", choices=sorted(KINDS), default=sorted(KINDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--train-limit", type=int, help="largest number of training items; bertie takes the same ones")
    parser.add_argument("--steps", type=int, help="stop after this many steps, for a trial; don't keep the scores")
    options = parser.parse_args()
    print(json.dumps([run(name, seed, options) for seed in options.seeds for name in options.only], indent=1))


if __name__ == "__main__":
    main()
