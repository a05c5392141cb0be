"""LoRA: adapted networks begin as they were, only updates learn, and merged ones do the same without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bertie.items.text import Text
from bertie.nn.lora import LoraLinear, adapt, merge
from bertie.ops.dropout.op import Noise
from bertie.tasks.classification import Classification

TASK = Classification(labels=("no", "yes"), max_length=16)
ITEMS = [Text("good film", label="yes"), Text("a very poor story of the city", label="no"), Text("", label="no")]


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stacked(*, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8, bias=bias), nn.ReLU(), nn.Sequential(nn.Linear(8, 5, bias=bias)))


@pytest.mark.parametrize("bias", [True, False])
def test_it_begins_as_it_was_and_ends_merged(bias: bool) -> None:
    network, values = stacked(bias=bias), torch.randn(7, 6)
    before, names = network(values), list(network.state_dict())
    assert adapt(network, rank=2, alpha=3.0, generator=drawn(), chosen=lambda name: True) == 2
    assert torch.equal(network(values), before)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, LoraLinear):
                part.lora_b.normal_(generator=drawn(4))
    adapted = network(values)
    assert float((adapted - before).detach().abs().max()) > 0.1
    merge(network)
    assert list(network.state_dict()) == names
    assert not any(isinstance(part, LoraLinear) for part in network.modules())
    torch.testing.assert_close(network(values), adapted, rtol=0, atol=1e-5)


def test_the_update_is_alpha_over_rank_times_b_a() -> None:
    plain = nn.Linear(4, 3)
    weight = plain.weight.detach().clone()
    layer = LoraLinear(plain, rank=2, alpha=5.0, generator=drawn())
    with torch.no_grad():
        layer.lora_b.normal_(generator=drawn(1))
    expected = weight + 2.5 * layer.lora_b.detach() @ layer.lora_a.detach()
    torch.testing.assert_close(layer.merged().weight.detach(), expected)
    assert float(layer.lora_a.detach().abs().max()) <= 4**-0.5


def test_only_updates_learn() -> None:
    network = stacked()
    adapt(network, rank=2, alpha=2.0, generator=drawn(), chosen=lambda name: True)
    network(torch.randn(7, 6)).square().sum().backward()
    learning = {name for name, value in network.named_parameters() if value.requires_grad}
    assert learning == {"0.lora_a", "0.lora_b", "2.0.lora_a", "2.0.lora_b"}
    assert {name for name, value in network.named_parameters() if value.grad is not None} == learning


def test_first_weights_follow_the_generator_and_layers_are_chosen_by_name() -> None:
    firsts = []
    for seed in (3, 3, 4):
        network = stacked()
        assert adapt(network, rank=2, alpha=1.0, generator=drawn(seed), chosen=lambda name: name == "2.0") == 1
        assert isinstance(network[0], nn.Linear)
        firsts.append(network.state_dict()["2.0.lora_a"])
    assert torch.equal(firsts[0], firsts[1]) and not torch.equal(firsts[0], firsts[2])


def test_an_encoder_adapted_trained_a_little_and_merged(build_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model = build_model(TASK)
    names = list(model.state_dict())
    batch = TASK.encode(ITEMS, tiny_tokenizer)
    before = model(batch)
    assert adapt(model.encoder.blocks, rank=4, alpha=8.0, generator=drawn(), chosen=lambda name: True) == 8
    assert torch.equal(model(batch), before)
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.5)
    for step in range(3):
        TASK.loss(model(batch, Noise(step)), batch).total({"classification": 3.0}).backward()
        optimizer.step()
        optimizer.zero_grad()
    adapted = model(batch)
    assert float((adapted - before).detach().abs().max()) > 1e-2
    merge(model)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(batch), adapted, rtol=0, atol=1e-5)
