"""Generation: write a text from a text, such as a title, a summary, an answer; an encoder under a decoder.

Learned by teacher forcing: the decoder sees the right text and says after each token what comes next. Used by search:
greedy, beams or samples, as the settings say. Start and end of a text are [CLS] and [SEP].

Shapes: T tokens, B sequences, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.data.items import Table
from bertie.data.reading import Reading
from bertie.data.sources import read_sources
from bertie.errors import DataError, SettingsError
from bertie.metrics.overlap import chrf, exact_match, further_scores, same_words
from bertie.nn.decoder import Decoder
from bertie.nn.dropout import Noise
from bertie.nn.projection import Logits
from bertie.nn.search import Search, Written, write
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import Cut, Judgement, Keys, Loss, Task, Term, Text, check_length, texts
from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Alternative(Prediction):
    """A further text that was written for an item."""

    target: str
    score: float
    """Geometric mean of its tokens' probabilities."""


@dataclass(frozen=True)
class Generated(Prediction):
    """What was written for one item."""

    target: str
    """The best text."""
    score: float
    """Geometric mean of its tokens' probabilities, the end among them."""
    ended: bool
    """Whether it came to its end within `max_new_tokens`."""
    others: tuple[Alternative, ...] = ()
    """With `num_texts` above 1 the next best, the best of them first."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the network made of a batch: what learning needs, and what writing goes on from."""

    logits: Logits | None
    """Of every token of the targets; None for a batch without."""
    memory: Tensor
    """(T, H), the source's hidden vectors."""
    decoder: Decoder


