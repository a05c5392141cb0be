"""`pretrain TEXT`: vocabulary, corpus and run by one command, the same as by three."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.corpus.shards import Corpus
from bertie.errors import DataError, SettingsError
from bertie.formats.huggingface import read
from bertie.training.journal import read as lines
from bertie.training.settings import TrainingSettings

RUN: dict[str, Any] = {"length": 32, "batch_tokens": 512, "threads": 1, "task": "masked_lm", "steps": 5}
MODEL = {"size": "1/32", "num_heads": 2, "dropout": 0.0}
NAMES = [f"name{chr(97 + number)}" for number in range(20)]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 120 documents in two files; each says its number."""
    folder, draw = tmp_path_factory.mktemp("text"), random.Random(0)
    for file in range(2):
        documents = [
            "\n".join(f"{' '.join(draw.choices(NAMES, k=6))} number{60 * file + number} ." for _ in range(4))
            for number in range(60)
        ]
        (folder / f"part-{file}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


def given(text: Path, out: Path, **more: Any) -> dict[str, Any]:
    return {"files": (str(text),), "out": out, "model": MODEL, "vocab_size": 120, **RUN, **more}


def test_one_command_does_what_three_do(text: Path, tmp_path: Path) -> None:
    values = bertie.pretrain(**given(text, tmp_path / "run")).values
    made = tmp_path / "run" / "prepared"
    corpus, dev = Corpus.open(made / "corpus"), Corpus.open(made / "dev")
    assert (corpus.num_documents, dev.num_documents) == (118, 2)  # the fiftieth and the hundredth
    tokenizer = read(tmp_path / "run" / "model").tokenizer
    held = tokenizer.decode(dev.gather([0], [dev.num_tokens]).tolist())
    seen = tokenizer.decode(corpus.gather([0], [corpus.num_tokens]).tolist())
    for number in range(120):
        words = f"number{number}."
        assert (words in held) == (number in (49, 99)) != (words in seen), number
    assert values["dev_loss"] > 0.0
    bertie.train_tokenizer((str(text),), out=tmp_path / "tokenizer", vocab_size=120)
    assert (tmp_path / "tokenizer" / "vocab.txt").read_bytes() == (made / "tokenizer" / "vocab.txt").read_bytes()
    by_hand: dict[str, Any] = {"corpus": made / "corpus", "dev": made / "dev", "model": MODEL, **RUN}
    again = bertie.pretrain(out=tmp_path / "by-hand", **by_hand).values
    assert again["dev_loss"] == values["dev_loss"] and again["train_loss"] == values["train_loss"]
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "2 text files have" in report and "2 documents were held out" in report


def test_a_run_of_a_corpus_that_began_before_there_were_files_goes_on(
    text: Path, tmp_path: Path, break_off: Callable[..., None]
) -> None:
    bertie.train_tokenizer((str(text),), out=tmp_path / "tokenizer", vocab_size=120)
    bertie.prepare_corpus((text,), tokenizer=tmp_path / "tokenizer", out=tmp_path / "corpus", processes=1)
    wishes: dict[str, Any] = {"corpus": tmp_path / "corpus", "out": tmp_path / "run", "model": MODEL, **RUN}
    break_off(at=3, **wishes)
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert not {"files", "add_words", "vocab_size"} & record["settings"].keys()
    assert bertie.pretrain(resume=True, **wishes).values["steps"] == 5


@pytest.mark.parametrize("at", [1, 4])
def test_a_run_that_was_broken_off_needs_its_text_no_more(
    at: int, text: Path, tmp_path: Path, break_off: Callable[..., None]
) -> None:
    saving = {"training": TrainingSettings(save_every=2)}
    bertie.pretrain(**given(text, tmp_path / "whole", **saving))
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in text.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    broken = given(moved, tmp_path / "broken", **saving)
    break_off(at=at, **broken)
    for file in moved.iterdir():
        file.unlink()
    bertie.pretrain(resume=True, **broken)
    files = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "broken")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [row["loss"] for row in lines(tmp_path / "whole" / "metrics.jsonl") if row["kind"] == "dev"] == [
        row["loss"] for row in lines(tmp_path / "broken" / "metrics.jsonl") if row["kind"] == "dev"
    ]


def test_a_model_brings_its_vocabulary(text: Path, tmp_path: Path) -> None:
    bertie.pretrain(**given(text, tmp_path / "first"))
    model = str(tmp_path / "first" / "model")
    more = given(text, tmp_path / "more", from_=model, vocab_size=None)
    bertie.pretrain(**{name: value for name, value in more.items() if name != "model"})
    first, second = (read(tmp_path / name / "model").tokenizer for name in ("first", "more"))
    assert first.fingerprint == second.fingerprint
    with pytest.raises(SettingsError, match="has a vocabulary already"):
        bertie.pretrain(**given(text, tmp_path / "other", from_=model))


