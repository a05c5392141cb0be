"""Base class of the objectives that combine the masked LM with a second loss. After training they fill masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from typing_extensions import TypeVar

from bertie.batch import Batch
from bertie.items.text import Text, TextLike
from bertie.tasks._masked import Masked
from bertie.tasks.masked_lm import Fills, MaskedLM
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from bertie.nn.logits import Logits


class HasTokens(Protocol):
    """Outputs that include those of the masked LM."""

    @property
    def tokens(self) -> Logits:
        """Logits of the M slots."""


TokensT = TypeVar("TokensT", bound=HasTokens)


@dataclass(frozen=True)
class Joint(Masked[Text, TokensT, Fills]):
    """A task whose outputs include `tokens`, the logits of the masked tokens."""

    top_k: int = 5
    """Number of predictions for each mask when filling."""

    needs_labels: ClassVar[bool] = False
    fills_masks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _ = self.masked_lm  # checks the settings

    @property
    def masked_lm(self) -> MaskedLM:
        """The masked LM with these settings."""
        return MaskedLM(**self.masking_settings, top_k=self.top_k)

    def decode(self, outputs: TokensT, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer) -> list[Fills]:
        """Fill the masks."""
        return self.masked_lm.decode(outputs.tokens, batch, items, tokenizer)

    def score(self, predictions: Sequence[Fills], items: Sequence[Text]) -> dict[str, float]:
        """Score the filled masks."""
        return self.masked_lm.score(predictions, items)
