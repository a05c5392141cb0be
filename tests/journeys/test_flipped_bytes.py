"""A single flipped byte of a model, a run or a corpus is found when it is read or shown, or changes nothing.

The suite flips a few; `BERTIE_FLIPS=1000` flips so many of each folder. What was found where is printed (`pytest -s`).
"""

from __future__ import annotations

import json
import os
import random
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import progress
from bertie.corpus.shards import Corpus
from bertie.errors import BertieError

FLIPS = int(os.environ.get("BERTIE_FLIPS", "40"))
CARD = "README.md"


@pytest.fixture(scope="module")
def folders(prepare_sentences: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a corpus, a finished run with its model, and one that was broken off after its second checkpoint."""
    place = tmp_path_factory.mktemp("flips")
    corpus = prepare_sentences(("cat", "dog", "sat", "ran", "the"), count=200, lengths=(3, 8), document=6)
    shape: dict[str, Any] = {"model": {"size": "1/32", "num_heads": 2}, "batch_tokens": 256, "length": 32}
    training = {"log_every": 1, "save_every": 2, "keep": 2}
    bertie.pretrain(corpus=corpus, out=place / "run", steps=4, training=training, threads=1, **shape)
    model = (place / "run" / "model").rename(place / "model")
    return {"corpus": corpus, "run": place / "run", "model": model}


def content(path: Path) -> Any:
    """Return what a file means: its bytes, or for settings and records what they say, without their own checksum."""
    if path.name == ".lock":
        return None  # who worked here last
    if path.suffix == ".json" and path.name in ("run.json", "manifest.json"):
        return {key: value for key, value in json.loads(path.read_bytes()).items() if key != "sha256"}
    if path.suffix == ".toml":
        return tomllib.loads(path.read_text(encoding="utf-8"))
    return path.read_bytes()


def same(path: Path, before: Any) -> bool:
    """Tell whether a file means what it meant; a key more is nothing that anybody reads."""
    try:
        now = content(path)
    except ValueError:
        return False
    if isinstance(before, dict) and isinstance(now, dict):
        return {key: now[key] for key in before if key in now} == before
    return bool(now == before)


def found_when_shown(folder: Path) -> bool:
    try:
        report = bertie.show(folder)
    except BertieError:
        return True
    files = report.values["files"]
    return report.exit_code == 3 or bool({"changed", "missing", "settings_changed"} & files.keys())


def found_when_read(kind: str, folder: Path) -> bool:
    try:
        if kind == "model":
            bertie.load(folder, device="cpu")
        else:
            Corpus.open(folder, verify=True)
    except BertieError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["corpus", "run", "model"])
def test_single_flipped_bytes(kind: str, folders: dict[str, Path]) -> None:
    folder, source, counts = folders[kind], random.Random(0), Counter[str]()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    progress.set_quiet(True)
    assert not found_when_shown(folder)
    missed = []
    for _ in range(FLIPS):
        path = source.choice(files)
        whole, before = path.read_bytes(), content(path)
        place, flip = source.randrange(len(whole)), source.randrange(1, 256)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        name = path.relative_to(folder).as_posix()
        shown = found_when_shown(folder)
        read = kind != "run" and found_when_read(kind, folder)
        if same(path, before):
            counts["without effect"] += 1
        elif read or (shown and (kind == "run" or name == CARD)):
            counts["found when read" if read else "found by show"] += 1
        else:
            missed.append((name, place, flip))
        path.write_bytes(whole)
    print(f"\n{kind}: {FLIPS} flipped bytes in {len(files)} files: {dict(counts)}, missed {len(missed)}")
    assert missed == []
