"""BERT: named sizes, foreign settings, the encoder's invariances, its stems, first weights, compilation."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models.bert import SIZES, Bert, BertConfig
from bertie.models.model import Encoder
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Dropout, Noise

SMALL = BertConfig(
    50, hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64, max_positions=40, attention_dropout=0.1
)
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def encoder(config: BertConfig = SMALL, seed: int = 0) -> Bert:
    built = config.build()
    built.initialize(seed)
    with torch.no_grad():  # larger than at the start of training, so that a wrong mask shows
        for parameter in built.parameters():
            parameter.mul_(3.0).add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    return built.eval()


ENCODER = encoder()


def batch_of(lengths: list[int]) -> Batch:
    random = torch.Generator().manual_seed(len(lengths))
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    tokens = torch.randint(0, 50, (int(offsets[-1]),), generator=random)
    return Batch.pack(tokens, torch.randint(0, 2, tokens.shape, generator=random), offsets)


@pytest.mark.parametrize(
    ("size", "millions"), [("tiny", 4.4), ("mini", 11.2), ("small", 28.8), ("medium", 41.4), ("base", 109.5)]
)
def test_named_sizes_have_the_released_number_of_parameters(size: str, millions: float) -> None:
    config = BertConfig.sized(size, vocab_size=30522)
    with torch.device("meta"):
        built = config.build()
        count = sum(value.numel() for part in (built, built.pool()) for value in part.parameters())
    assert round(count / 1e6, 1) == millions
    assert config.num_heads == config.hidden_size // 64 and config.intermediate_size == 4 * config.hidden_size


def test_any_layers_and_width() -> None:
    config = BertConfig.sized("3/192", vocab_size=99)
    assert (config.num_layers, config.hidden_size, config.num_heads, config.vocab_size) == (3, 192, 3, 99)
    assert BertConfig.sized("1/32", vocab_size=9).num_heads == 1
    assert SIZES["large"] == (24, 1024)


@pytest.mark.parametrize("size", ["huge", "4x256", "4/", "0/128", "2/100", "2/0", ""])
def test_wrong_sizes(size: str) -> None:
    with pytest.raises(SettingsError, match="size"):
        BertConfig.sized(size, vocab_size=9)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(SettingsError, match="multiple of num_heads; got 32 and 5"):
        replace(SMALL, num_heads=5)


@given(
    st.builds(
        BertConfig,
        st.integers(1, 99999),
        hidden_size=st.sampled_from([64, 128]),
        num_layers=st.integers(1, 40),
        num_heads=st.sampled_from([1, 2, 4]),
        intermediate_size=st.integers(1, 5000),
        max_positions=st.integers(1, 8192),
        num_segments=st.integers(1, 4),
        activation=st.sampled_from(["gelu", "gelu_tanh", "relu"]),
        dropout=st.floats(0, 0.9),
        attention_dropout=st.floats(0, 0.9),
        classifier_dropout=st.none() | st.floats(0, 0.9),
        layer_norm_eps=st.sampled_from([1e-12, 1e-5]),
        initializer_range=st.floats(0.001, 1.0),
        pad_id=st.integers(0, 9),
    )
)
def test_foreign_settings_go_out_and_come_back(config: BertConfig) -> None:
    foreign = json.loads(json.dumps(config.to_foreign()))
    assert foreign["model_type"] == "bert"
    assert BertConfig.from_foreign(foreign) == config


def test_absent_foreign_settings_take_the_usual_values() -> None:
    config = BertConfig.from_foreign({"hidden_act": "gelu_pytorch_tanh", "pad_token_id": None, "torch_dtype": "x"})
    assert config == BertConfig(30522, activation="gelu_tanh")


@pytest.mark.parametrize("values", [{"hidden_act": "silu"}, {"position_embedding_type": "relative_key"}])
def test_foreign_settings_that_are_not_ours(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values.values()))):
        BertConfig.from_foreign(values)


def test_it_keeps_the_contract_of_an_encoder() -> None:
    assert isinstance(ENCODER, Encoder)


@settings(max_examples=15)
@given(LENGTHS, st.randoms(use_true_random=False))
def test_a_sequence_comes_out_the_same_in_any_company(lengths: list[int], random: object) -> None:
    batch, order = batch_of(lengths), list(range(len(lengths)))
    random.shuffle(order)  # type: ignore[attr-defined]
    with torch.inference_mode():
        whole = ENCODER(batch).split(lengths)
        shuffled = ENCODER(batch.select(order)).split([lengths[index] for index in order])
        for place, index in enumerate(order):
            torch.testing.assert_close(shuffled[place], whole[index], rtol=0, atol=1e-5)
            torch.testing.assert_close(ENCODER(batch.select([index])), whole[index], rtol=0, atol=1e-5)


@settings(max_examples=15)
@given(LENGTHS, st.integers(0, 5))
def test_padding_reaches_nothing(lengths: list[int], extra: int) -> None:
    batch = batch_of(lengths)
    ids, segments = batch.unpack(batch.tokens, padding=7), batch.unpack(batch.segments, padding=1)
    ids, segments = (nn.functional.pad(values, (0, extra), value=1) for values in (ids, segments))
    mask = (torch.arange(ids.shape[1])[None, :] < batch.lengths[:, None]).long()
    with torch.inference_mode():
        expected, found = ENCODER(batch), ENCODER(Batch.from_padded(ids, mask, segments))
    assert torch.equal(found, expected)


def test_first_weights_follow_the_seed() -> None:
    one, other, third = (SMALL.build() for _ in range(3))
    for built, seed in ((one, 5), (other, 5), (third, 6)):
        built.initialize(seed)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.embeddings.word.weight, third.embeddings.word.weight)
    assert abs(float(one.embeddings.word.weight.detach().std()) - 0.0176) < 0.002


def test_dropout_follows_noise_and_every_site_is_another() -> None:
    model, batch = encoder().train(), batch_of([9, 12])
    assert torch.equal(model(batch, Noise(1)), model(batch, Noise(1)))
    assert not torch.equal(model(batch, Noise(1)), model(batch, Noise(2)))
    sites = [part.site for part in model.modules() if isinstance(part, Dropout)]
    sites += [block.attention.site for block in model.blocks]  # type: ignore[union-attr, misc]
    sites.append(model.classifier_dropout().site)
    assert len(sites) == len(set(sites)) == 8


def test_training_without_noise_draws_from_torch() -> None:
    model, batch = encoder().train(), batch_of([9, 12])
    torch.manual_seed(1)
    first, second = model(batch), model(batch)
    torch.manual_seed(1)
    assert torch.equal(first, model(batch)) and not torch.equal(first, second)


def test_classifier_dropout_has_a_rate_of_its_own() -> None:
    assert SMALL.build().classifier_dropout().rate == 0.1
    assert replace(SMALL, classifier_dropout=0.0).build().classifier_dropout().rate == 0.0


def test_stems() -> None:
    model, batch = encoder(), batch_of([4, 1, 7])
    hidden = model(batch)
    pooler = model.pool()
    expected = torch.tanh(nn.functional.linear(hidden[[0, 4, 5]], pooler.dense.weight, pooler.dense.bias))
    torch.testing.assert_close(pooler(hidden, batch), expected)
    stem = model.token_logits()
    logits: Logits = stem(hidden[:3])
    assert logits.weight is model.embeddings.word.weight and logits.materialise().shape == (3, 50)


def test_tied_weights_gather_gradients_from_both_ends() -> None:
    model, batch = encoder(), Batch.pack([3, 4], [0, 0], [0, 2])
    stem = model.token_logits()
    total, _ = stem(model(batch)).cross_entropy(torch.tensor([5, 6]))
    total.backward()
    gradient = model.embeddings.word.weight.grad
    assert gradient is not None and bool(gradient[3].any())  # seen at the input
    assert bool(gradient[5].any()) and bool(gradient[49].any())  # every row at the output


def test_too_long_a_sequence_says_so() -> None:
    with pytest.raises(ValueError, match="41 tokens, the model takes at most 40"):
        ENCODER(batch_of([41]))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, while it traces
@pytest.mark.parametrize("training", [False, True])
def test_compiles_as_one_graph(training: bool) -> None:
    torch._dynamo.reset()
    model, batch = encoder().train(training), batch_of([9, 12])
    noise = Noise(1) if training else None
    compiled = torch.compile(lambda: model(batch, noise), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(), model(batch, noise), rtol=0, atol=1e-5)
    gradients = []
    for run in (compiled, lambda: model(batch, noise)):
        model.zero_grad()
        run().square().sum().backward()
        gradients.append([value.grad.clone() for value in model.parameters() if value.grad is not None])
    assert len(gradients[0]) == len(list(model.parameters()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
