"""evaluate --against: two models on the same rows, for every task with scores; seeds' folders; what it refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.cli import main
from bertie.commands._against import _short
from bertie.errors import SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel

pytest.importorskip("scipy.stats")

TASKS: dict[str, Any] = {
    "film": Classification(labels=("bad", "good"), max_length=16),
    "other": Classification(labels=("bad", "fine"), max_length=16),
    "several": Classification(labels=("bad", "good", "old"), multi_label=True, max_length=16),
    "stars": Regression(max_length=16, spread=1.0),
    "names": Tagging(labels=("O", "B-PER", "I-PER"), max_length=32),
    "words": Tagging(labels=("noun", "verb"), max_length=32),
    "answers": QuestionAnswering(max_length=48, stride=8),
    "choice": MultipleChoice(max_length=32),
    "alike": Embedding(objective="cosine", max_length=16, label_range=(0.0, 5.0)),
    "pairs": Embedding(max_length=16),
    "cloze": Pretraining(max_length=32),
}
WORDS = ("the", "cat", "sat", "film", "good", "bad", "ran", "house", "old", "new")
draw = random.Random(7)


def sentence() -> str:
    return " ".join(draw.choices(WORDS, k=6))


def rows(kind: str) -> list[dict[str, Any]]:
    made = {
        "film": lambda: {"text": sentence(), "label": draw.choice(["bad", "good"])},
        "several": lambda: {"text": sentence(), "label": draw.sample(["bad", "good", "old"], k=draw.randint(1, 2))},
        "stars": lambda: {"text": sentence(), "label": draw.random() * 5},
        "names": lambda: {"words": sentence().split(), "tags": draw.choices(["O", "B-PER", "I-PER"], k=6)},
        "words": lambda: {"words": sentence().split(), "tags": draw.choices(["noun", "verb"], k=6)},
        "choice": lambda: {"text": sentence(), "choices": [sentence(), sentence()], "label": draw.randint(0, 1)},
        "alike": lambda: {"text": sentence(), "pair": sentence(), "label": draw.random() * 5},
        "pairs": lambda: {"text": sentence(), "pair": sentence()},
    }
    return [made[kind]() for _ in range(40)]


def questions() -> list[dict[str, Any]]:
    made = []
    for number in range(30):
        context, word = sentence(), draw.choice(WORDS)
        there = {"text": [word] * (word in context), "answer_start": [context.find(word)] * (word in context)}
        made.append({"id": str(number), "question": sentence(), "context": context, "answers": there})
    return made


@pytest.fixture(scope="module")
def folders(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], str]:
    room = tmp_path_factory.mktemp("models")

    def folder(name: str, seed: int) -> str:
        path = room / f"{name}-{seed}"
        if not path.exists():
            model = build_model(TASKS[name], seed=seed, deviation=0.5)
            write(Bundle(model, TASKS[name], tiny_tokenizer, model.encoder.config), path)
        return str(path)

    return folder


def written(path: Path, made: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["film", "several", "stars", "names", "words", "answers", "choice", "alike", "pairs"])
def test_every_task(kind: str, folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.inference.compare.RESAMPLES", 40)
    file = written(tmp_path / "dev.jsonl", questions() if kind == "answers" else rows(kind))
    first, second = folders(kind, 1), folders(kind, 2)
    page = tmp_path / "page.html"
    found = bertie.evaluate(first, file, against=second, report=page)
    alone = [bertie.evaluate(model, file).scores for model in (first, second)]
    table = {row["score"]: row for row in found.values["differences"]}
    assert table.keys() == alone[0].keys() == alone[1].keys() and found.scores == pytest.approx(alone[0])
    for name, row in table.items():
        assert (row["model"], row["against"]) == pytest.approx((alone[0][name], alone[1][name]))
        assert row["interval_from"] <= row["interval_to"] and 0 < row["p"] <= 1
    main_row = table[found.values["score"]]
    right_or_wrong = kind in ("film", "several", "choice")
    assert (main_row["test"] == "McNemar's exact test") == right_or_wrong
    if right_or_wrong:
        differing = found.values["model_better_on"] - found.values["against_better_on"]
        assert main_row["difference"] == pytest.approx(differing / 40)
    if kind != "pairs":
        shown = found.values["rows_model_better"] + found.values["rows_against_better"]
        assert shown and all({"line", "gold", "model", "against", "text"} <= row.keys() for row in shown)
    text = page.read_text()
    assert "Two models on the same data" in text and "95 % interval" in text
    assert found.values["verdict"] in found.as_text()


def test_a_better_model_is_called_better(folders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [sentence() for _ in range(60)]
    first, second = folders("film", 1), folders("film", 2)
    said = [verdict.label for verdict in bertie.load(first).predict(texts)]
    file = written(tmp_path / "dev.jsonl", [{"text": t, "label": label} for t, label in zip(texts, said, strict=True)])
    assert main(["evaluate", second, str(file), "--against", first, "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["told_apart"] and found["verdict"].startswith(f"{first} is better than {second} by ")
    assert "points of accuracy (95 % interval" in found["verdict"] and found["model_better_on"] == 0
    row = found["differences"][0]
    low, high = -100 * row["interval_to"], -100 * row["interval_from"]
    assert f"95 % interval {low:.1f} to {high:.1f}, p < 0.001" in found["verdict"]
    same = bertie.evaluate(first, file, against=first)
    assert same.values["verdict"].startswith("no significant difference on these 60 rows: ")
    assert same.values["differences"][0]["p"] == 1.0 and "model_better_on" not in same.values


def seeds_folder(path: Path, models: list[str]) -> Path:
    """Lay models out as --seeds does."""
    path.mkdir()
    seeds = list(range(1, len(models) + 1))
    (path / "config.toml").write_text(f'command = "finetune"\nseeds = {seeds}\n', encoding="utf-8")
    for seed, model in zip(seeds, models, strict=True):
        (path / f"seed-{seed}").mkdir()
        (path / f"seed-{seed}" / "model").symlink_to(model)
    return path


def test_short_names() -> None:
    assert _short("out/a/seed-1/model", "out/b/seed-1/model") == ("a/seed-1", "b/seed-1")
    assert _short("out/a/seed-1/model", "out/a/seed-2/model") == ("seed-1", "seed-2")
    assert _short("owner/name", "owner/name") == ("owner/name", "owner/name")
    assert _short("name", "x/name") == ("name", "x/name")


def test_seeds_against_seeds(folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.inference.compare.RESAMPLES", 40)
    file = written(tmp_path / "dev.jsonl", rows("film"))
    ours = seeds_folder(tmp_path / "ours", [folders("film", 1), folders("film", 2), folders("film", 3)])
    theirs = seeds_folder(tmp_path / "theirs", [folders("film", 4), folders("film", 5)])
    found = bertie.evaluate(str(ours), file, against=str(theirs))
    each = [bertie.evaluate(folders("film", seed), file).scores["accuracy"] for seed in range(1, 6)]
    row = found.values["differences"][0]
    assert (row["model"], row["against"]) == pytest.approx((sum(each[:3]) / 3, sum(each[3:]) / 2))
    assert found.values["runs"] == [3, 2] and "over seeds" in found.values["verdict"]
    assert found.values["over_runs"][0]["test"].startswith("Welch") and "bootstrap" in row["test"]
    one = bertie.evaluate(str(ours), file, against=folders("film", 4))
    assert one.values["runs"] == [3, 1] and "over_runs" not in one.values


def test_seeds_are_measured_one_by_one_and_together(
    folders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "dev.jsonl", rows("film"))
    ours = seeds_folder(tmp_path / "ours", [folders("film", 1), folders("film", 2), folders("film", 3)])
    found = bertie.evaluate(str(ours), file)
    each = [bertie.evaluate(folders("film", seed), file) for seed in range(1, 4)]
    assert [row["accuracy"] for row in found.values["runs"]] == [one.scores["accuracy"] for one in each]
    assert [row["loss"] for row in found.values["runs"]] == [one.values["loss"] for one in each]
    both = {row["score"]: row for row in found.values["over_seeds"]}
    assert both["accuracy"]["mean"] == pytest.approx(sum(one.scores["accuracy"] for one in each) / 3, abs=1e-6)
    assert both["accuracy"]["interval_from"] <= both["accuracy"]["mean"] <= both["accuracy"]["interval_to"]
    assert main(["evaluate", str(ours), str(file)]) == 0
    assert "seed-3" in (shown := capsys.readouterr().out) and "deviation" in shown
    with pytest.raises(SettingsError, match="--report needs one model; name one of them"):
        bertie.evaluate(str(ours), file, report=tmp_path / "page.html")


def test_seeds_on_a_suite(folders: Any, tmp_path: Path) -> None:
    pair = {"sentence_good": "the cat sat", "sentence_bad": "the cat ran", "UID": "some", "field": "syntax"}
    ours = seeds_folder(tmp_path / "ours", [folders("cloze", 1), folders("cloze", 2)])
    (tmp_path / "suite").mkdir()
    written(tmp_path / "suite" / "some.jsonl", [pair | {"linguistics_term": "order"}])
    found = bertie.evaluate(str(ours), suite="blimp", data=tmp_path / "suite")
    assert [row.keys() for row in found.values["runs"]] == [{"model", "accuracy"}] * 2
    assert found.values["suite"] == "blimp" and found.scores.keys() == {"accuracy"}


def test_what_is_not_compared(folders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "dev.jsonl", rows("film"))
    with pytest.raises(SettingsError, match=r"has labels bad, good, .*other-1 has bad, fine"):
        bertie.evaluate(folders("film", 1), file, against=folders("other", 1))
    with pytest.raises(SettingsError, match=r"is classification, that of .*stars-1 regression"):
        bertie.evaluate(folders("film", 1), file, against=folders("stars", 1))
    with pytest.raises(SettingsError, match="pretraining is evaluated on tokens that it masks itself"):
        bertie.evaluate(folders("cloze", 1), file, against=folders("cloze", 2))
    assert main(["evaluate", folders("film", 1), "--suite", "blimp", "--data", "x", "--against", "y"]) == 2
    assert "--suite can't be combined with against" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["names", "words", "answers"])
def test_scores_of_samples_are_those_of_the_rows(kind: str, tmp_path: Path, folders: Any) -> None:
    import numpy as np

    file = written(tmp_path / "dev.jsonl", questions() if kind == "answers" else rows(kind))
    model = bertie.load(folders(kind, 1))
    items = model.task.read(file, labelled=True).items
    said = model.predict(items)
    scorer = model.task.rescorer(said, items)
    for _ in range(20):
        places = np.array(draw.choices(range(len(items)), k=len(items)))
        wanted = model.task.score([said[place] for place in places], [items[place] for place in places])
        assert scorer(places) == pytest.approx(wanted)
