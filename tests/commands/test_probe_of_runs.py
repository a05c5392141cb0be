"""`pretrain --from MODEL --probe TABLE`: what the run bought for a task, and tables that can't tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import config
from bertie.commands import _probe
from bertie.commands._probe import Probe
from bertie.errors import DataError, Interrupted, SettingsError
from bertie.formats.format import new
from bertie.formats.huggingface import write
from bertie.models.bert import BertConfig
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.training.record import read as read_record


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(("cat", "dog", "sat", "ran", "the"), count=90, lengths=(3, 6), document=6)


@pytest.fixture(scope="module")
def encoder(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = BertConfig(tiny_tokenizer.vocab_size, 16, 1, 2, 32, max_positions=64)
    folder = tmp_path_factory.mktemp("given") / "model"
    write(new(shape, MaskedLM(max_length=32), tiny_tokenizer, seed=3), folder)
    return folder


@pytest.fixture
def wishes(corpus: Path, encoder: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "corpus": corpus,
        "from_": str(encoder),
        "task": "masked_lm",
        "out": tmp_path / "run",
        "steps": 2,
        "length": 32,
        "batch_tokens": 256,
        "threads": 1,
    }


def table(path: Path, rows: list[str]) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def sentences(path: Path, count: int = 24) -> Path:
    rows = [f"the {'cat' if number % 2 else 'dog'} number {number}\t{'ab'[number % 2]}" for number in range(count)]
    return table(path, ["text\tlabel", *rows])


def pairs(path: Path) -> Path:
    rows = [f"the cat {number}\ta dog {number % 5}\t{'xy'[number % 2]}" for number in range(18)]
    return table(path, ["text\tpair\tlabel", *rows])


def numbers(path: Path) -> Path:
    rows = [f"the cat {number}\ta dog {number}\t{number / 4}" for number in range(18)]
    return table(path, ["text\tpair\tlabel", *rows])


def tagged(path: Path) -> Path:
    return table(path, [line for number in range(18) for line in (f"cat{number} B-PER", "sat O", "")])


@pytest.mark.parametrize(
    ("make", "name", "task", "score"),
    [
        (sentences, "t.tsv", "classification", "accuracy"),
        (pairs, "p.tsv", "classification", "accuracy"),
        (numbers, "n.tsv", "regression", "spearman"),
        (tagged, "w.conll", "tagging", "f1"),
    ],
)
def test_both_encoders_are_measured(
    wishes: dict[str, Any], tmp_path: Path, make: Callable[[Path], Path], name: str, task: str, score: str
) -> None:
    report = bertie.pretrain(**wishes, probe=make(tmp_path / name))
    values = report.values
    assert values["probe_task"] == task and values["probe_rows"] >= 10 and values["probe_dev_rows"] >= 5
    for way in ("before", "after"):
        assert -1.0 <= values[f"probe_{score}_{way}"] <= 1.0 and values[f"probe_{score}_{way}_deviation"] >= 0.0
    assert name in (wishes["out"] / "report.html").read_text(encoding="utf-8")
    left = sorted(path.name for path in (wishes["out"] / "probe").iterdir())
    assert left == ["dev.jsonl", "probe.json", *(f"train-{seed}.jsonl" for seed in (1, 2, 3))]
    assert json.loads((wishes["out"] / "run.json").read_text(encoding="utf-8"))["values"]["probe_task"] == task


def test_rows_to_measure_on_are_not_learned_from(wishes: dict[str, Any], tmp_path: Path) -> None:
    found = Probe.read(sentences(tmp_path / "t.tsv", 2400), wishes["from_"], wishes["out"], resume=False)
    assert found is not None and [len(draw) for draw in found.draws] == [500] * 3 and len(found.dev) == 1000
    measured = {item.text for item in found.dev}
    assert all(measured.isdisjoint(item.text for item in draw) for draw in found.draws)
    assert len({tuple(item.text for item in draw) for draw in found.draws}) == 3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["text\tlabel", *(f"cat {number}\ta" for number in range(20))], "every row has the label 'a'"),
        (["text\tlabel", "cat\ta"], "every row has the label"),
        (["text\tlabel"], "t.tsv"),
        (["text\tlabel", "cat\ta", "dog"], "t.tsv"),
    ],
)
def test_a_table_that_cannot_tell_is_refused_before_anything_is_done(
    wishes: dict[str, Any], tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises((DataError, SettingsError), match=said) as caught:
        bertie.pretrain(**wishes, probe=table(tmp_path / "t.tsv", rows))
    assert str(caught.value).startswith("--probe: ")
    assert not wishes["out"].exists()


def test_a_tiny_table_shows_nothing(wishes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = bertie.pretrain(**wishes, probe=table(tmp_path / "t.tsv", ["text\tlabel", "cat\ta", "dog\tb", "sat\ta"]))
    assert report.values["probe"] == "no clear difference"
    assert "too few to show a difference" in capsys.readouterr().err


def test_a_probe_goes_with_a_model(wishes: dict[str, Any], tmp_path: Path) -> None:
    del wishes["from_"]
    with pytest.raises(SettingsError, match="--probe compares the model of --from"):
        bertie.pretrain(**wishes, model={"size": "1/16", "num_heads": 2}, probe=sentences(tmp_path / "t.tsv"))


def test_a_run_that_broke_off_in_the_probe_goes_on_with_it(
    wishes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured stays, and the table may be gone by then."""
    rows, done = sentences(tmp_path / "t.tsv"), []
    score = Probe._score

    def counted(self: Probe, *parts: Any) -> float:
        if len(done) == 2:
            raise Interrupted("stopped")
        done.append(parts[2:4])
        return score(self, *parts)

    monkeypatch.setattr(_probe.Probe, "_score", counted)
    with pytest.raises(Interrupted):
        bertie.pretrain(**wishes, probe=rows)
    kept = read_record(wishes["out"] / "run.json")["kept"]["probe"]
    monkeypatch.setattr(_probe.Probe, "_score", score)
    rows.unlink()
    report = bertie.pretrain(**wishes, probe=rows, resume=True)
    after = read_record(wishes["out"] / "run.json")["kept"]["probe"]
    assert done == [("before", 1), ("after", 1)]
    assert {way: after[way]["1"] for way in kept} == {way: kept[way]["1"] for way in kept}
    assert report.values["probe_rows"] == 16 and [len(after[way]) for way in after] == [3, 3]


