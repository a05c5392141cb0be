"""The command prints what a corpus is worth, warns of what will go wrong, and starts without torch."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import bertie
from bertie.cli import main
from bertie.corpus import segmentation
from bertie.corpus.shards import Corpus

prepare_command = importlib.import_module("bertie.commands.prepare_corpus")
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "ran", "dog", "."]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return path


def write(folder: Path, *documents: str) -> Path:
    path = folder / "text.txt"
    path.write_text("\n\n".join(documents) + "\n")
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["prepare-corpus", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


STORY = "The cat sat. The dog ran. The cat ran. " * 10


def test_figures(tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, *[STORY] * 20)
    out = tmp_path / "corpus"
    code, output, errors = run(capsys, path, "--tokenizer", tokenizer, "--out", out)
    assert code == 0
    assert "random next share" in output
    assert "Preparing" in errors
    assert f"next: bertie pretrain --corpus {out} --budget 20m --out out/model" in errors
    assert "warning" not in errors
    report = bertie.prepare_corpus([path], tokenizer=tokenizer, out=tmp_path / "again", processes=1)
    values = report.values
    assert (values["documents"], values["sentences"], values["tokens"]) == (20, 600, 2400)
    assert values["one_sentence_document_share"] == 0
    assert 0.3 < values["random_next_share"] < 0.8
    assert values["unknown_rate"] == 0
    assert values["fingerprint"] == Corpus.open(out).fingerprint
    assert json.loads(report.as_json())["documents_by_language"] == {"en": 20}


def test_warnings(tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, *["The elephant trumpeted."] * 7, *["The cat sat. The dog ran."] * 3)
    code, _, errors = run(capsys, path, "--tokenizer", tokenizer, "--out", tmp_path / "a")
    assert code == 0
    assert "70% of the documents have a single sentence" in errors
    assert "--documents file" in errors
    assert "of the tokens are unknown" in errors
    code, output, errors = run(
        *(capsys, path, "--tokenizer", tokenizer, "--out", tmp_path / "b", "--documents", "file", "--json")
    )
    assert code == 0
    assert "next sentence prediction" in errors
    assert json.loads(output)["random_next_share"] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.txt"], 2, "no such file"),
        (["text.pdf"], 2, "known suffixes are .txt"),
        (["text.txt", "--language", "enlish"], 2, "--language 'enlish' is unknown"),
        (["text.txt", "--similarity", "2"], 2, "--similarity must be between 0.3 and 1; got 2"),
        (["text.txt", "--leaks", "drop"], 2, "name them with --test-sets FILE"),
        (["text.txt", "--test-sets", "nowhere.tsv"], 2, "nowhere.tsv: no such test set"),
        (["text.txt", "--processes", "0"], 2, "--processes must be at least 1; got 0"),
        (["empty.txt"], 3, "no text found in 1 files"),
        (["bad.txt"], 3, "bad.txt:1: byte 0xff at offset 4 is not UTF-8"),
        (["table.tsv"], 3, "--text-column"),
    ],
)
def test_what_goes_wrong(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    write(tmp_path, STORY)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "text.pdf").touch()
    (tmp_path / "bad.txt").write_bytes(b"abc \xff")
    (tmp_path / "table.tsv").write_text("a\tb\n1\t2\n")
    before = sorted(tmp_path.iterdir())
    found = run(capsys, tmp_path / words[0], *words[1:], "--tokenizer", tokenizer, "--out", tmp_path / "corpus")
    assert found[0] == code
    assert message in " ".join(found[2].split())
    assert sorted(tmp_path.iterdir()) == before


def test_dropped_documents_are_shown(tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, STORY, "The dog ran. The dog sat. The cat ran.", STORY.upper())
    (tmp_path / "test.tsv").write_text("text\nthe dog ran the dog sat\nno dog ever sat on a cat\n")
    out = tmp_path / "corpus"
    words = ["--tokenizer", tokenizer, "--out", out, "--duplicates", "exact", "--test-sets", tmp_path / "test.tsv"]
    code, output, _ = run(capsys, path, *words, "--list-dropped")
    assert code == 0
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "documents 2" in lines and "dropped documents.exact duplicate 1" in lines
    assert f"{tmp_path / 'test.tsv'} 2 0 1 1 1" in lines
    assert f"{tmp_path / 'test.tsv'} 2 1.0000 the dog ran the dog sat {path}:3" in lines
    listed = json.loads((out / "dropped.jsonl").read_text())
    assert (listed["file"], listed["line"], listed["kept"]) == (str(path), 5, {"file": str(path), "line": 1})
    assert main(["show", str(out)]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "dropped exact duplicate 1" in shown
    assert f"test sets 1 of 2 rows of {tmp_path / 'test.tsv'} occur in the text" in shown


def test_works_without_torch(tmp_path: Path, tokenizer: Path) -> None:
    path = write(tmp_path, STORY, STORY)
    words = ["prepare-corpus", str(path), "--tokenizer", str(tokenizer), "--out", str(tmp_path / "corpus")]
    code = f"import sys\nfrom bertie.cli import main\ncode = main({words!r})\nsys.exit(code or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_chinese_words(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "我们在北京大学学习。他们也在。", "我们的朋友不在。")
    common = [path, "--tokenizer", tokenizer, "--json", "--out"]
    with monkeypatch.context() as patch:
        for room in (segmentation, prepare_command):
            patch.setattr(room, "is_installed", lambda: False)
        code, output, errors = run(capsys, *common, tmp_path / "a")
        assert code == 0 and "words_by" not in json.loads(output)
        assert "Chinese words are not marked" in errors and "pip install 'bertie[zh]'" in errors
        code, _, errors = run(capsys, *common, tmp_path / "b", "--words", "none")
        assert code == 0 and "not marked" not in errors
        code, _, errors = run(capsys, *common, tmp_path / "c", "--words", "jieba")
        assert code == 2 and "pip install 'bertie[zh]'" in errors and not (tmp_path / "c").exists()
    pytest.importorskip("rjieba")
    code, output, errors = run(capsys, *common, tmp_path / "d")
    assert code == 0 and json.loads(output)["words_by"].startswith("rjieba ") and "not marked" not in errors
    (tmp_path / "own.txt").write_text("我们 x y z\n", encoding="utf-8")
    code, _, errors = run(capsys, *common, tmp_path / "e", "--user-dictionary", tmp_path / "own.txt")
    assert code == 3 and "own.txt:1: not a valid entry" in errors
