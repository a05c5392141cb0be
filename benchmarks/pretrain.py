"""How many tokens a second does MLM + NSP pre-training do, beside transformers' best loop on the same batches?

Each round runs every contestant once in a process of its own, in turn, so that a drifting machine meets all of them
alike; the figure is the median over all timed steps, with the smallest and largest. Before timing, both networks get
the same weights and must agree on the loss without dropout. All compute in bf16 where the processor multiplies it
natively, else in fp32, which is then everybody's fastest. Usage: python benchmarks/pretrain.py [--size mini]
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

CPU = torch.device("cpu")
VOCABULARY, LENGTH, ROWS, MASK = 30522, 128, 64, 103
CONTESTANTS = ("bertie", "bertie, attention dropout 0.1", "transformers compiled", "transformers eager")


def padded_batches(count: int) -> list[dict[str, torch.Tensor]]:
    """Draw (ROWS, LENGTH) batches with the recipe's lengths: nine in ten full, the rest uniform."""
    random = np.random.default_rng(0)
    batches = []
    for _ in range(count):
        lengths = np.where(random.random(ROWS) < 0.9, LENGTH, random.integers(8, LENGTH + 1, ROWS))
        real = np.arange(LENGTH)[None] < lengths[:, None]
        ids = np.where(real, (random.random((ROWS, LENGTH)) ** 4 * (VOCABULARY - 1000)).astype(np.int64) + 1000, 0)
        chosen = real & (random.random((ROWS, LENGTH)) < 0.15)
        arrays = {
            "input_ids": np.where(chosen, MASK, ids),
            "attention_mask": real.astype(np.int64),
            "token_type_ids": (real & (np.arange(LENGTH)[None] >= lengths[:, None] // 2)).astype(np.int64),
            "labels": np.where(chosen, ids, -100),
            "next_sentence_label": random.integers(0, 2, ROWS),
        }
        batches.append({name: torch.from_numpy(array) for name, array in arrays.items()})
    return batches


def ours(size: str, attention_dropout: float) -> Any:
    """Build our network, its optimizer and the packed form of a padded batch."""
    from dataclasses import replace

    from bertie.batch import Batch
    from bertie.models.bert import BertConfig
    from bertie.tasks.pretraining import Pretraining
    from bertie.tasks.task import TaskModel

    task = Pretraining()
    config = replace(BertConfig.sized(size, vocab_size=VOCABULARY), attention_dropout=attention_dropout)
    encoder = config.build()
    encoder.initialize(0)
    model = TaskModel(encoder, task.head(encoder))
    with torch.no_grad():
        for name, value in model.head.named_parameters():
            if value.dim() == 2 and "embedding" not in name:
                value.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))

    def pack(padded: dict[str, torch.Tensor]) -> Batch:
        batch = Batch.from_padded(padded["input_ids"], padded["attention_mask"], padded["token_type_ids"])
        flat = padded["labels"][padded["attention_mask"].bool()]
        positions = (flat >= 0).nonzero().flatten()
        targets = {
            "slot.position": positions,
            "slot.token": flat[positions],
            "sequence.label": padded["next_sentence_label"],
        }
        return replace(batch, targets=targets)

    return model, task, pack


def time_ours(size: str, steps: int, attention_dropout: float) -> list[float]:
    """Run our own training loop and return tokens a second of each step."""
    from bertie.training.loop import Draw, train
    from bertie.training.optimizer import build
    from bertie.training.precision import resolve
    from bertie.training.settings import OptimizerSettings

    model, task, pack = ours(size, attention_dropout)
    batches = padded_batches(4)
    rates: list[float] = []
    last = time.perf_counter()
    for step in train(
        model,
        task,
        (Draw([pack(batches[number % 4])]) for number in range(steps + 3)),
        optimizer=build(model, OptimizerSettings()),
        rate=lambda number: 1e-4,
        clip_norm=1.0,
        precision=resolve("auto", CPU),
        device=CPU,
        seed=0,
    ):
        now = time.perf_counter()
        rates.append(step.tokens / (now - last))
        last = now
    return rates[3:]


def theirs(size: str, attention_dropout: float) -> Any:
    """Build BertForPreTraining of the same shape."""
    from transformers import BertConfig, BertForPreTraining

    from bertie.models.bert import BertConfig as OurConfig

    values = OurConfig.sized(size, vocab_size=VOCABULARY).to_foreign()
    values["attention_probs_dropout_prob"] = attention_dropout
    return BertForPreTraining._from_config(BertConfig(**values), attn_implementation="sdpa")


def time_theirs(size: str, steps: int, *, compiled: bool) -> list[float]:
    """Run the same step with transformers: autocast, fused AdamW, clipping, no attention dropout (its fastest)."""
    from bertie.training.precision import resolve

    model = theirs(size, 0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.01, fused=True)
    forward = torch.compile(model) if compiled else model
    in_bf16 = resolve("auto", CPU) == "bf16"
    batches = padded_batches(4)
    rates: list[float] = []
    for number in range(steps + 3):
        batch = batches[number % 4]
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16):
            loss = forward(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        float(loss.detach())
        rates.append(int(batch["attention_mask"].sum()) / (time.perf_counter() - start))
    return rates[3:]


def same_loss(size: str) -> tuple[float, float]:
    """Give both networks our weights and return both losses of one batch, without dropout, in fp32."""
    model, task, pack = ours(size, 0.0)
    peer = theirs(size, 0.0).eval()
    from bertie.models.bert import to_foreign

    peer.load_state_dict(to_foreign(model.state_dict()), strict=False)
    peer.tie_weights()
    model.eval()
    padded = padded_batches(1)[0]
    batch = pack(padded)
    with torch.no_grad():
        loss = task.loss(model(batch), batch).total(task.counts(batch))
        return float(loss), float(peer(**padded).loss)


def processor() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def contestant(name: str, size: str, steps: int) -> list[float]:
    """Time one contestant in this process."""
    if name.startswith("bertie"):
        return time_ours(size, steps, 0.1 if "attention" in name else 0.0)
    return time_theirs(size, steps, compiled="compiled" in name)


def main() -> None:
    """Run the rounds and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="mini")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pretrain.json")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(contestant(options.only, options.size, options.steps)))
        return
    losses = same_loss(options.size)
    if abs(losses[0] - losses[1]) > 1e-4:
        sys.exit(f"the two networks differ: loss {losses[0]} against {losses[1]}; nothing was timed")
    rates: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for round_number in range(options.rounds):
        for name in CONTESTANTS:
            words = [sys.executable, __file__, "--size", options.size, "--steps", str(options.steps), "--only", name]
            output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            rates[name] += json.loads(output.splitlines()[-1])
            print(f"round {round_number + 1}  {name}: {statistics.median(rates[name]):,.0f} tokens/s", file=sys.stderr)
    rows = {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values), "steps": len(values)}
        for name, values in rates.items()
    }
    result = {
        "question": __doc__.splitlines()[0],
        "size": options.size,
        "tokens_per_second": rows,
        "ratio": {name: rows["bertie"]["median"] / row["median"] for name, row in rows.items() if name != "bertie"},
        "loss_ours_theirs": losses,
        "machine": {
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "bf16": any(value for key, value in torch.cpu.get_capabilities().items() if "bf16" in key),
            "avx512": bool(torch.cpu.get_capabilities().get("avx512_f")),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "date": time.strftime("%Y-%m-%d"),
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
