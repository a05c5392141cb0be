"""The command line: from argv to a command's parameters, and from its report or error to output and exit code.

The only file that knows argv, and the only one that prints results. What a command takes is its function's signature
(``bertie.config``), how words become its parameters is in ``bertie.flags``, and what it does is the function. Help
for the whole program imports no command and nothing heavy.
"""

import errno
import importlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bertie import progress, registry
from bertie.errors import BertieError, Interrupted, ResourceError, SettingsError
from bertie.synonyms import COMMANDS
from bertie.terminal import fit, fit_json
from bertie.version import VERSION

if TYPE_CHECKING:
    from bertie.commands.command import Report

# The order in which a user meets them; a command not named here comes after these.
LIFE = (
    *("demo", "check", "train_tokenizer", "prepare_corpus", "advise", "pretrain", "finetune", "evaluate", "predict"),
    *("search", "export", "convert", "show", "run"),
)
USAGE = """usage: bertie COMMAND [ARGUMENTS] [--FLAGS]

A complete BERT system: raw text in; a vocabulary, an encoder, fine-tuned models and scores out.

"""
RESOURCE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EFBIG}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after ``bertie``; those of this process when None.

    Returns:
        The exit code: 0 done, 2 the user must change something, 3 bad data, 4 out of memory or disk, 5 interrupted and
        resumable, 1 a bug.
    """
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except SystemExit as stop:  # help was printed
        return stop.code if isinstance(stop.code, int) and stop.code else _print("", end="")
    except BaseException as error:
        return _explain(error)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        return _print(overview())
    if words[0] == "--version":
        return _print(f"bertie {VERSION}")
    name, words = _command_name(words[0]), words[1:]
    if name == "run" and words and not words[0].startswith("-"):
        # What follows the file are flags of the command that the file names.
        name, words = importlib.import_module("bertie.commands.run").command_of(words[0]), ["--config", *words]
    _share_the_machine()
    function = getattr(registry.load("commands", name), name)
    # Imported here: an overview or a wrong command's name needs no parser.
    parameters, output = importlib.import_module("bertie.flags").parse(function, words)
    progress.set_quiet(output.quiet)
    report: Report = function(**parameters)
    width = {"width": shutil.get_terminal_size().columns} if sys.stdout and sys.stdout.isatty() else {}
    code = _print(fit_json(report.as_json()) if output.json else fit(report.as_text(**width))) or report.exit_code
    if report.next_command and not (output.json or output.quiet):
        progress.note(f"next: {report.next_command}")
    return code


def _share_the_machine(state: Path = Path("/proc/loadavg")) -> None:
    """Let threads sleep while they wait for one another, if anything else is running on this machine right now.

    Threads that spin are faster by up to a fifth where nothing else runs. Beside another busy program a spinning thread
    keeps the core that the one it waits for would need, and two cores do as little as a tenth of their work. What is
    computed is the same. OpenMP reads this when torch is loaded; what the user has set stays.
    """
    try:
        running = int(
            state.read_text(encoding="ascii").split()[3].split("/")[0]
        )  # "2/118" of all threads, us among them
    except (OSError, ValueError, IndexError):
        return  # no Linux
    if running > 1:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def overview() -> str:
    """Return the help of the whole program: every command with the first line of its docstring."""
    names = sorted(
        registry.choices("commands"), key=lambda name: (LIFE.index(name) if name in LIFE else len(LIFE), name)
    )
    width = max((len(name) for name in names), default=0)
    lines = [f"  {name.replace('_', '-'):<{width}}  {registry.summary('commands', name)}" for name in names]
    return (
        USAGE
        + "\n".join(lines)
        + "\n\nbertie COMMAND --help says what a command takes. In Python: bertie.COMMAND(...)."
    )


def _command_name(word: str) -> str:
    known = [name.replace("_", "-") for name in registry.choices("commands")]
    if word.startswith("-"):
        raise SettingsError(f"unknown flag {word} before a command; usage: bertie COMMAND [--FLAGS], see bertie --help")
    if (dashed := word.replace("_", "-")) not in known:
        meant = COMMANDS.get(dashed.lower(), "")
        said = f"did you mean {meant!r}?" if meant in known else registry.did_you_mean(dashed, known)
        raise SettingsError(f"unknown command {word!r}; {said}")
    return dashed.replace("-", "_")


def _print(text: str, end: str = "\n") -> int:
    """Print a result; a reader that has gone away, as ``head`` does, is no error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without the letters still gets the figures
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        # Python flushes stdout once more on its way out, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise
    return 0


def _explain(error: BaseException) -> int:
    """Say on stderr what went wrong, and return the exit code."""
    known = _as_ours(error)
    if known is None or os.environ.get("BERTIE_DEBUG") == "1":
        # Imported here: only what goes wrong needs it, and help should come at once.
        lines = importlib.import_module("traceback").format_exception(error)
        print(fit("".join(lines)), file=sys.stderr, end="")
    if known is None:
        print("error: this is a bug in bertie; please report it with the lines above", file=sys.stderr)
        return 1
    print(fit(f"error: {known}"), file=sys.stderr)
    return known.exit_code


def _as_ours(error: BaseException) -> BertieError | None:
    """Translate what Python and torch raise for the world's shortcomings; None for a bug of ours."""
    if isinstance(error, BertieError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error):
        detail = str(error).partition("\n")[0]
        return ResourceError(
            f"out of memory{': ' if detail else ''}{detail}; smaller batches or shorter texts need less"
        )
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes | os.PathLike) else ""
        if error.errno in RESOURCE_ERRORS:
            return ResourceError(f"{os.strerror(error.errno).lower()}{where}; free some and run the command again")
        if where:
            return SettingsError(f"{os.strerror(error.errno).lower()}{where}")
    if isinstance(error, ImportError) and (error.name or "bertie").partition(".")[0] != "bertie":
        return ResourceError(
            f"this installation can't import {error.name} ({error}); it may be broken, or this system may lack it: "
            "install bertie again; if that doesn't help, report it with the name of your system"
        )
    return None
