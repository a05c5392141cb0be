"""Dropout as a stateless hash of (seed, step, site, index). The index is a place in the batch of the whole step.

It has no state that a resume would need, and any number of micro-batches and processes draws the same masks. torch's
own CPU dropout draws its numbers on one thread and takes as long as some fifty additions. This one is a handful of
element-wise integer operations. Tests check its statistical quality; it needs no cryptographic quality.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

_MASK = (1 << 64) - 1
# Constants of lowbias32 as signed 32-bit integers: torch multiplies int32 modulo 2**32, as uint32 would.
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B - (1 << 32)
_words: dict[torch.device, Tensor] = {}
Axis = Literal["token", "sequence", "none"]


def mix64(*parts: int) -> int:
    """Hash integers to one 64-bit integer: the finaliser of splitmix64, applied to one part after another."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (state ^ (part & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


@dataclass(frozen=True)
class Place:
    """The place of a micro-batch in the batch of its step. With it, draws don't depend on how the batch is divided."""

    tokens: int = 0
    """Tokens of the step before this micro-batch."""
    sequences: int = 0
    """Sequences of the step before this micro-batch."""
    longest: int = 0
    """Tokens of the longest sequence of the step; 0 for that of this micro-batch."""
    target_tokens: int = 0
    """`tokens` of the decoder's side."""


class Noise:
    """The key of the dropout draws of one forward pass, a hash of (seed, step, micro-batch).

    Args:
        seed: of the run.
        step: number of updates before this one.
        micro_batch: distinguishes passes of one step that have no `place`.
        place: of the micro-batch in its step.
    """

    def __init__(self, seed: int, step: int = 0, micro_batch: int = 0, *, place: Place = Place()) -> None:
        self.key = mix64(seed, step, micro_batch)
        self.place = place

    def apart(self, number: int) -> Noise:
        """Return another key for the same micro-batch, for a second network or round with the same sites."""
        return Noise(mix64(self.key, number), place=self.place)

    def on_target(self) -> Noise:
        """Return the same key with the place of the decoder's side."""
        other = Noise.__new__(Noise)
        other.key, other.place = self.key, replace(self.place, tokens=self.place.target_tokens)
        return other

    @classmethod
    def draw(cls) -> Noise:
        """Draw a key from torch's global generator, for training loops that pass no noise."""
        return cls(int(torch.randint(0, 2**62, ()).item()))

    def at(self, site: int) -> tuple[int, int]:
        """Return the two signed 32-bit key words of one site of the network."""
        return _words_of(mix64(self.key, site))


def _words_of(key: int) -> tuple[int, int]:
    return _signed(key & 0xFFFFFFFF), _signed(key >> 32)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word


def _scramble(word: Tensor, shift: int) -> Tensor:
    """Apply x ^= x >> shift with a logical shift, in place; torch's >> on int32 would repeat the sign."""
    return word.bitwise_xor_(word.bitwise_right_shift(shift).bitwise_and_((1 << (32 - shift)) - 1))


def _indices(count: int, device: torch.device, begin: int = 0) -> Tensor:
    """Return (count,) int32 hashed indices from `begin`. They depend on no key, so the longest table is kept."""
    if begin:
        return _hashed(torch.arange(begin, begin + count, device=device).to(torch.int32))  # modulo 2**32
    table = _words.get(device)
    if table is None or table.shape[0] < count:
        table = _words[device] = _hashed(torch.arange(max(count, 1 << 16), dtype=torch.int32, device=device))
    return table[:count]


def _hashed(index: Tensor) -> Tensor:
    """Hash int32 indices, in place."""
    return _scramble(_scramble(_scramble(index, 16).mul_(_FIRST), 15).mul_(_SECOND), 16)


def _lanes(words: Tensor, second: int, rate: float) -> Tensor:
    """Finish the hash of int32 words in place; return two booleans a word, one for each half, True to keep."""
    words = _scramble(words.mul_(_FIRST), 15).add_(second).mul_(_SECOND)
    return _scramble(words, 16).view(torch.int16) >= round(rate * 65536) - 32768


def attention_mask(
    queries: Tensor, *, heads: int, num_keys: int, words: int, rate: float, first: int, second: int, begin: int = 0
) -> Tensor:
    """Draw the boolean mask of the attention weights that dropout keeps.

    Args:
        queries: (G, Q) rows of the queries in the packed batch.
        heads: N.
        num_keys: S, even; keys are counted from the start of their sequence.
        words: half the keys of the step's longest sequence, rounded up.
        rate: probability of False, in steps of 2**-16.
        first: first key word of the site.
        second: second key word of the site.
        begin: queries of the step before this micro-batch.

    Returns:
        (G, N, Q, S).
    """
    rows = (queries[:, None] + begin) * heads + torch.arange(heads, device=queries.device)[:, None]  # (G, N, Q)
    index = (rows * words)[..., None] + torch.arange(num_keys // 2, device=queries.device)
    hashed = _hashed(index.to(torch.int32))  # modulo 2**32, like the whole hash
    return _lanes(hashed.bitwise_xor_(first), second, rate).view(*index.shape[:-1], num_keys)


def keep_mask(
    shape: tuple[int, ...], rate: float, noise: Noise, site: int, device: torch.device, *, axis: Axis = "token"
) -> Tensor:
    """Draw the boolean mask of the values that dropout keeps.

    Args:
        shape: of the mask.
        rate: probability of False, in steps of 2**-16.
        noise: the key of this forward pass.
        site: number of the dropout in the network, different for every dropout of a model.
        device: of the mask.
        axis: what the first axis runs along, which decides how much of the step comes before.
    """
    first, second = noise.at(site)
    count = math.prod(shape)
    before = {"token": noise.place.tokens, "sequence": noise.place.sequences, "none": 0}[axis]
    begin, odd = divmod(before * math.prod(shape[1:]), 2)
    indices = _indices((odd + count + 1) // 2, device, begin)
    lanes = _lanes(indices.bitwise_xor(first), second, rate)
    return lanes[odd : odd + count].view(shape)


class _Drop(torch.autograd.Function):
    """Multiply by a mask and a scale. The backward pass needs only the mask, one byte an element."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, keep: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale  # type: ignore[attr-defined]
        return keep.to(values.dtype).mul_(scale).mul_(values)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = gradients[0]
        return keep.to(gradient.dtype).mul_(ctx.scale).mul_(gradient), None, None  # type: ignore[attr-defined]


class Dropout(nn.Module):
    """In training mode, set a share of the values to zero and scale up the rest.

    Args:
        rate: share of the values to drop.
        site: number of this dropout in the network.
    """

    def __init__(self, rate: float, *, site: int) -> None:
        super().__init__()
        self.rate, self.site = rate, site

    def forward(self, values: Tensor, noise: Noise | None, axis: Axis = "token") -> Tensor:
        """Map values to the same shape. In training mode, without `noise`, draw a key from torch's generator.

        Args:
            values: of any shape.
            noise: key of the draws.
            axis: what the first axis of the values runs along.
        """
        if self.rate == 0.0 or not self.training:
            return values
        keep = keep_mask(tuple(values.shape), self.rate, noise or Noise.draw(), self.site, values.device, axis=axis)
        dropped: Tensor = _Drop.apply(values, keep, 1.0 / (1.0 - self.rate))  # type: ignore[no-untyped-call]
        return dropped

    def extra_repr(self) -> str:
        """Return rate and site for the printed module."""
        return f"rate={self.rate}, site={self.site}"
