"""Generators and teachers by command: what is written, what is gone on with, and which teachers are refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

import bertie
from bertie.commands._new_model import ModelSettings
from bertie.errors import DataError, SettingsError
from bertie.tasks.replaced_token import Detection
from bertie.training.settings import DistillSettings, TrainingSettings

WORDS = ("film", "story", "day", "cat", "dog", "bird", "fish", "house", "river", "city", "good", "bad", "great")
TINY, ELECTRA = ModelSettings(size="2/32"), ModelSettings(architecture="electra", size="2/32")
RUN: dict[str, Any] = {
    "length": 32,
    "batch_tokens": 256,
    "threads": 1,
    "training": TrainingSettings(save_every=2, log_every=2),
}


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    out, draw = prepare_sentences(WORDS, count=240, lengths=(3, 12), document=6), random.Random(0)
    rows = [f"the {word} {draw.choice(WORDS)}\t{'no' if word in ('bad', 'city') else 'yes'}" for word in WORDS]
    (out / "table.tsv").write_text("\n".join(["text\tlabel", *rows]), encoding="utf-8")
    return out


@pytest.fixture(scope="module")
def electra(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("electra") / "run"
    bertie.pretrain(corpus=corpus, dev=corpus, out=out, task="replaced_token", model=ELECTRA, steps=5, **RUN)
    return out


@pytest.fixture(scope="module")
def teacher(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "run"
    bertie.pretrain(corpus=corpus, out=out, model=ModelSettings(size="3/64"), steps=2, **RUN)
    return out / "model"


def lines_of(out: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: line[key] for key in line if "second" not in key} for line in lines if line["kind"] == kind]


def test_a_broken_run_of_two_networks_ends_like_an_unbroken_one(
    corpus: Path, electra: Path, tmp_path: Path, break_off: Callable[..., None]
) -> None:
    out = tmp_path / "run"
    wishes: dict[str, Any] = {"corpus": corpus, "dev": corpus, "task": "replaced_token", "model": ELECTRA, "steps": 5}
    break_off(at=4, out=out, **wishes, **RUN)  # and go on from the checkpoint after the second batch
    bertie.pretrain(out=out, resume=True, **wishes, **RUN)
    for file in ("model/model.safetensors", "model/generator/model.safetensors"):
        assert (out / file).read_bytes() == (electra / file).read_bytes()
    assert lines_of(out, "train") == lines_of(electra, "train")
    figures = {"mlm_loss", "mlm_accuracy", "detection_loss", "detection_accuracy", "detection_recall"}
    assert figures <= lines_of(electra, "train")[0].keys() & lines_of(electra, "dev")[0].keys()


def test_both_networks_are_folders_of_their_own(electra: Path) -> None:
    for kind, folder in (("ForPreTraining", "model"), ("ForMaskedLM", "model/generator")):
        loader: Any = getattr(transformers, f"Electra{kind}")
        loaded, info = loader.from_pretrained(electra / folder, output_loading_info=True)
        assert not any(info.values())
        assert loaded.config.hidden_size == (32 if folder == "model" else 8)
    tables = [
        load_file(electra / folder / "model.safetensors")["electra.embeddings.word_embeddings.weight"]
        for folder in ("model", "model/generator")
    ]
    assert torch.equal(*tables)
    found = bertie.load(electra / "model").predict("the cat sat .")
    assert isinstance(found, Detection) and len(found.pieces) == 4
    assert bertie.load(electra / "model" / "generator").predict("the [MASK] sat .")[0].score > 0.0


def test_a_run_goes_on_with_both_networks(corpus: Path, electra: Path, tmp_path: Path) -> None:
    wishes: dict[str, Any] = {"corpus": corpus, "dev": corpus, "task": "replaced_token", "steps": 1, **RUN}
    bertie.pretrain(from_=str(electra / "model"), out=tmp_path / "more", **wishes)
    before, after = lines_of(electra, "dev")[-1], lines_of(tmp_path / "more", "dev")[0]
    for name in ("mlm_loss", "detection_loss", "detection_accuracy"):
        assert after[name] == pytest.approx(before[name], abs=1e-5)
    with pytest.raises(SettingsError, match="generator has another shape"):
        bertie.pretrain(
            from_=str(electra / "model"), out=tmp_path / "other", settings={"generator_share": "0.5"}, **wishes
        )


def test_a_discriminator_is_fine_tuned(corpus: Path, electra: Path, tmp_path: Path) -> None:
    table = corpus / "table.tsv"
    run = bertie.finetune(electra / "model", train=table, dev=table, out=tmp_path / "run", steps=2, threads=1)
    assert "accuracy" in run.scores


def test_a_broken_run_with_a_teacher_ends_like_an_unbroken_one(
    corpus: Path, teacher: Path, tmp_path: Path, break_off: Callable[..., None]
) -> None:
    distill = DistillSettings(str(teacher), hidden=0.1, attention=1.0)
    wishes: dict[str, Any] = {"corpus": corpus, "task": "masked_lm", "model": TINY, "steps": 5, "distill": distill}
    bertie.pretrain(out=tmp_path / "whole", **wishes, **RUN)
    break_off(at=4, out=tmp_path / "run", **wishes, **RUN)
    bertie.pretrain(out=tmp_path / "run", resume=True, **wishes, **RUN)
    file = "model/model.safetensors"
    assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    terms = {"mlm_loss", "distill_logits_loss", "distill_hidden_loss", "distill_attention_loss"}
    assert terms <= lines_of(tmp_path / "whole", "train")[0].keys()
    assert not any("teacher" in name or "project" in name for name in load_file(tmp_path / "whole" / file))


def test_teachers_that_do_not_fit(
    corpus: Path, electra: Path, teacher: Path, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    def pretrain(folder: Path, task: str = "masked_lm", model: ModelSettings = TINY, **wishes: Any) -> None:
        distill = DistillSettings(str(folder), **wishes)
        bertie.pretrain(corpus=corpus, out=tmp_path / "out", task=task, model=model, steps=1, distill=distill, **RUN)

    with pytest.raises(SettingsError, match="replaced_token can't learn from a teacher"):
        pretrain(teacher, "replaced_token", ELECTRA)
    with pytest.raises(SettingsError, match=r"distill.teacher: .* has no head"):
        pretrain(electra / "model")
    other = tmp_path / "other"
    other.mkdir()
    for file in teacher.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    pieces = (other / "vocab.txt").read_text(encoding="utf-8").replace("\ncat\n", "\nowl\n")
    (other / "vocab.txt").write_text(pieces, encoding="utf-8")
    for name in ("tokenizer.json", "SHA256SUMS"):
        (other / name).unlink()
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    del config["bertie"]["golden_ids"]
    (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DataError, match="differ; use a teacher with the student"):
        pretrain(other)
    table = corpus / "table.tsv"
    bertie.finetune(teacher, train=table, out=tmp_path / "labelled", steps=1, threads=1)
    renamed = tmp_path / "renamed.tsv"
    renamed.write_text(table.read_text(encoding="utf-8").replace("\tno", "\tperhaps"), encoding="utf-8")
    with pytest.raises(DataError, match="has labels no, yes, but the training table has perhaps, yes"):
        bertie.finetune(
            teacher, train=renamed, out=tmp_path / "out", distill=DistillSettings(str(tmp_path / "labelled/model"))
        )
    with pytest.raises(SettingsError, match="embedding has none"):
        pairs = tmp_path / "pairs.tsv"
        pairs.write_text("text\tpair\nthe cat\ta dog\nthe bird\ta fish\n", encoding="utf-8")
        bertie.finetune(
            teacher, train=pairs, task="embedding", out=tmp_path / "out", distill=DistillSettings(str(teacher))
        )
    assert not (tmp_path / "out").exists()
