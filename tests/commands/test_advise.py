"""`advise`: what a run would reach, whether to go on from a model, what to type; and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.errors import BertieError

WORDS = [f"word{chr(97 + number)}" for number in range(20)]
MODEL: dict[str, Any] = {"max_positions": 32, "size": "1/32", "num_heads": 2}


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(WORDS, count=400, lengths=(4, 8), document=6)


def test_sizes_are_compared_and_the_choice_can_be_typed(corpus: Path, tmp_path: Path) -> None:
    found = bertie.advise(corpus=corpus, dev=corpus, tokens=3_000_000, length=32)
    values = found.values
    assert values["size"] == "tiny" and values["tokens"] == 3_000_000
    assert values["yardstick_unigram_loss"] > 0.0 and [row["size"] for row in values["sizes"]] == ["tiny"]
    assert found.next_command == (
        f"bertie pretrain --corpus {corpus} --dev {corpus} --tokens 3000000 --length 32 --out OUT"
    )


def test_what_is_given_of_the_model_is_typed_too(corpus: Path) -> None:
    found = bertie.advise(corpus=corpus, tokens=1000, length=32, model={**MODEL, "architecture": "roberta"})
    assert found.next_command is not None
    assert "--model.architecture roberta --model.size 1/32 --model.num-heads 2" in found.next_command


def test_a_model_that_guesses_words_is_measured(corpus: Path, tmp_path: Path) -> None:
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", model=MODEL, steps=2, length=32, threads=1)
    model = str(tmp_path / "run" / "model")
    found = bertie.advise(corpus=corpus, dev=corpus, tokens=10**9, length=32, from_=model)
    assert found.values["going_on"]["mask_loss"] > 0.0
    assert found.values["advice"].startswith(("start from random weights", "continue"))
    goes_on = found.values["advice"].startswith("continue")
    assert found.next_command is not None and (f"--from {model}" in found.next_command) == goes_on


def test_a_model_without_such_a_head_is_said_to_have_none(corpus: Path, tmp_path: Path) -> None:
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", model=MODEL, steps=1, length=32, threads=1)
    rows = tmp_path / "rows.tsv"
    rows.write_text("text\tlabel\n" + "worda wordb\tyes\nwordc\tno\n" * 4, encoding="utf-8")
    bertie.finetune(
        str(tmp_path / "run" / "model"), task="classification", train=rows, out=tmp_path / "tuned", length=32, steps=1
    )
    model = str(tmp_path / "tuned" / "model")
    found = bertie.advise(corpus=corpus, dev=corpus, tokens=1000, length=32, from_=model)
    assert found.values["going_on"]["mask_loss"] is None and "has no head that predicts words" in found.values["advice"]
    assert found.next_command is not None and "--from" in found.next_command


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing says how long to train"),
        ({"tokens": 0}, "--tokens must be above 0; got 0"),
        ({"budget": "0s"}, "--budget must be above 0; got 0 seconds"),
        ({"budget": "1m", "tokens": 5}, "give one of --tokens and --budget"),
        ({"tokens": 5, "from_": "model"}, "is measured on held-out text: give --dev"),
        ({"tokens": 5, "model": {"architecture": "electra"}}, "electra learns replaced_token"),
        ({"tokens": 5, "model": {"architecture": "transformer"}}, "it has no head for other tasks"),
        ({"tokens": 5, "model": {"start": "paper"}}, "with --model.start paper; leave it out"),
        ({"tokens": 5, "length": 1024}, "--length 1024 is more than"),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str, corpus: Path) -> None:
    with pytest.raises(BertieError, match=message):
        bertie.advise(corpus=corpus, **given)


def test_a_model_of_another_vocabulary(corpus: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"other words stand here {number}" for number in range(60)), encoding="utf-8")
    bertie.pretrain((str(text),), out=tmp_path / "run", model=MODEL, steps=1, length=32, threads=1)
    with pytest.raises(BertieError, match="has another vocabulary than"):
        bertie.advise(corpus=corpus, dev=corpus, tokens=5, length=32, from_=str(tmp_path / "run" / "model"))
