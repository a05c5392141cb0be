"""How many tokens a second does masked-LM training of each architecture do, compared with BERT and transformers?

Every architecture has its size `mini`, with BERT-mini's width and depth, and dropout. All train on the same batches of
length 128. Before timing, both networks are opened from one folder and must agree on the loss without dropout.

Usage: python -m benchmarks.architectures [--architectures bert modernbert]
"""

from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import inputs, rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference
from benchmarks.pretrain import LENGTH, VOCABULARY, our_steps, packed, padded_batches, rate_of, their_steps

if TYPE_CHECKING:
    import torch

NAMES = ("bert", "roberta", "distilbert", "albert", "electra", "modernbert", "roformer")
TOKENS, BATCHES = 4096, 4
LOSS = largest_difference(1e-4)
KEEPS_MEMORY = True


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--architectures", nargs="+", default=list(NAMES), help="which to measure (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make a case for each architecture."""
    rows = (512 if options.smoke else TOKENS) // LENGTH
    return [
        Case(
            name,
            "tokens/s",
            (
                Contestant("bertie", partial(ready_ours, name, rows)),
                Contestant("transformers eager", partial(ready_theirs, name, rows), ("transformers",)),
            ),
            LOSS,
            settings={"size": "2/64" if options.smoke else "mini", "length": LENGTH, "rows": rows},
        )
        for name in options.architectures
    ]


def prepare(work: Work) -> dict[str, Any]:
    """Write a model with random weights for each architecture."""
    from bertie.formats.format import new
    from bertie.formats.huggingface import write
    from bertie.models.model import architecture
    from bertie.tasks.masked_lm import MaskedLM
    from bertie.tokenizer.reading import load_tokenizer

    tokenizer = load_tokenizer(inputs.tokenizer_folder(work.folder, work.options))
    for name in work.options.architectures:
        config = architecture(name).config.sized("2/64" if work.options.smoke else "mini", vocab_size=VOCABULARY)
        write(new(config, MaskedLM(), tokenizer, seed=0, architecture=name), place(name, work))
    return {"vocabulary": VOCABULARY}


def place(name: str, work: Work) -> Path:
    """Return the folder of an architecture's model."""
    return work.folder / name


def padded_rows(rows: int) -> "list[dict[str, torch.Tensor]]":
    """Draw batches without segment ids, which not every architecture has."""
    drawn = padded_batches(BATCHES, rows, LENGTH)
    return [{key: padded[key] for key in padded if key != "token_type_ids"} for padded in drawn]


def ready_ours(name: str, rows: int, work: Work) -> Ready:
    """Prepare bertie's training loop."""
    import torch

    from bertie.formats.huggingface import read

    bundle = read(place(name, work))
    batches = [packed(padded) for padded in padded_rows(rows)]

    def prove() -> float:
        bundle.model.eval()
        with torch.no_grad():
            return float(bundle.task.loss(bundle.model(batches[0]), batches[0]).total(bundle.task.counts(batches[0])))

    return Ready(prove, rate_of(our_steps(bundle.model, bundle.task, batches)), warmups=3)


def ready_theirs(name: str, rows: int, work: Work) -> Ready:
    """Prepare the same training of the transformers model."""
    import torch
    from transformers import AutoModelForMaskedLM

    model: Any = AutoModelForMaskedLM.from_pretrained(place(name, work), attn_implementation="sdpa")
    batches = [{key: padded[key] for key in padded if key != "next_sentence_label"} for padded in padded_rows(rows)]

    def prove() -> float:
        model.eval()
        with torch.no_grad():
            return float(model(**batches[0]).loss)

    return Ready(prove, rate_of(their_steps(model, batches)), warmups=3)


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.architectures", words, rounds=3, repeats=2)


if __name__ == "__main__":
    main()
