"""Does transformers learn as much from each token as bertie, with the same first weights, batches and learning rates?

Takes the settings of a run of `bertie pretrain` (masked LM + next sentence, AdamW, no dropout, one length) and trains
`BertForPreTraining` in fp32 on the run's batches, padded. Only masked positions go through the masked-LM head, which
doesn't change the loss and saves most of the time. Writes metrics.jsonl in bertie's form, for `docs/studies.py`.

Usage: python -m benchmarks.pretraining_peers --run out/mini --corpus out/corpus --tokens 4000000 --out out/peer
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from bertie.batch import Batch

LOG_EVERY = 10


def network(bundle: Any) -> Any:
    """Build BertForPreTraining with the weights of a bundle."""
    from transformers import BertConfig, BertForPreTraining

    from bertie.models.bert import ARCHITECTURE

    made: Any = BertForPreTraining._from_config
    model = made(BertConfig(**bundle.config.to_foreign()), attn_implementation="sdpa")
    loaded = model.load_state_dict(ARCHITECTURE.to_foreign(bundle.model.state_dict()), strict=False)
    if loaded.unexpected_keys:
        raise SystemExit(f"transformers has no {', '.join(loaded.unexpected_keys)}")
    model.tie_weights()
    return model


def loss_of(model: Any, batch: "Batch") -> "torch.Tensor":
    """Return the sum of both mean losses, as `BertForPreTraining` does."""
    import torch
    from torch.nn.functional import cross_entropy

    real = torch.arange(int(batch.lengths.max()))[None] < batch.lengths[:, None]  # (B, S)
    hidden, pooled = model.bert(
        input_ids=batch.unpack(batch.tokens),
        attention_mask=real.long(),
        token_type_ids=batch.unpack(batch.segments),
        return_dict=False,
    )
    masked, following = model.cls(hidden[real][batch.targets["slot.position"]], pooled)
    return cross_entropy(masked, batch.targets["slot.token"]) + cross_entropy(
        following, batch.targets["sequence.label"]
    )


def learn(bundle: Any, corpus: Any, settings: dict[str, Any], tokens: int) -> Iterator[dict[str, Any]]:
    """Train, and yield records for metrics.jsonl: means over the steps since the record before."""
    import torch

    from bertie.training.feed import corpus_feed
    from bertie.training.optimizer import build
    from bertie.training.schedule import learning_rate, parse_stages
    from bertie.training.settings import OptimizerSettings, ScheduleSettings

    model = network(bundle).train()
    schedule = ScheduleSettings(warmup=settings["schedule.warmup"], shape=settings["schedule.shape"])
    if settings["optimizer.name"] != "adamw":
        raise SystemExit(f"the run used {settings['optimizer.name']}; train one with --optimizer.name adamw")
    optimizer = build(model, OptimizerSettings("adamw"))
    batch_tokens = settings["batch_tokens"]
    draws = corpus_feed(
        corpus,
        bundle.task,
        bundle.tokenizer,
        stages=parse_stages(None, length=settings["length"]),
        batch_tokens=batch_tokens,
        micro_tokens=batch_tokens,
        seed=settings["seed"],
        progress=lambda step, done: done / settings["tokens"],
        state={},
    )
    window, done, started = [], 0, time.perf_counter()
    for number, draw in enumerate(draws, 1):
        rate = learning_rate(done / settings["tokens"], settings["learning_rate"], schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(model, draw.batches[0])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        window.append(float(loss.detach()))
        done += draw.batches[0].num_tokens
        if number % LOG_EVERY == 0 or done >= tokens:
            yield {
                "kind": "train",
                "step": number,
                "seconds": round(time.perf_counter() - started, 3),
                "tokens": done,
                "learning_rate": rate,
                "loss": sum(window) / len(window),
            }
            window = []
        if done >= tokens:
            return


def main() -> None:
    """Train with the settings of a run."""
    from bertie.tokenizer.reading import load_tokenizer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of bertie pretrain with --tokens; it may still be training"
    )
    parser.add_argument("--corpus", type=Path, required=True, help="the run's corpus")
    parser.add_argument(
        "--tokens", type=int, required=True, help="when to stop; the learning rates are those of the whole run"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.jsonl")
    options = parser.parse_args()
    import torch

    from bertie import registry
    from bertie.commands._new_model import ModelSettings, RandomStart
    from bertie.corpus.shards import Corpus
    from bertie.tasks.pretraining import Pretraining

    torch.set_num_threads(options.threads)
    settings = json.loads((options.run / "run.json").read_text(encoding="utf-8"))["settings"]
    if settings["model.dropout"] or settings["task"] != "pretraining":
        raise SystemExit(f"{options.run} has dropout or another task; its losses can't be compared")
    shape = ModelSettings(size=settings["model.size"], dropout=0.0)
    tokenizer = load_tokenizer(options.corpus / "tokenizer")
    bundle = RandomStart.of(shape, tokenizer).draw(Pretraining(max_length=settings["length"]), seed=settings["seed"])
    corpus = Corpus.open(options.corpus)
    start = registry.load("starts", settings.get("model.start", "paper"))
    start.begin(bundle.model, bundle.task, corpus, tokenizer, seed=settings["seed"])
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "metrics.jsonl").open("w", encoding="utf-8") as journal:
        for record in learn(bundle, corpus, settings, options.tokens):
            journal.write(json.dumps(record) + "\n")
            journal.flush()


if __name__ == "__main__":
    main()
