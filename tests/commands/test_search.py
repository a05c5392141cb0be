"""bertie search: the nearest texts of files, from arguments and standard input; the index that keeps vectors."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertie.cli import main
from bertie.commands.search import search
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference import search as engine
from bertie.inference.search_index import FORM
from bertie.tasks.embedding import Embedding
from bertie.tasks.task import TaskModel

TEXTS = ["the cat sat", "a poor story", "", "the old dog ran", "the cat sat", "not bad", "three fish ate two birds"]


@pytest.fixture(scope="module")
def models(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Return two models of other weights."""
    room = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        task = Embedding(max_length=16, normalize=seed == 0)
        model = build_model(task, seed=seed, deviation=0.5)
        write(Bundle(model, task, tiny_tokenizer, model.encoder.config), room / str(seed))
    return [str(room / "0"), str(room / "1")]


@pytest.fixture
def file(tmp_path: Path) -> str:
    place = tmp_path / "texts.txt"
    place.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return str(place)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    code = main(["search", *words])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out, captured.err


def fail(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["search", *words, "--quiet"])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")
    return code, captured.err


@pytest.mark.parametrize("which", [0, 1])
def test_every_text_finds_itself_first(models: list[str], file: str, which: int) -> None:
    queries = tuple(text for text in TEXTS if text)
    found = search(models[which], Path(file), queries, top_k=3)
    for query, hits in zip(queries, found.hits, strict=True):
        assert hits[0]["text"] == query and hits[0]["line"] == TEXTS.index(query) + 1
        assert hits[0]["score"] == pytest.approx(1.0, abs=1e-5) and len(hits) == 3
        assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert [hit["line"] for hit in found.hits[0][:2]] == [1, 5]  # the same text twice: in the order of the file


def test_text_and_json(models: list[str], file: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, models[0], file, "the cat sat", "not bad", "--top-k", "2")
    lines = out.splitlines()
    assert lines[:3] == ["the cat sat", "   score  line  text", "  1.0000     1  the cat sat"] and lines[4] == ""
    assert lines[5] == "not bad" and lines[7] == "  1.0000     6  not bad"
    assert "Embedding: 6/6 texts" in err and "1 empty texts are left out" in err
    out, _ = run(capsys, models[0], file, "the cat sat", "not bad", "--json", "--top-k", "99")
    first, second = (json.loads(line) for line in out.splitlines())
    assert (
        first["query"] == "the cat sat"
        and len(first["hits"]) == 6
        and set(first["hits"][0]) == {*("score", "line", "text")}
    )
    assert second["hits"][0]["line"] == 6


def test_long_texts_fit_the_terminal(models: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat sat " * 20 + "\nred\x1b[31m fish\n", encoding="utf-8")
    shown = search(models[0], tmp_path / "a.txt", ("fish",)).as_text(50)
    assert all(len(line) <= 50 for line in shown.splitlines()) and "…" in shown and "\x1b" not in shown


def test_queries_from_standard_input(
    models: list[str], file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"not bad\r\nthe cat sat\n")))
    out, _ = run(capsys, models[0], file, "--json", "--top-k", "1")
    assert [json.loads(line)["query"] for line in out.splitlines()] == ["not bad", "the cat sat"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    code, said = fail(capsys, models[0], file)
    assert code == 2 and "no queries: give them as arguments" in said


def test_tables(models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "a.tsv"
    table.write_text("sentence1\tsentence2\na cat\tnot bad\na dog\tfish\n", encoding="utf-8")
    out, _ = run(capsys, models[0], str(table), "a dog", "--json", "--top-k", "1")
    assert json.loads(out)["hits"][0]["line"] == 3
    out, _ = run(capsys, models[0], str(table), "fish", "--json", "--top-k", "1", "--columns", "text=sentence2")
    assert json.loads(out)["hits"][0]["text"] == "fish"


def test_an_index_keeps_the_vectors(
    models: list[str], file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [file, "the cat sat", "--index", str(tmp_path / "kept.npz"), "--json"]
    first, err = run(capsys, models[0], *words)
    assert "6 vectors stored" in err and "Embedding" in err
    again, err = run(capsys, models[0], *words)
    assert again == first and "Embedding" not in err
    _, err = run(capsys, models[1], *words)
    assert "changed since it was made: model" in err and "6 vectors stored" in err
    Path(file).write_text("the cat sat\nred fish\n", encoding="utf-8")
    shorter, err = run(capsys, models[1], *words)
    assert "changed since it was made: file" in err and len(json.loads(shorter)["hits"]) == 2
    _, err = run(capsys, models[1], *words, "--length", "6")
    assert "changed since it was made: model" in err  # cut elsewhere, a text has another vector


@pytest.mark.parametrize("content", [b"", b"mine", b"PK\x03\x04", b"\x93NUMPY", "pickled", "other", "array"])
def test_what_is_no_index_is_left_alone(
    models: list[str], file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any
) -> None:
    place = tmp_path / "a.npz"
    if isinstance(content, bytes):
        place.write_bytes(content)
    elif content == "pickled":
        np.savez(place, origin=np.array([{"form": FORM}], dtype=object), vectors=np.zeros((6, 32), np.float32))
    elif content == "array":
        with place.open("wb") as stream:
            np.save(stream, np.zeros(3))
    else:
        np.savez(place, origin=np.array(json.dumps({"form": "another"})), vectors=np.zeros((6, 32), np.float32))
    before = place.read_bytes()
    code, said = fail(capsys, models[0], file, "a cat", "--index", str(place))
    assert code == 3 and f"{place} is not a search index" in said and place.read_bytes() == before


def test_wrong_wishes(models: list[str], file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    for code, said, words in (
        (2, "--top-k must be at least 1", (file, "a", "--top-k", "0")),
        (2, "an index is a .npz file", (file, "a", "--index", "kept")),
        (3, "a query is empty", (file, "a", " ")),
        (3, "has no text to search in", (str(tmp_path / "empty.txt"), "a")),
        (2, "no such file", (str(tmp_path / "none.txt"), "a")),
    ):
        found = fail(capsys, models[0], *words)
        assert found[0] == code and said in found[1]


def test_the_best_of_blocks_are_the_best_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    vectors, queries = draw.integers(-2, 3, (50, 4)).astype(np.float32), draw.integers(-2, 3, (7, 4)).astype(np.float32)
    scores = queries @ vectors.T
    for top_k, texts, group in ((1, 3, 2), (5, 7, 3), (50, 16, 7), (60, 50, 1)):
        monkeypatch.setattr(engine, "_BLOCK_TEXTS", texts)
        monkeypatch.setattr(engine, "_BLOCK_QUERIES", group)
        found = engine.nearest(vectors, queries, top_k)
        for row, hits in zip(scores, found, strict=True):
            expected = np.argsort(-row, kind="stable")[:top_k]  # whole numbers: many ties, which keep their order
            assert [hit.number for hit in hits] == expected.tolist()
            assert [hit.score for hit in hits] == row[expected].tolist()
