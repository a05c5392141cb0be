"""Fine-tuning from random weights: named architectures and sizes with a given tokenizer, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie
from bertie import cli, config, flags
from bertie.commands._new_model import ModelSettings, RandomStart
from bertie.commands.finetune import finetune as finetune_function
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.models.bert import BertConfig
from bertie.models.seq2seq import EncoderDecoder, EncoderDecoderConfig
from bertie.models.transformer import TransformerConfig
from bertie.tasks.classification import Classification
from bertie.tasks.generation import Generation
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.writing import save_tokenizer

WORDS = ("cat", "dog", "bird", "fish", "house", "river", "city", "story")


@pytest.fixture(scope="module")
def room(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tokenizer, a table of labels and one of texts to write."""
    folder = tmp_path_factory.mktemp("random-start")
    (folder / "tokenizer").mkdir()
    save_tokenizer(tiny_tokenizer, folder / "tokenizer")
    labels = "".join(f"the {word} was {kind}\t{kind}\n" for word in WORDS for kind in ("good", "bad"))
    (folder / "labels.tsv").write_text(f"text\tlabel\n{labels}", encoding="utf-8")
    pairs = "".join(f"the {one} saw the {two}\tthe {two}\n" for one in WORDS for two in WORDS)
    (folder / "pairs.tsv").write_text(f"source\ttarget\n{pairs}", encoding="utf-8")
    return folder


def finetune(room: Path, out: Path, words: str) -> int:
    """Type the command for two steps."""
    common = f"finetune --tokenizer {room / 'tokenizer'} --out {out} --steps 2 --threads 1 --length 16 --quiet"
    return cli.main([*common.split(), *words.split()])


def weights(folder: Path) -> dict[str, Any]:
    return huggingface.read(folder / "model").model.state_dict()


def test_a_transformer_and_its_settings_file(room: Path, tmp_path: Path) -> None:
    flags = "--task generation --model.architecture transformer --model.size 1/32 --model.dropout 0.2"
    tables = f"--train {room / 'pairs.tsv'} --settings max_target=8,max_new_tokens=8"
    assert finetune(room, tmp_path / "one", f"{flags} {tables}") == 0
    made = huggingface.read(tmp_path / "one" / "model")
    shape = made.config
    assert isinstance(shape, TransformerConfig) and made.architecture == "transformer"
    assert (shape.num_layers, shape.num_decoder_layers, shape.hidden_size, shape.dropout) == (1, 1, 32, 0.2)
    assert (shape.start_id, shape.end_id) == (made.tokenizer.start, made.tokenizer.separator)
    said = config.read(tmp_path / "one")["model"]
    assert said == {
        "architecture": "transformer",
        "size": "1/32",
        "num_heads": 1,
        "dropout": 0.2,
        "max_positions": 1024,
    }
    assert cli.main(["run", str(tmp_path / "one"), "--out", str(tmp_path / "two"), "--quiet"]) == 0
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
    # A folder takes the place of random weights, which then have no tokenizer to be given.
    again = {
        name: value for name, value in config.read(tmp_path / "one").items() if name not in ("command", "tokenizer")
    }
    config.write(tmp_path / "three.toml", command="finetune", parameters=again)
    words = ["run", str(tmp_path / "three.toml"), "--model", str(tmp_path / "one" / "model"), "--out"]
    assert cli.main([*words, str(tmp_path / "three"), "--quiet"]) == 0
    assert config.read(tmp_path / "three")["model"] == str(tmp_path / "one" / "model")


def test_an_encoder_under_another_task(room: Path, tmp_path: Path) -> None:
    """What a run begins with is what `RandomStart` draws: a rate of 0 leaves it as it was."""
    flags = f"--model.architecture modernbert --model.size 1/32 --train {room / 'labels.tsv'} --learning-rate 0"
    assert finetune(room, tmp_path / "out", f"{flags} --optimizer.weight-decay 0 --seed 3") == 0
    made = huggingface.read(tmp_path / "out" / "model")
    assert made.architecture == "modernbert" and made.task == Classification(labels=("bad", "good"), max_length=16)
    drawn = RandomStart.of(ModelSettings(architecture="modernbert", size="1/32"), made.tokenizer).draw(
        made.task, seed=3
    )
    own = made.model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in drawn.model.state_dict().items())


def test_bert_writes_with_a_decoder_of_its_shape(room: Path, tmp_path: Path) -> None:
    table = room / "pairs.tsv"
    start, tokenizer = {"architecture": "bert", "size": "1/32", "max_positions": 20}, room / "tokenizer"
    wishes = {"max_new_tokens": 4, "max_target": 9}
    run = {"train": table, "steps": 1, "length": 16, "threads": 1}
    bertie.finetune(start, task="generation", tokenizer=tokenizer, out=tmp_path / "out", settings=wishes, **run)
    made = huggingface.read(tmp_path / "out" / "model")
    assert isinstance(made.model.encoder, EncoderDecoder) and made.architecture == "seq2seq"
    shape = made.config
    assert isinstance(shape, EncoderDecoderConfig) and (shape.max_positions, shape.num_decoder_layers) == (20, 1)
    with pytest.raises(SettingsError, match="decoder=copy copies a pre-trained encoder's weights"):
        bertie.finetune(
            start, task="generation", tokenizer=tokenizer, out=tmp_path / "no", settings={"decoder": "copy"}, **run
        )


