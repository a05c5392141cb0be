"""The curve that chooses sizes is the one that its script fits to the runs of its study, and it lies near them."""

from __future__ import annotations

import json

import pytest

from bertie.training import scaling
from bertie.training.scaling import loss_left
from docs.scaling import LEDGER, curve, fit, points

RUNS = points(json.loads(LEDGER.read_text(encoding="utf-8")))


def test_the_code_has_what_the_script_fits() -> None:
    assert {name: getattr(scaling, name) for name in fit(RUNS)} == pytest.approx(fit(RUNS), rel=0.02)


def test_the_curve_lies_near_the_runs() -> None:
    assert len(RUNS) >= 8
    for weights, tokens, left in RUNS:
        assert loss_left(weights, tokens) == pytest.approx(left, rel=0.03)


def test_a_curve_is_found_again() -> None:
    constants = (0.2, 0.08, 0.3, 0.5, 0.25)
    made = [
        (weights, tokens, curve(constants, weights, tokens))
        for weights in (10**5, 10**6, 10**7)
        for tokens in (10**6, 10**7, 10**8)
    ]
    found = list(fit(made).values())
    assert curve(found, 3e6, 3e7) == pytest.approx(curve(constants, 3e6, 3e7), rel=0.003)
