"""What a command raises, as the user sees it: one line and an exit code, or a traceback for a bug."""

import errno
import types

import pytest

from bertie import cli, registry
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, Interrupted, ResourceError, SettingsError


def fail(how: Positional[str]) -> Report:
    """Fail in a chosen way."""
    errors = {
        "settings": SettingsError("out exists"),
        "data": DataError("a.txt:3: no label"),
        "resource": ResourceError("no GPU"),
        "interrupted": Interrupted("stopped at step 3"),
        "keyboard": KeyboardInterrupt(),
        "memory": MemoryError(),
        "disk": OSError(errno.ENOSPC, "No space left on device", "out/model.safetensors"),
        "absent": FileNotFoundError(errno.ENOENT, "No such file or directory", "nowhere.txt"),
        "folder": IsADirectoryError(errno.EISDIR, "Is a directory", b"somewhere"),
        "torch": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.\nmore"),
        "system": ModuleNotFoundError("No module named 'fcntl'", name="fcntl"),
        "ours": ModuleNotFoundError("No module named 'bertie.tasks.gone'", name="bertie.tasks.gone"),
        "bug": ZeroDivisionError("division by zero"),
        "pipe": BrokenPipeError(errno.EPIPE, "Broken pipe"),
    }
    raise errors[how]


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the fake in the place of the commands."""
    monkeypatch.setattr(registry, "choices", lambda folder: ["fail"])
    monkeypatch.setattr(registry, "load", lambda folder, name: types.SimpleNamespace(fail=fail))


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("settings", 2, "error: out exists\n"),
        ("data", 3, "error: a.txt:3: no label\n"),
        ("resource", 4, "error: no GPU\n"),
        ("interrupted", 5, "error: stopped at step 3\n"),
        ("keyboard", 5, "error: interrupted\n"),
        ("memory", 4, "error: out of memory; use smaller batches"),
        ("system", 4, "error: can't import fcntl (No module named 'fcntl'): the installation may be broken"),
        (
            "torch",
            4,
            "error: out of memory: DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.;",
        ),
        ("disk", 4, "error: no space left on device: out/model.safetensors; free some"),
        ("absent", 2, "error: no such file or directory: nowhere.txt\n"),
        ("folder", 2, "error: is a directory: somewhere\n"),
    ],
)
def test_exit_codes(
    how: str, code: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BERTIE_DEBUG", raising=False)
    assert cli.main(["fail", how]) == code
    written = capsys.readouterr().err
    assert written.startswith(message)
    assert written.count("\n") == 1
    monkeypatch.setenv("BERTIE_DEBUG", "1")
    assert cli.main(["fail", how]) == code
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["bug", "pipe", "ours"])
def test_a_bug_shows_its_traceback(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fail", how]) == 1
    written = capsys.readouterr().err
    assert "Traceback" in written
    assert written.endswith("error: this is a bug in bertie; please report it with the lines above\n")
