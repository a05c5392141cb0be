"""Measure which heads appear when in a pre-training, at the checkpoints that a run kept.

    python docs/heads.py LABEL RUN TEXT

RUN is a run folder with kept checkpoints (`--training.keep`), of an encoder of BERT's kind. TEXT is a file of held-out
text, whose first long lines are read. For each checkpoint and each layer, docs/studies/heads.json gets the weights of
the head that looks most at a neighbour (the token before or after), and of the head that looks most at the same piece
elsewhere in the text. A new run replaces an older one with the same label.

Shapes: A heads, L tokens of a text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.files.text import open_text
from bertie.formats.huggingface import read
from bertie.ops.attention.attend import Layout, attention_weights
from bertie.reports.machine import this_machine
from bertie.training import checkpoint, journal
from bertie.training.checkpoint_files import saved

LEDGER = Path(__file__).parent / "studies" / "heads.json"
NUM_TEXTS, LENGTH = 50, 64


def texts_of(file: Path) -> list[str]:
    """Return the first long lines of a text file."""
    with open_text(file) as lines:
        found = (line.strip() for line in lines if len(line) > 6 * LENGTH)
        return [text for text, _ in zip(found, range(NUM_TEXTS), strict=False)]


def stages(run: Path, model: Any) -> Iterator[int]:
    """Load the weights of each checkpoint into the model, and yield its step."""
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    for path in saved(run / "checkpoints"):
        stage = checkpoint.load(path)
        weights = {key.removeprefix("model."): value for key, value in stage.tensors.items()}
        model.load_state_dict({name: weights.get(name, value) for name, value in trained.items()})
        yield stage.step


def measure(encoder: Any, batches: Sequence[Batch]) -> list[dict[str, float]]:
    """Return for each layer the largest mean weight of a head on a neighbour, and on the same piece elsewhere."""
    sums = torch.zeros(encoder.config.num_layers, 3, encoder.config.num_heads)
    repeats = 0
    for batch in batches:
        tokens = batch.tokens
        same = (tokens[:, None] == tokens[None, :]) & ~torch.eye(len(tokens), dtype=torch.bool)
        again = same.any(1)
        again[[0, -1]] = False
        repeats += int(again.sum())
        with torch.no_grad():
            for layer in range(len(sums)):
                hidden = encoder(batch, blocks=slice(0, layer))
                query, key, _ = encoder.blocks[layer].attention.project(hidden)
                (weights,) = attention_weights(query, key, Layout.of(batch))
                sums[layer, 0] += _diagonal(weights, -1)
                sums[layer, 1] += _diagonal(weights, 1)
                sums[layer, 2] += (weights * same)[:, again].sum((1, 2))
    share = sums / torch.tensor([len(batches), len(batches), max(1, repeats)])[None, :, None]
    return [{"neighbour": round(float(layer[:2].max()), 4), "same": round(float(layer[2].max()), 4)} for layer in share]


def _diagonal(weights: Tensor, offset: int) -> Tensor:
    """Return the mean weights (A,) of the tokens, special ones left out, on the token at this distance."""
    inside: Tensor = weights.diagonal(offset, 1, 2)[:, 1 if offset > 0 else 0 : None if offset > 0 else -1]
    return inside.mean(1)


def main(label: str, run: Path, file: Path) -> None:
    """Measure a run and store its figures."""
    bundle = read(run / "model")
    model = bundle.model.eval()
    pieces = [bundle.tokenizer.pack([text], max_length=LENGTH, truncation="truncate") for text in texts_of(file)]
    batches = [Batch.pack(each.tokens, each.segments, each.offsets) for each in pieces]
    steps = [record for record in journal.read(run / "metrics.jsonl") if record["kind"] == "train"]
    points = []
    for step in stages(run, model):
        seen = next(record for record in steps if record["step"] >= step)
        points.append({"tokens": seen["tokens"], "loss": seen["loss"], "layers": measure(model.encoder, batches)})
    known = json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.exists() else []
    known = [row for row in known if row["label"] != label]
    known.append({"label": label, "points": points, "machine": this_machine()["Processor"]})
    LEDGER.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{label}: {len(points)} points, at the end {points[-1]}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