@dataclass(frozen=True)
class Generation(Search, Task):
    """Write a text from each text, or pair of texts, by the search whose settings are among these."""

    max_length: int = 512
    """Tokens of the longest source."""
    max_target: int = 64
    """Tokens of the longest text to learn from, its start included."""
    truncation: Cut = "truncate"
    """What to do with longer ones: cut them (counted and reported) or stop (error)."""
    label_smoothing: float = 0.1
    """Share of the target probability that is spread over the vocabulary."""
    shared: bool = False
    """Whether a decoder that is put on an encoder shares its weights, attention to the source excepted."""
    decoder: Literal["copy", "random"] = "copy"
    """What a decoder that is put on a pre-trained encoder begins with: a copy of that encoder's weights, or random."""

    name: ClassVar[str] = "generation"
    architecture: ClassVar[str] = "{}Model"
    writes: ClassVar[bool] = True
    criterion: ClassVar[str] = "chrf"

    def __post_init__(self) -> None:
        check_length(self.max_length)
        if self.max_target < 2:
            raise SettingsError(f"max_target must be at least 2, for a start and a piece; got {self.max_target}")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise SettingsError(f"label_smoothing must be from 0 to below 1; got {self.label_smoothing}")
        if self.decoder not in ("copy", "random") or (self.shared and self.decoder == "random"):
            raise SettingsError(f"decoder is copy or random, and copy where weights are shared; got {self.decoder!r}")
        super().__post_init__()  # refuses what doesn't go together

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        labelled: bool = False,
        like: Reading | None = None,
    ) -> Table[Text]:
        """Read sources and targets; see `data/sources.py` for the forms."""
        return read_sources(path, columns=columns, labelled=labelled, like=like)

    @classmethod
    def learn(cls, items: Sequence[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Learn nothing: a table decides no setting."""
        return {}

    def encode(self, items: Sequence[Any], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack the sources.

        Args:
            items: texts or pairs, with what is to be written as labels.
            tokenizer: of the model.
            keys: nothing is corrupted.

        Returns:
            The sources. When every item has a label, `target` holds what the decoder reads, [CLS] and the pieces, and
            as its `token.next` (T,) what it is to say, the pieces and [SEP]; without [SEP] where a target is cut.

        Raises:
            DataError: a longer text under `error`, or a label that is no text.
        """
        first, second = texts(items)
        pieces = tokenizer.pack(first, second, max_length=self.max_length, truncation=self.truncation)
        labels = [getattr(item, "label", None) for item in items]
        target, cut = None, pieces.truncated
        if all(label is not None for label in labels):
            target, cut_target = self._target(_texts_of(labels), tokenizer)
            cut = cut + cut_target
        batch = Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, targets={"sequence.cut": cut})
        return replace(batch, target=target)

    def _target(self, labels: Sequence[str], tokenizer: Tokenizer) -> tuple[Batch, NDArray[np.int64]]:
        """Pack what the decoder reads, and count the pieces (B,) that were cut off."""
        whole = [[tokenizer.start, *pieces, tokenizer.separator] for pieces in tokenizer.encode_batch(labels)]
        cut = np.array([max(0, len(tokens) - 1 - self.max_target) for tokens in whole], np.int64)
        if self.truncation == "error" and cut.any():
            number = int(cut.argmax())
            raise DataError(
                f"text {number + 1} has a target of {len(whole[number]) - 1} tokens, more than {self.max_target}; "
                "raise max_target, shorten it, or ask for truncation"
            )
        kept = [tokens[: self.max_target + 1] for tokens in whole]
        read = np.concatenate([tokens[:-1] for tokens in kept])
        said = np.concatenate([tokens[1:] for tokens in kept])
        offsets = np.cumsum([0, *(len(tokens) - 1 for tokens in kept)])
        return Batch.pack(read, np.zeros_like(read), offsets, targets={"token.next": said}), cut

    def head(self, encoder: Any) -> GenerationHead:
        """Make the decoder.

        Raises:
            SettingsError: an encoder without one, or texts longer than it takes.
        """
        if not hasattr(encoder, "decoder"):
            raise SettingsError(f"{type(encoder).__name__} has no decoder, and generation needs one")
        decoder = encoder.decoder()
        for name in ("max_target", "max_new_tokens"):
            if getattr(self, name) > decoder.max_positions:
                raise SettingsError(
                    f"{name} {getattr(self, name)} is more than the decoder's {decoder.max_positions} positions"
                )
        return GenerationHead(decoder)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the tokens of the targets."""
        return {"generation": float(_target_of(batch).num_tokens)}

    def loss(self, outputs: Outcome, batch: Batch) -> Loss:
        """Cross-entropy of every target token, smoothed."""
        said, count = _target_of(batch).targets["token.next"], self.counts(batch)["generation"]
        assert outputs.logits is not None
        total, correct = outputs.logits.cross_entropy(said, label_smoothing=self.label_smoothing)
        return Loss({"generation": Term(1.0, total, count)}, {"token_accuracy": (correct, count)})

    def decode(self, outputs: Outcome, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Generated]:
        """Search for the texts."""
        decoder, memory = outputs.decoder, outputs.memory
        written = write(
            decoder,
            memory,
            batch,
            self,
            start=tokenizer.start,
            end=tokenizer.separator,
            size=tokenizer.vocab_size,
            gaps=tokenizer.gaps,
        )
        return generated(written, tokenizer)

    def score(self, predictions: Sequence[Generated], items: Sequence[Any]) -> dict[str, float]:
        """Work out exact match and chrF, and BLEU and ROUGE-L where their packages are installed."""
        gold, guesses = [str(item.label) for item in items], [guess.target for guess in predictions]
        return {
            "exact_match": exact_match(gold, guesses),
            "chrf": chrf(gold, guesses),
            **further_scores(gold, guesses),
        }

    def judge(self, prediction: Generated, item: Any) -> Judgement:
        """Compare texts word by word."""
        credit = float(same_words(str(item.label), prediction.target))
        return Judgement(str(item.label), prediction.target, credit, prediction.score)


def generated(written: Sequence[Sequence[Written]], tokenizer: Tokenizer) -> list[Generated]:
    """Turn what was written for each item, the best first, into predictions."""
    predictions = []
    for best, *others in written:
        more = tuple(Alternative(tokenizer.decode(text.tokens), math.exp(text.log_probability)) for text in others)
        predictions.append(Generated(tokenizer.decode(best.tokens), math.exp(best.log_probability), best.ended, more))
    return predictions


def _texts_of(labels: Sequence[Any]) -> list[str]:
    """Refuse labels that are no texts, such as several of an item."""
    for number, label in enumerate(labels, 1):
        if not isinstance(label, str):
            raise DataError(f"text {number} is to become {label!r:.60}; a target is one text")
    return list(labels)


def _target_of(batch: Batch) -> Batch:
    """Return the decoder's side.

    Raises:
        KeyError: there is none, for items without labels.
    """
    if batch.target is None:
        raise KeyError("target")
    return batch.target


class GenerationHead(nn.Module):
    """The decoder.

    Args:
        decoder: the encoder's stem.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Outcome:
        """Read the targets, if there are any."""
        logits = None if batch.target is None else self.decoder(hidden, batch, batch.target, noise)
        return Outcome(logits, hidden, self.decoder)


TASK = Generation
