"""A corpus in slices: the same bytes as at once; repeated, killed, damaged, missing and foreign slices."""

from __future__ import annotations

import filecmp
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bertie.cli import main
from bertie.corpus import chunks
from bertie.errors import SettingsError
from bertie.runners.slice import Slice

WORDS = ("the cat sat on the mat. ", "a dog ran in the park! ", "rivers run to the sea. ")


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    """One large file, and small ones, one of which is empty."""
    files = []
    for number, documents in enumerate((40, 2, 0, 3, 1)):
        file = tmp_path / f"{number}.txt"
        file.write_text("\n\n".join(f"{WORDS[one % 3] * (1 + one % 4)}\nword {one}" for one in range(documents)))
        files.append(str(file))
    return files


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    file = tmp_path / "vocab.txt"
    letters = [chr(number) for number in range(97, 123)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters), *".!", *"0123"]
    file.write_text("".join(f"{piece}\n" for piece in pieces))
    return file


@pytest.fixture
def command(texts: list[str], vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(chunks, "_CHUNK_CHARACTERS", 200)
    return ["prepare-corpus", *texts, "--tokenizer", str(vocabulary), "--processes", "1", "--out"]


def sliced(command: list[str], out: Path, index: int, of: int) -> int:
    return main([*command, str(out), "--runner", "slice", "--index", str(index), "--of", str(of)])


def same(one: Path, other: Path) -> bool:
    names = sorted(path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file())
    others = sorted(path.relative_to(other).as_posix() for path in other.rglob("*") if path.is_file())
    return names == others and not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])


@pytest.mark.parametrize("of", [1, 3, 7])
def test_slices_give_the_bytes_of_one_run(command: list[str], tmp_path: Path, of: int) -> None:
    assert main([*command, str(tmp_path / "whole")]) == 0
    for index in [*reversed(range(of)), 0]:
        assert sliced(command, tmp_path / "out", index, of) == 0
    assert main(["seal", str(tmp_path / "out")]) == 0
    assert same(tmp_path / "whole", tmp_path / "out")
    assert not (tmp_path / "out.slices").exists()


def test_a_killed_slice_leaves_nothing_under_its_name(command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = (
        "import os, signal, sys\nfrom bertie.cli import main\nfrom bertie.runners import slice\n"
        "slice.sha256_file = lambda file: os.kill(os.getpid(), signal.SIGKILL)\nmain(sys.argv[1:])"
    )
    arguments = [*command, str(out), "--runner", "slice", "--index", "1", "--of", "2"]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL
    assert not (out.with_name("out.slices") / "0001-of-0002").exists()
    assert sliced(command, out, 0, 2) == sliced(command, out, 1, 2) == 0
    assert main([*command, str(tmp_path / "whole")]) == main(["seal", str(out)]) == 0
    assert same(tmp_path / "whole", out)


def test_missing_and_torn_slices_are_named_with_the_command(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for index in (0, 2):
        assert sliced(command, out, index, 3) == 0
    torn = tmp_path / "out.slices" / "0002-of-0003" / "results.bin"
    torn.write_bytes(torn.read_bytes()[:-1])
    capsys.readouterr()
    assert main(["seal", str(out)]) == 2
    error = capsys.readouterr().err
    assert "1 (missing), 2 (damaged)" in error
    assert "--runner slice --index 1 --of 3" in error and "--index 2 --of 3" in error
    assert sliced(command, out, 1, 3) == sliced(command, out, 2, 3) == main(["seal", str(out)]) == 0


def test_slices_of_other_settings_data_or_number_are_refused(
    command: list[str], texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert sliced(command, out, 0, 2) == sliced(command, out, 1, 2) == 0
    assert sliced(command, out, 0, 3) == 2
    assert "--of 2" in capsys.readouterr().err
    assert sliced([*command[:-1], "--sentences", "line", "--out"], out, 1, 2) == 2
    assert "--sentences" in capsys.readouterr().err
    moved = tmp_path / "moved"
    (tmp_path / "out.slices" / "0001-of-0002").rename(moved)
    content = Path(texts[0]).read_text()
    Path(texts[0]).write_text(content.replace("cat", "dog", 1))
    assert sliced(command, out, 1, 2) == 0
    assert main(["seal", str(out)]) == 3
    assert "0001-of-0002 read another content" in capsys.readouterr().err
    assert main(["seal", str(tmp_path / "nothing")]) == 2
    assert "no slices" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "7"}, Slice(3, 7)),
        ({"JOB_COMPLETION_INDEX": "2"}, None),
        ({"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_COUNT": "7"}, None),
    ],
)
def test_a_job_array_numbers_the_slices(
    variables: dict[str, str], expected: Slice | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if expected is not None:
        assert Slice.chosen(None, None) == expected
        return
    with pytest.raises(SettingsError, match="--index K --of N"):
        Slice.chosen(None, None)


def test_files_are_divided_once() -> None:
    sizes = [5, 900, 1, 1, 0, 30, 30, 33]
    for of in (1, 2, 5, 50):
        parts = [Slice(index, of).parts(sizes) for index in range(of)]
        for number in range(len(sizes)):
            for shard in range(60):
                assert sum(part[number] is not None and shard in part[number] for part in parts) == 1
