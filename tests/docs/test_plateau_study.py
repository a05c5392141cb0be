"""The pages of the plateau are what their scripts draw; when it was left, and what was gained, is worked out."""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.page import filled
from docs import pays, plateau


@pytest.mark.parametrize("script", [plateau, pays])
def test_the_pages_are_what_the_script_draws(script: Any) -> None:
    for language, path in script.PAGES.items():
        page = path.read_text(encoding="utf-8")
        drawn = filled(page, script.table(script.ledger(), language), script.SCRIPT, path.name)
        assert drawn == page, f"run: python {script.SCRIPT} draw"


def test_the_plateau_is_left_where_the_loss_stays_below() -> None:
    points = [[100, 6.9], [200, 5.6], [300, 5.8], [400, 5.7], [500, 5.0]]
    assert plateau.left_after(points, 6.75) == 400  # at 300 it was back
    assert plateau.left_after(points, 6.0) == 500
    assert plateau.left_after(points[:1], 6.75) is None


def test_the_unigram_is_that_of_the_corpus(prepare_sentences: Callable[..., Path]) -> None:
    corpus = prepare_sentences(("cat",), count=40, lengths=(4, 4), document=4)
    # nearly all tokens are the same one, so hardly any loss is left
    assert plateau.unigram_loss(corpus, corpus) < 1.0


def test_what_is_measured_is_written_down_once(
    prepare_sentences: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = prepare_sentences(("cat", "dog", "film", "day"), count=120, lengths=(3, 9), document=6)
    monkeypatch.setattr(plateau, "LEDGER", tmp_path / "plateau.json")
    monkeypatch.setattr(plateau, "CASES", {"BERT": plateau.Case("4k", "1/32", 9_000)})
    words = ["run", "--corpus", f"4k={corpus},{corpus}", "--starts", "paper", "--seeds", "1", "--out", str(tmp_path)]
    plateau.main(words)
    (row,) = plateau.ledger()
    assert row["loss"] == "mask_loss" and row["points"][0][0] == 0 and row["points"][-1][0] >= 9_000
    plateau.main(words)
    assert len(plateau.ledger()) == 1
    assert "| BERT | `paper` | 1 |" in plateau.table(plateau.ledger(), "en")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one task: films are good or bad by one word."""
    folder = tmp_path / "data" / "glue" / "sst2"
    folder.mkdir(parents=True)
    rows = [f"a {('fine', 'dull')[number % 2]} film of day {number}\t{number % 2 == 0:d}" for number in range(60)]
    for name, part in (("train", rows[:40]), ("dev", rows[40:])):
        with gzip.open(folder / f"{name}.tsv.gz", "wt", encoding="utf-8") as stream:
            stream.write("sentence\tlabel\n" + "\n".join(part) + "\n")
    return tmp_path / "data"


def test_features_learn_what_a_word_tells(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(pays, "LEDGER", tmp_path / "pays.json")
    words = ["run", str(data), "--classical", "--tasks", "sst2", "--seeds", "1,2", "--out", str(tmp_path / "out")]
    pays.main(words)
    rows = pays.ledger()  # all 40 are fewer than 500, which is then all of them
    assert [(row["size"], row["seed"], row["items"]) for row in rows] == [(500, 1, 40), (500, 2, 40), (0, 1, 40)]
    assert {row["score"] for row in rows} == {100.0}
    assert "| SST-2, accuracy | all 40 | **100.0** |" in pays.table(rows, "en")


def test_every_start_is_measured_with_every_seed() -> None:
    options = argparse.Namespace(
        models={"mine": Path("mine")}, random=Path("mine"), classical=True, tasks=["cola"], sizes=[0], seeds=[1, 2]
    )
    found = list(pays.wanted(options))
    assert len(found) == 5 and (pays.CLASSICAL, "cola", 0, 2) not in found


def test_the_same_seed_draws_the_same_items(data: Path) -> None:
    settings = pays.settings_of(pays.EXAMS["sst2"], data)
    first, dev = pays.drawn_items(settings, 10, 1)
    again, other = (pays.drawn_items(settings, 10, seed)[0] for seed in (1, 2))
    assert first == again != other and len(first) == 10 and len(dev) == 20
