"""finetune --dev 20%: what is held out, that equal texts stay together, and that it is the same the next time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.cli import main
from bertie.commands._tables import hold_out
from bertie.errors import DataError, SettingsError
from bertie.items.question import Question
from bertie.items.text import Text
from bertie.items.words import Words
from bertie.tokenizer.writing import save_tokenizer

WORDS = ("cat", "sat", "film", "good", "ran", "house", "old", "new", "red", "blue")


def table(count: int) -> list[Text]:
    labels = ["a"] * 6 + ["b"] * 3 + ["c"]
    return [Text(f"text {number} of many", label=labels[number % 10], line=number + 1) for number in range(count)]


def test_every_label_gives_its_share() -> None:
    kept, held = hold_out(table(200), 0.2, seed=0)
    assert Counter(item.label for item in held) == {"a": 24, "b": 12, "c": 4}
    assert sorted([*kept, *held], key=lambda item: item.line) == table(200)
    assert [item.line for item in held] == sorted(item.line for item in held)
    assert hold_out(table(200), 0.2, seed=0) == (kept, held)
    assert hold_out(table(200), 0.2, seed=1)[1] != held


def test_a_label_of_one_text_is_learned_from() -> None:
    items = [*table(100), Text("the only one", label="rare", line=101)]
    for seed in range(5):
        assert "rare" not in {item.label for item in hold_out(items, 0.5, seed=seed)[1]}


def test_equal_texts_stay_on_one_side() -> None:
    items = [
        Text(f"Text {number % 20}" + " " * (number % 3), label=str(number % 2), line=number) for number in range(90)
    ]
    kept, held = hold_out(items, 0.3, seed=0)
    assert not {item.text.strip().casefold() for item in kept} & {item.text.strip().casefold() for item in held}
    assert 18 <= len(held) <= 36
    questions = [Question(f"q{number}", f"context {number // 5}", ()) for number in range(50)]
    learned, measured = hold_out(questions, 0.2, seed=0)
    assert len(measured) == 10 and not {one.context for one in learned} & {one.context for one in measured}


def test_numbers_and_tags_are_drawn_from_alike() -> None:
    numbers = [Text(f"text {number}", label=str(number / 7), line=number) for number in range(50)]
    assert len(hold_out(numbers, 0.2, seed=0)[1]) == 10
    tagged = [Words((f"word{number}", "x"), ("O", "B-PER"), number) for number in range(50)]
    assert len(hold_out(tagged, 0.1, seed=0)[1]) == 5
    several = [Text(f"text {number}", label=("x", "y")[: 1 + number % 2], line=number) for number in range(50)]
    assert Counter(item.label for item in hold_out(several, 0.2, seed=0)[1]) == {("x",): 5, ("x", "y"): 5}


@pytest.mark.parametrize("items", [table(1), [Text("the same", label="a")] * 9])
def test_too_few_texts(items: list[Text]) -> None:
    with pytest.raises(DataError, match="too few to hold out 20%; give another share, or a table with --dev"):
        hold_out(items, 0.2, seed=0)


@pytest.fixture
def train(tmp_path: Path) -> Path:
    rows = [f"the {WORDS[number % 10]} {WORDS[number // 10]}\t{('neg', 'pos')[number % 2]}" for number in range(60)]
    file = tmp_path / "train.tsv"
    file.write_text("text\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return file


def test_a_run_with_a_share(
    train: Path, tmp_path: Path, tiny_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    words = ["finetune", "--model.size", "2/32", "--tokenizer", str(tmp_path / "tokenizer"), "--train", str(train)]
    words += ["--dev", "20%", "--steps", "2", "--batch-size", "4", "--threads", "1", "--seed", "3"]
    assert main([*words, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "12 of 60 items are held out for evaluation (20%, seed 3; stratified by label" in captured.err
    split = json.loads((out / "split.json").read_text())
    assert split["share"] == "20%" and len(split["dev_lines"]) == 12 and min(split["dev_lines"]) > 1
    assert "20% of train.tsv, held out" in (out / "model" / "README.md").read_text()
    assert main([*words, "--out", str(out), "--resume"]) == 0
    assert main(["run", str(out), "--out", str(tmp_path / "again")]) == 0
    assert json.loads((tmp_path / "again" / "split.json").read_text()) == split


def test_what_is_no_share(train: Path, tmp_path: Path) -> None:
    for share in ("0%", "100%", "150%"):
        with pytest.raises(SettingsError, match="is not a share of a table"):
            bertie.finetune("m", train=train, dev=share, out=tmp_path / "o", tokenizer=None)
    with pytest.raises(SettingsError, match=r"no such file|dev.tsv"):
        bertie.finetune("m", train=train, dev="dev.tsv", out=tmp_path / "o")


def test_remarks_of_a_run_stand_where_a_user_looks(
    train: Path, tmp_path: Path, tiny_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    words = ["finetune", "--model.size", "2/32", "--tokenizer", str(tmp_path / "tokenizer"), "--train", str(train)]
    words += ["--dev", "50%", "--steps", "1", "--batch-size", "2", "--threads", "1", "--learning-rate", "1e-9"]
    assert main([*words, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "warning: the run had 1 updates in all" in captured.err and "  remarks" not in captured.out
    assert "warning: the run saw 6.7% of the training table in 1 steps" in captured.err
    remarks = json.loads((out / "run.json").read_text())["values"]["remarks"]
    assert [line for line in remarks if f"warning: {line}" not in captured.err] == [] and len(remarks) >= 2
    page = (out / "report.html").read_text()
    assert "The run had 1 updates in all" in page
