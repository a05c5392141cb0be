"""pretrain tells what counting reaches beside what the network does, with and without a dev corpus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import progress
from bertie.commands import _yardsticks
from bertie.training import feed, plateau

SHAPE = {"size": "1/32", "num_heads": 2}
RUN: dict[str, Any] = {"model": SHAPE, "batch_tokens": 512, "length": 32, "threads": 1, "precision": "fp32"}
FIGURES = {f"yardstick_{kind}_{name}" for kind in ("unigram", "neighbours") for name in ("loss", "accuracy")}
OF_MASKS = ("mask_loss", "mask_accuracy", "mask_cosine")


@pytest.fixture(scope="module")
def corpora(prepare_sentences: Callable[..., Path]) -> tuple[Path, Path]:
    """Cats and dogs, twice as many in the first."""
    words = ("cat", "dog", "sat", "ran", "the", "bird")
    return tuple(prepare_sentences(words, count=count, lengths=(3, 6), document=6) for count in (400, 200))  # type: ignore[return-value]


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("masked_lm", {}),
        ("masked_lm", {"masking": "word"}),
        ("masked_lm", {"masking": "span", "across_documents": "true"}),
        ("pretraining", {}),
        ("sentence_order", {}),
        ("hybrid", {"causal_rate": "0.5"}),
    ],
)
def test_dev_is_measured_with_masks_alone_and_counts_stand_beside(
    corpora: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    task: str,
    settings: dict[str, str],
) -> None:
    run = {**RUN, "model": {**SHAPE, "architecture": "albert"}} if task == "sentence_order" else RUN
    corpus, dev = corpora
    found = bertie.pretrain(
        corpus=corpus, dev=dev, out=tmp_path / "out", task=task, settings=settings, steps=2, **run
    ).values
    assert found.keys() >= FIGURES | {f"dev_{name}" for name in OF_MASKS}
    assert found["yardstick_neighbours_loss"] > 0.0 and 0.0 < found["yardstick_unigram_accuracy"] < 1.0
    for row in lines(tmp_path / "out", "dev"):
        assert row.keys() >= set(OF_MASKS)
    assert "yardsticks, loss at [MASK] of counts alone: unigram" in capsys.readouterr().err
    page = (tmp_path / "out" / "report.html").read_text()
    assert "measured on dev: of single tokens" in page and "two neighbours" in page


@pytest.mark.parametrize("same", [False, True])
def test_without_a_dev_corpus_a_sample_is_left_out_of_the_counts(
    corpora: tuple[Path, Path], tmp_path: Path, same: bool
) -> None:
    corpus = corpora[0]
    found = bertie.pretrain(
        corpus=corpus, dev=corpus if same else None, out=tmp_path / "out", task="masked_lm", steps=2, **RUN
    ).values
    assert found.keys() >= FIGURES and ("dev_mask_loss" in found) == same
    assert found["train_mask_loss"] > 0.0 and "train_mask_cosine" not in found
    page = (tmp_path / "out" / "report.html").read_text()
    total = json.loads((corpus / "manifest.json").read_text())["num_tokens"]
    assert "measured on a sample of the training corpus that is not counted" in page
    counted = int(page.split("The yardsticks are counts of ")[1].split(" tokens")[0].replace(",", ""))
    assert 0.9 * total < counted < total


@pytest.mark.parametrize(
    "task", [{"task": "causal_lm"}, {"task": "hybrid", "settings": {"causal_rate": "1.0"}}, {"task": "replaced_token"}]
)
def test_nothing_is_said_of_masks_where_there_are_none(
    corpora: tuple[Path, Path], tmp_path: Path, task: dict[str, Any]
) -> None:
    run = {**RUN, "model": {**SHAPE, "architecture": "electra"}} if task["task"] == "replaced_token" else RUN
    found = bertie.pretrain(corpus=corpora[0], dev=corpora[1], out=tmp_path / "out", steps=2, **run, **task).values
    assert not [name for name in found if "yardstick" in name or "mask_" in name or "plateau" in name]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "yardstick" not in page and "[MASK] alone" not in page


def test_a_run_on_the_plateau_is_told_under_way_and_at_its_end(
    corpora: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plateau, "_FEWEST_STEPS", 2)
    monkeypatch.setattr(plateau, "_FEWEST_TOKENS", 100)
    run = {**RUN, "model": {**SHAPE, "start": "paper"}, "learning_rate": 1e-9, "training": {"log_every": 1}}
    with progress.collected() as said:
        found = bertie.pretrain(
            corpus=corpora[0], dev=corpora[1], out=tmp_path / "out", task="masked_lm", steps=6, **run
        )
    under_way = [line for line in said if "still on the plateau after" in line]
    assert len(under_way) == 1 and "--model.start neighbours" in under_way[0]
    assert any(line.startswith("the run ended on the plateau") for line in found.values["remarks"])
    assert "plateau_left_step" not in found.values


def test_a_run_that_left_says_when(corpora: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plateau, "BELOW", -0.2)  # six words are hard to guess from each other
    run = {**RUN, "learning_rate": 1e-2, "training": {"log_every": 2}}
    found = bertie.pretrain(corpus=corpora[0], out=tmp_path / "out", task="masked_lm", steps=60, **run).values
    moment = next(row for row in lines(tmp_path / "out", "train") if row["step"] == found["plateau_left_step"])
    assert found["plateau_left_tokens"] == moment["tokens"] and found["plateau_left_seconds"] == moment["seconds"]
    assert moment["mask_loss"] <= found["yardstick_unigram_loss"] + 0.2


def test_a_sample_has_the_places_of_the_corpus_it_takes(corpora: tuple[Path, Path], tiny_tokenizer: Any) -> None:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.tasks.pretraining import Pretraining

    corpus = Corpus.open(corpora[0])
    bundle: Any = Bundle.__new__(Bundle)
    object.__setattr__(bundle, "task", Pretraining(max_length=32))
    object.__setattr__(bundle, "tokenizer", tiny_tokenizer)
    places, (starts, lengths) = _yardsticks._sample(corpus, bundle, 32)
    assert 0 < lengths.sum() <= corpus.num_tokens / 15
    held = corpus.gather(starts, lengths)
    assert set(places.tokens.tolist()) <= set(held.tolist())


def test_a_broken_run_measures_as_an_unbroken_one(
    corpora: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: dict[str, Any] = {
        "corpus": corpora[0],
        "dev": corpora[1],
        "task": "masked_lm",
        "steps": 5,
        **RUN,
        "training": {"save_every": 2, "log_every": 1, "evaluate_every": 1},
    }
    whole = bertie.pretrain(out=tmp_path / "whole", **wishes).values
    drawn = feed.corpus_feed

    def breaking(*parts: Any, **more: Any) -> Iterator[Any]:
        for number, draw in enumerate(drawn(*parts, **more), 1):
            if number == 4:
                raise KeyboardInterrupt
            yield draw

    with monkeypatch.context() as patch:
        patch.setattr(feed, "corpus_feed", breaking)
        with pytest.raises(KeyboardInterrupt):
            bertie.pretrain(out=tmp_path / "broken", **wishes)
    broken = bertie.pretrain(out=tmp_path / "broken", resume=True, **wishes).values
    for kind in ("dev", "train"):
        rows = [
            [
                {name: value for name, value in row.items() if "second" not in name}
                for row in lines(tmp_path / run, kind)
            ]
            for run in ("whole", "broken")
        ]
        assert rows[0] == rows[1] and len(rows[0]) >= 5 and "mask_loss" in rows[0][0]
    assert {name: whole[name] for name in FIGURES} == {name: broken[name] for name in FIGURES}


def test_stages_and_a_teacher_are_measured_as_well(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    bertie.pretrain(corpus=corpora[0], out=teacher, task="masked_lm", steps=1, **RUN)
    run = {
        **RUN,
        "stages": "16:50%,32:50%",
        "training": {"evaluate_every": 1},
        "distill": {"teacher": str(teacher / "model")},
    }
    found = bertie.pretrain(
        corpus=corpora[0], dev=corpora[1], out=tmp_path / "out", task="masked_lm", steps=4, **run
    ).values
    first = lines(tmp_path / "out", "dev")[0]
    assert first.keys() >= {*OF_MASKS, *(f"{name}_at_16_tokens" for name in OF_MASKS)}
    assert found["dev_mask_loss"] > 0.0 and found["train_mask_loss"] > 0.0


def test_characters_and_whole_words_of_chinese(prepare_sentences: Callable[..., Path], tmp_path: Path) -> None:
    corpus = prepare_sentences(("北", "京", "的", "猫", "鱼", "好"), count=200, lengths=(3, 9), document=5, stop=" 好")
    for masking in ("token", "word", "span"):
        found = bertie.pretrain(
            corpus=corpus, out=tmp_path / masking, task="masked_lm", settings={"masking": masking}, steps=1, **RUN
        ).values
        assert found.keys() >= FIGURES
