"""The example's short version: a small Transformer from random weights, by the command, sorts what it never saw."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from examples import reverse_and_sort
from examples.reverse_and_sort import main, write_data


def rows(file: Path) -> list[tuple[str, str]]:
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    return [(line.split("\t")[0], line.split("\t")[1]) for line in lines]


@pytest.mark.parametrize("work", ["reverse", "sort"])
def test_what_is_measured_was_never_seen(work: str, tmp_path: Path) -> None:
    write_data(tmp_path, work, num_train=2000, num_dev=300, longest=30)
    train, dev = rows(tmp_path / "train.tsv"), rows(tmp_path / "dev.tsv")
    assert (len(train), len(dev)) == (2000, 300) and len({source for source, _ in dev}) == 300
    assert not {source for source, _ in train} & {source for source, _ in dev}
    lengths = Counter(len(source.split()) for source, _ in train)
    assert set(lengths) == set(range(1, 31)) and min(lengths.values()) > 30
    for source, target in dev:
        symbols = source.split()
        assert target.split() == (symbols[::-1] if work == "reverse" else sorted(symbols))


def test_it_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to 5 of 5 symbols; copying, or writing the symbols in any order, is right a few times in a hundred."""
    monkeypatch.setattr(reverse_and_sort, "SYMBOLS", "abcde")
    words = ["sort", "--out", str(tmp_path / "it"), "--longest", "5", "--num-train", "4000", "--num-dev", "200"]
    further = ["--model.size", "1/32", "--learning-rate", "1e-2", "--threads", "1", "--json", "--quiet"]
    assert main([*words, *further]) == 0
    values = json.loads(capsys.readouterr().out)
    copied = sum(source == target for source, target in rows(tmp_path / "it" / "dev.tsv")) / 200
    assert values["dev_items"] == 200 and copied < 0.2
    assert values["scores"]["exact_match"] > 0.5
    assert (tmp_path / "it" / "run" / "model" / "model.safetensors").is_file()
