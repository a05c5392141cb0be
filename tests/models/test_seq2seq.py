"""An encoder under a decoder: where its weights come from, what is shared, start and end, files that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.bert import BertConfig
from bertie.models.seq2seq import EncoderDecoder, EncoderDecoderConfig
from bertie.tasks.features import FeaturesTask
from bertie.tasks.generation import Generation
from bertie.tasks.masked_lm import MaskedLM
from bertie.training.layers import num_blocks, rate_scales

TASK = Generation(max_length=20, max_target=20, max_new_tokens=8)


def bert_config(vocab_size: int) -> BertConfig:
    return BertConfig(
        vocab_size, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, max_positions=24, dropout=0.0
    )


@pytest.fixture(scope="module")
def encoder_folder(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "model"
    huggingface.write(new(bert_config(tiny_tokenizer.vocab_size), MaskedLM(max_length=20), tiny_tokenizer, 3), folder)
    return folder


def begin(folder: Path, **settings: Any) -> Any:
    wishes = {"max_length": 20, "max_target": 20, "max_new_tokens": 8, **settings}
    return huggingface.read(folder, task="generation", settings=wishes, new_head=True)


@pytest.mark.parametrize("shared", [False, True])
def test_a_decoder_begins_as_its_encoder(encoder_folder: Path, tiny_tokenizer: Any, shared: bool) -> None:
    bundle, before = begin(encoder_folder, shared=shared), huggingface.read(encoder_folder)
    masked, network = dict(before.model.named_parameters()), bundle.model
    for name, value in network.head.decoder.named_parameters():
        if "cross_" in name:
            fresh = value.detach()
            assert fresh.dim() == 1 or 0.0 < float(fresh.std()) < 0.05
        else:
            twin = masked[f"head.{name}" if name.startswith("token_logits.") else f"encoder.{name}"]
            assert torch.equal(value, twin), name
    (note,) = [note for note in bundle.notes if "initialized at random" in note]
    assert note.count("cross_attention") == 12 and "token_logits" not in note
    own = {id(value) for value in network.encoder.parameters()}
    common = [name for name, value in network.head.decoder.named_parameters() if id(value) in own]
    assert bool(common) == shared and all("cross_" not in name for name in common)
    assert len(common) == (len(own) if shared else 0)
    ids = (bundle.config.start_id, bundle.config.end_id, bundle.config.pad_id)
    assert ids == (tiny_tokenizer.start, tiny_tokenizer.separator, tiny_tokenizer.pad)


def test_an_encoder_without_a_masked_lm_head(tiny_tokenizer: Any, tmp_path: Path) -> None:
    config = bert_config(tiny_tokenizer.vocab_size)
    huggingface.write(new(config, FeaturesTask(max_length=20), tiny_tokenizer, 3), tmp_path / "bare")
    notes = begin(tmp_path / "bare").notes
    assert any("initialized at random" in note and "decoder.token_logits.dense.weight" in note for note in notes)


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_written_is_read_again(encoder_folder: Path, tmp_path: Path, shared: bool) -> None:
    bundle = begin(encoder_folder, shared=shared)
    huggingface.write(bundle, tmp_path / "pair")
    again = huggingface.read(tmp_path / "pair")
    assert (again.config, again.task, again.architecture, again.notes) == (bundle.config, bundle.task, "seq2seq", ())
    before, after = bundle.model.state_dict(), again.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())
    values = json.loads((tmp_path / "pair" / "config.json").read_text(encoding="utf-8"))
    assert values["model_type"] == "encoder-decoder" and values["architectures"] == ["EncoderDecoderModel"]
    assert values["decoder"]["is_decoder"] and values["decoder"]["add_cross_attention"]


def test_training_knows_its_layers(encoder_folder: Path) -> None:
    model = begin(encoder_folder).model
    assert num_blocks(model) == 2
    scales = rate_scales(model, 0.5)
    assert scales["encoder.embeddings.word.weight"] == 0.125 and scales["encoder.blocks.1.attention.qkv.weight"] == 0.5
    assert scales["head.decoder.blocks.0.attention.qkv.weight"] == 1.0


def test_an_encoder_alone_does_not_write(encoder_folder: Path) -> None:
    with pytest.raises(SettingsError, match="has no decoder to generate text with; fine-tune it"):
        huggingface.read(encoder_folder, task="generation")
    with pytest.raises(SettingsError, match="Bert has no decoder"):
        TASK.head(bert_config(50).build())


def test_texts_longer_than_the_positions_are_refused(encoder_folder: Path) -> None:
    with pytest.raises(SettingsError, match="max_target 25 is more than the decoder's 24 positions"):
        begin(encoder_folder, max_target=25)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"decoder_start_token_id": 7}, DataError, "start and end with the ids"),
        ({"decoder_start_token_id": None}, SettingsError, "lacks decoder_start_token_id"),
        ({"eos_token_id": 1_000_000}, SettingsError, "end_id must be an id below"),
        ({"decoder": None}, DataError, "decoder must be a JSON object"),
        ({"encoder": {"model_type": "gpt9"}}, DataError, "gpt9"),
    ],
)
def test_foreign_configs_are_checked(
    encoder_folder: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    huggingface.write(begin(encoder_folder), tmp_path / "pair")
    for beside in ("generation_config.json", "SHA256SUMS"):  # the one would say the ids, the other that they changed
        (tmp_path / "pair" / beside).unlink()
    file = tmp_path / "pair" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(error, match=message):
        huggingface.read(tmp_path / "pair")


def test_a_decoder_that_is_none_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    huggingface.write(begin(encoder_folder), tmp_path / "pair")
    file = tmp_path / "pair" / "config.json"
    (tmp_path / "pair" / "SHA256SUMS").unlink()
    values = json.loads(file.read_text(encoding="utf-8"))
    values["decoder"]["is_decoder"] = False
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(DataError, match="is_decoder and add_cross_attention"):
        huggingface.read(tmp_path / "pair")


def test_dropout_goes_on_and_off_with_the_whole(encoder_folder: Path) -> None:
    encoder = begin(encoder_folder).model.encoder
    assert isinstance(encoder, EncoderDecoder) and not encoder.blocks[0].training
    encoder.train()
    assert encoder.blocks[0].training and encoder._source[0].training
    encoder.eval()
    assert not encoder.blocks[0].training and not encoder._source[0].training


def test_halves_of_unlike_shape_share_nothing() -> None:
    small, large = bert_config(50), BertConfig(50, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=32)
    pair = EncoderDecoderConfig(small, large, 1, 2)
    decoder = pair.build().decoder()
    assert decoder.blocks[0].cross_attention.kv.weight.shape == (64, 16)
    with pytest.raises(SettingsError, match="of one shape"):
        EncoderDecoderConfig(small, large, 1, 2, shared=True)
