"""Padded tensors into an encoder and out of it, as every tutorial on BERT writes it.

``encoder(input_ids, attention_mask=..., token_type_ids=...)`` gives an output with ``last_hidden_state`` and
``pooler_output``; ``encoder(batch)`` with a packed ``Batch`` stays as it is. A row may be padded on its left or right:
its positions count from its first token. What comes out for padding is zero.

Shapes: B rows, S columns, T tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bertie import progress
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.nn.dropout import Noise


class NoPoolerError(SettingsError, AttributeError):
    """The pooler's output is asked of an encoder without one; an AttributeError for whoever asks by hasattr."""


@dataclass(frozen=True, eq=False)
class EncoderOutput:
    """What an encoder makes of padded tensors; also by place ([0], [1]) and by name (["last_hidden_state"])."""

    last_hidden_state: Tensor
    """(B, S, H)."""
    pooled: Tensor | None
    """(B, H), None without a pooler."""
    hidden_states: tuple[Tensor, ...] | None = None
    """(B, S, H) of the embeddings and of every block; None unless asked for."""

    @property
    def pooler_output(self) -> Tensor:
        """(B, H).

        Raises:
            NoPoolerError: the encoder has none.
        """
        if self.pooled is None:
            raise NoPoolerError(
                "this encoder has no pooler: take last_hidden_state[:, 0]; or open it by bertie.encoder(FOLDER), which "
                'brings the pooler of the folder; or give it a new one: encoder.pooler = encoder.pool("features")'
            )
        return self.pooled

    def to_tuple(self) -> tuple[Any, ...]:
        """Return what is there, in the order of the fields."""
        return tuple(value for value in (self.last_hidden_state, self.pooled, self.hidden_states) if value is not None)

    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, str):
            return getattr(self, key)
        return self.pooler_output if key == 1 else self.to_tuple()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.to_tuple())


class TakesPadded(nn.Module):
    """An encoder that takes padded tensors beside packed batches; its `forward` sees packed ones only."""

    pooler: nn.Module | None
    """Makes `pooler_output`; in a model of ours the head has it, so it is set only for an encoder on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.pooler = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Encode a `Batch` to (T, H), or padded tensors to an `EncoderOutput`.

        Raises:
            SettingsError: tensors that don't fit, or an argument that isn't taken.
        """
        if (args and isinstance(args[0], Batch)) or "batch" in kwargs:
            return super().__call__(*args, **kwargs)
        return self._padded(*args, **kwargs)

    def _padded(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        **others: Any,
    ) -> EncoderOutput | tuple[Any, ...]:
        if left := [name for name, value in others.items() if value is not None and value is not False]:
            raise SettingsError(f"an encoder takes no {left[0]}; it takes input_ids, attention_mask and token_type_ids")
        keep = _checked(self, input_ids, attention_mask, token_type_ids)
        assert input_ids is not None
        batch = Batch.from_padded(input_ids, keep, token_type_ids, left_padded=True)
        states = self._states(batch) if output_hidden_states else [self(batch)]

        def spread(hidden: Tensor) -> Tensor:
            return hidden.new_zeros(*keep.shape, hidden.shape[1]).index_put(keep.nonzero(as_tuple=True), hidden)

        found = EncoderOutput(
            spread(states[-1]),
            None if self.pooler is None else self.pooler(states[-1], batch),
            tuple(map(spread, states)) if output_hidden_states else None,
        )
        return found if return_dict else found.to_tuple()

    def _states(self, batch: Batch) -> list[Tensor]:
        """Return the (T, H) after the embeddings and after each block, all of one pass."""
        blocks, config = self.blocks, self.config
        assert isinstance(blocks, nn.ModuleList)
        if len(blocks) != config.num_layers:  # type: ignore[union-attr]
            raise SettingsError(f"{type(self).__name__} uses each block several times: there are no hidden_states")
        noise = Noise.draw() if self.training else None
        states = [self(batch, noise, None, slice(0, 0))]
        for number in range(len(blocks)):
            states.append(self(batch, noise, states[-1], slice(number, number + 1)))
        return states


def _checked(encoder: nn.Module, ids: Any, mask: Any, segments: Any) -> Tensor:
    """Refuse tensors that don't fit, and return where the tokens are: (B, S) of truth values."""
    if isinstance(ids, Mapping):
        raise SettingsError("a tokenizer's output is given as encoder(**inputs), with two stars")
    for name, value in (("input_ids", ids), ("attention_mask", mask), ("token_type_ids", segments)):
        if value is None and name != "input_ids":
            continue
        if not isinstance(value, Tensor):
            raise SettingsError(f"{name} must be a torch tensor of shape (rows, columns); got {type(value).__name__}")
        if value.dim() == 1:
            raise SettingsError(
                f"{name} has one dimension, {tuple(value.shape)}, and must have two, (rows, columns): {name}[None]"
            )
        if value.shape != ids.shape or value.dim() != 2:
            raise SettingsError(f"{name} has shape {tuple(value.shape)} beside input_ids of {tuple(ids.shape)}")
    if not ids.numel():
        raise SettingsError(f"input_ids holds no tokens; its shape is {tuple(ids.shape)}")
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise SettingsError(f"input_ids must be whole numbers; got {ids.dtype}")
    keep = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    if mask is not None and not torch.equal(keep.to(mask.dtype), mask):
        raise SettingsError("attention_mask must be 1 on tokens and 0 on padding")
    for row, fits in enumerate(((keep.int().diff(dim=1) == 1).sum(1) + keep[:, :1].sum(1) == 1).tolist()):
        if not fits:
            raise SettingsError(f"attention_mask must have its ones side by side, at least one; row {row} has not")
    _check_range("input_ids", ids[keep], getattr(encoder.config, "vocab_size", 0))
    if segments is not None and (kinds := getattr(encoder.config, "num_segments", 0)):
        _check_range("token_type_ids", segments[keep], kinds)
    if mask is None and bool((ids[:, -1] == getattr(encoder.config, "pad_id", -1)).any()):
        progress.warn("input_ids seem to be padded, and without attention_mask padding is read as text")
    return keep


def _check_range(name: str, values: Tensor, limit: int) -> None:
    if values.numel() and not (int(values.min()) >= 0 and int(values.max()) < limit):
        raise SettingsError(f"{name} must be from 0 to {limit - 1}; got {int(values.min())} to {int(values.max())}")
