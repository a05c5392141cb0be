"""Optimizers: ten steps equal to plain arrays, and what each promises of a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from bertie.errors import SettingsError
from bertie.optimizers.adamw import AdamW
from bertie.optimizers.muon import Muon, orthogonal
from bertie.optimizers.optimizer import optimizer_class
from bertie.registry import choices, settings_used
from bertie.tasks.classification import Classification
from bertie.training.optimizer import build, clip, learning, total_norm
from bertie.training.precision import compute
from bertie.training.settings import LoraSettings, OptimizerSettings
from bertie.training.trainable import choose

TASK = Classification(labels=("no", "yes"), max_length=16)
NAMES = choices("optimizers")
RATE = 0.01
Array = NDArray[np.float64]


def is_plain(name: str) -> bool:
    """Tell a bias or a LayerNorm by its name."""
    return name.endswith("bias") or "norm" in name


def share_of(name: str, decay: float) -> float:
    """Work out the share of the rate of a network of two blocks."""
    return decay ** {"embe": 3, "bloc": 2 - int(name.split(".")[2]) if ".blocks." in name else 0}.get(name[8:12], 0)


def newton_schulz(matrix: Array) -> Array:
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x - 4.7750 * a @ x + 2.0315 * a @ a @ x
    return x


class Plain:
    """One weight under one optimizer, in float64 and in the formulas' own words."""

    def __init__(self, name: str, weight: Array, settings: OptimizerSettings) -> None:
        self.name, self.w, self.s = name, weight, settings
        self.m, self.v, self.t = np.zeros_like(weight), np.zeros_like(weight), 0
        self.rows: dict[int, Any] = {}
        self.rate = RATE * share_of(name, settings.layer_decay)
        self.decay = 0.0 if is_plain(name) else settings.weight_decay

    def step(self, g: Array) -> None:
        self.t += 1
        if self.s.name in ("muon", "normuon") and ".blocks." in self.name and not is_plain(self.name):
            self.muon(g)
            return
        self.m = self.s.beta1 * self.m + (1 - self.s.beta1) * g
        self.v = self.s.beta2 * self.v + (1 - self.s.beta2) * g * g
        m, v = self.m, self.v
        if self.s.name != "bert_adam":
            m, v = m / (1 - self.s.beta1**self.t), v / (1 - self.s.beta2**self.t)
        update = m / (np.sqrt(v) + self.s.epsilon) + self.decay * self.w
        rate = self.rate
        if self.s.name == "stable_adamw":
            rate /= max(1.0, math.sqrt(np.mean(g * g / np.maximum(v, self.s.epsilon**2))))
        if self.s.name == "lamb" and not is_plain(self.name):
            size, length = np.linalg.norm(self.w), np.linalg.norm(update)
            rate *= min(size, self.s.largest_norm or math.inf) / length if size > 0 and length > 0 else 1.0
        self.w = self.w - rate * update

    def muon(self, g: Array) -> None:
        self.m = self.s.momentum * self.m + g
        pushed = g + self.s.momentum * self.m
        count = 3 if "qkv" in self.name else 1
        update = np.concatenate(
            [self.sized(newton_schulz(part), at) for at, part in enumerate(np.split(pushed, count))]
        )
        self.w = self.w - self.rate * (update + self.decay * self.w)

    def sized(self, update: Array, matrix: int) -> Array:
        if self.s.name == "muon":
            return 0.2 * math.sqrt(max(update.shape)) * update
        before = self.rows.get(matrix, 0.0)
        squares = self.s.momentum * before + (1 - self.s.momentum) * (update**2).mean(axis=1, keepdims=True)
        self.rows[matrix] = squares
        update = update / np.sqrt(squares)
        return 0.2 * update / np.sqrt((update**2).mean())


def some_gradients(model: nn.Module, step: int) -> None:
    """Give every weight a gradient of its own size that changes from step to step; the fourth one jumps."""
    draw = torch.Generator().manual_seed(step)
    for place, value in enumerate(model.parameters()):
        size = 10.0 ** (place % 4 - 2) * (30.0 if step == 3 else 1.0)
        value.grad = size * torch.randn(value.shape, generator=draw)


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] = RATE * group["scale"]
    optimizer.step()


MORE = {"layer_decay": 0.7, "weight_decay": 0.1, "largest_norm": 0.5, "beta1": 0.8, "beta2": 0.95, "momentum": 0.9}


@pytest.mark.parametrize("more", [{}, MORE])
@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_equal_plain_arrays(build_model: Callable[..., Any], name: Any, more: dict[str, Any]) -> None:
    unused = {"beta1", "beta2", "momentum", "largest_norm"}.difference(settings_used(optimizer_class(name)))
    model = build_model(TASK)
    settings = OptimizerSettings(name, **{key: value for key, value in more.items() if key not in unused})
    optimizer = build(model, settings)
    plain = {
        key: Plain(key, value.detach().double().numpy().copy(), settings) for key, value in model.named_parameters()
    }
    begun = {key: one.w for key, one in plain.items()}
    for step in range(10):
        some_gradients(model, step)
        for key, value in model.named_parameters():
            assert value.grad is not None
            plain[key].step(value.grad.double().numpy())
        one_step(model, optimizer)
    for key, value in model.named_parameters():
        moved = np.abs(plain[key].w - begun[key]).max()
        assert moved > 1e-5, key
        np.testing.assert_allclose(value.detach().numpy(), plain[key].w, atol=2e-4 * moved, rtol=0, err_msg=key)


