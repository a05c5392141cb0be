"""The layers of an encoder, by the names of their parameters. Training knows no architecture beyond these names.

`encoder.embeddings.*` is the lowest layer, followed by `encoder.blocks.0.*` and so on. Everything else is the head.
"""

from __future__ import annotations

import re

from torch import Tensor, nn

from bertie.errors import SettingsError

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def num_blocks(model: nn.Module) -> int:
    """Count an encoder's blocks; 0 for a network whose layers have other names."""
    matches = (_BLOCK.match(name) for name, _ in model.named_parameters())
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


def depth(name: str, num_blocks: int) -> int:
    """Return the layer of a parameter: 0 for embeddings, 1 to L for blocks, L + 1 for the head.

    >>> depth("encoder.blocks.3.attention.qkv.weight", num_blocks=12)
    4
    """
    if name.startswith("encoder.embeddings."):
        return 0
    match = _BLOCK.match(name)
    return num_blocks + 1 if match is None else 1 + int(match[1])


def num_matrices(name: str, value: Tensor) -> int:
    """Count the matrices that are stacked in a parameter of a block; 0 for any other parameter.

    Queries, keys and values are stacked in one parameter.
    """
    if not _BLOCK.match(name) or not name.endswith(".weight") or value.dim() != 2:
        return 0
    return 3 if name.endswith(".qkv.weight") else 1


def rate_scales(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """Return each parameter's factor of the learning rate, by name: decay^(L + 1 - depth), so 1 for the head.

    A tied matrix is named once, in the embeddings.

    Raises:
        SettingsError: there is a decay, and the network has no blocks with known names.
    """
    top = num_blocks(model)
    if layer_decay != 1.0 and top == 0:
        raise SettingsError("optimizer.layer_decay needs an encoder with blocks, and this one has none; set it to 1")
    return {name: layer_decay ** (top + 1 - depth(name, top)) for name, _ in model.named_parameters()}
