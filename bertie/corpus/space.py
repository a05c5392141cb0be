"""Check that a corpus will fit on the disk, before hours of work."""

import shutil
from pathlib import Path

from bertie.errors import ResourceError
from bertie.files.compression import COMPRESSIONS

# A lower bound of the bytes on disk per byte of input; compressed input expands first.
_LEAST_GROWTH, _LEAST_GROWTH_COMPRESSED = 0.4, 1.0


def check_space(files: list[Path], folder: Path, out: Path) -> None:
    """Raise an error before hours of work if the corpus can't fit on the disk; the estimate is a lower bound."""
    needed = sum(
        path.stat().st_size * (_LEAST_GROWTH_COMPRESSED if path.suffix in COMPRESSIONS else _LEAST_GROWTH)
        for path in files
    )
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"not enough space for {out}: at least {needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free; "
            "free some space or write to another disk"
        )
