"""A custom task: an encoder with a linear layer on [CLS] instead of BERT's pooler.

bertie finetune MODEL --task custom_head:ArticleClassifier --train a.tsv --dev b.tsv --out out/mine
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from bertie.batch import Batch
from bertie.ops.dropout.op import Noise
from bertie.tasks.classification import Classification


class LinearOnFirstToken(nn.Module):
    """Map each sequence's [CLS] vector to one score per label."""

    def __init__(self, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, num_labels)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (B, num_labels); batch.starts are the indices of the [CLS] tokens."""
        scores: Tensor = self.linear(hidden[batch.starts])
        return scores


@dataclass(frozen=True)
class ArticleClassifier(Classification):
    """Classification with the head above; data, labels, loss, decoding and scores don't change."""

    name: ClassVar[str] = "article_classifier"
    architecture: ClassVar[str] = "{}Model"

    def head(self, encoder: Any) -> Any:
        """Make the head for an encoder."""
        return LinearOnFirstToken(encoder.config.hidden_size, len(self.labels))
