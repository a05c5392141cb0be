"""Round the rows of large CPU products to a few sizes.

The CPU library compiles a kernel for every new shape and keeps the last thousand or so. Packed batches have another
number of tokens each, so a run would compile dozens of kernels a step and hold gigabytes of them; rounded up, it
compiles some dozens in all. What is added reaches no output.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

_LEAST_STEP = 16


def rounded(count: int, *, step: int, learning: bool = False) -> int:
    """Return `count` up to a multiple of `step`, or of a smaller power of two where that would add over an eighth.

    Small counts stay as they are where a model is used, because waiting matters more there. Where it learns, each shape
    would cost a kernel forward and two backward; to multiples of 16, products of 100 to 250 rows take half the time.
    """
    if count < 2 * step:
        return -(-count // _LEAST_STEP) * _LEAST_STEP if learning and count > _LEAST_STEP else count
    step = min(step, 1 << max(count.bit_length() - 4, 0))
    return -(-count // step) * step


def rounded_group(count: int) -> int:
    """Return 1, 2, 4, 8 or a multiple of 8, `count` at least."""
    return 1 << (count - 1).bit_length() if count <= 8 else -(-count // 8) * 8


def pad_rows(values: Tensor, *, step: int) -> Tensor:
    """Append rows of zeros to (T, ...) values on a CPU; elsewhere nothing is added."""
    count = values.shape[0]
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        return values
    spare = rounded(count, step=step, learning=torch.is_grad_enabled()) - count
    return pad(values, (*[0, 0] * (values.dim() - 1), 0, spare)) if spare else values
