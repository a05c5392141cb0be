"""Replaced-token detection: tell of every token whether it was there or was put there (ELECTRA, Clark et al. 2020, 2).

A small masked LM, the generator, sees every chosen token as [MASK] and fills the holes with pieces drawn from its
guesses; the encoder, the discriminator, sees the filled text. Both learn at once: the generator to guess, by 1 x its
masked-LM loss, the discriminator to detect, by 50 x its loss over all tokens. A drawn piece that happens to be right
counts as the text's own. No gradient goes through the draw. The original code leaves 15 % of the chosen tokens
unmasked, which the paper does not.

Only the discriminator is used afterwards; the generator is a companion, a masked LM in a folder of its own.

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
from bertie.data.random import stream, uniform
from bertie.errors import SettingsError
from bertie.nn.dropout import Noise, mix64
from bertie.nn.initialize import initialize
from bertie.nn.projection import Logits
from bertie.tasks._masked import Masked
from bertie.tasks._prediction import Prediction
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Keys, Loss, Task, TaskModel, Term, texts
from bertie.tokenizer.tokenizer import Tokenizer

_DRAW = 0xE1EC  # what the streams of the draws from the generator are for
_ROWS = 512  # slots drawn at a time: bounds their table of probabilities at 512 x V


@dataclass(frozen=True)
class Piece(Prediction):
    """What is thought of one piece of a text."""

    token: str
    """The piece."""
    replaced: float
    """Probability that another one stood there."""


@dataclass(frozen=True)
class Detection(Prediction):
    """What is thought of a text."""

    pieces: tuple[Piece, ...]
    """All of it but special ones."""


class Outputs(NamedTuple):
    """What generator and discriminator say of a batch with chosen tokens."""

    generator: Logits
    """Logits of the M slots."""
    drawn: Tensor
    """(M,) the pieces that the discriminator saw there."""
    scores: Tensor
    """(T,) the higher, the likelier replaced."""


@dataclass(frozen=True)
class ReplacedToken(Masked):
    """Tell replaced tokens from the text's own."""

    across_documents: bool = False
    """Whether a sequence of a corpus goes on with the next document, behind a [SEP], until it is full."""
    generator_share: float = 0.25
    """The generator's hidden size, heads and feed-forward width as a share of the discriminator's."""
    temperature: float = 1.0
    """What the generator's logits are divided by before a piece is drawn: above 1 for likelier mistakes."""
    detection_weight: float = 50.0
    """What the discriminator's loss is multiplied with beside the generator's."""

    name: ClassVar[str] = "replaced_token"
    architecture: ClassVar[str] = "{}ForPreTraining"
    needs_labels: ClassVar[bool] = False
    plan: ClassVar[str] = "texts"

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
        """What the generator learns."""
        return MaskedLM(**self.masking_settings, across_documents=self.across_documents)

    def corpus_plan(self) -> str:
        """Name the generator's plan."""
        return self.masked_lm.corpus_plan()

    def encode(self, items: Any, tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Choose tokens by `keys` and show each as [MASK], for the generator to fill; without keys, pack texts as is.

        With keys there are `slot.position` (M,), `slot.token` (M,), the piece that was there, and `slot.draw` (M,), the
        number in [0, 1) by which a piece is drawn from the generator's guesses.
        """
        if keys is None:
            first, second = texts(items)
            pieces = tokenizer.pack(first, second, max_length=self.max_length, truncation=self.truncation)
            targets = {"sequence.cut": pieces.truncated}
            return Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, targets=targets)
        batch = self.masked_lm.encode(items, tokenizer, keys)
        slots = batch.targets["slot.position"]
        sequence = torch.searchsorted(batch.offsets.long(), slots, right=True) - 1
        own = stream(keys[sequence.numpy()], _DRAW, batch.positions[slots].numpy())
        draws = np.floor(uniform(own) * 2.0**24) * 2.0**-24  # what fp32 holds exactly, so that none is rounded to 1
        kept = {name: values for name, values in batch.targets.items() if name != "slot.as_mask"}  # all of them are
        return replace(
            batch,
            tokens=batch.tokens.index_fill(0, slots, tokenizer.mask),
            targets={**kept, "slot.draw": torch.from_numpy(draws.astype(np.float32))},
        )

    def head(self, encoder: Any) -> ReplacedTokenHead:
        """Make the discriminator's head.

        Raises:
            SettingsError: an encoder without one.
        """
        if not hasattr(encoder, "discriminator"):
            raise SettingsError(
                f"replaced_token needs an encoder that has a discriminator, as electra has (--model.architecture "
                f"electra); {encoder.config.KIND} has none"
            )
        return ReplacedTokenHead(encoder.discriminator())

    def network(self, model: TaskModel, *, seed: int) -> TaskModel:
        """Put a new generator in front of the discriminator."""
        encoder: Any = model.encoder
        small = encoder.generator(self.generator_share)
        generator = TaskModel(small, self.masked_lm.head(small))
        initialize(
            generator,
            deviation=encoder.config.initializer_range,
            generator=torch.Generator().manual_seed(seed + 3),  # the streams below are the encoder's, head's and LoRA's
            kept=encoder.parameters(),
        )
        return ReplacedTokenModel(model, generator, self)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the chosen tokens and all tokens."""
        return {**self.masked_lm.counts(batch), "detection": float(batch.num_tokens)}

    def loss(self, outputs: Outputs, batch: Batch) -> Loss:
        """Add the generator's masked-LM loss and the discriminator's binary cross-entropy over all tokens.

        `detection_recall` is the share of the replaced tokens that were found: most tokens are the text's own, so that
        accuracy alone says little.

        Raises:
            SettingsError: outputs of a discriminator alone.
        """
        if not isinstance(outputs, Outputs):
            raise SettingsError(
                "replaced_token is measured with the generator that pre-training has; by itself a discriminator "
                "can be used (predict) or fine-tuned"
            )
        guessed = self.masked_lm.loss(outputs.generator, batch)
        slots, scores = batch.targets["slot.position"], outputs.scores.float()
        replaced = torch.zeros_like(batch.tokens, dtype=torch.bool)
        replaced[slots] = outputs.drawn != batch.targets["slot.token"]
        total = binary_cross_entropy_with_logits(scores, replaced.float(), reduction="sum")
        found, count = scores.detach() > 0.0, float(batch.num_tokens)
        return Loss(
            {**guessed.terms, "detection": Term(self.detection_weight, total, count)},
            {
                **guessed.figures,
                "detection_accuracy": ((found == replaced).sum(), count),
                "detection_recall": ((found & replaced).sum(), float(replaced.sum())),
            },
        )

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Detection]:
        """Give every piece of an item, special ones left out, the probability that it was put there."""
        scores, tokens = outputs.float().sigmoid().tolist(), batch.tokens.tolist()
        found: list[list[Piece]] = [[] for _ in items]
        edges, special = batch.offsets.tolist(), set(tokenizer.special_ids)
        for row, begin, end in zip(batch.rows.tolist(), edges, edges[1:], strict=False):
            found[row] += [
                Piece(tokenizer.shown[tokens[place]], scores[place])
                for place in range(begin, end)
                if tokens[place] not in special
            ]
        return [Detection(tuple(pieces)) for pieces in found]

    def has_gold(self, item: Any) -> bool:
        """Tell that nothing is scored by labels: what was replaced is drawn."""
        return False

    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Score nothing further than the figures of the loss."""
        return {}


class ReplacedTokenHead(nn.Module):
    """The discriminator's head.

    Args:
        discriminator: the encoder's stem.
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
    """Generator and discriminator; it shares the parts of the discriminator that it is made from.

    Args:
        model: the discriminator.
        generator: a masked LM on the discriminator's embeddings.
        task: how pieces are drawn.
    """

    def __init__(self, model: TaskModel, generator: TaskModel, task: ReplacedToken) -> None:
        super().__init__(model.encoder, model.head)
        self.generator = generator
        self.task = task

    def companions(self) -> dict[str, tuple[TaskModel, Task]]:
        """Return the generator."""
        return {"generator": (self.generator, self.task.masked_lm)}

    def forward(self, batch: Batch, noise: Noise | None = None) -> Any:
        """Let the generator fill the slots and the discriminator look at it; a batch without slots is only looked at.

        Returns:
            `Outputs`; for a batch without slots the discriminator's (T,) scores.
        """
        if self.training and noise is None:
            noise = Noise.draw()
        if "slot.draw" not in batch.targets:
            return super().forward(batch, noise)
        # The dropout sites of both networks have the same numbers.
        guesses = self.generator(batch, None if noise is None else Noise(mix64(noise.key, 1)))
        drawn = sample(guesses, batch.targets["slot.draw"], self.task.temperature)
        filled = replace(batch, tokens=batch.tokens.index_copy(0, batch.targets["slot.position"], drawn))
        return Outputs(guesses, drawn, super().forward(filled, noise))


@torch.no_grad()
def sample(guesses: Logits, draws: Tensor, temperature: float) -> Tensor:
    """Draw a piece a row from softmax(logits / temperature), by the distribution's inverse.

    It has the distribution of the original's largest of logit + Gumbel noise, from one number a row and not V.

    Args:
        guesses: of M rows.
        draws: (M,) in [0, 1).
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
