"""RoFormer's own ways: turned pairs, distances alone, folders of transformers that are refused, its tokenizer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.roformer import RoFormerConfig
from bertie.nn.rotary import angles, rotate
from bertie.tasks.hybrid import Hybrid
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.writing import save_tokenizer

SMALL = RoFormerConfig(
    60, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32, embedding_size=6
)


def test_sizes() -> None:
    with torch.device("meta"):
        encoder = RoFormerConfig.sized("base", vocab_size=50000).build()
    assert encoder.embeddings.position is None and encoder.embeddings.project is None
    assert sum(value.numel() for value in encoder.parameters()) == 50000 * 768 + 4 * 768 + 12 * 7_087_872
    with pytest.raises(SettingsError, match="hidden_size / num_heads must be even"):
        replace(SMALL, hidden_size=18, num_heads=2)


def test_pairs_are_neighbours_or_halves_apart() -> None:
    values, turn = torch.randn(5, 2, 8), angles(torch.tensor([0, 1, 2, 7, 30]), 8, 10_000.0)
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])  # pairs that stand together, as halves
    turned = rotate(values, turn, interleaved=True)
    torch.testing.assert_close(turned[..., order], rotate(values[..., order], turn))
    assert torch.equal(turned[0], values[0]) and not torch.allclose(turned[1], values[1])


def test_the_angles_are_a_table() -> None:
    encoder = SMALL.build()
    places = torch.tensor([0, 3, 31])
    for found, expected in zip(encoder.turns(places), angles(places, 8, 10_000.0), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_only_distances_count() -> None:
    encoder = SMALL.build()
    encoder.initialize(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    batch = Batch.pack([7, 8, 9, 10, 11, 12], [0, 0, 1, 1, 0, 0], [0, 4, 6])
    with torch.no_grad():
        usual, moved = encoder.eval()(batch), encoder(batch.begun_at(torch.tensor([28, 5])))
        turned = encoder(Batch.pack([7, 9, 8, 10, 11, 12], [0, 1, 0, 1, 0, 0], [0, 4, 6]))
    torch.testing.assert_close(moved, usual, atol=1e-4, rtol=0)
    assert not torch.allclose(turned[0], usual[0], atol=1e-3)


def test_heads_that_begin_at_neighbours() -> None:
    encoder = replace(SMALL, hidden_size=64, embedding_size=32).build()
    encoder.initialize(0)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.start_at_neighbours((-1, 1, 0), torch.Generator().manual_seed(3))
    changed = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    layers = {f"blocks.{number}.attention.{part}" for number in (0, 1) for part in ("qkv.weight", "output.weight")}
    biases = {f"blocks.{number}.attention.qkv.bias" for number in (0, 1)}
    assert changed == {*layers, *biases, "embeddings.segment.weight", "embeddings.project.weight"}
    attention = encoder.blocks[0].attention
    hidden = torch.zeros(9, 64)
    turn = encoder.turns(torch.arange(9))
    query, key, _ = attention.project(hidden)
    turned = (rotate(part, turn, interleaved=True)[:, 0] for part in (query, key))
    scores = torch.einsum("id,jd->ij", *turned)
    assert scores[1:].argmax(1).tolist() == list(range(8))


def test_causal_batches_see_nothing_ahead(tiny_tokenizer: Any, tmp_path: Path) -> None:
    shape = RoFormerConfig.sized("2/32", vocab_size=tiny_tokenizer.vocab_size)
    bundle = new(shape, Hybrid(max_length=16), tiny_tokenizer, 1, architecture="roformer")
    huggingface.write(bundle, tmp_path / "model")
    model, report = transformers.RoFormerForCausalLM.from_pretrained(
        tmp_path / "model", output_loading_info=True, is_decoder=True
    )
    assert not any(report.values())
    ids = torch.tensor([[7, 9, 12, 8, 10]])
    with torch.no_grad():
        theirs = model.eval().roformer(ids).last_hidden_state[0]
        ours = bundle.model.encoder.eval()(replace(Batch.from_padded(ids), causal=True))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_what_is_refused() -> None:
    values = SMALL.to_foreign()
    plain = {name: value for name, value in values.items() if not name.startswith("summary_")}
    assert RoFormerConfig.from_foreign(plain) == SMALL
    assert RoFormerConfig.from_foreign({**plain, "embedding_size": None}).embedding_size == 16
    with pytest.raises(SettingsError, match="rotary_value is True; bertie's roformer supports only False"):
        RoFormerConfig.from_foreign({**values, "rotary_value": True})
    with pytest.raises(SettingsError, match="summary_activation is None; bertie's roformer supports only 'gelu'"):
        RoFormerConfig.from_foreign({**plain, "summary_type": "first", "summary_use_proj": True})


def test_a_choice_without_a_layer_on_the_first_token_is_refused(tiny_tokenizer: Any, tmp_path: Path) -> None:
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config = transformers.RoFormerConfig(vocab_size=tiny_tokenizer.vocab_size, max_position_embeddings=32, **size)
    transformers.RoFormerForMultipleChoice(config).save_pretrained(tmp_path)
    save_tokenizer(tiny_tokenizer, tmp_path)
    with pytest.raises(SettingsError, match=r"has no head.pooler.dense.bias, .*which this task needs"):
        huggingface.read(tmp_path)


def test_words_cut_by_a_dictionary_are_refused(tiny_tokenizer: Any, tmp_path: Path) -> None:
    shape = RoFormerConfig.sized("1/32", vocab_size=tiny_tokenizer.vocab_size)
    bundle = new(shape, MaskedLM(max_length=16), tiny_tokenizer, 1, architecture="roformer")
    huggingface.write(bundle, tmp_path / "model")
    assert huggingface.read(tmp_path / "model").tokenizer.fingerprint == tiny_tokenizer.fingerprint
    file = tmp_path / "model" / "tokenizer_config.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    (tmp_path / "model" / "SHA256SUMS").unlink()
    for changed in ({**told, "tokenizer_class": "RoFormerTokenizer"}, {**told, "tokenizer_class": None}):
        file.write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(DataError, match="its tokenizer is a RoFormerTokenizer, which bertie doesn't support"):
            huggingface.read(tmp_path / "model")
