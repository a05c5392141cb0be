"""Settings files of data sets: complete, of the command's own shape, and fit for the files that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bertie import config, registry
from bertie.commands.finetune import finetune
from bertie.tasks._lookup import task_class

FILES = sorted((Path(__file__).parents[2] / "bertie" / "recipes" / "finetune").glob("*.toml"))
EACH = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
MADE = {"wiki-title", "wiki-next"}  # by examples/wikipedia_pairs.py; no data set holds them
COMPLETE = {"task", "train", "dev", "epochs", "batch_size", "length", "truncation", "learning_rate", "out", "seed"}


def settings_of(file: Path) -> dict[str, Any]:
    settings = config.read(file)
    assert settings.pop("command") == "finetune"
    return config.validate(finetune, settings, source=str(file), partial=True)


def test_there_is_one_for_every_data_set() -> None:
    english = {"sst2", "cola", "mrpc", "rte", "stsb", "lingnli", "imdb-truncate", "imdb-window", "conll2003"}
    english |= {"stsb-cosine", "squad1.1", "squad2.0"}
    chinese = {"chnsenticorp", "tnews", "afqmc", "ocnli", "cluener", "cmrc2018"}
    assert {file.stem for file in FILES} == english | chinese | MADE


@EACH
def test_it_is_complete_and_valid(file: Path) -> None:
    settings = settings_of(file)
    assert settings.keys() >= COMPLETE and "model" not in settings
    assert settings["task"] in registry.choices("tasks")
    assert settings["out"] == Path("out", file.stem)
    assert settings["train"] != settings["dev"]
    for split in ("train", "dev"):
        assert settings[split].parts[0] == "data"


@EACH
def test_it_says_what_it_is_and_how_to_run_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "# Licence: " in text and "--train FILE --dev FILE" in text
    assert f"bertie run {file.stem} --model MODEL" in text
    assert max(map(len, text.splitlines())) <= 120


@EACH
@pytest.mark.realdata
def test_its_columns_are_there(file: Path, test_data: Path) -> None:
    """The dev file is read with the columns given, and its items suit the task."""
    if file.stem in MADE:
        pytest.skip("made by an example, whose own test reads them")
    settings = settings_of(file)
    path = test_data / Path(*settings["dev"].parts[1:])
    assert (test_data / Path(*settings["train"].parts[1:])).is_file()
    if path.stat().st_size > 2_000_000:
        pytest.skip("large; read by a run")
    kind = task_class(settings["task"])
    items = kind.read(path, columns=settings.get("columns"), labelled=True).items
    own = {"max_length": settings["length"], "truncation": settings["truncation"]}
    task = kind(**{**own, **kind.learn(items, own)})
    task.check_items(items, path)
    assert len(items) >= 250
