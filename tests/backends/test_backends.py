"""Every backend gives the vectors of the model in fp32, within its class, and says what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie import progress, registry
from bertie.backends import backend as room
from bertie.backends._frozen import Facts, Frozen, Output, Session, like_lengths
from bertie.backends._fused import FusedLayers
from bertie.backends.backend import FrozenEncoder
from bertie.backends.eager import Int8Linear
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats.format import Bundle
from bertie.inference.choose_backend import load_backend
from bertie.inference.parity import compare, hold
from bertie.ops.layer import kernel as layer

NAMES = registry.choices("backends")
FROZEN = [name for name in NAMES if name != "eager"]
ALIKE = ("bert", "roberta", "electra", "distilbert", "albert")
SHAPES: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 48},
    "albert": {"embedding_size": 48, "num_layers": 3},
    "distilbert": {"num_segments": 0},
}


def of(name: str) -> Any:
    """Return a backend; skip where its packages aren't there."""
    found = load_backend(name)
    if missing := found.missing():
        pytest.skip(f"{missing} is not installed")
    return found


def test_the_registry() -> None:
    assert NAMES == ["eager", "onnx", "openvino"]
    for name in NAMES:
        assert load_backend(name).name == name


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize("architecture", ALIKE)
def test_frozen_vectors_are_those_of_the_model(
    name: str, architecture: str, build_bundle: Callable[..., Bundle], mixed: Batch
) -> None:
    bundle = build_bundle(architecture, **SHAPES.get(architecture, {}))
    network = of(name).prepare(bundle, "exact")
    with torch.inference_mode():
        expected, found = bundle.model.encoder(mixed), network.encoder(mixed)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(network(mixed), bundle.model(mixed), atol=1e-4, rtol=0)
    assert isinstance(network.encoder, FrozenEncoder) and expected.abs().max() > 1


def test_eager_exact_is_the_model_itself_without_a_kernel(
    build_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "takes", lambda *_: False)
    bundle = build_bundle()
    assert load_backend("eager").prepare(bundle, "exact") is bundle.model


@pytest.mark.parametrize("precision", ["exact", "bf16", "int8"])
@pytest.mark.parametrize("architecture", ALIKE)
def test_fused_layers_keep_their_class(
    precision: Any,
    architecture: str,
    build_bundle: Callable[..., Bundle],
    monkeypatch: pytest.MonkeyPatch,
    mixed: Batch,
) -> None:
    monkeypatch.setattr(progress, "warn", lambda line: None)
    bundle = build_bundle(architecture, **SHAPES.get(architecture, {}))
    network = load_backend("eager").prepare(bundle, precision)
    if not isinstance(getattr(network.encoder, "blocks", [None])[0], FusedLayers):
        pytest.skip(f"no kernel for {precision} on this machine")
    assert compare(bundle, network).within(precision)
    with torch.inference_mode():
        found, again = network.encoder(mixed), network.encoder(mixed)
        assert torch.equal(found, again)
        alone = network.encoder(mixed.split(1)[0])  # a text's vectors don't hang on its neighbours
        torch.testing.assert_close(alone, found[: len(alone)], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "precision"), [("eager", "bf16"), ("eager", "int8"), ("onnx", "int8"), ("openvino", "bf16")]
)
def test_a_lower_class_is_kept(
    name: str, precision: Any, build_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "warn", lambda line: None)  # that this CPU may be slow at it
    bundle = build_bundle()
    chosen = of(name)
    if reason := chosen.refusal(bundle, precision):
        pytest.skip(reason)
    found = hold(bundle, chosen.prepare(bundle, precision), precision)
    assert 1e-5 < found.largest_difference < 0.05  # it does compute otherwise than fp32
    assert found.mean_cosine >= room.LIMITS[precision]
    if name == "eager":
        assert next(bundle.model.parameters()).dtype == torch.float32
        assert compare(bundle, bundle.model).largest_difference == 0  # the original stays as it is