@pytest.mark.parametrize("most", [0.0, 0.25, 1e6])
@pytest.mark.parametrize("name", NAMES)
def test_clipped_gradients_move_weights_like_smaller_ones(
    build_model: Callable[..., Any], name: Any, most: float
) -> None:
    moved = []
    for beforehand in (False, True):
        model = build_model(TASK)
        optimizer = build(model, OptimizerSettings(name))
        for step in range(3):
            some_gradients(model, step)
            values = list(model.parameters())
            if beforehand and most:
                nn.utils.clip_grad_norm_(values, most)
            if not beforehand:
                gradients = [value.grad for value in values if value.grad is not None]
                clip(gradients, optimizer, total_norm(gradients), most=most)
            one_step(model, optimizer)
        moved.append(torch.cat([value.detach().flatten() for value in model.parameters()]))
    torch.testing.assert_close(*moved, rtol=1e-4, atol=1e-6)


def test_adamw_is_that_of_torch() -> None:
    draw = torch.Generator().manual_seed(3)
    ours = nn.Parameter(torch.randn(3, 4, generator=draw))
    theirs = nn.Parameter(ours.detach().clone())
    made = AdamW([{"params": [ours], "weight_decay": 0.1}], beta1=0.8, beta2=0.95, epsilon=1e-5)
    made.param_groups[0]["lr"] = RATE
    peer = torch.optim.AdamW([theirs], lr=RATE, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.1)
    for _ in range(5):
        ours.grad = torch.randn(3, 4, generator=draw)
        theirs.grad = ours.grad.clone()
        made.step()
        peer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_lamb_moves_matrices_by_their_size(build_model: Callable[..., Any]) -> None:
    model = build_model(TASK)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    some_gradients(model, 0)
    one_step(model, build(model, OptimizerSettings("lamb")))
    for key, value in model.named_parameters():
        moved = float((value.detach() - before[key]).norm())
        if not is_plain(key):
            assert moved == pytest.approx(RATE * float(before[key].norm()), rel=1e-4), key


def test_stable_adamw_holds_back_where_gradients_jump(build_model: Callable[..., Any]) -> None:
    moved = {}
    for name in ("adamw", "stable_adamw"):
        model = build_model(TASK)
        optimizer = build(model, OptimizerSettings(name, weight_decay=0.0))  # type: ignore[arg-type]
        for step in range(4):
            before = model.head.classifier.weight.detach().clone()
            some_gradients(model, step)
            one_step(model, optimizer)
        moved[name] = float((model.head.classifier.weight.detach() - before).norm())
    assert moved["stable_adamw"] < moved["adamw"] / 1.5


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8), (1, 5)])
@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-3), ("bf16", 0.05)])
def test_orthogonal_keeps_directions(shape: tuple[int, int], precision: Any, error: float) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)) * 7.0
    with compute(precision, torch.device("cpu")):
        found = orthogonal(matrices)
    assert found.dtype == torch.float32
    for one, result in zip(matrices, found, strict=True):
        left, _, right = np.linalg.svd(one.double().numpy(), full_matrices=False)
        values = left.T @ result.double().numpy() @ right.T
        assert (np.abs(values - np.diag(np.diag(values))) < error).all()
        assert (np.diag(values) > 0.3).all() and (np.diag(values) < 1.3).all()
    with compute(precision, torch.device("cpu")):
        assert torch.allclose(found[1:2], orthogonal(matrices[1:2]), atol=error / 100)
    assert torch.equal(orthogonal(torch.zeros(1, *shape)), torch.zeros(1, *shape))


@pytest.mark.parametrize("name", ["muon", "normuon"])
def test_muon_takes_matrices_of_blocks_alone(build_model: Callable[..., Any], name: Any) -> None:
    model = build_model(TASK)
    optimizer = build(model, OptimizerSettings(name))
    assert isinstance(optimizer, Muon)
    names = {id(value): name for name, value in model.named_parameters()}
    found = {names[id(value)]: group["matrices"] for group in optimizer.param_groups for value in group["params"]}
    assert found.keys() == {name for name, _ in model.named_parameters()}
    for name, matrices in found.items():
        inside = ".blocks." in name and name.endswith("weight") and "norm" not in name
        assert matrices == (0 if not inside else 3 if "qkv" in name else 1), name


def test_muon_without_a_matrix(build_model: Callable[..., Any]) -> None:
    for wish in ({"freeze": -1, "lora": LoraSettings()}, {"freeze": 0, "lora": LoraSettings(rank=2)}):
        model = choose(build_model(TASK), seed=0, **wish)
        assert learning(model)
        with pytest.raises(SettingsError, match="muon needs matrices of blocks that learn"):
            build(model, OptimizerSettings("muon"))


def test_wrong_settings() -> None:
    for name, wrong in [("momentum", 1.0), ("ema", -0.1), ("beta1", 1.5), ("beta2", 1.0)]:
        with pytest.raises(SettingsError, match=rf"optimizer.{name} must be at least 0 and below 1; got"):
            OptimizerSettings(**{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="largest_norm must be at least 0; got -1"):
        OptimizerSettings(largest_norm=-1.0)
