"""Store the weights of a live page: whole numbers with one scale for each row of a matrix, deflated, in base64.

`serving/live/weights.js` reads them. The finest numbers that fit into the page are chosen.

Shapes: R rows of a matrix, C columns.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bertie.errors import SettingsError

MAX_BYTES = 5_000_000
"""A page is smaller than this."""
MAX_STAGES = 12
"""Checkpoints that the page shows at most, the finished model not counted."""
Shapes = list[list[Any]]
"""Name and sizes of each tensor of the page."""
Grade = tuple[int, int]
"""Largest whole number of a row in queries, keys, values and positions, and in other matrices. Heads that look sharply
at a neighbour multiply an error, so theirs are finer."""
_FINE: tuple[Grade, ...] = ((32767, 32767), (32767, 2047), (2047, 127), (127, 127), (127, 63))
"""Grades from which that of the finished model is chosen, the finest first."""
_COARSE: tuple[Grade, ...] = ((2047, 127), (2047, 63), (2047, 31), (1023, 15))
"""Those of the checkpoints before it."""
_SHARP = (".attention.qkv.weight", "embeddings.position.weight")
_BYTE = 127  # larger numbers take two bytes


def _rounded(matrix: NDArray[Any], levels: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a scale for each row, (R,), and whole numbers from -levels to levels, (R, C)."""
    scales = (np.abs(matrix).max(1) / levels).astype("<f4")
    return scales, np.rint(matrix / np.where(scales > 0, scales, 1)[:, None]).clip(-levels, levels).astype("<i2")


def _level(name: str, grade: Grade) -> int:
    return grade[0] if name.endswith(_SHARP) else grade[1]


def _bits(grade: Grade) -> list[int]:
    return [(2 * level + 1).bit_length() for level in grade]


def pack(arrays: Sequence[NDArray[Any]], shapes: Shapes, grade: Grade) -> str:
    """Return all tensors as text; see `serving/live/weights.js`."""
    parts: list[bytes] = []
    for (name, *_), array in zip(shapes, arrays, strict=True):
        if array.ndim == 1:
            parts.append(array.astype("<f4").tobytes())
            continue
        level = _level(name, grade)
        scales, whole = _rounded(array, level)
        parts.append(scales.tobytes())
        if level > _BYTE:
            parts += [(whole >> 8).astype("i1").tobytes(), (whole & 255).astype("u1").tobytes()]
        else:
            parts.append(whole.astype("i1").tobytes())
    # Weights repeat nothing, so matches only cost: the code of each number by its frequency is shorter alone.
    deflate = zlib.compressobj(9, strategy=zlib.Z_HUFFMAN_ONLY)
    return base64.b64encode(b"".join((*map(deflate.compress, parts), deflate.flush()))).decode()


def stage(step: int | None, packed: str, grade: Grade) -> dict[str, Any]:
    """Return what the page holds of the model at a step."""
    wide = [level > _BYTE for level in grade]
    return {"step": step, "bytes": packed, "bits": _bits(grade), "wide": wide}


def fitting(
    arrays: Sequence[NDArray[Any]], shapes: Shapes, room: int, *, has_stages: bool, name: str
) -> tuple[Grade, str]:
    """Return the finest grade with which the finished model fits, and its packed tensors.

    Raises:
        SettingsError: it doesn't fit.
    """
    numbers = sum(array.size for array in arrays)
    for part, grades in ((0.6, _FINE[1:2]), (1.0, _FINE[1:])) if has_stages else ((1.0, _FINE),):
        for grade in grades:
            if numbers * _bits(grade)[1] / 8 <= 1.2 * part * room:  # packing a far too large model would take long
                packed = pack(arrays, shapes, grade)
                if len(packed) <= part * room:
                    return grade, packed
    raise SettingsError(
        f"{name} has {numbers / 1e6:.1f} million weights, too many for a page of {MAX_BYTES / 1e6:.0f} MB, which holds "
        "about 4 million; show a smaller model. --attention shows where a large one looks"
    )


def thinned(
    steps: Sequence[int], arrays_of: Callable[[int], Sequence[NDArray[Any]]], shapes: Shapes, room: int, last_step: int
) -> list[dict[str, Any]]:
    """Return the checkpoints of a run that fit, packed.

    The finest grade is taken with which all fit; with the coarsest, fewer are kept. Their steps are then spread evenly
    on a logarithmic scale, because a model learns most in the beginning.

    Args:
        steps: of the checkpoints, in order.
        arrays_of: the tensors of the checkpoint at a place of `steps`.
        shapes: of the tensors.
        room: characters that all of them may take.
        last_step: of the finished model.
    """
    most = min(len(steps), MAX_STAGES)
    sample = arrays_of(len(steps) - 1)
    count, grade = 0, _COARSE[-1]
    for grade in _COARSE:
        count = min(most, int(room / (1.02 * len(pack(sample, shapes, grade)))))
        if count == most:
            break
    left = list(range(len(steps)))
    kept = []
    for step in np.geomspace(max(1, steps[0]), max(last_step, steps[-1] + 1), count + 1)[:-1] if count else ():
        kept.append(min(left, key=lambda place: abs(steps[place] - step)))
        left.remove(kept[-1])
    packed = [stage(steps[place], pack(arrays_of(place), shapes, grade), grade) for place in sorted(kept)]
    while packed and sum(len(one["bytes"]) for one in packed) > room:
        packed.pop()
    return packed


def round_weights(model: Any, grade: Grade) -> None:
    """Round the matrices of a network as the page stores them, in place."""
    segments = getattr(model.encoder.embeddings.segment, "weight", None)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 2 and value is not segments:
                scales, whole = _rounded(value.float().cpu().numpy(), _level(name, grade))
                value.copy_(torch.from_numpy(whole * scales[:, None]))
