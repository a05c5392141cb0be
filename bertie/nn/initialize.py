"""First weights: truncated normal for matrices and tables, 0 for biases, the identity for LayerNorms.

This follows the original code: standard deviation 0.02, cut at two deviations. Hugging Face draws from a plain normal
distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def initialize(
    module: nn.Module, *, deviation: float, generator: torch.Generator, kept: Iterable[nn.Parameter] = ()
) -> None:
    """Draw every parameter of `module`, in the order of its parameters' names.

    Args:
        module: changed in place.
        deviation: standard deviation before the cut at two deviations.
        generator: source of the draws; a generator on the CPU gives equal weights on every device.
        kept: parameters that another module shares; they are left unchanged.
    """
    others = {id(parameter) for parameter in kept}
    norms = {id(part.weight) for part in module.modules() if isinstance(part, nn.LayerNorm)}
    with torch.no_grad():
        for _, parameter in sorted(module.named_parameters()):
            if id(parameter) in others:
                continue
            if id(parameter) in norms:
                parameter.fill_(1.0)
            elif parameter.dim() == 1:
                parameter.zero_()
            else:
                parameter.copy_(truncated_normal(parameter.shape, deviation, generator))


def truncated_normal(shape: Sequence[int], deviation: float, generator: torch.Generator) -> Tensor:
    """Draw from a normal distribution that is cut at two deviations."""
    values = torch.empty(tuple(shape))
    nn.init.trunc_normal_(values, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator)
    return values
