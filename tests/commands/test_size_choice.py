"""What pretrain chooses where nothing is said, and that a run goes on and repeats with what was chosen."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.commands import _size_choice
from bertie.commands._new_model import ModelSettings, RandomStart
from bertie.errors import SettingsError
from bertie.training import scaling

WORDS = [f"word{chr(97 + number)}" for number in range(20)]
RUN: dict[str, Any] = {"length": 32, "threads": 1, "steps": 2}
SMALL: dict[str, Any] = {"max_positions": 32, "size": "1/32", "num_heads": 2}


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(WORDS, count=400, lengths=(4, 8), document=6)


def settings(out: Path) -> dict[str, Any]:
    return tomllib.loads((out / "config.toml").read_text(encoding="utf-8"))


def speeds(monkeypatch: pytest.MonkeyPatch, **tokens_a_second: float) -> list[str]:
    """Let sizes have these speeds; return the list of those that are measured from now on."""
    measured: list[str] = []

    def speed(bench: Any, start: RandomStart, batch_tokens: int) -> float:
        measured.append(str(start.settings.size))
        return tokens_a_second[measured[-1]]

    monkeypatch.setattr(_size_choice.Bench, "speed", speed)
    monkeypatch.setattr(_size_choice, "_LOOK", 100.0)
    monkeypatch.setattr(scaling, "worth", lambda tokens, corpus_tokens: tokens)
    monkeypatch.setattr(_size_choice, "fitting", lambda sizes, corpus_tokens: sizes)
    return measured


def test_nothing_said_but_how_long(corpus: Path, tmp_path: Path) -> None:
    values = bertie.pretrain(corpus=corpus, dev=corpus, out=tmp_path / "run", **RUN).values
    said = settings(tmp_path / "run")
    assert (said["task"], said["mask_rate"], said["settings"]) == ("masked_lm", 0.3, {"mask_rate_end": 0.15})
    assert said["model"]["size"] == "tiny" and said["model"]["dropout"] == 0.0 and said["optimizer"]["name"] == "muon"
    assert said["batch_tokens"] == 4096  # two steps are few
    assert "expected_mask_loss" not in values  # of two steps nothing is known
    again = {name: value for name, value in said.items() if name != "command"} | {"out": tmp_path / "again"}
    assert bertie.pretrain(**again).values["dev_loss"] == values["dev_loss"]


def test_what_is_given_stays(corpus: Path, tmp_path: Path) -> None:
    given = {"model": {**SMALL, "dropout": 0.2}, "mask_rate": 0.2, "batch_tokens": 512}
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", **RUN, **given)
    said = settings(tmp_path / "run")
    assert (said["mask_rate"], said["batch_tokens"], said["model"]["dropout"]) == (0.2, 512, 0.2)
    assert "settings" not in said and said["model"]["size"] == "1/32"


def test_a_text_that_is_read_often_takes_dropout(corpus: Path, tmp_path: Path) -> None:
    model = {**SMALL, "size": None, "num_heads": None}
    bertie.pretrain(corpus=corpus, out=tmp_path / "often", epochs=11, length=32, threads=1, model=model)
    assert settings(tmp_path / "often")["model"]["dropout"] == 0.1
    given = {**model, "dropout": 0.0}
    bertie.pretrain(corpus=corpus, out=tmp_path / "given", epochs=11, length=32, threads=1, model=given)
    assert settings(tmp_path / "given")["model"]["dropout"] == 0.0


def test_weights_that_begin_as_in_the_paper_learn_as_there(corpus: Path, tmp_path: Path) -> None:
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", model={**SMALL, "start": "paper"}, **RUN)
    said = settings(tmp_path / "run")
    assert said["mask_rate"] == 0.15 and "settings" not in said and said["model"]["dropout"] == 0.1


@pytest.mark.parametrize(
    ("architecture", "task"), [("roberta", "masked_lm"), ("electra", "replaced_token"), ("causal", "causal_lm")]
)
def test_each_architecture_has_its_objective(architecture: str, task: str, corpus: Path, tmp_path: Path) -> None:
    model = {**SMALL, "architecture": architecture}
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", model=model, **RUN)
    assert settings(tmp_path / "run")["task"] == task


def test_a_model_goes_on_with_what_it_learned_by(corpus: Path, tmp_path: Path) -> None:
    for task in ("sentence_order", "pretraining"):
        first = tmp_path / task
        bertie.pretrain(corpus=corpus, out=first, model=SMALL, task=task, **RUN)
        bertie.pretrain(corpus=corpus, out=first / "more", from_=str(first / "model"), **RUN)
        said = settings(first / "more")
        assert said["task"] == task and said["mask_rate"] == 0.15
    rows = first / "rows.tsv"
    rows.write_text("text\tlabel\n" + "worda wordb\tyes\nwordc\tno\n" * 4, encoding="utf-8")
    bertie.finetune(str(first / "model"), task="classification", train=rows, out=first / "tuned", length=32, steps=1)
    bertie.pretrain(corpus=corpus, out=first / "last", from_=str(first / "tuned" / "model"), **RUN)
    assert settings(first / "last")["task"] == "masked_lm"


def test_the_time_chooses_the_size_by_measured_speeds(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = speeds(monkeypatch, tiny=3e6, mini=2.9e6, small=1.0)
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", budget="1s", length=32, threads=1, batch_tokens=512)
    assert measured == ["tiny", "mini", "small"] and settings(tmp_path / "run")["model"]["size"] == "mini"


def test_a_run_that_goes_on_measures_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_off: Callable[..., None]
) -> None:
    wishes: dict[str, Any] = {"corpus": corpus, "dev": corpus, "out": tmp_path / "run", **RUN, "steps": 6}
    monkeypatch.setattr(scaling, "loss_left", lambda weights, tokens: 0.5)
    break_off(at=3, **wishes)
    before = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(_size_choice, "turn", lambda *given: pytest.fail("it chose once more"))
    values = bertie.pretrain(resume=True, **wishes).values
    assert values["steps"] == 6 and values["expected_mask_loss"] == before["kept"]["expected"]["expected_mask_loss"]
    assert values["expected_mask_loss"] == pytest.approx(values["yardstick_unigram_loss"] / 2, abs=1e-3)


def test_further_seeds_have_what_the_first_one_chose(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = speeds(monkeypatch, tiny=3e6, mini=2.9e6, small=1.0)
    wishes: dict[str, Any] = {"corpus": corpus, "budget": "1s", "length": 32, "threads": 1, "batch_tokens": 512}
    bertie.pretrain(out=tmp_path / "all", seeds=[0, 1], **wishes)
    assert [settings(tmp_path / "all" / f"seed-{seed}")["model"]["size"] for seed in (0, 1)] == ["mini", "mini"]
    assert measured == ["tiny", "mini", "small", "mini"]  # the last one for what is expected


def test_a_batch_holds_the_longest_sequence(corpus: Path, tmp_path: Path) -> None:
    model = {"size": "1/32", "num_heads": 2, "max_positions": 9000}
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", model=model, length=9000, steps=1, threads=1)
    assert settings(tmp_path / "run")["batch_tokens"] == 9000


def test_a_length_that_no_size_takes(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--length 64 is more than --model\.max-positions 32"):
        bertie.pretrain(corpus=corpus, out=tmp_path / "run", length=64, budget="2s", model={"max_positions": 32})
    assert not (tmp_path / "run").exists()


def test_speed_is_measured(corpus: Path) -> None:
    model = ModelSettings(size="1/32", num_heads=2, max_positions=32)
    found = bertie.advise(corpus=corpus, tokens=10_000, model=model, length=32)
    assert found.values["sizes"][0]["size"] == "1/32" and "tokens_per_second" not in found.values
    timed = bertie.advise(corpus=corpus, budget="2s", model=model, length=32, threads=1)
    assert timed.values["tokens_per_second"] > 0
