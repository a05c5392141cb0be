"""Generation: write a text from a text, such as a title, a summary or an answer, by an encoder and a decoder.

Training is teacher forcing: the decoder reads the target and predicts the next token after each one. Prediction is a
search: greedy, with beams, or by sampling, depending on the settings. A text starts with [CLS] and ends with [SEP].

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
from bertie.errors import DataError, SettingsError
from bertie.items.text import Text, TextLike
from bertie.metrics.overlap import chrf, exact_match, further_scores, same_words
from bertie.nn.abilities import HasDecoder
from bertie.nn.decoder import Decoder
from bertie.nn.logits import Logits
from bertie.nn.search import Search, Written, write
from bertie.ops.dropout.op import Noise
from bertie.readers.reading import Reading, Table
from bertie.tasks._card import GENERATED, CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._lines import heading, printable
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import Cut, Judgement, Keys, Loss, Task, Term, texts
from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Alternative(Prediction):
    """A further text generated for an item."""

    target: str
    score: float
    """Geometric mean of the probabilities of its tokens, the end token included."""


@dataclass(frozen=True)
class Generated(Prediction):
    """The text generated for one item."""

    target: str
    """The best text."""
    score: float
    """Geometric mean of the probabilities of its tokens, the end token included."""
    ended: bool
    """Whether the model ended the text within `max_new_tokens`."""
    others: tuple[Alternative, ...] = ()
    """With `num_texts` above 1, the next best texts, best first."""

    def lines(self, item: Any, width: int) -> list[str]:
        """Return the item, and one line for each text, its score first. A best text that did not end has a "…"."""
        ranked: list[Generated | Alternative] = [self, *self.others]
        best, *others = (f"  {one.score:.4f}  {printable(one.target)}" for one in ranked)
        return [heading(item), best + ("" if self.ended else " …"), *others]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outputs of the network: the logits for training, the rest for generating text."""

    logits: Logits | None
    """Logits of each token of the targets; None for a batch without targets."""
    memory: Tensor
    """(T, H) hidden vectors of the sources."""
    decoder: Decoder


