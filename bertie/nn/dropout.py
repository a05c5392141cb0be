"""Dropout as a stateless hash of (seed, step, micro-batch, site, index).

Nothing has to be saved for a resume, and any number of workers draws the same masks. torch's own CPU dropout draws
its numbers on one thread and costs some fifty additions; this one is a handful of element-wise integer operations.
Statistical quality is held by tests, cryptographic quality is not wanted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_MASK = (1 << 64) - 1
# lowbias32's constants, as signed 32-bit integers: torch multiplies int32 modulo 2**32 just as uint32 would.
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B - (1 << 32)
_words: dict[torch.device, Tensor] = {}


def mix64(*parts: int) -> int:
    """Hash integers to one of 64 bits (splitmix64's finaliser, applied part by part)."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (state ^ (part & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


class Noise:
    """The key of one forward pass: what (seed, step, micro-batch) hash to."""

    def __init__(self, seed: int, step: int = 0, micro_batch: int = 0) -> None:
        self.key = mix64(seed, step, micro_batch)

    @classmethod
    def draw(cls) -> Noise:
        """Take a key from torch's global generator, for loops that aren't ours and pass no noise."""
        return cls(int(torch.randint(0, 2**62, ()).item()))

    def at(self, site: int) -> tuple[int, int]:
        """Return the two signed 32-bit words that key one site of the network."""
        return _words_of(mix64(self.key, site))


def _words_of(key: int) -> tuple[int, int]:
    return _signed(key & 0xFFFFFFFF), _signed(key >> 32)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word


def _scramble(word: Tensor, shift: int) -> Tensor:
    """Apply x ^= x >> shift as a logical shift, in place; torch's >> on int32 would drag the sign along."""
    return word.bitwise_xor_(word.bitwise_right_shift(shift).bitwise_and_((1 << (32 - shift)) - 1))


def _indices(count: int, device: torch.device) -> Tensor:
    """Return (count,) int32 hashed indices. They depend on nothing else, so the longest table made so far is kept."""
    table = _words.get(device)
    if table is None or table.shape[0] < count:
        table = _words[device] = _hashed(torch.arange(max(count, 1 << 16), dtype=torch.int32, device=device))
    return table[:count]


def _hashed(index: Tensor) -> Tensor:
    """Hash int32 indices, in place."""
    return _scramble(_scramble(_scramble(index, 16).mul_(_FIRST), 15).mul_(_SECOND), 16)


def _lanes(words: Tensor, second: int, rate: float) -> Tensor:
    """Finish the hash of int32 words, in place, and keep or drop by their halves: two draws of 16 bits a word."""
    words = _scramble(words.mul_(_FIRST), 15).add_(second).mul_(_SECOND)
    return _scramble(words, 16).view(torch.int16) >= round(rate * 65536) - 32768


def attention_mask(
    queries: Tensor, *, heads: int, num_keys: int, words: int, rate: float, first: int, second: int
) -> Tensor:
    """Draw the boolean mask of the attention weights that dropout keeps.

    Args:
        queries: (G, Q) rows of the queries in the packed batch.
        heads: N.
        num_keys: S, even; keys count from the beginning of their sequence.
        words: half the keys of the batch's longest sequence, rounded up.
        rate: probability of a False, in steps of 2**-16.
        first: key word of the site.
        second: the other one.

    Returns:
        (G, N, Q, S).
    """
    rows = queries[:, None] * heads + torch.arange(heads, device=queries.device)[:, None]  # (G, N, Q)
    index = (rows * words)[..., None] + torch.arange(num_keys // 2, device=queries.device)
    hashed = _hashed(index.to(torch.int32))  # modulo 2**32, as all of this
    return _lanes(hashed.bitwise_xor_(first), second, rate).view(*index.shape[:-1], num_keys)


def keep_mask(shape: tuple[int, ...], rate: float, noise: Noise, site: int, device: torch.device) -> Tensor:
    """Draw the boolean mask of what dropout keeps.

    Args:
        shape: of the mask.
        rate: probability of a False, in steps of 2**-16.
        noise: the key of this forward pass.
        site: number of the place in the network; every dropout of a model has its own.
        device: where the mask is made.
    """
    first, second = noise.at(site)
    count = math.prod(shape)
    lanes = _lanes(_indices((count + 1) // 2, device).bitwise_xor(first), second, rate)
    return lanes[:count].view(shape)


class _Drop(torch.autograd.Function):
    """Multiply by a mask and a scale; only the mask of one byte an element is kept for the backward pass."""

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
    """Zero a share of the values and scale the rest up, in training mode only.

    Args:
        rate: share of the values to drop.
        site: number of this place in the network.
    """

    def __init__(self, rate: float, *, site: int) -> None:
        super().__init__()
        self.rate, self.site = rate, site

    def forward(self, values: Tensor, noise: Noise | None) -> Tensor:
        """Return values of the same shape; `noise` None in training mode draws from torch's global generator."""
        if self.rate == 0.0 or not self.training:
            return values
        keep = keep_mask(tuple(values.shape), self.rate, noise or Noise.draw(), self.site, values.device)
        dropped: Tensor = _Drop.apply(values, keep, 1.0 / (1.0 - self.rate))  # type: ignore[no-untyped-call]
        return dropped

    def extra_repr(self) -> str:
        """Show rate and site in the module's print."""
        return f"rate={self.rate}, site={self.site}"
