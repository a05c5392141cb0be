"""The kernels at every level that this processor has."""

from collections.abc import Iterator

import pytest

from bertie.kernels import levels, library

LEVELS = [level.name for level in levels.available()]


@pytest.fixture(params=LEVELS, scope="module")
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let the kernels be those of one level, for a whole file at a time."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != levels.NATIVE:
            patch.setenv(levels.SWITCH, request.param)
        library.forget()
        yield request.param
    library.forget()
