"""Private helper of `replaced_token`: the network that it trains, a discriminator with the generator of its input.

Shapes: T tokens, M slots, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Noise
from bertie.tasks._network import TaskModel
from bertie.tasks._outputs import ReplacedTokenOutputs

if TYPE_CHECKING:
    from bertie.tasks.replaced_token import ReplacedToken
    from bertie.tasks.task import Task

_ROWS = 512  # slots drawn at a time, to limit the table of probabilities to 512 x V


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
        guesses = self.generator(batch, None if noise is None else noise.apart(1))
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
