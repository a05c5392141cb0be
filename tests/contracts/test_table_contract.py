"""Every file of `tables/` is a format with suffixes of its own, and all that lists suffixes takes them from there."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bertie import registry
from bertie.commands._stdin import refuse_names
from bertie.corpus.documents import text_files
from bertie.errors import SettingsError
from bertie.readers.choices import read_choices
from bertie.readers.questions import read_questions
from bertie.readers.table import read_table
from bertie.tables.table import Format, format_of, formats, suffixes

ROOT = Path(__file__).parents[2]


def test_every_file_is_a_format() -> None:
    for name in registry.choices("tables"):
        form = registry.load("tables", name).FORMAT
        assert isinstance(form, Format)
        assert form.suffixes
        assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in (*form.suffixes, *form.vague))
        assert all(format_of(f"a{suffix}.gz") is form for suffix in form.suffixes)


def test_no_suffix_has_two_formats() -> None:
    counts = Counter(suffix for form in formats() for suffix in (*form.suffixes, *form.vague))
    assert set(counts.values()) == {1}
    assert set(suffixes(vague=True)) == set(counts) > set(suffixes())


def test_formats_import_no_package() -> None:
    code = (
        "import sys; from bertie.tables.table import suffixes; suffixes(); print({*sys.modules} & {'pyarrow', 'torch'})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("read", [read_table, read_choices, read_questions, text_files])
def test_readers_know_and_name_all_formats(tmp_path: Path, read: object) -> None:
    assert callable(read)
    (tmp_path / "a.xyz").write_text("x")
    with pytest.raises(SettingsError) as refused:
        read(tmp_path / "a.xyz")
    assert ", ".join(suffixes()) in str(refused.value)
    for suffix in suffixes():
        assert text_files(_empty(tmp_path / f"a{suffix}"))


def _empty(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize("suffix", suffixes(vague=True))
def test_texts_with_a_suffix_are_taken_for_file_names(suffix: str) -> None:
    with pytest.raises(SettingsError, match="looks like a file"):
        refuse_names([f"a{suffix}"])


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_pages_list_all_formats(page: str) -> None:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if ".jsonl" in line and ".gz" in line)
    assert [suffix for suffix in suffixes() if suffix not in line] == []
