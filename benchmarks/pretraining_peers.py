"""Does transformers learn as fast a token as ours: the same weights at first, the same batches, the same rates?

Takes the settings of a run of `bertie pretrain` (masked LM + next sentence, AdamW, no dropout, one length) and trains
`BertForPreTraining` in fp32 on what that run's feed draws, padded. Only the masked positions go through the head of the
vocabulary, which changes no loss and spares most of the time. Writes a journal as bertie's own, for `docs/studies.py`.

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
    """Build BertForPreTraining with the weights of a bundle of ours."""
    from transformers import BertConfig, BertForPreTraining

    from bertie.models.bert import ARCHITECTURE

    made: Any = BertForPreTraining._from_config
    model = made(BertConfig(**bundle.config.to_foreign()), attn_implementation="sdpa")
    found = model.load_state_dict(ARCHITECTURE.to_foreign(bundle.model.state_dict()), strict=False)
    if found.unexpected_keys:
        raise SystemExit(f"transformers has no {', '.join(found.unexpected_keys)}")
    model.tie_weights()
    return model


def loss_of(model: Any, batch: "Batch") -> "torch.Tensor":
    """Add the means of both losses, as `BertForPreTraining` does."""
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
    """Train, and yield a journal's lines: means over the steps since the one before."""
    import torch

    from bertie.training.feed import corpus_feed
    from bertie.training.optimizer import build
    from bertie.training.schedule import learning_rate, parse_stages
    from bertie.training.settings import OptimizerSettings, ScheduleSettings

    model = network(bundle).train()
    schedule = ScheduleSettings(warmup=settings["schedule.warmup"], shape=settings["schedule.shape"])
    if settings["optimizer.name"] != "adamw":
        raise SystemExit(f"the run learned by {settings['optimizer.name']}; make one with --optimizer.name adamw")
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
    """Train as a run did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="of bertie pretrain, with --tokens; may still go on")
    parser.add_argument("--corpus", type=Path, required=True, help="that the run learns from")
    parser.add_argument("--tokens", type=int, required=True, help="to train on; the rates are those of the whole run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.jsonl")
    options = parser.parse_args()
    import torch

    from bertie import registry
    from bertie.commands._random import ModelSettings, RandomStart
    from bertie.corpus.shards import Corpus
    from bertie.tasks.pretraining import Pretraining
    from bertie.tokenizer.tokenizer import Tokenizer

    torch.set_num_threads(options.threads)
    settings = json.loads((options.run / "run.json").read_text(encoding="utf-8"))["settings"]
    if settings["model.dropout"] or settings["task"] != "pretraining":
        raise SystemExit(f"{options.run} has dropout or another task; its losses can't be compared")
    shape = ModelSettings(size=settings["model.size"], dropout=0.0)
    tokenizer = Tokenizer.load(options.corpus / "tokenizer")
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
