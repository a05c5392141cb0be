"""Replaced-token detection: predict for every token whether it was replaced (ELECTRA, Clark et al. 2020, 2).

A small masked LM, the generator, sees every chosen token as [MASK] and fills the masks with pieces drawn from its
predictions. The encoder, the discriminator, sees the filled text. Both learn together: the loss is 1 x the generator's
masked-LM loss plus 50 x the discriminator's loss over all tokens. A drawn piece that equals the original one counts as
original. No gradient goes through the draw. The paper masks all chosen tokens, as bertie does; the original code
leaves 15 % of them unmasked.

After training only the discriminator is used. The generator is saved in a separate folder, as a masked LM.

Shapes: T tokens, B sequences, M slots (chosen tokens), H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.items.text import Text, TextLike
from bertie.nn.abilities import HasDiscriminator
from bertie.nn.initialize import initialize
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Noise, mix64
from bertie.ops.sigmoid import sigmoid
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream, uniform
from bertie.tasks._card import CardText
from bertie.tasks._lines import barred, columns, heading
from bertie.tasks._masked import Masked
from bertie.tasks._prediction import Prediction
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Keys, Loss, Task, TaskModel, Term, texts
from bertie.tokenizer.tokenizer import Tokenizer

_DRAW = 0xE1EC  # random stream of the draws from the generator
_ROWS = 512  # slots drawn at a time, to limit the table of probabilities to 512 x V


@dataclass(frozen=True)
class Piece(Prediction):
    """The prediction for one piece of a text."""

    token: str
    """The piece."""
    replaced: float
    """Probability that the piece was replaced."""


@dataclass(frozen=True)
class Detection(Prediction):
    """The prediction for one text."""

    pieces: tuple[Piece, ...]
    """All pieces, without special tokens."""

    def lines(self, item: Any, width: int) -> list[str]:
        """Return the item, and one line for each piece, with a bar for its probability."""
        column = max((columns(piece.token) for piece in self.pieces), default=0)
        return [heading(item), *(barred(piece.token, piece.replaced, column) for piece in self.pieces)]


class ReplacedTokenOutputs(NamedTuple):
    """Outputs of generator and discriminator for a batch with chosen tokens."""

    generator: Logits
    """Logits of the M slots."""
    drawn: Tensor
    """(M,) pieces that the discriminator saw at the slots."""
    scores: Tensor
    """(T,) logits of "replaced"."""


@dataclass(frozen=True)
class ReplacedToken(Masked[Text, ReplacedTokenOutputs | Tensor, Detection]):
    """Distinguish replaced tokens from original ones."""

    across_documents: bool = False
    """Whether a sequence of a corpus continues with the next document, after a [SEP], until it is full."""
    generator_share: float = 0.25
    """The generator's hidden size, attention heads and feed-forward width as a share of the discriminator's."""
    temperature: float = 1.0
    """Divisor of the generator's logits before a piece is drawn. Above 1, wrong pieces are more probable."""
    detection_weight: float = 50.0
    """Weight of the discriminator's loss; that of the generator's is 1."""

    name: ClassVar[str] = "replaced_token"
    architecture: ClassVar[str] = "{}ForPreTraining"
    needs_labels: ClassVar[bool] = False
    plan: ClassVar[str] = "texts"
    card: ClassVar[CardText] = CardText(
        title="An ELECTRA discriminator",
        loader="AutoModelForPreTraining",
        output="logits",
        limits=(
            "It predicts for every token whether it was replaced, and is meant to be fine-tuned. The generator that it "
            "was trained with, a small masked language model, is in the folder `generator`.",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.generator_share <= 1.0:
            raise SettingsError(f"generator_share must be above 0 and at most 1; got {self.generator_share}")
        if not self.temperature > 0.0:
            raise SettingsError(f"temperature must be above 0; got {self.temperature}")
        if not self.detection_weight > 0.0:
            raise SettingsError(f"detection_weight must be above 0; got {self.detection_weight}")

    @property
    def masked_lm(self) -> MaskedLM:
        """The generator's task."""
        return MaskedLM(**self.masking_settings, across_documents=self.across_documents)

    def corpus_plan(self) -> str:
        """Return the generator's plan."""
        return self.masked_lm.corpus_plan()

    def encode(self, items: Instances | Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Choose tokens by `keys` and show each as [MASK], for the generator to fill. Without keys, pack texts as is.

        With keys the batch has `slot.position` (M,), `slot.token` (M,), the original piece there, and `slot.draw` (M,),
        a random number in [0, 1) by which a piece is drawn from the generator's predictions.
        """
        if keys is None:
            assert not isinstance(items, Instances)  # they have keys
            first, second = texts(items)
            pieces = tokenizer.pack(first, second, max_length=self.max_length, truncation=self.truncation)
            targets = {"sequence.cut": pieces.truncated}
            return Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, targets=targets)
        batch = self.masked_lm.encode(items, tokenizer, keys)
        slots = batch.targets["slot.position"]
        sequence = torch.searchsorted(batch.offsets.long(), slots, right=True) - 1
        streams = stream(keys[sequence.numpy()], _DRAW, batch.positions[slots].numpy())
        draws = np.floor(uniform(streams) * 2.0**24) * 2.0**-24  # exact in fp32, so that none is rounded to 1
        kept = {name: values for name, values in batch.targets.items() if name != "slot.as_mask"}  # all are masked
        return replace(
            batch,
            tokens=batch.tokens.index_fill(0, slots, tokenizer.mask),
            targets={**kept, "slot.draw": torch.from_numpy(draws.astype(np.float32))},
        )

    def head(self, encoder: Any) -> ReplacedTokenHead:
        """Make the discriminator's head.

        Raises:
            SettingsError: the encoder has no discriminator.
        """
        if not isinstance(encoder, HasDiscriminator):
            raise SettingsError(
                f"replaced_token needs an architecture with a discriminator, such as electra (--model.architecture "
                f"electra); {encoder.config.KIND} has none"
            )
        return ReplacedTokenHead(encoder.discriminator())

    def network(self, model: TaskModel, *, seed: int) -> TaskModel:
        """Return generator and discriminator as one network. The generator gets random weights."""
        encoder: Any = model.encoder
        small = encoder.generator(self.generator_share)
        generator = TaskModel(small, self.masked_lm.head(small))
        initialize(
            generator,
            deviation=encoder.config.initializer_range,
            generator=torch.Generator().manual_seed(seed + 3),  # smaller ones seed encoder, head and LoRA
            kept=encoder.parameters(),
        )
        return ReplacedTokenModel(model, generator, self)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the chosen tokens, and all tokens."""
        return {**self.masked_lm.counts(batch), "detection": float(batch.num_tokens)}

    def loss(self, outputs: ReplacedTokenOutputs | Tensor, batch: Batch) -> Loss:
        """Add the generator's masked-LM loss and the discriminator's binary cross-entropy over all tokens.

        `detection_recall` is the share of the replaced tokens that are detected. Most tokens are original, so the
        accuracy alone tells little.

        Raises:
            SettingsError: the outputs are those of a discriminator without a generator.
        """
        if not isinstance(outputs, ReplacedTokenOutputs):
            raise SettingsError(
                "evaluating replaced_token needs the generator, which only a pre-training run has; a discriminator "
                "alone can predict or be fine-tuned"
            )
        masked = self.masked_lm.loss(outputs.generator, batch)
        slots, scores = batch.targets["slot.position"], outputs.scores.float()
        replaced = torch.zeros_like(batch.tokens, dtype=torch.bool)
        replaced[slots] = outputs.drawn != batch.targets["slot.token"]
        total = binary_cross_entropy_with_logits(scores, replaced.float(), reduction="sum")
        detected, count = scores.detach() > 0.0, float(batch.num_tokens)
        return Loss(
            {**masked.terms, "detection": Term(self.detection_weight, total, count)},
            {
                **masked.figures,
                "detection_accuracy": ((detected == replaced).sum(), count),
                "detection_recall": ((detected & replaced).sum(), float(replaced.sum())),
            },
        )

    def decode(
        self, outputs: ReplacedTokenOutputs | Tensor, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer
    ) -> list[Detection]:
        """Return the probability of "replaced" for each piece of an item, without special tokens."""
        assert isinstance(outputs, Tensor)  # of a batch without chosen tokens
        scores, tokens = sigmoid(outputs.float()).tolist(), batch.tokens.tolist()
        by_item: list[list[Piece]] = [[] for _ in items]
        edges, special = batch.offsets.tolist(), set(tokenizer.special_ids)
        for row, begin, end in zip(batch.rows.tolist(), edges, edges[1:], strict=False):
            by_item[row] += [
                Piece(tokenizer.shown[tokens[index]], scores[index])
                for index in range(begin, end)
                if tokens[index] not in special
            ]
        return [Detection(tuple(pieces)) for pieces in by_item]

    def has_gold(self, item: Any) -> bool:
        """Return False: items have no labels, as the replaced tokens are drawn."""
        return False

    def score(self, predictions: Sequence[Detection], items: Sequence[Text]) -> dict[str, float]:
        """Return no scores beyond the figures of the loss."""
        return {}


class ReplacedTokenHead(nn.Module):
    """The discriminator's head.

    Args:
        discriminator: layers made by the encoder.
    """

    token_by_token = True

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T,)."""
        scores: Tensor = self.discriminator(hidden)
        return scores


class ReplacedTokenModel(TaskModel):
    """Generator and discriminator in one network. Its encoder and head are those of `model`.

    Args:
        model: the discriminator.
        generator: a masked LM with the discriminator's embeddings.
        task: holds the temperature of the draws.
    """

    def __init__(self, model: TaskModel, generator: TaskModel, task: ReplacedToken) -> None:
        super().__init__(model.encoder, model.head)
        self.generator = generator
        self.task = task

    def companions(self) -> dict[str, tuple[TaskModel, Task]]:
        """Return the generator."""
        return {"generator": (self.generator, self.task.masked_lm)}

    def forward(self, batch: Batch, noise: Noise | None = None) -> Any:
        """Fill the slots by the generator, and score the filled text by the discriminator.

        Returns:
            `ReplacedTokenOutputs`. For a batch without slots, the discriminator's scores (T,) of the batch as it is.
        """
        if self.training and noise is None:
            noise = Noise.draw()
        if "slot.draw" not in batch.targets:
            return super().forward(batch, noise)
        # The dropout sites of both networks have the same numbers, so the generator gets another key.
        guesses = self.generator(batch, None if noise is None else Noise(mix64(noise.key, 1)))
        drawn = sample(guesses, batch.targets["slot.draw"], self.task.temperature)
        filled = replace(batch, tokens=batch.tokens.index_copy(0, batch.targets["slot.position"], drawn))
        return ReplacedTokenOutputs(guesses, drawn, super().forward(filled, noise))


@torch.no_grad()
def sample(guesses: Logits, draws: Tensor, temperature: float) -> Tensor:
    """Draw one piece for each row from softmax(logits / temperature), by inverting the cumulative distribution.

    The original takes the maximum of logit + Gumbel noise. This has the same distribution, but needs one random number
    for each row instead of V.

    Args:
        guesses: logits of M rows.
        draws: (M,) random numbers in [0, 1).
        temperature: above 0.

    Returns:
        (M,) pieces.
    """
    drawn = [draws.new_empty(0, dtype=torch.int64)]
    for hidden, some in zip(torch.split(guesses.hidden, _ROWS), torch.split(draws, _ROWS), strict=True):
        scores = replace(guesses, hidden=hidden).materialise().float()  # (rows, V)
        sums = (scores / temperature).softmax(-1).cumsum(-1)
        drawn.append(torch.searchsorted(sums, some[:, None] * sums[:, -1:], right=True)[:, 0])
    return torch.cat(drawn).clamp_(max=len(guesses.weight) - 1)


TASK = ReplacedToken