def test_rows_that_python_holds_move_into_the_run(wishes: dict[str, Any]) -> None:
    rows = [{"text": f"the cat {number}", "label": "ab"[number % 2]} for number in range(18)]
    bertie.pretrain(**wishes, probe=rows)
    kept = Path(config.read(wishes["out"])["probe"])
    assert kept == wishes["out"] / "probe" / "table.jsonl" and len(kept.read_text(encoding="utf-8").splitlines()) == 18


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((0.8, 0.81, 0.8), (0.7, 0.72, 0.71), "worse"),
        ((0.7, 0.72, 0.71), (0.8, 0.81, 0.8), "better"),
        ((0.7, 0.72, 0.71), (0.6, 0.74, 0.71), "no clear difference"),
        ((0.7, 0.7, 0.7), (0.699, 0.699, 0.699), "no clear difference"),
    ],
)
def test_the_verdict_needs_every_seed(
    tmp_path: Path, before: tuple[float, ...], after: tuple[float, ...], verdict: str
) -> None:
    probe = Probe.read(sentences(tmp_path / "t.tsv"), "given/model", tmp_path, resume=False)
    assert probe is not None
    few = probe._compared("given/model", before, after)
    assert few.values["probe"] == "no clear difference" and not few.remarks  # of 8 rows
    found = replace(probe, num_dev=1000)._compared("given/model", before, after)
    assert found.values["probe"] == verdict
    assert bool(found.remarks) == (verdict == "worse")
    assert all("given/model" in line for line in found.remarks)


def test_a_damaged_record_of_the_probe_is_named(wishes: dict[str, Any], tmp_path: Path) -> None:
    rows = sentences(tmp_path / "t.tsv")
    bertie.pretrain(**wishes, probe=rows)
    file = wishes["out"] / "probe" / "probe.json"
    whole = file.read_text(encoding="utf-8")
    for content in ("{", '{"strange": 1}', "[]", whole.replace('"num_dev": 8', '"num_dev": "8"')):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=r"probe\.json is damaged"):
            bertie.pretrain(**wishes, probe=rows, resume=True)


def test_other_forms_of_tagged_words_are_found(wishes: dict[str, Any], tmp_path: Path) -> None:
    rows = [json.dumps({"tokens": [f"cat{number}", "sat"], "tags": ["B-PER", "O"]}) for number in range(18)]
    found = Probe.read(table(tmp_path / "w.jsonl", rows), wishes["from_"], wishes["out"], resume=False)
    assert found is not None and found.task == "tagging"


def test_what_only_finetune_has_is_not_proposed(wishes: dict[str, Any], tmp_path: Path) -> None:
    rows = ["one\ttwo\tthree", *(f"cat {number}\tdog {number}\tran {number}" for number in range(18))]
    with pytest.raises(DataError, match="name the columns text, pair and label in the first line"):
        bertie.pretrain(**wishes, probe=table(tmp_path / "t.tsv", rows))


def test_a_fine_tuning_that_cannot_go_on_begins_anew(
    wishes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that another version has left half done."""
    left = wishes["out"] / "probe" / "before-2"
    score = Probe._score

    def spoiled(self: Probe, folder: Any, model: str, way: str, seed: int, limits: Any) -> float:
        if (way, seed) == ("before", 2):
            left.mkdir()
            (left / "run.json").write_text("{", encoding="utf-8")
        return score(self, folder, model, way, seed, limits)

    monkeypatch.setattr(_probe.Probe, "_score", spoiled)
    assert bertie.pretrain(**wishes, probe=sentences(tmp_path / "t.tsv")).values["probe_rows"] == 16
    assert not left.exists()
