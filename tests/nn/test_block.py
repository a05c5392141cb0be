"""One encoder layer against torch's own post-norm layer, its activations, and its dropout sites."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bertie.batch import Batch
from bertie.nn.block import Block
from bertie.nn.feedforward import activation_function
from bertie.ops.attention.attend import Layout
from bertie.ops.dropout.op import Dropout, Noise

HIDDEN, HEADS, WIDE = 16, 4, 40
BATCH = Batch.pack([0] * 17, [0] * 17, [0, 5, 17])


def block(*, dropout: float = 0.0, attention_dropout: float = 0.0) -> Block:
    torch.manual_seed(0)
    return Block(
        HIDDEN,
        HEADS,
        WIDE,
        activation="gelu",
        dropout=dropout,
        attention_dropout=attention_dropout,
        layer_norm_eps=1e-12,
        site=4,
    )


def test_equals_torch_own_layer() -> None:
    ours = block().eval()
    theirs = nn.TransformerEncoderLayer(HIDDEN, HEADS, WIDE, 0.0, nn.functional.gelu, 1e-12, batch_first=True)
    attention = theirs.self_attn
    pairs = [
        (attention.in_proj_weight, ours.attention.qkv.weight),
        (attention.in_proj_bias, ours.attention.qkv.bias),
        (attention.out_proj.weight, ours.attention.output.weight),
        (attention.out_proj.bias, ours.attention.output.bias),
        (theirs.linear1.weight, ours.feedforward.up.weight),
        (theirs.linear1.bias, ours.feedforward.up.bias),
        (theirs.linear2.weight, ours.feedforward.down.weight),
        (theirs.linear2.bias, ours.feedforward.down.bias),
    ]
    with torch.no_grad():
        for copy, original in pairs:
            copy.copy_(original)
    hidden = torch.randn(17, HIDDEN)
    found = ours(hidden, Layout.of(BATCH), None)
    # In training mode torch takes its plain path, without nested tensors.
    expected = torch.cat([theirs.train()(part[None])[0] for part in hidden.split([5, 12])])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_without_gradients_the_widened_vectors_are_never_whole() -> None:
    layer, hidden, seen = block().feedforward, torch.randn(2500, HIDDEN), []
    layer.up.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[0]))
    expected = layer(hidden)
    assert seen == [2500]  # a backward pass needs all of them anyway
    with torch.inference_mode():
        torch.testing.assert_close(layer(hidden), expected, rtol=0, atol=1e-6)
    assert seen[1:] == [1024, 1024, 452]


def test_every_dropout_has_a_site_of_its_own() -> None:
    layer = block(dropout=0.1, attention_dropout=0.1)
    sites = [layer.attention.site] + [part.site for part in layer.modules() if isinstance(part, Dropout)]
    assert sorted(sites) == [4, 5, 6]


@pytest.mark.parametrize(("dropout", "attention_dropout"), [(0.2, 0.0), (0.0, 0.2)])
def test_noise_decides_alone(dropout: float, attention_dropout: float) -> None:
    layer, hidden = block(dropout=dropout, attention_dropout=attention_dropout), torch.randn(17, HIDDEN)
    layout = Layout.of(BATCH)
    first = layer(hidden, layout, Noise(1, 2, 3))
    assert torch.equal(first, layer(hidden, layout, Noise(1, 2, 3)))
    assert not torch.equal(first, layer(hidden, layout, Noise(1, 2, 4)))
    assert not torch.equal(first, layer.eval()(hidden, layout, None))


def test_both_forms_of_gelu() -> None:
    values = torch.linspace(-4, 4, 101)
    exact = values * 0.5 * (1 + torch.erf(values / math.sqrt(2)))
    tanh = 0.5 * values * (1 + torch.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))
    torch.testing.assert_close(activation_function("gelu")(values), exact, rtol=0, atol=1e-6)
    torch.testing.assert_close(activation_function("gelu_tanh")(values), tanh, rtol=0, atol=1e-6)
    assert 1e-5 < float((exact - tanh).abs().max()) < 1e-3


def test_an_unknown_activation_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="gelu, gelu_tanh, relu; got 'swish'"):
        activation_function("swish")  # type: ignore[arg-type]
