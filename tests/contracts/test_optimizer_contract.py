"""What every optimizer keeps: its rate and settings, decoupled decay, state that goes there and back, and no compiler.

A new optimizer needs nothing here.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any, cast, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from bertie.errors import SettingsError
from bertie.optimizers.optimizer import Optimizer, optimizer_class
from bertie.registry import choices, settings_used
from bertie.tasks.classification import Classification
from bertie.training.optimizer import build, learning, restore_tensors, state_tensors
from bertie.training.settings import OptimizerSettings

NAMES = choices("optimizers")
SHARED = {"name", "weight_decay", "clip_norm", "layer_decay", "ema"}
OWN = {field.name for field in fields(OptimizerSettings)} - SHARED
TASK = Classification(labels=("no", "yes"), max_length=16)


def steps(model: nn.Module, optimizer: Optimizer, first: int, last: int) -> None:
    """Take steps with gradients that depend on the step's number alone."""
    for step in range(first, last):
        draw = torch.Generator().manual_seed(step)
        for value in model.parameters():
            value.grad = torch.randn(value.shape, generator=draw) * 0.1
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        optimizer.step()


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_the_choices_are_the_files() -> None:
    hints = get_type_hints(OptimizerSettings)
    assert set(get_args(hints["name"])) == {"auto", *NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_it_states_its_rate_and_settings(name: Any) -> None:
    kind = optimizer_class(name)
    assert issubclass(kind, Optimizer) and kind.__module__ == f"bertie.optimizers.{name}"
    assert 0.0 < kind.peak <= (kind.peak_from_neighbours or kind.peak) < 0.1
    assert set(settings_used(kind)) <= OWN


@pytest.mark.parametrize("name", NAMES)
def test_what_it_does_not_use_is_refused(name: Any) -> None:
    used = settings_used(optimizer_class(name))
    for field in sorted(OWN):
        more = {field: 0.123}
        if field in used:
            OptimizerSettings(name, **more)
            continue
        with pytest.raises(SettingsError) as caught:
            OptimizerSettings(name, **more)
        users = [other for other in NAMES if field in settings_used(optimizer_class(other))]
        assert f"optimizer.{field} 0.123 has no effect with {name}, only with" in str(caught.value)
        assert all(other in str(caught.value).partition("only with")[2] for other in users)


def test_every_setting_has_a_user() -> None:
    assert {field for name in NAMES for field in settings_used(optimizer_class(name))} == OWN


def test_auto_takes_any_setting_until_it_is_chosen() -> None:
    given = OptimizerSettings(momentum=0.9)
    assert given.chosen("muon").momentum == 0.9
    with pytest.raises(SettingsError, match=r"optimizer\.momentum 0\.9 has no effect with adamw, only with muon"):
        given.chosen("adamw")


def test_an_unknown_name(build_model: Callable[..., Any]) -> None:
    model, wrong = build_model(TASK), cast(Any, "adamm")
    with pytest.raises(SettingsError, match="unknown optimizer 'adamm'; did you mean 'adamw'"):
        build(model, OptimizerSettings(wrong))


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_holds_all_that_the_next_step_needs(build_model: Callable[..., Any], name: Any) -> None:
    model = build_model(TASK)
    optimizer = build(model, OptimizerSettings(name))
    steps(model, optimizer, 0, 3)
    stored = {key: value.clone() for key, value in state_tensors(model, optimizer).items()}
    other = build_model(TASK, seed=1)
    again = build(other, OptimizerSettings(name))
    restore_tensors(other, again, stored)
    assert_same(stored, state_tensors(other, again))
    steps(model, optimizer, 3, 6)
    steps(other, again, 3, 6)
    assert_same(weights_of(model), weights_of(other))


@pytest.mark.parametrize("name", NAMES)
def test_torchs_state_dict_goes_there_and_back(build_model: Callable[..., Any], name: Any) -> None:
    model, other = build_model(TASK), build_model(TASK)
    optimizer, again = build(model, OptimizerSettings(name)), build(other, OptimizerSettings(name))
    steps(model, optimizer, 0, 3)
    other.load_state_dict(model.state_dict())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert_same(state_tensors(model, optimizer), state_tensors(other, again))
    steps(model, optimizer, 3, 6)
    steps(other, again, 3, 6)
    assert_same(weights_of(model), weights_of(other))


@pytest.mark.parametrize("name", NAMES)
def test_decay_is_decoupled(build_model: Callable[..., Any], name: Any) -> None:
    """Decay changes the weights and leaves the means of gradients as they are."""
    states, moved = [], []
    for decay in (0.0, 0.5):
        model = build_model(TASK)
        optimizer = build(model, OptimizerSettings(name, weight_decay=decay))
        steps(model, optimizer, 0, 2)
        tensors = state_tensors(model, optimizer)
        states.append({key: value for key, value in tensors.items() if key.startswith("optimizer.")})
        moved.append(weights_of(model))
    assert_same(*states)
    decayed = {id(value) for group in optimizer.param_groups if group["weight_decay"] for value in group["params"]}
    for key, value in learning(model).items():
        assert torch.equal(moved[0][key], moved[1][key]) == (id(value) not in decayed), key


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_zero_leave_the_decay_alone(build_model: Callable[..., Any], name: Any) -> None:
    model = build_model(TASK)
    optimizer = build(model, OptimizerSettings(name, weight_decay=0.5))
    before = weights_of(model)
    for value in model.parameters():
        value.grad = torch.zeros_like(value)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    optimizer.step()
    for group in optimizer.param_groups:
        for key, value in learning(model).items():
            if any(value is each for each in group["params"]) and before[key].any():
                share = value.detach().norm() / before[key].norm()
                assert (share < 1.0) == bool(group["weight_decay"]), key
                torch.testing.assert_close(value.detach(), before[key] * share, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_without_a_gradient_stays(build_model: Callable[..., Any], name: Any) -> None:
    model = build_model(TASK)
    optimizer = build(model, OptimizerSettings(name))
    before = weights_of(model)
    still = ("encoder.blocks.0.attention.qkv.weight", "head.classifier.bias")
    for key, value in model.named_parameters():
        value.grad = None if key in still else torch.ones_like(value)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    optimizer.step()
    for key, value in model.named_parameters():
        assert torch.equal(value, before[key]) == (key in still), key
        assert bool(optimizer.state.get(value)) == (key not in still), key


@pytest.mark.parametrize("name", NAMES)
def test_it_leaves_the_compiler_where_it_is(name: Any) -> None:
    program = f"""
import sys
import torch
from bertie.models.bert import BertConfig
from bertie.training.optimizer import build
from bertie.training.settings import OptimizerSettings

config = BertConfig(30, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64)
model = torch.nn.ModuleDict({{"encoder": config.build()}})
optimizer = build(model, OptimizerSettings({name!r}))
for value in model.parameters():
    value.grad = torch.ones_like(value)
optimizer.step()
assert len(optimizer.state) == len(list(model.parameters()))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
