"""One command with several seeds: its folders, its figures, how it goes on after an end, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

import bertie
from bertie.cli import main
from bertie.commands._seeds import model_folders
from bertie.errors import Interrupted, SettingsError
from bertie.tokenizer.writing import save_tokenizer

WORDS = ("cat", "sat", "film", "good", "ran", "house", "old", "new", "red", "blue")
ROWS = [f"the {WORDS[number % 10]} {WORDS[number // 10]}\t{('neg', 'pos')[number % 2]}" for number in range(60)]


@pytest.fixture
def given(tmp_path: Path, tiny_tokenizer: Any) -> dict[str, Any]:
    file = tmp_path / "train.tsv"
    file.write_text("text\tlabel\n" + "\n".join(ROWS) + "\n", encoding="utf-8")
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    shape = {"size": "2/32"}
    start = {"model": shape, "tokenizer": tmp_path / "tokenizer", "training": {"log_every": 1}}
    return {**start, "train": file, "dev": "25%", "steps": 3, "batch_size": 8, "threads": 1, "learning_rate": 1e-3}


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_run_a_seed_and_what_they_are_together(
    given: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "all"
    found = bertie.finetune(**given, out=out, seeds=range(1, 4))
    runs = found.values["runs"]
    assert [run["seed"] for run in runs] == found.values["seeds"] == [1, 2, 3]
    each = [json.loads((out / f"seed-{seed}" / "run.json").read_text())["values"]["scores"] for seed in (1, 2, 3)]
    rows = {row["score"]: row for row in found.values["over_seeds"]}
    for name in ("accuracy", "macro_f1"):
        scores = [scores[name] for scores in each]
        assert [run[name] for run in runs] == scores
        assert rows[name]["mean"] == pytest.approx(fmean(scores), abs=1e-6)
        assert rows[name]["deviation"] == pytest.approx(stdev(scores), abs=1e-6)
        assert rows[name]["interval_from"] <= rows[name]["mean"] <= rows[name]["interval_to"]
        assert found.scores[name] == pytest.approx(rows[name]["mean"], abs=1e-4)
    best = max(range(3), key=lambda place: each[place]["accuracy"])
    assert (
        found.values["best"] == str(out / f"seed-{best + 1}" / "model") and found.values["best"] in found.next_command
    )
    assert json.loads((out / "seeds.json").read_text()) == json.loads(found.as_json())
    assert "mean" in found.as_text() and "scores.accuracy" not in found.as_text()
    page = (out / "report.html").read_text()
    assert "seed 1" in page and "seed 3" in page and "95 % interval of the mean" in page
    assert model_folders(out) == [out / f"seed-{seed}" / "model" for seed in (1, 2, 3)]
    assert model_folders(out / "seed-1") == model_folders(tmp_path) == []

    shown = bertie.show(out)
    assert shown.values["state"] == "finished" and shown.exit_code == 0
    assert [row["state"] for row in shown.values["runs"]] == ["finished"] * 3
    assert shown.values["over_seeds"] and found.values["best"] in shown.next_command

    # The share is the same for all, and each folder is an ordinary run: the same as one that was asked for alone.
    splits = [(out / f"seed-{seed}" / "split.json").read_text() for seed in (1, 2, 3)]
    assert splits[0] == splits[1] == splits[2] and json.loads(splits[0])["seed"] == 0
    assert weights(out / "seed-1") != weights(out / "seed-2")
    bertie.finetune(**given, out=tmp_path / "alone", seed=2, split_seed=0)
    assert weights(tmp_path / "alone") == weights(out / "seed-2")
    assert main(["run", str(out / "seed-3"), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert weights(tmp_path / "again") == weights(out / "seed-3")
    capsys.readouterr()

    # All of them once more: nothing is left to do; another seed is added; an ordinary run is no such folder.
    before = (out / "seed-1" / "run.json").read_bytes()
    assert main(["run", str(out), "--resume", "--seeds", "1-4", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["seeds"] == [1, 2, 3, 4] and printed.err.count("is already finished") == 3
    assert (out / "seed-1" / "run.json").read_bytes() == before
    with pytest.raises(SettingsError, match="exists already; continue it with --resume"):
        bertie.finetune(**given, out=out, seeds=[1, 2])
    with pytest.raises(SettingsError, match="is a run of one seed"):
        bertie.finetune(**given, out=out / "seed-1", seeds=[1, 2], resume=True)
    with pytest.raises(SettingsError, match=r"seed 1: .*finished: learning_rate was 0.001 and is now 0.1"):
        bertie.finetune(**{**given, "learning_rate": 0.1}, out=out, seeds=[1, 2], resume=True)


@pytest.mark.usefixtures("usual_handlers")
def test_a_signal_leaves_what_is_done_and_the_rest_goes_on(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertie.training.journal import Journal

    given = {**given, "steps": 6, "training": {"log_every": 1, "evaluate_every": 2}}
    bertie.finetune(**given, out=tmp_path / "unbroken", seeds=[5, 7])
    out, real = tmp_path / "broken", Journal.write

    def interrupt(journal: Journal, record: dict[str, Any]) -> None:
        real(journal, record)
        if record["kind"] == "dev" and (out / "seed-5" / "model").exists():
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Journal, "write", interrupt)
    with pytest.raises(
        Interrupted, match=r"seed 7: SIGINT: saved at step \d; resume it with .*seed-7; resume all seeds"
    ):
        bertie.finetune(**given, out=out, seeds=[5, 7])
    monkeypatch.undo()
    assert [row["state"] for row in bertie.show(out).values["runs"]] == ["finished", "unfinished"]
    assert "--resume" in bertie.show(out).next_command
    with pytest.raises(SettingsError, match="seed-7 is not finished; finish it with: bertie run"):
        model_folders(out)
    assert main(["run", str(out), "--resume", "--quiet"]) == 0
    for seed in (5, 7):
        assert weights(out / f"seed-{seed}") == weights(tmp_path / "unbroken" / f"seed-{seed}")


def test_tables_that_python_holds(given: dict[str, Any], tmp_path: Path) -> None:
    rows = [dict(zip(("text", "label"), row.split("\t"), strict=True)) for row in ROWS]
    out = tmp_path / "all"
    given = {**given, "train": rows}
    bertie.finetune(**given, out=out, seeds=[1, 2])
    assert len((out / "train.jsonl").read_text().splitlines()) == 60
    assert main(["run", str(out), "--resume", "--quiet"]) == 0
    bertie.finetune(**given, out=out, seeds=[1, 2], resume=True)
    with pytest.raises(SettingsError, match="train differs from"):
        bertie.finetune(**{**given, "train": rows[:50]}, out=out, seeds=[1, 2], resume=True)


def test_without_dev_the_training_loss_is_compared(given: dict[str, Any], tmp_path: Path) -> None:
    del given["dev"]
    found = bertie.finetune(**given, out=tmp_path / "all", seeds=[1])
    assert [row["score"] for row in found.values["over_seeds"]] == ["train_loss"]
    assert found.values["over_seeds"][0]["deviation"] is None and found.values["interval"] == "none for one seed"


def test_pretraining(prepare_sentences: Callable[..., Path], tmp_path: Path) -> None:
    corpus = prepare_sentences(WORDS, count=60, lengths=(4, 8), document=6)
    shape = {"size": "2/32", "max_positions": 32}
    given = {"corpus": corpus, "dev": corpus, "model": shape, "length": 32, "steps": 3, "batch_tokens": 256}
    found = bertie.pretrain(**given, out=tmp_path / "all", seeds=[0, 3], threads=1, training={"log_every": 1})
    rows = {row["score"]: row for row in found.values["over_seeds"]}
    assert {"dev_mask_loss", "dev_loss"} <= rows.keys() and not any(name.startswith("train_") for name in rows)
    best = min(found.values["runs"], key=lambda run: run["dev_mask_loss"])["seed"]
    assert found.values["best"] == str(tmp_path / "all" / f"seed-{best}" / "model")
    assert "bertie finetune" in found.next_command


def test_a_mistake_leaves_no_folder(given: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "all"
    with pytest.raises(SettingsError, match="seed 1: --length 9999 is more than"):
        bertie.finetune(**given, length=9999, out=out, seeds=[1, 2])
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1,2", "--seed", "0"], "give seed or seeds, not both"),
        (["--seeds", "1,2,1"], "seeds has 1 twice"),
        (["--seeds", "-1"], "seeds has -1; a seed is a whole number from 0"),
        (["--seeds", "one"], "'one' is neither a whole number nor a range; write them as 1,2,3 or 1-5"),
        (["--seeds", ""], "'' is neither a whole number"),
        (["--seeds", "3-1"], "'3-1' is not a range from a lower number"),
        (["--seeds", "1,18446744073709551616"], "a seed is a whole number from 0 to"),
    ],
)
def test_what_is_no_list_of_seeds(
    words: list[str], message: str, given: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--train", str(given["train"]), "--out", str(tmp_path / "out")]
    assert main(["finetune", str(tmp_path / "model"), *flags, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_python_and_files_refuse_the_same(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give seed or seeds, not both"):
        bertie.finetune(**given, out=tmp_path / "out", seed=0, seeds=[1, 2])
    with pytest.raises(SettingsError, match="seeds is empty"):
        bertie.finetune(**given, out=tmp_path / "out", seeds=[])
    with pytest.raises(SettingsError, match="seeds"):
        bertie.finetune(**given, out=tmp_path / "out", seeds=["one"])
    file = tmp_path / "settings.toml"
    file.write_text('command = "finetune"\nseed = 1\nseeds = [1, 2]\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="give seed or seeds, not both"):
        bertie.run(file)


@pytest.mark.parametrize("words", [["1,2,3"], ["1-3"], ["1", "2", "3"], ["1,", "2,", "3"], ["1", "2-3"], ["1, 2, 3"]])
def test_ways_to_type_them(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from bertie import flags
    from bertie.commands.finetune import finetune

    typed = ["--train", "t", "--seeds", *words, "--out", "o", "model"]
    parameters, _ = flags.parse(finetune, typed)
    assert parameters["seeds"] == (1, 2, 3) and parameters["model"] == "model" and "seed" not in parameters
    parameters, _ = flags.parse(finetune, ["--train", "t", "--seeds", "4", "model", "--out", "o"])
    assert parameters["seeds"] == (4,) and parameters["model"] == "model"


def test_a_folder_of_seeds_is_no_model(tmp_path: Path) -> None:
    model = tmp_path / "seed-3" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(SettingsError, match=r"holds runs of several seeds; use the model of one, such as .*seed-3"):
        bertie.load(tmp_path)


def test_show_before_anything_began(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('command = "finetune"\nseeds = [1, 2]\n', encoding="utf-8")
    found = bertie.show(tmp_path)
    assert [row["state"] for row in found.values["runs"]] == ["not begun"] * 2 and "--resume" in found.next_command
    file.write_text('command = "finetune"\nseeds = []\n', encoding="utf-8")
    assert bertie.show(tmp_path).values["kind"] == "run"


def test_what_is_typed_wins_over_the_file(given: dict[str, Any], tmp_path: Path) -> None:
    one, all_ = tmp_path / "one", tmp_path / "all"
    bertie.finetune(**given, out=one, seed=9)
    assert main(["run", str(one), "--seeds", "1,2", "--out", str(all_), "--quiet"]) == 0
    assert (all_ / "seed-2" / "model").is_dir()
    found = bertie.run(all_, seed=4, out=tmp_path / "single")
    assert "over_seeds" not in found.values and (tmp_path / "single" / "model").is_dir()
