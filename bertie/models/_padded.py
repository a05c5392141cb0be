"""Private helper: call an encoder with padded tensors, as tutorials on BERT do.

``encoder(input_ids, attention_mask=..., token_type_ids=...)`` returns an output with ``last_hidden_state`` and
``pooler_output``. ``encoder(batch)`` takes a packed ``Batch``. A row may be padded on the left or on the right: its
positions are counted from its first token. The output is zero at padding.

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
from bertie.ops.dropout.op import Noise


class NoPoolerError(SettingsError, AttributeError):
    """The encoder has no pooler. As an AttributeError it makes `hasattr(output, "pooler_output")` False."""


@dataclass(frozen=True, eq=False)
class EncoderOutput:
    """The output of an encoder for padded tensors, also by index ([0], [1]) and by key (["last_hidden_state"])."""

    last_hidden_state: Tensor
    """(B, S, H)."""
    pooled: Tensor | None
    """(B, H); None without a pooler."""
    hidden_states: tuple[Tensor, ...] | None = None
    """(B, S, H) of the embeddings and of every block; None unless requested."""

    @property
    def pooler_output(self) -> Tensor:
        """(B, H).

        Raises:
            NoPoolerError: the encoder has no pooler.
        """
        if self.pooled is None:
            raise NoPoolerError(
                "this encoder has no pooler: use last_hidden_state[:, 0]; or open it by bertie.encoder(FOLDER), which "
                'adds the pooler of the folder; or set a new one: encoder.pooler = encoder.pool("features")'
            )
        return self.pooled

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the values that are not None, in the order of the fields."""
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
    """An encoder that takes padded tensors as well as packed batches; its `forward` gets packed ones only."""

    pooler: nn.Module | None
    """Computes `pooler_output`. It is set only for an encoder without a head: otherwise the head has the pooler."""

    def __init__(self) -> None:
        super().__init__()
        self.pooler = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Encode a `Batch` to (T, H), or padded tensors to an `EncoderOutput`.

        Raises:
            SettingsError: the tensors don't fit together, or an argument is unknown.
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
        if unknown := [name for name, value in others.items() if value is not None and value is not False]:
            raise SettingsError(
                f"an encoder has no argument {unknown[0]}; it takes input_ids, attention_mask and token_type_ids"
            )
        keep = _checked(self, input_ids, attention_mask, token_type_ids)
        assert input_ids is not None
        batch = Batch.from_padded(input_ids, keep, token_type_ids, left_padded=True)
        states = self._states(batch) if output_hidden_states else [self(batch)]

        def spread(hidden: Tensor) -> Tensor:
            return hidden.new_zeros(*keep.shape, hidden.shape[1]).index_put(keep.nonzero(as_tuple=True), hidden)

        output = EncoderOutput(
            spread(states[-1]),
            None if self.pooler is None else self.pooler(states[-1], batch),
            tuple(map(spread, states)) if output_hidden_states else None,
        )
        return output if return_dict else output.to_tuple()

    def _states(self, batch: Batch) -> list[Tensor]:
        """Return the (T, H) hidden vectors after the embeddings and after each block of one pass."""
        blocks, config = self.blocks, self.config
        assert isinstance(blocks, nn.ModuleList)
        if len(blocks) != config.num_layers:  # type: ignore[union-attr]
            raise SettingsError(f"{type(self).__name__} uses each block several times, so it has no hidden_states")
        noise = Noise.draw() if self.training else None
        states = [self(batch, noise, None, slice(0, 0))]
        for number in range(len(blocks)):
            states.append(self(batch, noise, states[-1], slice(number, number + 1)))
        return states


def _checked(encoder: nn.Module, ids: Any, mask: Any, segments: Any) -> Tensor:
    """Check the tensors, and return a (B, S) boolean mask that is True at tokens.

    Raises:
        SettingsError: the tensors don't fit together.
    """
    if isinstance(ids, Mapping):
        raise SettingsError("pass a tokenizer's output as encoder(**inputs), with two stars")
    for name, value in (("input_ids", ids), ("attention_mask", mask), ("token_type_ids", segments)):
        if value is None and name != "input_ids":
            continue
        if not isinstance(value, Tensor):
            raise SettingsError(f"{name} must be a torch tensor of shape (rows, columns); got {type(value).__name__}")
        if value.dim() == 1:
            raise SettingsError(
                f"{name} has one dimension, {tuple(value.shape)}, and must have two, (rows, columns); use {name}[None]"
            )
        if value.shape != ids.shape or value.dim() != 2:
            raise SettingsError(f"{name} has shape {tuple(value.shape)}, but input_ids has {tuple(ids.shape)}")
    if not ids.numel():
        raise SettingsError(f"input_ids holds no tokens; its shape is {tuple(ids.shape)}")
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise SettingsError(f"input_ids must be whole numbers; got {ids.dtype}")
    keep = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    if mask is not None and not torch.equal(keep.to(mask.dtype), mask):
        raise SettingsError("attention_mask must be 1 on tokens and 0 on padding")
    for row, fits in enumerate(((keep.int().diff(dim=1) == 1).sum(1) + keep[:, :1].sum(1) == 1).tolist()):
        if not fits:
            raise SettingsError(f"attention_mask must have one run of ones in each row; row {row} has not")
    _check_range("input_ids", ids[keep], getattr(encoder.config, "vocab_size", 0))
    if segments is not None and (num_segments := getattr(encoder.config, "num_segments", 0)):
        _check_range("token_type_ids", segments[keep], num_segments)
    if mask is None and bool((ids[:, -1] == getattr(encoder.config, "pad_id", -1)).any()):
        progress.warn("input_ids seem to be padded; without attention_mask, padding is read as text")
    return keep


def _check_range(name: str, values: Tensor, limit: int) -> None:
    if values.numel() and not (int(values.min()) >= 0 and int(values.max()) < limit):
        raise SettingsError(f"{name} must be from 0 to {limit - 1}; got {int(values.min())} to {int(values.max())}")
