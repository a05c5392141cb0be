"""Suites of minimal pairs: read from folders and tars, scored like one sentence at a time, ties wrong."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertie.batch import Batch
from bertie.cli import main
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference import suite
from bertie.inference.predictor import Predictor, load
from bertie.readers.minimal_pairs import MinimalPair, read_suite
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.task import TaskModel

WORDS = (
    "the",
    "a",
    "cats",
    "film",
    "dogs",
    "sat",
    "slept",
    "in",
    "is",
    "greatest",
    "very",
    "not",
    "京",
    "猫",
    "zebras",
)


def some_pairs(count: int, seed: int = 0) -> list[MinimalPair]:
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(2, 9))) for _ in range(2 * count)]
    names = [("order_a", "order"), ("order_b", "order"), ("number_a", "number")]
    both = zip(texts[::2], texts[1::2], strict=True)
    return [MinimalPair(*pair, *names[place % 3], "memory", place + 1) for place, pair in enumerate(both)]


def lines(paradigm: str, count: int, *, key: str = "linguistics_term") -> bytes:
    rows = [
        {"sentence_good": f"the cat {n}\u2028", "sentence_bad": f"cat the {n}", "UID": paradigm, key: paradigm[:4]}
        for n in range(count)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def tar(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"suite/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture(scope="module")
def masked(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> Callable[..., Predictor]:
    def predictor(task: Any = None, **more: Any) -> Predictor:
        task = task or MaskedLM(max_length=48)
        model = build_model(task, deviation=0.3)
        return Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config), device="cpu", **more)

    return predictor


def naive(predictor: Predictor, sentence: str) -> float:
    """Hide one piece, and what follows in its word, after another, each in a batch of its own."""
    tokenizer = predictor.tokenizer
    pieces = tokenizer.pack([sentence], max_length=48)
    total = 0.0
    for place in range(1, len(pieces.tokens) - 1):
        hidden = pieces.tokens.copy()
        end = place + 1
        while tokenizer.tokens[int(pieces.tokens[end])].startswith("##"):
            end += 1
        hidden[place:end] = tokenizer.mask
        batch = Batch.pack(hidden, pieces.segments, pieces.offsets, targets={"slot.position": [place]})
        with torch.inference_mode():
            outputs = predictor.model(batch)
            logits = getattr(outputs, "tokens", outputs).materialise()[0].double()
        total += float(logits.log_softmax(0)[int(pieces.tokens[place])])
    return total


@pytest.mark.parametrize("task", [MaskedLM(max_length=48), Pretraining(max_length=48)])
def test_agrees_with_one_sentence_at_a_time(
    masked: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch, task: Any
) -> None:
    monkeypatch.setattr(suite, "_WINDOW", 7)
    predictor, pairs = masked(task, max_tokens=100), some_pairs(40)
    good, bad = ([naive(predictor, getattr(pair, side)) for pair in pairs] for side in ("good", "bad"))
    pieces = predictor.tokenizer.pack([pair.good for pair in pairs], max_length=48)
    np.testing.assert_allclose(suite.sentence_scores(predictor, pieces), good, atol=1e-4)
    found = suite.measure(predictor, pairs)
    right = np.array(good) > np.array(bad)
    assert found.accuracy == pytest.approx(right.mean()) and 0 < found.accuracy < 1
    assert [(row.name, row.num_pairs) for row in found.phenomena] == [("number", 13), ("order", 27)]
    assert [(row.phenomenon, row.name) for row in found.paradigms] == [
        ("number", "number_a"),
        ("order", "order_a"),
        ("order", "order_b"),
    ]
    for row in found.paradigms:
        own = [one for one, pair in zip(right, pairs, strict=True) if pair.paradigm == row.name]
        assert row.accuracy == pytest.approx(np.mean(own))


def test_the_same_pieces_tie_whatever_the_batches(masked: Callable[..., Predictor]) -> None:
    # What the vocabulary lacks becomes one piece, so these pairs can't be told apart.
    texts = [("the ☃ sat", "the ☀ sat"), ("The Cat", "the cat"), ("a film", "a film")]
    pairs = [MinimalPair(good, bad, "p", "q", "memory", 1) for good, bad in texts]
    for max_tokens in (4096, 5, 6, 11):
        found = suite.measure(masked(max_tokens=max_tokens), pairs)
        assert (found.accuracy, found.num_ties, found.num_unknown) == (0.0, 3, 2)


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz", "tar.xz", "tar in a folder", "compressed files"])
def test_every_form_of_a_suite(tmp_path: Path, form: str) -> None:
    files = {"agree_x.jsonl": lines("agree_x", 5), "bind_y.jsonl": lines("bind_y", 3)}
    packed = tar({**files, "._agree_x.jsonl": b"\0", "README.md": b"no pair"})
    path = tmp_path / "suite"
    path.mkdir()
    if form.startswith("tar"):
        path = tmp_path / f"suite.{form}" if form != "tar in a folder" else path / "suite.tar"
        whole = {"tar.gz": gzip.compress, "tar.xz": lzma.compress}.get(form, bytes)(packed)
        path.write_bytes(whole)
        path = path if form != "tar in a folder" else path.parent
    else:
        for name, data in files.items():
            more = form == "compressed files"
            (path / f"{name}{'.gz' if more else ''}").write_bytes(gzip.compress(data) if more else data)
    found = read_suite("blimp", path)
    assert [(pair.paradigm, pair.phenomenon, pair.line) for pair in found] == [
        *(("agree_x", "agre", n) for n in range(1, 6)),
        *(("bind_y", "bind", n) for n in range(1, 4)),
    ]
    assert found[1].good == "the cat 1\u2028" and found[1].bad == "cat the 1"
    assert [pair.paradigm for pair in read_suite("blimp", path, limit=2)] == ["agree_x"] * 2 + ["bind_y"] * 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"sentence_good": "a"}\n', "a.jsonl:1: a pair is an object .*; here, sentence_bad is not a text"),
        (lines("x", 1) + b"\n[1]\n", "a.jsonl:3: a pair is an object"),
        (b"{\n", "a.jsonl:1: this is not valid JSON"),
        (lines("x", 1, key="phenomenon"), "here, linguistics_term is not a text"),
        (b"\xff", "not UTF-8"),
        (b"", "holds no pair"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_broken_files(tmp_path: Path, content: bytes, said: str, packed: bool) -> None:
    file = tmp_path / ("a.tar" if packed else "a.jsonl")
    file.write_bytes(tar({"a.jsonl": content}) if packed else content)
    with pytest.raises(DataError, match=said):
        read_suite("blimp", file)


def test_broken_tars_and_twice_the_same(tmp_path: Path) -> None:
    whole = tar({"a.jsonl": lines("x", 400)})
    for name, data in {"cut.tar": whole[: len(whole) // 2], "no.tar": b"no tar" * 200}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="not a valid tar"):
            read_suite("blimp", tmp_path / name)
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(DataError, match="broken gz data"):
        read_suite("blimp", tmp_path / "cut.tar.gz")
    folder = tmp_path / "twice"
    folder.mkdir()
    (folder / "a.tar").write_bytes(whole)
    (folder / "b.jsonl").write_bytes(lines("x", 1))
    with pytest.raises(DataError, match=r"b.jsonl:1: x is in .*a.tar:suite/a.jsonl too"):
        read_suite("blimp", folder)


def test_sentences_without_a_likelihood(masked: Callable[..., Predictor]) -> None:
    fine = MinimalPair("the cat", "cat the", "p", "q", "x.jsonl", 1)
    for bad, said in [
        ("", r"x.jsonl:7: a sentence is empty"),
        ("the [MASK]", r"x.jsonl:7: a sentence holds .MASK."),
        ("the cat " * 40, r"x.jsonl:7: text 2 has 82 tokens, more than 48"),
    ]:
        with pytest.raises(DataError, match=said):
            suite.measure(masked(), [fine, MinimalPair("the cat", bad, "p", "q", "x.jsonl", 7)])
    with pytest.raises(SettingsError, match="a suite of minimal pairs needs a masked language model"):
        suite.measure(masked(Classification(labels=("a", "b"))), [fine])


@pytest.fixture
def folders(masked: Callable[..., Predictor], tmp_path: Path) -> tuple[str, str]:
    write(masked().bundle, tmp_path / "model")
    (tmp_path / "zh").mkdir()
    (tmp_path / "zh" / "BA.jsonl").write_bytes(lines("BA_<b>", 4, key="phenomenon"))
    return str(tmp_path / "model"), str(tmp_path / "zh")


def test_the_command(folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = folders
    page = tmp_path / "page.html"
    words = ["evaluate", model, "--suite", "zhoblimp", "--data", data, "--limit", "3", "--quiet"]
    assert main([*words, "--report", str(page), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"] == 3 and found["paradigms"][0]["paradigm"] == "BA_<b>" and found["report"] == str(page)
    expected = suite.measure(load(model), read_suite("zhoblimp", data, limit=3))
    assert found["scores"] == {"accuracy": expected.accuracy}
    html = page.read_text(encoding="utf-8")
    for piece in ("By phenomenon", "By paradigm", "BA_&lt;b&gt;", "suite = &quot;zhoblimp&quot;", "<svg"):
        assert piece in html
    assert "<b>BA" not in html and "BA_<b>" not in html
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "phenomena" in table and "paradigm" not in table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--suite", "blmip", "--data", "."], "did you mean 'blimp'"),
        (["--suite", "blimp"], "needs --data"),
        (["--suite", "blimp", "--data", ".", "--limit", "0"], "--limit must be at least 1; got 0"),
        (["dev.tsv", "--suite", "blimp", "--data", "."], "--suite can't be combined with file"),
        (["dev.tsv", "--limit", "3"], "--limit requires --suite"),
        ([], "no data to evaluate on"),
    ],
)
def test_what_does_not_go_together(
    folders: tuple[str, str], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["evaluate", folders[0], *words, "--quiet"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.realdata
def test_the_real_suites(test_data: Path) -> None:
    english = read_suite("blimp", test_data / "blimp")
    assert len(english) == 67_000 and len({pair.paradigm for pair in english}) == 67
    chinese = read_suite("zhoblimp", test_data / "zh" / "zhoblimp")
    assert len(chinese) == 35_400 and len({pair.paradigm for pair in chinese}) == 118
