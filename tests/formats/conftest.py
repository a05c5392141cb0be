"""Folders of this room are edited after they are written, to be what other programs write: they have no checksums."""

from collections.abc import Iterator

import pytest

from bertie.formats import huggingface


@pytest.fixture(autouse=True, scope="module")
def unsealed() -> Iterator[None]:
    """Leave SHA256SUMS out; what it does is tested with `files/checksums.py` and `commands/show.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface, "seal", lambda folder: None)
        yield