@dataclass(frozen=True)
class Generation(Search, Task[Text, Outcome, Generated]):
    """Write a text from each text, or pair of texts, by search. The settings of the search are among these."""

    max_length: int = 512
    """Tokens of the longest source."""
    max_target: int = 64
    """Tokens of the longest target in training, the start token included."""
    truncation: Cut = "truncate"
    """What to do with longer sources and targets: cut and count them (truncate), or refuse them (error)."""
    label_smoothing: float = 0.1
    """Share of the target probability that is spread over the vocabulary."""
    shared: bool = False
    """Whether a new decoder shares the encoder's weights, except for its attention to the source."""
    decoder: Literal["copy", "random"] = "copy"
    """First weights of a new decoder on a pre-trained encoder: a copy of the encoder's weights, or random weights."""

    name: ClassVar[str] = "generation"
    architecture: ClassVar[str] = "{}Model"
    generates_text: ClassVar[bool] = True
    needs_decoder: ClassVar[bool] = True
    criterion: ClassVar[str] = "chrf"
    card: ClassVar[CardText] = CardText(
        title="A BERT encoder and decoder that generate a text from a text",
        pipeline="text2text-generation",
        loader="EncoderDecoderModel",
        output="",
        limits=(GENERATED,),
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)
        if self.max_target < 2:
            raise SettingsError(f"max_target must be at least 2, for a start and a piece; got {self.max_target}")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise SettingsError(f"label_smoothing must be from 0 to below 1; got {self.label_smoothing}")
        if self.decoder not in ("copy", "random") or (self.shared and self.decoder == "random"):
            raise SettingsError(f"decoder must be copy or random, and copy if shared is set; got {self.decoder!r}")
        super().__post_init__()  # checks the settings of the search

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        labelled: bool = False,
        like: Reading | None = None,
    ) -> Table[Text]:
        """Read sources and targets, in a format of `readers/sources.py`."""
        from bertie.readers.sources import read_sources

        return read_sources(path, columns=columns, labelled=labelled, like=like)

    @classmethod
    def learn(cls, items: Sequence[Text], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return no settings: none depends on the table."""
        return {}

    def encode(self, items: Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack the sources and the targets.

        Args:
            items: texts or pairs; their labels are the targets.
            tokenizer: of the model.
            keys: unused.

        Returns:
            The sources. If every item has a label, `target` holds the input of the decoder, [CLS] and the pieces. Its
            `token.next` (T,) holds the tokens to predict, the pieces and [SEP]. A target that is cut has no [SEP].

        Raises:
            DataError: a text is too long under `error`, or a label is not a text.
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
        """Pack the targets, and count the pieces cut off each of them, (B,)."""
        whole = [[tokenizer.start, *pieces, tokenizer.separator] for pieces in tokenizer.encode_batch(labels)]
        cut = np.array([max(0, len(tokens) - 1 - self.max_target) for tokens in whole], np.int64)
        if self.truncation == "error" and cut.any():
            number = int(cut.argmax())
            raise DataError(
                f"text {number + 1} has a target of {len(whole[number]) - 1} tokens, more than {self.max_target}; "
                "raise max_target, shorten it, or set truncation=truncate"
            )
        kept = [tokens[: self.max_target + 1] for tokens in whole]
        inputs = np.concatenate([tokens[:-1] for tokens in kept])
        following = np.concatenate([tokens[1:] for tokens in kept])
        offsets = np.cumsum([0, *(len(tokens) - 1 for tokens in kept)])
        return Batch.pack(inputs, np.zeros_like(inputs), offsets, targets={"token.next": following}), cut

    def head(self, encoder: Any) -> GenerationHead:
        """Make the decoder.

        Raises:
            SettingsError: the encoder has no decoder, or a text may be longer than the decoder takes.
        """
        if not isinstance(encoder, HasDecoder):
            raise SettingsError(f"{type(encoder).__name__} has no decoder, which generation needs")
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
        """Return the cross-entropy of the target tokens, with label smoothing."""
        following, count = _target_of(batch).targets["token.next"], self.counts(batch)["generation"]
        assert outputs.logits is not None
        total, correct = outputs.logits.cross_entropy(following, label_smoothing=self.label_smoothing)
        return Loss({"generation": Term(1.0, total, count)}, {"token_accuracy": (correct, count)})

    def logit_rows(self, outputs: Outcome, batch: Batch) -> Logits:
        """Return the logits of the target tokens."""
        assert outputs.logits is not None
        return outputs.logits

    def num_logit_rows(self, batch: Batch) -> float:
        """Count the target tokens."""
        return self.counts(batch)["generation"]

    def decode(
        self, outputs: Outcome, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer
    ) -> list[Generated]:
        """Search for the best text of each item."""
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

    def score(self, predictions: Sequence[Generated], items: Sequence[Text]) -> dict[str, float]:
        """Compute exact match and chrF, and BLEU and ROUGE-L if their packages are installed."""
        gold, guesses = [str(item.label) for item in items], [guess.target for guess in predictions]
        return {
            "exact_match": exact_match(gold, guesses),
            "chrf": chrf(gold, guesses),
            **further_scores(gold, guesses),
        }

    def judge(self, prediction: Generated, item: Text) -> Judgement:
        """Compare texts word by word."""
        credit = float(same_words(str(item.label), prediction.target))
        return Judgement(str(item.label), prediction.target, credit, prediction.score)


def generated(written: Sequence[Sequence[Written]], tokenizer: Tokenizer) -> list[Generated]:
    """Return the prediction for each item from its written texts, best first."""
    predictions = []
    for best, *others in written:
        more = tuple(Alternative(tokenizer.decode(text.tokens), math.exp(text.log_probability)) for text in others)
        predictions.append(Generated(tokenizer.decode(best.tokens), math.exp(best.log_probability), best.ended, more))
    return predictions


def _texts_of(labels: Sequence[Any]) -> list[str]:
    """Return the labels, and check that each is a single text."""
    for number, label in enumerate(labels, 1):
        if not isinstance(label, str):
            raise DataError(f"text {number} has the target {label!r:.60}; a target must be a single text")
    return list(labels)


def _target_of(batch: Batch) -> Batch:
    """Return the targets of a batch.

    Raises:
        KeyError: it has none, because its items have no labels.
    """
    if batch.target is None:
        raise KeyError("target")
    return batch.target


class GenerationHead(nn.Module):
    """The decoder of a sequence-to-sequence model.

    Args:
        decoder: made by the encoder.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Outcome:
        """Return the logits of the targets, if the batch has any, and what the search needs."""
        logits = None if batch.target is None else self.decoder(hidden, batch, batch.target, noise)
        return Outcome(logits, hidden, self.decoder)


TASK = Generation
