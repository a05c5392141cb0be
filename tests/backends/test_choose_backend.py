"""The rule that chooses a backend: what is installed, what the CPU has, how much there is to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bertie import progress
from bertie.backends import backend
from bertie.backends.backend import LIMITS, Backend
from bertie.formats.format import Bundle
from bertie.inference import choose_backend as room
from bertie.inference.choose_backend import MANY_ITEMS, RULE, Case, choose
from bertie.inference.parity import compare
from bertie.inference.predictor import Predictor

ORDER = list(LIMITS)  # from the strictest
CASES: tuple[Case, ...] = ("few", "many")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that says what a machine has."""

    def say(*, installed: bool, bf16: bool = False, int8: bool = False) -> None:
        monkeypatch.setattr(Backend, "missing", lambda self: "" if installed or not self.packages else self.packages[0])
        monkeypatch.setattr(backend, "_has", lambda flag: (bf16 and "bf16" in flag) or (int8 and "vnni" in flag))
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)

    return say


def test_no_row_serves_less_than_was_asked_for() -> None:
    assert all(ORDER.index(row.runs) <= ORDER.index(row.asked) for row in RULE)
    assert all(row.reason for row in RULE)


@pytest.mark.parametrize("precision", ORDER)
@pytest.mark.parametrize("case", CASES)
def test_a_bare_machine_runs_torch(
    precision: Any, case: Any, machine: Callable[..., None], build_bundle: Callable[..., Bundle]
) -> None:
    machine(installed=False)
    backend, row = choose(build_bundle(), precision, case)
    assert (backend.name, row.runs) == ("eager", "exact")  # neither bf16 nor int8 where they would be slower
    machine(installed=False, bf16=True, int8=True)
    backend, row = choose(build_bundle(), precision, case)
    assert (backend.name, row.runs) == ("eager", precision)


def test_many_items_go_to_what_is_installed(
    machine: Callable[..., None], build_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(installed=True, bf16=True)
    bundle = build_bundle()
    monkeypatch.setattr(room.layer, "serves", lambda element: True)
    assert [choose(bundle, "bf16", case)[0].name for case in CASES] == ["eager", "eager"]
    monkeypatch.setattr(room.layer, "serves", lambda element: False)  # no compiler, so no kernel for whole layers
    assert [choose(bundle, "bf16", case)[0].name for case in CASES] == ["eager", "openvino"]
    assert choose(bundle, "exact", "many")[0].name == "eager"
    assert choose(build_bundle("modernbert", num_heads=2), "bf16", "many")[0].name == "eager"  # it has no graph
    machine(installed=False, bf16=True)
    assert choose(bundle, "bf16", "many")[0].name == "eager"


def test_the_choice_is_said_once_and_many_items_change_it(
    machine: Callable[..., None], build_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    machine(installed=False, int8=True)
    monkeypatch.setattr(progress, "note", said.append)
    predictor = Predictor(build_bundle(), precision="int8", device="cpu")
    assert said == []  # nothing was run yet
    predictor.predict("the cat")
    predictor.predict(["a dog"] * 3)
    assert len(said) == 1 and said[0].startswith("the encoder is run by eager, int8 (")
    network = predictor.model
    assert predictor.expect(MANY_ITEMS) is network  # the same row: nothing is prepared anew
    assert len(said) == 1


def test_exact_is_what_is_run_unasked(build_bundle: Callable[..., Bundle]) -> None:
    bundle = build_bundle()
    predictor = Predictor(bundle, device="cpu", backend="eager")
    assert predictor.precision == "exact" and predictor.model.head is bundle.model.head
    assert compare(bundle, predictor.model).largest_difference < 1e-6
