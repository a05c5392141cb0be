"""What every kernel must pass before it is used, at every level; and that the checks find what is wrong."""

from __future__ import annotations

import pytest
import torch

from bertie.nn import kernel_checks
from bertie.nn.kernel_checks import Check, Pair
from bertie.ops.kernels import library

needs_compiler = pytest.mark.skipif(library.load("attention") is None, reason="no C++ compiler on this machine")


@needs_compiler
@pytest.mark.parametrize("name", library.NAMES)
def test_every_function_is_its_twin(name: str, level: str) -> None:
    assert library.load(name) is not None, library.describe()
    assert [trouble for check in kernel_checks.CHECKS[name]() if (trouble := kernel_checks.trouble_of(check))] == []


def test_every_library_has_checks() -> None:
    sources = {path.stem for path in library.build.SOURCES.rglob("*.cpp")}
    assert set(kernel_checks.CHECKS) == set(library.NAMES) == sources


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (torch.tensor([1.0, 2.0]), None),
        (torch.tensor([1.0, 2.5]), "wrong results, 0.5 from torch's in it"),
        (torch.tensor([1.0, torch.nan]), "wrong results, nan from torch's in it"),
        (torch.tensor([1.0]), "the shape (1,) instead of (2,)"),
    ],
)
def test_what_differs_is_said(found: torch.Tensor, said: str | None) -> None:
    pair = Pair(found, torch.tensor([1.0, 2.0]), relative=0.1)
    trouble = kernel_checks.trouble_of(Check("it", lambda: [pair]))
    assert trouble is None if said is None else said in str(trouble)
