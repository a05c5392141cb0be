"""Jobs on a Ray cluster; without Ray, an error that says how to install it."""

from __future__ import annotations

import importlib.util
import operator
from functools import partial

import pytest

from bertie.errors import SettingsError
from bertie.runners.ray import run

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_error_says_what_to_install() -> None:
    with pytest.raises(SettingsError, match=r"pip install 'bertie\[ray\]'"):
        list(run(abs, [1], address=None))


@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed")
def test_results_come_in_order_and_exceptions_unchanged() -> None:
    assert list(run(partial(operator.mul, 2), range(20), address=None)) == list(range(0, 40, 2))
    with pytest.raises(ZeroDivisionError):
        list(run(partial(operator.floordiv, 1), [1, 0], address=None))
