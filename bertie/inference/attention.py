"""Show how a model reads a text: its pieces with their characters, and the attention weights between them.

This is for people who look at a model. Inference itself never keeps attention weights.

Shapes: L layers, N heads, S tokens of one sequence, T = S of a batch with one sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.inference.predictor import Predictor
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class ShownToken:
    """One token of a sequence, as a reader sees it."""

    token: str
    id: int
    """Its number in the vocabulary."""
    starts: bool
    """Whether a word begins with it."""
    side: int | None
    """0: it is a piece of the text, 1: of the second text, None: a special token that the model adds."""
    start: int = 0
    """First character in its text."""
    end: int = 0
    """Index after its last character."""


@dataclass(frozen=True, eq=False)
class ShownTokens:
    """The tokens that a model reads for a text, or a pair of texts."""

    tokens: tuple[ShownToken, ...]
    batch: Batch
    """The same tokens as the input of an encoder."""
    cut: int
    """Number of pieces left out because the text is too long."""


def tokens_of(tokenizer: Tokenizer, text: str, pair: str | None = None, *, max_length: int) -> ShownTokens:
    """Return the tokens that a model reads for a text.

    Args:
        tokenizer: of the model.
        text: the text.
        pair: the second text of a pair; None without one.
        max_length: tokens to show; pieces beyond them are left out.

    Raises:
        DataError: a text has a lone surrogate.
    """
    texts = [text] if pair is None else [text, pair]
    aligned = tokenizer.encode_batch_aligned(texts)
    second = None if pair is None else aligned[1][0]
    packed = tokenizer.pack_ids([aligned[0][0]], [second], max_length=max_length, truncation="truncate")
    ids = packed.tokens.tolist()
    kept = len(ids) - 2
    sides: list[int | None] = [None] * len(ids)
    edges = [(0, 0)] * len(ids)
    if pair is not None:
        last = int(packed.segments.sum()) - 1  # pieces of the second text, which end before the last separator
        kept -= tokenizer.num_between + last
        begin = len(ids) - 1 - last
        sides[begin:-1], edges[begin:-1] = [1] * last, aligned[1][1][:last]
    sides[1 : 1 + kept], edges[1 : 1 + kept] = [0] * kept, aligned[0][1][:kept]
    tokens = (
        ShownToken(tokenizer.shown[number], number, starts, side, *span)
        for number, starts, side, span in zip(ids, tokenizer.word_starts(ids), sides, edges, strict=True)
    )
    return ShownTokens(
        tuple(tokens), Batch.pack(packed.tokens, packed.segments, packed.offsets), int(packed.truncated.sum())
    )


def has_attention(predictor: Predictor[Any]) -> bool:
    """Tell whether the attention weights of a model can be shown. Those of an exported encoder can't."""
    encoder: Any = getattr(predictor.bundle.model, "encoder", None)
    if encoder is None:
        return False
    from bertie.nn.block import SelfAttention

    return any(isinstance(part, SelfAttention) for part in encoder.modules())


def attention_of(predictor: Predictor[Any], batch: Batch) -> Tensor:
    """Return all attention weights of one sequence.

    The encoder runs in torch, whatever the backend of the predictor, on a copy that shares its weights. So other
    threads can predict with the model at the same time.

    Args:
        predictor: the model.
        batch: one sequence.

    Returns:
        (L, N, S, S): in each row, how much the token of the row looks at each token.

    Raises:
        SettingsError: the encoder was exported, so its parts can't be seen.
    """
    if not has_attention(predictor):
        raise SettingsError("the attention of an exported model can't be seen; load the model folder it was made from")
    import torch

    from bertie.backends._fused import shared_copy
    from bertie.nn.block import SelfAttention

    encoder = shared_copy(predictor.bundle.model.encoder).eval()
    layers: list[Tensor] = []

    def look(part: nn.Module, inputs: tuple[Any, ...]) -> None:
        hidden, layout, _, *relation = inputs
        layers.append(part.weights(hidden, layout, *relation)[0])  # type: ignore[operator]

    for part in encoder.modules():
        if isinstance(part, SelfAttention):
            part.register_forward_pre_hook(look)
    with torch.inference_mode():
        encoder(batch.to(predictor.device))
    return torch.stack(layers).float().cpu()
