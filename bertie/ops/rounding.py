"""Round the number of rows of large CPU products up to a few sizes.

The CPU library compiles a kernel for every new shape and keeps the last thousand or so. Each packed batch has a
different number of tokens, so a run would compile dozens of kernels a step and hold gigabytes of them. With rounded
sizes it compiles some dozens in all. The added rows reach no output.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

_LEAST_STEP = 16


def rounded(count: int, *, step: int, learning: bool = False) -> int:
    """Round `count` up to a multiple of `step`, or of a smaller power of two where `step` would add over an eighth.

    In inference small counts stay as they are, because latency matters more there. In training each new shape costs
    one kernel forward and two backward: with multiples of 16, products of 100 to 250 rows take half the time.

    >>> rounded(1000, step=128), rounded(300, step=128), rounded(100, step=128), rounded(100, step=128, learning=True)
    (1024, 320, 100, 112)
    """
    if count < 2 * step:
        return -(-count // _LEAST_STEP) * _LEAST_STEP if learning and count > _LEAST_STEP else count
    step = min(step, 1 << max(count.bit_length() - 4, 0))
    return -(-count // step) * step


def rounded_group(count: int) -> int:
    """Round `count` up to 1, 2, 4, 8 or a multiple of 8."""
    return 1 << (count - 1).bit_length() if count <= 8 else -(-count // 8) * 8


def pad_rows(values: Tensor, *, step: int) -> Tensor:
    """Append rows of zeros to (T, ...) values on a CPU; return values on other devices unchanged."""
    count = values.shape[0]
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        return values
    spare = rounded(count, step=step, learning=torch.is_grad_enabled()) - count
    return pad(values, (*[0, 0] * (values.dim() - 1), 0, spare)) if spare else values
