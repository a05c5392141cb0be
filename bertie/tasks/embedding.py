"""Embeddings: one vector for each text, so that texts of similar meaning are close (Reimers and Gurevych 2019).

A vector is the mean of a text's hidden vectors, or that of [CLS], or their maximum. Only the encoder learns. Matching
pairs train it to find the partner of each text among all texts of the batch (InfoNCE). Pairs with numbers train it by
the squared error of the cosine. Without pairs it learns from a corpus, where passages of one document match (Giorgi et
al. 2021, DeCLUTR; Izacard et al. 2022, Contriever).

A long text in several windows is pooled as one text. A piece in several windows counts once, and so do [CLS] and [SEP].

Shapes: T tokens, B sequences, I items, H hidden, N texts (one or two of an item, and its negatives), C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.items.text import Text, TextLike, sides
from bertie.metrics.regression import pearson, spearman
from bertie.metrics.retrieval import accuracy_at_1, mean_reciprocal_rank, ranks_of_own, unit
from bertie.packed import Packed, Pooling, as_array, first_sequences, pool
from bertie.readers.reading import Table
from bertie.sampling.instances import Instances
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length, encoded_texts
from bertie.tasks._likeness import has_labels, identities, value_of
from bertie.tasks._vectors import Similarity as Similarity
from bertie.tasks._vectors import Vector as Vector
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Truncation, lay_out

if TYPE_CHECKING:
    from torch import Tensor

    from bertie.tasks._heads import EmbeddingHead

# Numbers of the texts of an item: its first text, the second text of its pair, and from 2 on its negatives.
_TEXT, _PAIR, _NEGATIVE = 0, 1, 2


@dataclass(frozen=True)
class Embedding(Task[Text, "Tensor", Vector | Similarity]):
    """Map each text to a vector, and each pair of texts to the cosine of its two vectors."""

    pooling: Pooling = "mean"
    """How to pool a text's hidden vectors: their mean, that of [CLS] (cls), or the maximum of each coordinate (max)."""
    normalize: bool = True
    """Whether vectors are scaled to length 1."""
    max_length: int = 128
    """Tokens of the longest sequence."""
    truncation: Truncation = "truncate"
    """What to do with a longer text: refuse it (error), cut and count it (truncate), or pool its windows (window)."""
    stride: int | None = None
    """Pieces from the start of one window to the next. None: half a window."""
    max_windows: int = 32
    """Maximum number of windows for one text. Pieces beyond them are cut and counted."""
    objective: Literal["auto", "contrastive", "cosine"] = "auto"
    """Find each text's partner in the batch (contrastive), or predict a pair's label (cosine). auto: by the table."""
    scale: float = 20.0
    """Factor of the cosines before the softmax (an inverse temperature)."""
    symmetric: bool = True
    """Whether each second text must also find its first text in the batch."""
    label_range: tuple[float, float] | None = None
    """Smallest and largest label of the training set. They correspond to the cosines 0 and 1."""
    pooler: bool = False
    """Whether the model has BERT's pooler. bertie doesn't use it here, but other programs expect it in the folder."""

    name: ClassVar[str] = "embedding"
    architecture: ClassVar[str] = "{}Model"
    graph_outputs: ClassVar[tuple[str, ...]] = ("last_hidden_state",)
    takes_vectors: ClassVar[bool] = True
    pools_texts: ClassVar[bool] = True
    plan: ClassVar[str] = "passages"
    model_settings: ClassVar[tuple[str, ...]] = ("pooling", "normalize", "pooler")
    card: ClassVar[CardText] = CardText(
        title="A BERT sentence encoder",
        pipeline="sentence-similarity",
        limits=(
            "Texts of similar meaning get similar vectors.",
            "The class of transformers returns a vector for each token, before pooling.",
        ),
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)
        for name, known in (("pooling", ("mean", "cls", "max")), ("objective", ("auto", "contrastive", "cosine"))):
            if getattr(self, name) not in known:
                raise SettingsError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")
        if not self.scale > 0:
            raise SettingsError(f"scale must be above 0; got {self.scale}")
        if self.label_range is not None and not self.label_range[0] < self.label_range[1]:
            raise SettingsError(f"label_range must be two numbers, the smaller first; got {self.label_range}")

    @property
    def compares_items(self) -> bool:  # type: ignore[override]
        """Whether a step can't be split, because the negatives of a text are the other texts of its batch."""
        return self.objective != "cosine"

    @property
    def criterion(self) -> str:  # type: ignore[override]
        """The score that fits the objective."""
        return "spearman" if self.objective == "cosine" else "mean_reciprocal_rank"

    @classmethod
    def read(cls, path: str | Path, *, labelled: bool = False, **how: Any) -> Table[Text]:
        """Read a table. For training and evaluation it must hold pairs, with or without numbers as labels.

        Raises:
            DataError: `labelled` is True and no column holds second texts.
        """
        from bertie.readers.table import read_table, with_points

        table = with_points(read_table(path, **how))
        if labelled and "pair" not in table.mapping:
            raise DataError(
                f"{path}: no column holds the second texts of pairs; name it by --columns text=NAME,pair=NAME. To "
                "learn from plain text without pairs: bertie pretrain TEXT --from MODEL --task embedding"
            )
        return table

    @classmethod
    def learn(cls, items: Sequence[Text], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Choose the objective: cosine if the pairs have labels, else contrastive. Return the labels' range as well.

        Raises:
            DataError: a text has no partner; only some pairs have labels; a label is not a number; all are equal.
            SettingsError: the table doesn't suit the objective in `settings`.
        """
        objective = settings.get("objective", "auto")
        if not has_labels(items):
            if objective == "cosine":
                raise SettingsError("objective=cosine needs a number for each pair, but no column holds labels")
            return {"objective": "contrastive"}
        if objective == "contrastive":
            raise SettingsError(
                "objective=contrastive learns from matching pairs without labels, but these have labels; if every "
                "pair matches, leave the labels out by --columns text=NAME,pair=NAME"
            )
        values = [value_of(item.label, f"line {item.line}") for item in items]
        if min(values) == max(values):
            raise DataError(f"every row has the label {values[0]:g}; there is nothing to learn")
        return {"objective": "cosine", "label_range": settings.get("label_range") or (min(values), max(values))}

    def check_items(self, items: Sequence[Text], path: Path) -> None:
        """Check that every text has a partner and that labels, if any, are numbers."""
        try:
            labelled = has_labels(items)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        for item in items if labelled else ():
            value_of(item.label, f"{path}:{item.line}")

    def has_gold(self, item: Any) -> bool:
        """Tell whether an item is a pair. Its second text is the one that the first should find."""
        return sides(item)[1] is not None

    def encode(self, items: Instances | Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack the texts of each item one after another, each as a sequence or as windows; or passages of a corpus.

        Targets of items: `sequence.side` (B,), 0 for the first text, 1 for the second, from 2 on for negatives;
        `token.share` (T,), the weight of a token in the mean; `item.value` (I,), 0 to 1, if all items have labels;
        `sequence.text` (B,), equal for equal texts, if no item has a label. The only target of passages is
        `sequence.document` (B,), the document of each.
        """
        if isinstance(items, Instances):
            assert items.documents is not None
            documents = {"sequence.document": items.documents}
            return Batch.pack(items.tokens, items.segments, items.offsets, targets=documents)
        owners, ids = self._texts(items, tokenizer)
        laid = lay_out(
            ids,
            [None] * len(ids),
            tokenizer,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
            max_windows=self.max_windows,
        )
        rows, side = owners[laid.rows].T  # (B,) each
        heads = np.flatnonzero(np.diff(rows, prepend=-1))
        cut = np.zeros(len(rows), np.int64)
        cut[heads] = np.add.reduceat(laid.pieces.truncated, heads)
        targets: dict[str, Any] = {"sequence.cut": cut, "sequence.side": side, "token.share": laid.shares()}
        labels = [getattr(item, "label", None) for item in items]
        if None not in labels and self.label_range is not None:
            values = [value_of(label, f"text {number}") for number, label in enumerate(labels, 1)]
            targets["item.value"] = self._scaled(np.array(values)).astype(np.float32)
        elif all(label is None for label in labels):
            targets["sequence.text"] = identities(laid)
        return Batch.pack(laid.pieces.tokens, laid.pieces.segments, laid.pieces.offsets, rows=rows, targets=targets)

    def _texts(self, items: Sequence[TextLike], tokenizer: Tokenizer) -> tuple[NDArray[np.int64], list[list[int]]]:
        """Return (item, side) of all texts, (N, 2), and their pieces, item by item."""
        first, second = encoded_texts(items, tokenizer)
        columns: list[Sequence[list[int] | None]] = [first, second]
        negatives = [
            () if pair is None else getattr(item, "negatives", ()) for item, pair in zip(items, second, strict=True)
        ]
        for index in range(max(map(len, negatives))):
            encoded = tokenizer.encode_batch([texts[index] if index < len(texts) else "" for texts in negatives])
            columns.append([ids if index < len(texts) else None for ids, texts in zip(encoded, negatives, strict=True)])
        owners = [
            (row, side) for row in range(len(items)) for side, column in enumerate(columns) if column[row] is not None
        ]
        pieces = [columns[side][row] or [] for row, side in owners]
        for (row, _), ids in zip(owners, pieces, strict=True):  # lay_out would name the text, not the item
            if self.truncation == "error" and len(ids) + 2 > self.max_length:
                raise DataError(
                    f"text {row + 1} has {len(ids) + 2} tokens, more than {self.max_length}; shorten it, or set "
                    "truncation=truncate"
                )
        return np.array(owners, np.int64), pieces

    def _scaled(self, values: Any) -> Any:
        """Map labels to cosines, from `label_range` to 0 and 1."""
        assert self.label_range is not None
        low, high = self.label_range
        return (values - low) / (high - low)

    def head(self, encoder: Any) -> EmbeddingHead:
        """Make the pooling. BERT's pooler is only kept for saving."""
        from bertie.nn.pooling import TextPooling
        from bertie.tasks._heads import EmbeddingHead

        pooling = TextPooling(self.pooling, normalized=self.normalize)
        return EmbeddingHead(pooling, encoder.pool("features") if self.pooler else None)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the items, or the pairs of passages."""
        from bertie.nn.contrastive import first_of_pairs

        documents = batch.targets.get("sequence.document")
        return {"embedding": float(batch.num_items if documents is None else len(first_of_pairs(documents)))}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Return the squared error of the cosine if the batch has labels, else the contrastive loss of its pairs."""
        import torch
        from torch.nn.functional import cosine_similarity

        from bertie.nn.contrastive import contrast_of_passages, contrastive
        from bertie.nn.pooling import first_sequences

        if "sequence.document" in batch.targets:
            total, right, count = contrast_of_passages(
                outputs, batch.targets["sequence.document"], scale=self.scale, symmetric=self.symmetric
            )
            return Loss({"embedding": Term(1.0, total, count)}, {"accuracy": (right, count)})
        heads, count = first_sequences(batch), float(batch.num_items)
        side = batch.targets["sequence.side"][heads]
        texts, pairs = outputs[side == _TEXT], outputs[side == _PAIR]  # (I, H)
        if len(pairs) < len(texts):
            raise KeyError("sequence.side has no second text of every item")
        if self.objective == "cosine" or "item.value" in batch.targets:
            errors = cosine_similarity(texts, pairs) - batch.targets["item.value"]
            return Loss({"embedding": Term(1.0, errors.square().sum(), count)})
        names = batch.targets["sequence.text"][heads]
        total, right = contrastive(
            texts,
            torch.cat([pairs, outputs[side >= _NEGATIVE]]),
            text_names=names[side == _TEXT],
            candidate_names=torch.cat([names[side == _PAIR], names[side >= _NEGATIVE]]),
            scale=self.scale,
            symmetric=self.symmetric,
        )
        return Loss({"embedding": Term(1.0, total, count)}, {"accuracy": (right, count)})

    def restored(self, named: Mapping[str, NDArray[np.float32]], batch: Packed) -> Any:
        """Pool the vectors of tokens: (N, H). The graph's own pooling doesn't join the windows of a text."""
        return pool(named["last_hidden_state"], batch, self.pooling, normalized=self.normalize)

    def decode(
        self, outputs: Tensor, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer
    ) -> list[Vector | Similarity]:
        """Return the vector of each text, or the similarity of each pair."""
        arrays = batch.arrays
        heads = first_sequences(arrays)
        owners = zip(arrays.rows[heads].tolist(), arrays.targets["sequence.side"][heads].tolist(), strict=True)
        by_side: list[dict[int, NDArray[np.float32]]] = [{} for _ in items]
        for (row, side), vector in zip(owners, as_array(outputs), strict=True):
            by_side[row][side] = vector
        return [self._pair(one) if _PAIR in one else Vector(one[_TEXT].copy()) for one in by_side]

    def _pair(self, by_side: Mapping[int, NDArray[np.float32]]) -> Similarity:
        vectors = np.stack([by_side[_TEXT], by_side[_PAIR]])
        first, second = unit(vectors.astype(np.float64))
        cosine = float(np.clip(first @ second, -1.0, 1.0))
        low, high = self.label_range or (0.0, 0.0)
        return Similarity(cosine, low + cosine * (high - low) if self.label_range else None, vectors)

    def score(self, predictions: Sequence[Vector | Similarity], items: Sequence[Text]) -> dict[str, float]:
        """Correlate cosines with the labels. Without labels, rank each text's partner among all second texts."""
        pairs = [guess for guess in predictions if isinstance(guess, Similarity)]  # only pairs are scored
        if has_labels(items):
            gold = [value_of(item.label, f"text {number}") for number, item in enumerate(items, 1)]
            guesses = [guess.similarity for guess in pairs]
            return {"pearson": pearson(gold, guesses), "spearman": spearman(gold, guesses)}
        first, second = unit(np.stack([guess.vectors for guess in pairs], axis=1))
        numbers: dict[str, int] = {}
        groups = [
            [numbers.setdefault(text, len(numbers)) for text in column]
            for column in zip(*map(sides, items), strict=True)
        ]
        ranks = ranks_of_own(first, second, *groups)
        return {"accuracy_at_1": accuracy_at_1(ranks), "mean_reciprocal_rank": mean_reciprocal_rank(ranks)}

    def judge(self, prediction: Vector | Similarity, item: Text) -> Judgement | None:
        """Compare the cosine with the label. Pairs without a label have no judgement."""
        if not isinstance(prediction, Similarity) or item.label is None or prediction.value is None:
            return None
        gold = value_of(item.label, "the label")
        distance = min(1.0, abs(prediction.similarity - self._scaled(gold)))
        return Judgement(f"{gold:g}", f"{prediction.value:.3g}", 1.0 - distance, None)


TASK = Embedding