def test_a_berts_kin_writes_with_a_decoder_of_berts_shape(room: Path, tmp_path: Path) -> None:
    words = f"--train {room / 'pairs.tsv'} --model.architecture modernbert --model.size 1/32 --task generation"
    assert finetune(room, tmp_path / "one", f"{words} --settings max_target=8,max_new_tokens=8") == 0
    made = huggingface.read(tmp_path / "one" / "model")
    assert isinstance(made.config, EncoderDecoderConfig) and made.config.encoder_kind == "modernbert"
    assert type(made.config.decoder) is BertConfig and made.config.decoder.hidden_size == 32


def test_a_decoder_over_a_pretrained_encoder_is_a_copy_or_random(room: Path, tmp_path: Path) -> None:
    start = RandomStart.of(ModelSettings(size="1/32"), load_tokenizer(room / "tokenizer"))
    huggingface.write(start.draw(MaskedLM(), seed=0), tmp_path / "encoder")
    same = {}
    for choice in ("copy", "random"):
        made = huggingface.read(tmp_path / "encoder", task="generation", settings={"decoder": choice}, new_head=True)
        state = made.model.state_dict()
        own, decoder = state["encoder.embeddings.word.weight"], state["head.decoder.embeddings.word.weight"]
        same[choice] = torch.equal(own, decoder)
        assert (
            isinstance(made.task, Generation) and made.task.decoder == choice and own.data_ptr() != decoder.data_ptr()
        )
    assert same == {"copy": True, "random": False}
    with pytest.raises(SettingsError, match="copy if shared is set"):
        Generation(decoder="random", shared=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model.size 1/32 --model.activation relu", "--model.activation"),
        ("--model.dropout 0.1", "random weights need a --model.size"),
        ("--model.architecture brt --model.size mini", "unknown model 'brt'; did you mean 'bert'"),
        ("--model.size huge", "size must be one of"),
        ("--model.architecture transformer --model.size 1/32", "it has no head for other tasks"),
        (
            "--model.architecture transformer --model.size 1/32 --model.activation gelu",
            "transformer has no --model.act",
        ),
        (
            "--model.architecture modernbert --model.size 1/32 --task generation --settings shared=true",
            "shared needs an encoder and a decoder of one shape",
        ),
        ("--model.architecture causal --model.size 1/32 --task generation", "a decoder-only model reads no source"),
        ("--model.architecture seq2seq --model.size 1/32 --task generation", "adds a decoder to a bert"),
        ("--model.size 1/32 --model.max-positions 8", "--length 16 is more than the 8 positions of this bert"),
        ("somewhere", "has a tokenizer of its own"),
        ("somewhere --model.size 1/32", r"give MODEL \('somewhere'\) or flags --model.*, not both"),
        ("", "nothing to start from: give MODEL"),
    ],
)
def test_what_is_refused(
    words: str, message: str, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "pairs" if "generation" in words else "labels"
    assert finetune(room, tmp_path / "out", f"--train {room / table}.tsv {words}") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert not (tmp_path / "out").exists()


def test_flags_win_over_a_file(tmp_path: Path) -> None:
    """A folder in the file gives way to flags of random weights, flags add to what a table there says."""
    (tmp_path / "a.toml").write_text('command = "finetune"\nmodel = "m"\ntrain = "t"\nout = "o"\n', encoding="utf-8")
    (tmp_path / "b.toml").write_text('train = "t"\nout = "o"\n[model]\nsize = "1/32"\n', encoding="utf-8")

    def model(name: str, *words: str) -> Any:
        return flags.parse(finetune_function, ["--config", str(tmp_path / name), *words])[0]["model"]

    assert model("a.toml") == "m" and model("a.toml", "other") == model("a.toml", "--model", "other") == "other"
    assert model("a.toml", "--model.size", "mini") == ModelSettings(size="mini")
    assert model("b.toml") == ModelSettings(size="1/32") and model("b.toml", "--model", "m") == "m"
    assert model("b.toml", "--model.architecture", "albert") == ModelSettings(architecture="albert", size="1/32")
    with pytest.raises(SettingsError, match="not both"):
        model("a.toml", "--model", "m", "--model.size", "mini")


def test_random_weights_without_a_vocabulary(room: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="random weights need a vocabulary: give --tokenizer"):
        bertie.finetune({"size": "1/32"}, train=room / "labels.tsv", out=tmp_path / "out")
    with pytest.raises(SettingsError, match=r"model\.size should be a valid string, not 3"):
        bertie.finetune({"size": 3}, train=room / "labels.tsv", out=tmp_path / "out")
    with pytest.raises(SettingsError, match=r"unknown key 'model\.sze'; did you mean 'model\.size'"):
        bertie.finetune({"sze": "1/32"}, train=room / "labels.tsv", out=tmp_path / "out")