@pytest.mark.parametrize("name", NAMES)
def test_int8_does_not_depend_on_the_neighbours(
    name: str, build_bundle: Callable[..., Bundle], mixed: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "warn", lambda line: None)
    bundle = build_bundle()
    chosen = of(name)
    if reason := chosen.refusal(bundle, "int8"):
        pytest.skip(reason)
    network = chosen.prepare(bundle, "int8")
    with torch.inference_mode():
        together, alone = network.encoder(mixed), network.encoder(mixed.select([3]))
    torch.testing.assert_close(together[mixed.offsets[3] : mixed.offsets[4]], alone, atol=0.02, rtol=0)


def test_a_product_of_integers_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = torch.nn.Linear(24, 8)
    whole = torch.randint(-127, 128, (8, 24)).float()
    whole[:, 0] = 127.0  # so that every scale is a power of two times 127
    linear.weight.data = whole / 128
    values = torch.randint(-127, 128, (5, 24)).float()
    values[:, 1] = -127.0
    with torch.inference_mode():
        exact = torch.nn.functional.linear(values.double(), linear.weight.double(), linear.bias.double())
        torch.testing.assert_close(Int8Linear(linear)(values).double(), exact, atol=1e-4, rtol=1e-6)
        assert torch.equal(Int8Linear(linear)(torch.zeros(2, 24)), linear.bias.expand(2, 8))


def test_a_network_that_misses_its_class_is_refused(build_bundle: Callable[..., Bundle]) -> None:
    bundle, other = build_bundle(), build_bundle()
    table: Any = other.model.get_parameter("encoder.embeddings.word.weight")
    table.data += 0.5 * torch.randn_like(table)
    with pytest.raises(SettingsError, match=r"not within the limit of --precision int8, 0\.995"):
        hold(bundle, other.model, "int8")


@pytest.mark.parametrize("name", FROZEN)
def test_what_is_missing_is_named(
    name: str, build_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "find_spec", lambda package: None)
    with pytest.raises(SettingsError, match=rf"--backend {name} needs \w+; install it with: pip install 'bertie\["):
        load_backend(name).prepare(build_bundle(), "exact")


def test_refusals(build_bundle: Callable[..., Bundle], mixed: Batch, tmp_path: Path) -> None:
    onnx, openvino, eager = (load_backend(name) for name in ("onnx", "openvino", "eager"))
    bundle = build_bundle()
    assert "no bf16" in onnx.refusal(bundle, "bf16")
    assert "calibration" in openvino.refusal(bundle, "int8")
    other = build_bundle("modernbert", num_heads=2)
    assert all("modernbert" in backend.refusal(other, "exact") for backend in (onnx, openvino))
    assert eager.refusal(other, "int8") == ""
    with pytest.raises(SettingsError, match="nothing to export"):
        eager.freeze(bundle, tmp_path, "exact")
    with pytest.raises(SettingsError, match="unknown backend 'onx'; did you mean 'onnx'"):
        load_backend("onx")


def test_a_frozen_encoder_refuses_what_it_can_not_see(
    build_bundle: Callable[..., Bundle], mixed: Batch, tmp_path: Path
) -> None:
    inputs = ("input_ids", "attention_mask")
    facts = Facts("onnx", "exact", 64, inputs, {"last_hidden_state": Output("token", 64)}, {})
    session = Session(inputs, ("last_hidden_state",), lambda arrays: {})
    encoder = FrozenEncoder(build_bundle().config, Frozen(session, facts, tmp_path))
    with pytest.raises(SettingsError, match="--backend eager"):
        encoder(replace(mixed, causal=True))
    long = Batch.pack(torch.ones(65, dtype=torch.int64), torch.zeros(65, dtype=torch.int64), torch.tensor([0, 65]))
    with pytest.raises(ValueError, match="65 tokens, the model takes at most 64"):
        encoder(long)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=80))
def test_groups_lose_little_to_padding(lengths: list[int]) -> None:
    sizes = np.array(lengths)
    groups = like_lengths(sizes)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    for group in groups:
        own = sizes[group]
        assert (np.diff(own) <= 0).all()
        assert own.max() * len(own) - own.sum() <= 96 + own.max() * len(own) / 16
