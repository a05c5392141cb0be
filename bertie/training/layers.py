"""What training knows of an encoder's layers: the names of their parameters, and no architecture.

`encoder.embeddings.*` lie lowest, above them `encoder.blocks.0.*` and so on; everything else is the head on top.
"""

from __future__ import annotations

import re

from torch import Tensor, nn

from bertie.errors import SettingsError

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def num_blocks(model: nn.Module) -> int:
    """Count an encoder's blocks; 0 for a network whose layers have other names."""
    found = (_BLOCK.match(name) for name, _ in model.named_parameters())
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def depth(name: str, num_blocks: int) -> int:
    """Tell how high a parameter lies: 0 the embeddings, 1 to L the blocks, L + 1 what is above."""
    if name.startswith("encoder.embeddings."):
        return 0
    match = _BLOCK.match(name)
    return num_blocks + 1 if match is None else 1 + int(match[1])


def num_matrices(name: str, value: Tensor) -> int:
    """Count the matrices of a block that stand one above the other in a parameter; 0 for anything else.

    Queries, keys and values are one parameter.
    """
    if not _BLOCK.match(name) or not name.endswith(".weight") or value.dim() != 2:
        return 0
    return 3 if name.endswith(".qkv.weight") else 1


def rate_scales(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """Share of the learning rate that each parameter gets, by name: decay^(L + 1 - depth), so 1 for the head.

    A tied matrix is named once, where it stands first: in the embeddings.

    Raises:
        SettingsError: a decay for a network whose layers aren't known.
    """
    top = num_blocks(model)
    if layer_decay != 1.0 and top == 0:
        raise SettingsError("optimizer.layer_decay needs an encoder with blocks, and this one has none by that name")
    return {name: layer_decay ** (top + 1 - depth(name, top)) for name, _ in model.named_parameters()}
