"""ModernBERT's own ways: windows, rotary positions, one stem below all heads, today's and older configs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models.modernbert import ARCHITECTURE, ModernBertConfig

SMALL = ModernBertConfig(
    60, hidden_size=16, num_layers=4, num_heads=2, intermediate_size=24, max_positions=64, local_attention=8
)


def sequence(tokens: list[int]) -> Batch:
    return Batch.pack(tokens, [0] * len(tokens), [0, len(tokens)])


def test_sizes() -> None:
    with torch.device("meta"):
        encoder = ModernBertConfig.sized("base", vocab_size=50368).build()
    assert sum(value.numel() for value in encoder.parameters()) == 149_014_272
    large = ModernBertConfig.sized("large", vocab_size=9)
    assert (large.num_layers, large.hidden_size, large.num_heads, large.intermediate_size) == (28, 1024, 16, 2624)


def test_local_layers_see_their_window_alone() -> None:
    encoder = SMALL.build().eval()
    encoder.initialize(3)
    tokens = list(range(5, 35))
    changed = [*tokens[:20], 50, *tokens[21:]]
    local = slice(1, 3)  # one window of 4 to either side after another: what is 9 places away is out of sight
    with torch.no_grad():
        before, after = (encoder(sequence(each), None, None, slice(0, 0)) for each in (tokens, changed))
        moved = (encoder(sequence(tokens), None, before, local) - encoder(sequence(tokens), None, after, local)).abs()
        whole = (encoder(sequence(tokens)) - encoder(sequence(changed))).abs()
    moves = moved.amax(1) > 0
    assert moves.nonzero().flatten().tolist() == list(range(12, 29))
    assert (whole.amax(1) > 0).all()


def test_places_matter() -> None:
    encoder = SMALL.build().eval()
    encoder.initialize(3)
    with torch.no_grad():
        one, two = (encoder(sequence(tokens))[0] for tokens in ([5, 6, 7], [5, 7, 6]))
        torch.testing.assert_close(encoder(sequence([5, 5, 5]))[0], encoder(sequence([5, 5, 5]))[2])
    assert not torch.allclose(one, two)
    with pytest.raises(ValueError, match="at most 64"):
        encoder(sequence([5] * 65))


def test_what_is_added_to_the_stream_begins_smaller() -> None:
    encoder = replace(SMALL, hidden_size=64, intermediate_size=96).build()
    encoder.initialize(3)
    block = encoder.blocks[1]
    ratio = float((block.attention.output.weight.std() / block.attention.qkv.weight.std()).detach())
    assert ratio == pytest.approx(8**-0.5, rel=0.05)


def test_a_stem_goes_to_each_head_that_may_stand_on_it() -> None:
    found = ARCHITECTURE.from_foreign({"head.dense.weight": torch.zeros(1), "classifier.bias": torch.ones(1)})
    stems = {"head.token_logits.dense.weight", "head.pooler.transform.dense.weight", "head.stem.dense.weight"}
    assert set(found) == stems | {"head.classifier.bias", "head.qa_outputs.bias"}


def test_configs_of_today_and_older_ones() -> None:
    today = SMALL.to_foreign()
    old = {name: value for name, value in today.items() if name not in ("rope_parameters", "layer_types")}
    assert ModernBertConfig.from_foreign(old) == SMALL
    thetas = {"full_attention": {"rope_theta": 5e5, "rope_type": "default"}, "sliding_attention": {"rope_theta": 7.0}}
    kinds = ["full_attention", "sliding_attention"] * 2
    new = {name: value for name, value in today.items() if not name.startswith(("global_", "local_rope"))}
    found = ModernBertConfig.from_foreign({**new, "rope_parameters": thetas, "layer_types": kinds})
    assert (found.global_theta, found.local_theta, found.global_every) == (5e5, 7.0, 2)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"norm_bias": True}, "norm_bias is True"),
        ({"decoder_bias": False}, "decoder_bias is False"),
        ({"layer_types": ["sliding_attention"] * 4}, "layer_types"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types"),
        ({"layer_types": 7}, "layer_types"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn", "rope_theta": 1.0}}}, "yarn"),
        ({"rope_parameters": {"full_attention": 3}}, "rope_parameters"),
        ({"rope_parameters": [1]}, "rope_parameters"),
        ({"classifier_pooling": "max"}, "pooling must be cls or mean"),
        ({"local_attention": 1}, "local_attention"),
        ({"hidden_size": 18, "num_attention_heads": 6}, "must be even"),
    ],
)
def test_what_it_lacks_is_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        ModernBertConfig.from_foreign({**SMALL.to_foreign(), **values})
