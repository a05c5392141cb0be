"""How many tokens a second does a decoder generate, with and without a cache, compared with transformers' `generate`?

An encoder-decoder of BERT-mini's shape with random weights generates greedily from sources of one length. The end
token is forbidden, so that all texts have the same length. Without a cache, the whole text is read again for each new
token, and bertie computes only the logits of the last position. All must generate the same tokens.

Usage: python -m benchmarks.generation [--new-tokens 128]
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import inputs, rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference

if TYPE_CHECKING:
    import torch

SOURCE_LENGTH, ROWS = 64, (1, 16)
SAME = largest_difference(0.0)
Write = Callable[[], Any]
"""Generate all texts: (rows, tokens) ids without the start token."""


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--new-tokens", type=int, default=128, help="length of each text in tokens (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make a case for one text and a case for 16 texts at once."""
    number = 8 if options.smoke else options.new_tokens
    ways: list[tuple[str, Callable[..., Write], tuple[str, ...]]] = [
        ("bertie", bertie, ()),
        ("bertie without a cache", uncached, ()),
        ("transformers", partial(transformers, cache=True), ("transformers",)),
        ("transformers without a cache", partial(transformers, cache=False), ("transformers",)),
    ]
    return [
        Case(
            "one text" if rows == 1 else f"{rows} texts at once",
            "tokens/s",
            tuple(Contestant(name, partial(ready, make, rows, number), needs) for name, make, needs in ways),
            SAME,
            settings={"rows": rows, "source_tokens": SOURCE_LENGTH, "new_tokens": number},
        )
        for rows in ROWS
    ]


def prepare(work: Work) -> dict[str, Any]:
    """Write the model that all contestants open."""
    from bertie.formats.format import new
    from bertie.formats.huggingface import write
    from bertie.models.bert import BertConfig
    from bertie.tasks.generation import Generation
    from bertie.tokenizer.reading import load_tokenizer

    tokenizer = load_tokenizer(inputs.tokenizer_folder(work.folder, work.options))
    config = BertConfig.sized("mini", vocab_size=inputs.VOCABULARY)
    bundle = new(config, Generation(max_new_tokens=128), tokenizer, seed=0)
    for value in bundle.model.parameters():
        if value.dim() > 1:
            value.data *= 5.0  # with random weights the best tokens would differ by no more than rounding errors
    write(bundle, place(work))
    return {"size": "mini"}


def place(work: Work) -> Path:
    """Return the model's folder."""
    return work.folder / "pair"


def sources(rows: int) -> "torch.Tensor":
    """Draw (rows, SOURCE_LENGTH) ids."""
    import torch

    return torch.from_numpy(np.random.default_rng(0).integers(1000, inputs.VOCABULARY, (rows, SOURCE_LENGTH)))


def ready(make: Callable[..., Write], rows: int, number: int, work: Work) -> Ready:
    """Prepare a contestant that measures new tokens a second over all rows."""
    written = make(rows, number, work)

    def repeat() -> float:
        started = time.perf_counter()
        written()
        return rows * number / (time.perf_counter() - started)

    return Ready(written, repeat)


def bertie(rows: int, number: int, work: Work) -> Write:
    """Generate as `bertie predict` does."""
    import torch

    from bertie.batch import Batch
    from bertie.formats.huggingface import read
    from bertie.nn.search import Search, write

    pair: Any = read(place(work))
    network, batch = pair.model.eval(), Batch.from_padded(sources(rows))
    search = Search(max_new_tokens=number, min_new_tokens=number)

    def written() -> Any:
        with torch.inference_mode():
            memory = network.encoder(batch)
            found = write(
                network.head.decoder, memory, batch, search, start=pair.config.start_id, end=pair.config.end_id
            )
        return np.array([text.tokens for (text,) in found])

    return written


def uncached(rows: int, number: int, work: Work) -> Write:
    """Generate without a cache: read the whole text again for every token."""
    import torch

    from bertie.batch import Batch
    from bertie.formats.huggingface import read

    pair: Any = read(place(work))
    network, batch = pair.model.eval(), Batch.from_padded(sources(rows))

    def written() -> Any:
        with torch.inference_mode():
            memory = network.encoder(batch)
            tokens = torch.full((rows, 1), pair.config.start_id)
            for _ in range(number):
                target = Batch.from_padded(tokens)
                output = network.head.decoder(memory, batch, target)
                logits = replace(output, hidden=output.hidden[target.offsets[1:].long() - 1]).materialise()
                logits[:, pair.config.end_id] = -torch.inf
                tokens = torch.cat([tokens, logits.argmax(1, keepdim=True)], dim=1)
        return tokens[:, 1:].numpy()

    return written


def transformers(rows: int, number: int, work: Work, *, cache: bool) -> Write:
    """Generate with `EncoderDecoderModel.generate`."""
    import torch
    from transformers import EncoderDecoderModel

    made: Any = EncoderDecoderModel
    network, ids = made.from_pretrained(place(work)).eval(), sources(rows)

    def written() -> Any:
        with torch.inference_mode():
            found = network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                use_cache=cache,
                max_new_tokens=number,
                min_new_tokens=number,
            )
        return found[:, 1:].numpy()

    return written


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.generation", words, rounds=5, repeats=1)


if __name__ == "__main__":
    main()
