"""The kernels at every level that this processor has, and kernels that are wrong on purpose."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bertie.ops.kernels import levels, library

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


# What a function does beside its work, and what is then said of it.
SABOTAGES = {
    "crash": ("*(volatile int*)8 = 1;", "crashed in gelu of 1 torch.float32 (SIGSEGV)"),
    "hang": ("for (volatile int turn = 0;; turn = turn + 1) {}", "gave no result in gelu of 1 torch.float32 within"),
    "wrong": ("output[count / 2] += 0.5f;", "gave wrong results, 0.5 from torch's in gelu of 1 torch.float32"),
}


@pytest.fixture
def sabotage() -> Callable[[Path, str], str]:
    """Return what spoils `gelu_float` in a copy of the sources, and returns what should be said of it."""

    def spoil(sources: Path, how: str) -> str:
        path = sources / "gelu" / "gelu.cpp"
        head, mark, tail = path.read_text().partition('extern "C" void gelu_float(')
        body = "    forward(count, threads, input, output);\n"
        assert body in tail
        path.write_text(head + mark + tail.replace(body, f"{body}    {SABOTAGES[how][0]}\n", 1))
        return SABOTAGES[how][1]

    return spoil
