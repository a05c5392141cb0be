"""``bertie show`` of everything else: running runs, checkpoints, foreign models, indexes, predictions, tables."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie import config
from bertie.bulk.parts import Part, opened
from bertie.commands.export import export
from bertie.commands.show import show
from bertie.errors import BertieError, DataError, SettingsError
from bertie.formats import google
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference.search_index import FORM, write_index
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.training import checkpoint
from bertie.training.journal import Journal
from bertie.training.runfolder import RunFolder


def weights(tensors: dict[str, Any]) -> bytes:
    header = json.dumps(tensors).encode()
    return len(header).to_bytes(8, "little") + header


@pytest.fixture
def model(build_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path) -> Path:
    """Return a model folder as bertie writes it."""
    network = build_model(Classification(labels=("bad", "good"), max_length=16))
    bundle = Bundle(
        network, Classification(labels=("bad", "good"), max_length=16), tiny_tokenizer, network.encoder.config
    )
    write(replace(bundle, card="# A card\n"), tmp_path / "model")
    return tmp_path / "model"


def test_a_run_that_goes_on_or_was_killed(tmp_path: Path) -> None:
    opening: dict[str, Any] = {"resume": False, "data": "x", "settings_file": config}
    with RunFolder.open(tmp_path / "run", "pretrain", {"steps": 100}, **opening) as folder:
        with Journal(folder.metrics) as lines:
            lines.write({"kind": "train", "step": 7, "loss": 2.0})
        report = show(folder.path)
        assert report.values["state"] == "running" and report.next_command == f"tail -f {folder.metrics}"
        assert f"running (process {os.getpid()}) at step 7 of 100 steps" in report.as_text()
    report = show(tmp_path / "run" / "metrics.jsonl")
    assert report.values["state"] == "unfinished"
    assert report.next_command == f"bertie run {tmp_path}/run/config.toml --resume"
    assert "unfinished at step 7 of 100 steps; without a checkpoint it begins again" in report.as_text()


def test_the_length_of_a_run_as_it_was_given(tmp_path: Path) -> None:
    settings = {
        "tokens": 33_000_000,
        "epochs": 2,
        "budget": "20m",
    }
    said = ("at step 7, with 1,234 of 33,000,000 tokens;", "at step 7 of 2 epochs;", "at step 7 of a run of 20m;")
    for (name, value), words in zip(settings.items(), said, strict=True):
        opening: dict[str, Any] = {"resume": False, "data": "x", "settings_file": config}
        run = RunFolder.open(tmp_path / name, "pretrain", {name: value}, **opening)
        with run as folder, Journal(folder.metrics) as lines:
            lines.write({"kind": "train", "step": 7, "tokens": 1234, "loss": 2.0})
        assert words in show(tmp_path / name).as_text()


def test_a_checkpoint(tmp_path: Path) -> None:
    saved = checkpoint.save(tmp_path / "checkpoints", step=2, tensors={"a": torch.arange(9)}, state={})
    (tmp_path / "config.toml").write_text('command = "pretrain"\n')
    report = show(saved)
    assert (report.values["kind"], report.values["step"], report.exit_code) == ("checkpoint", 2, 0)
    assert report.next_command == f"bertie run {tmp_path}/config.toml --resume"
    assert show(saved / "state.json").values == report.values
    file = saved / "tensors-00001.safetensors"
    assert show(file).values == report.values
    file.write_bytes(file.read_bytes()[:-1])
    report = show(saved)
    assert report.exit_code == 3 and "tensors-00001.safetensors is damaged" in report.values["files"]["changed"][0]


def test_models_of_other_programs(tmp_path: Path) -> None:
    settings = {"architectures": ["BertModel"], "model_type": "bert", "transformers_version": "4.8.2"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    tensors = {"a": {"shape": [3, 4], "dtype": "F32"}, "embeddings.position_ids": {"shape": [1, 512], "dtype": "I64"}}
    (tmp_path / "model.safetensors").write_bytes(weights(tensors))
    values = show(tmp_path).values
    assert (values["task"], values["num_parameters"], values["made_by"]) == ("features", 12, "transformers 4.8.2")
    steps = [{"type": f"sentence_transformers.models.{name}", "path": f"{number}_{name}" * bool(number)}
             for number, name in enumerate(("Transformer", "Pooling", "Normalize"))]  # fmt: skip
    (tmp_path / "modules.json").write_text(json.dumps(steps))
    (tmp_path / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    report = show(tmp_path)
    assert report.values["sentence_transformers"] == ["Transformer", "Pooling (mean)", "Normalize"]
    assert report.next_command == f'bertie search {tmp_path} FILE "a query"' and report.values["task"] == "embedding"
    (tmp_path / "modules.json").write_text("[3]")
    with pytest.raises(DataError, match=r"modules\.json must list steps"):
        show(tmp_path)
    (tmp_path / "modules.json").unlink()
    for kind, name, task in (
        ("electra", "ElectraForPreTraining", "replaced_token"),
        ("bert", "BertForMaskedLM", "masked_lm"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"architectures": [name], "model_type": kind}))
        assert show(tmp_path).values["task"] == task
    whole = {"a": {"shape": [2], "dtype": "F32", "data_offsets": [0, 8]}}
    (tmp_path / "model.safetensors").write_bytes(weights(whole) + bytes(4))
    with pytest.raises(DataError, match=r"model\.safetensors is cut off: it has .* copy or download it again"):
        show(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    report = show(tmp_path)
    assert "pytorch_model.bin, a pickle" in report.as_text() and report.next_command is None


def test_an_exported_model(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the export needs onnxruntime")
    pytest.importorskip("onnx", reason="the export needs onnx")
    export(str(model), tmp_path / "frozen")
    report = show(tmp_path / "frozen")
    assert report.values["kind"] == "exported model" and report.exit_code == 0
    assert {"backend": "onnx", "precision": "exact"}.items() <= report.values["export"].items()
    assert show(tmp_path / "frozen" / "model.onnx").values == report.values
    assert report.next_command == f'bertie predict {tmp_path}/frozen "a text"'


def test_a_search_index(tmp_path: Path) -> None:
    file = tmp_path / "index.npz"
    write_index(
        file, {"form": FORM, "model": "m" * 64, "file": "f" * 64, "columns": "{}"}, np.zeros((5, 3), np.float32)
    )
    values = show(file).values
    assert (values["kind"], values["num_vectors"], values["size_of_vectors"]) == ("search index", 5, 3)
    for content in (b"", b"PK\x03\x04", file.read_bytes()[:-40]):
        file.write_bytes(content)
        with pytest.raises(DataError, match="is not a search index, or is damaged"):
            show(file)


def test_predictions_in_progress(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    origin = {"the version of bertie": "0.1.0", "the input file": {"bytes": 2000}, "--task": "None"}
    with pytest.raises(KeyboardInterrupt), opened(out, origin, resume=False) as work:
        work.add(Part(0, 2, 1, 0), [{"fields": {"label": "a"}}, {"error": "no text"}])
        assert show(out).values["state"] == "running"
        raise KeyboardInterrupt
    report = show(out)
    assert report.values == show(tmp_path / "out.jsonl.parts").values == show(work.folder / "origin.json").values
    assert (report.values["state"], report.values["rows"], report.values["errors"]) == ("stopped", 2, 1)
    assert report.next_command == f"bertie predict MODEL --file FILE --out {out} --resume"
    (work.folder / "000000.jsonl").write_text('{"first": 3}\n')
    assert show(out).exit_code == 3


def test_tables_texts_vocabularies_and_pages(tmp_path: Path) -> None:
    for name, content, kind, command in (
        ("a.csv", "text,label\nx,1\ny,2\n", "data table", "bertie check {} --task classification"),
        ("b.jsonl", '{"question": "a", "context": "b"}\n', "data table", "bertie check {} --task question_answering"),
        ("c.txt", "A text.\n", "text", "bertie check {}"),
        ("d.txt", "[PAD]\n[UNK]\nthe\n##s\n", "vocabulary", "mkdir TOKENIZER && cp {} TOKENIZER/vocab.txt"),
        ("e.html", "<p>", "page", None),
    ):
        (tmp_path / name).write_text(content)
        report = show(tmp_path / name)
        assert report.values["kind"] == kind
        assert report.next_command == (command and command.format(tmp_path / name))
    assert show(tmp_path / "a.csv").values["rows"] == 2 and show(tmp_path / "d.txt").values["lowercase"] is True
    values = show(tmp_path).values
    assert values["entries"] == [{"name": "a.csv", "kind": "data table"}, {"name": "b.jsonl", "kind": "data table"}]
    for name, message in (
        ("f.gguf", "a GGUF model"),
        ("g.bin", "a pickle, which could run code"),
        ("h.xyz", "binary data"),
    ):
        (tmp_path / name).write_bytes(b"\0\1")
        with pytest.raises(SettingsError, match=message):
            show(tmp_path / name)


def test_googles_checkpoint(build_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path) -> None:
    task = MaskedLM(max_length=16)
    network = build_model(task)
    google.write(Bundle(network, task, tiny_tokenizer, network.encoder.config), tmp_path / "google")
    report = show(tmp_path / "google")
    assert report.values["kind"] == "TensorFlow 1 checkpoint" and report.values["layers"] == 2
    assert report.values["num_parameters"] == sum(value.numel() for value in network.parameters())
    assert report.next_command == f"bertie convert {tmp_path}/google OUT"
    for file in sorted((tmp_path / "google").iterdir()):
        assert show(file).values["path"]


def test_a_description_loads_no_torch(model: Path, tmp_path: Path) -> None:
    config.write(tmp_path / "run" / "config.toml", command="pretrain", parameters={"seed": 3})
    checkpoint.save(tmp_path / "run" / "checkpoints", step=2, tensors={"a": torch.arange(9)}, state={})
    (tmp_path / "a.csv").write_text("text,label\nx,1\n")
    code = (
        "import sys; from bertie.cli import main\nfor path in sys.argv[1:]: assert main(['show', path, '--quiet']) == 0"
    )
    paths = [
        model,
        model / "vocab.txt",
        tmp_path / "run",
        tmp_path / "run/checkpoints/step-00000002",
        tmp_path / "a.csv",
    ]
    words = [sys.executable, "-c", f"{code}\nassert 'torch' not in sys.modules", *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = {
    "config.json": (
        "architectures",
        "model_type",
        "id2label",
        "bertie",
        "hidden_size",
        "n_layers",
        "transformers_version",
    ),
    "manifest.json": ("sources", "statistics", "settings", "num_tokens", "num_documents", "fingerprint"),
    "modules.json": ("type",),
    "origin.json": ("the input file", "--task"),
    "tokenizer_config.json": ("pad_token", "do_lower_case", "tokenizer_class"),
}


@given(st.sampled_from(sorted(KEYS)), st.data())
def test_any_values_are_shown_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    values = data.draw(st.dictionaries(st.sampled_from(KEYS[name]), JSON))
    if "bertie" in values and data.draw(st.booleans()):
        values["bertie"] = data.draw(st.dictionaries(st.sampled_from(["task", "settings", "scores", "steps"]), JSON))
    folder = tmp_path_factory.mktemp("any") / "out.parts"
    folder.mkdir()
    base = {"manifest.json": {"format": "bertie corpus"}}.get(name, {})
    if name in ("modules.json", "tokenizer_config.json"):
        (folder / ("config.json" if name == "modules.json" else "vocab.txt")).write_text("{}")
    (folder / name).write_text(json.dumps({**base, **values}), encoding="utf-8", errors="surrogatepass")
    try:
        assert show(folder).as_text()
    except BertieError as error:
        assert str(folder) in str(error)


def test_odd_paths(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "b.csv").touch()
    (tmp_path / "c").symlink_to("nowhere")
    for name, message in (("a.txt", "is a pipe"), ("c", "no such file or folder")):
        with pytest.raises(SettingsError, match=message):
            show(tmp_path / name)
    assert show(tmp_path / "b.csv").values["columns"] == []
