"""The position-wise feed-forward part of a block ("Attention is all you need", 3.3) with BERT's GELU.

GELU has two forms: the exact one with erf (`gelu`, as in Hugging Face) and the tanh approximation of the original code
(`gelu_tanh`). They differ by less than 1e-3.

Shapes: T tokens, H hidden, I intermediate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.gelu.op import gelu
from bertie.ops.linear.op import Linear

Activation = Literal["gelu", "gelu_tanh", "relu"]

_ROWS = 1024  # large enough for full speed of the products, small enough to stay in the processor's cache
_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}


def activation_function(name: Activation) -> Callable[[Tensor], Tensor]:
    """Return the activation of this name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in _FUNCTIONS:
        raise ValueError(f"activation must be one of {', '.join(get_args(Activation))}; got {name!r}")
    return _FUNCTIONS[name]


class FeedForward(nn.Module):
    """Widen, activate, narrow.

    Args:
        hidden_size: H.
        intermediate_size: I.
        activation: name of the non-linearity.
    """

    def __init__(self, hidden_size: int, intermediate_size: int, activation: Activation) -> None:
        super().__init__()
        self.up = Linear(hidden_size, intermediate_size)
        self.down = Linear(intermediate_size, hidden_size)
        self.activation_name, self.activation = activation, activation_function(activation)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (T, H) to (T, H).

        In inference a CPU takes 1024 rows at a time. The widened vectors are the largest tensors of inference: they are
        four times as large as the hidden vectors and held twice.
        """
        if hidden.dim() != 2 or not _is_split(hidden):
            whole: Tensor = self.down(self.activation(self.up(hidden)))
            return whole
        return torch.cat([self.down(self.activation(self.up(rows))) for rows in torch.split(hidden, _ROWS)])


def _is_split(hidden: Tensor) -> bool:
    """Return whether to take some rows at a time: in inference on a CPU, outside compilation."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return hidden.device.type == "cpu" and hidden.shape[0] > _ROWS


class GatedFeedForward(nn.Module):
    """Widen twice, gate one half by the activation of the other, drop, narrow; no biases (GeGLU; Shazeer 2020).

    Args:
        hidden_size: H.
        intermediate_size: I.
        activation: name of the non-linearity; "gelu" makes it a GeGLU.
        dropout: rate on the gated values.
        site: number of this dropout in the network.
    """

    def __init__(
        self, hidden_size: int, intermediate_size: int, activation: Activation, *, dropout: float, site: int
    ) -> None:
        super().__init__()
        self.up = Linear(hidden_size, 2 * intermediate_size, bias=False)
        self.down = Linear(intermediate_size, hidden_size, bias=False)
        self.activation = activation_function(activation)
        self.dropout = Dropout(dropout, site=site)

    def forward(self, hidden: Tensor, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, H)."""
        opened, gated = self.up(hidden).chunk(2, dim=-1)  # (T, I)
        narrowed: Tensor = self.down(self.dropout(self.activation(opened) * gated, noise))
        return narrowed