def test_words_are_added_from_text(text: Path, tmp_path: Path) -> None:
    bertie.pretrain(**given(text, tmp_path / "first", vocab_size=80))
    more = given(text, tmp_path / "more", from_=str(tmp_path / "first" / "model"), vocab_size=None, add_words="3")
    bertie.pretrain(**{name: value for name, value in more.items() if name != "model"})
    words = (tmp_path / "more" / "prepared" / "words.txt").read_text(encoding="utf-8").split()
    assert len(words) == 3 and set(words) <= {*NAMES, *(f"number{number}" for number in range(120))}
    assert read(tmp_path / "more" / "model").tokenizer.tokens[-3:] == words
    assert not (tmp_path / "more" / "prepared" / "narrow").exists()


@pytest.mark.parametrize("task", ["pretraining", "passages", "embedding"])
def test_a_single_document_held_out_does_not_stop_what_compares_documents(
    task: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = str(text / "part-0.txt")
    values = bertie.pretrain(**given(text, tmp_path / "run", files=(one,), task=task)).values
    assert "train_loss" in values and "dev_loss" not in values
    assert "no dev figures, because the held-out documents" in capsys.readouterr().err
    made = tmp_path / "run" / "prepared"
    assert Corpus.open(made / "dev").num_documents == 1
    named: dict[str, Any] = {"corpus": made / "corpus", "dev": made / "dev", "model": MODEL, **RUN, "task": task}
    with pytest.raises(DataError, match=r"prepared/dev: the corpus has 1 document"):
        bertie.pretrain(out=tmp_path / "named", **named)


def test_few_documents_are_all_learned_from(tmp_path: Path) -> None:
    file = tmp_path / "few.txt"
    file.write_text("\n\n".join(f"{name} sat here . {name} ran there ." for name in NAMES), encoding="utf-8")
    values = bertie.pretrain(**given(file, tmp_path / "run")).values
    assert "dev_loss" not in values
    assert "none was held out" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"corpus": Path("somewhere")}, "not both"),
        ({"files": ()}, "either text files"),
        ({"dev": Path("somewhere")}, "needs --corpus"),
        ({"files": (), "corpus": Path("somewhere")}, "leave out --vocab-size"),
        ({"files": ("no-such-file.txt",)}, r"no-such-file\.txt"),
    ],
)
def test_what_does_not_go_together_is_refused(wishes: dict[str, Any], said: str, text: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        bertie.pretrain(**{**given(text, tmp_path / "run"), **wishes})
    assert not (tmp_path / "run").exists()


def test_other_text_in_the_same_folder_is_refused(text: Path, tmp_path: Path) -> None:
    wishes = given(text, tmp_path / "run", steps=1)
    with pytest.raises(SettingsError, match="--length 9999 is more than"):
        bertie.pretrain(**{**wishes, "length": 9999})
    with pytest.raises(DataError, match="made from other text or with other settings"):
        bertie.pretrain(**{**wishes, "vocab_size": 100})
    assert bertie.pretrain(**wishes).values["steps"] == 1


def test_a_mistake_is_told_before_any_text_is_read(text: Path, tmp_path: Path) -> None:
    wishes = given(text, tmp_path / "run")
    for wrong in ({"steps": None}, {"tokens": 5}, {"task": "tagging"}, {"settings": {"unheard": 1}}):
        with pytest.raises(SettingsError):
            bertie.pretrain(**{**wishes, **wrong})
        assert not (tmp_path / "run").exists()


def test_further_seeds_learn_from_what_the_first_one_made(text: Path, tmp_path: Path) -> None:
    bertie.pretrain(**given(text, tmp_path / "all"), seeds=[0, 1])
    assert (tmp_path / "all" / "seed-0" / "prepared" / "corpus").is_dir()
    assert not (tmp_path / "all" / "seed-1" / "prepared").exists()
    alone = bertie.pretrain(**given(text, tmp_path / "alone"), seed=1).values
    second = json.loads((tmp_path / "all" / "seed-1" / "run.json").read_text(encoding="utf-8"))["values"]
    assert second["dev_loss"] == alone["dev_loss"]
    again = bertie.pretrain(**given(text, tmp_path / "all"), seeds=[0, 1], resume=True)
    assert [run["seed"] for run in again.values["runs"]] == [0, 1]
