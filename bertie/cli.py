"""The command line: run a command, print its report or error, and return the exit code.

Only this file knows argv and prints results. ``bertie.config`` reads a command's parameters from its signature, and
``bertie.flags`` parses argv into them. ``bertie --help`` imports no command and no heavy package.
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

from bertie import addresses, progress, registry
from bertie.errors import BertieError, Interrupted, ResourceError, SettingsError, torch_error
from bertie.synonyms import COMMANDS
from bertie.terminal import fit, fit_json
from bertie.version import VERSION

if TYPE_CHECKING:
    from bertie.commands.command import Report

# The order of the overview, as users need the commands; those not listed here come last.
LIFE = (
    *("demo", "check", "train_tokenizer", "prepare_corpus", "advise", "pretrain", "finetune", "evaluate", "predict"),
    *("seal", "compare", "search", "serve", "export", "convert", "show", "run", "launch", "doctor"),
)
USAGE = """usage: bertie COMMAND [ARGUMENTS] [--FLAGS]

A complete BERT system: from raw text to a vocabulary, an encoder, fine-tuned models and scores.

"""
SHARED = {"pretrain", "finetune", "doctor"}
"""Commands whose work several processes of torchrun can share."""
RESOURCE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EFBIG}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the arguments after ``bertie``; those of this process when None.

    Returns:
        The exit code: 0 done, 1 a bug, 2 the user must change something, 3 bad data, 4 out of memory or disk,
        5 interrupted and resumable.
    """
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except SystemExit as stop:  # help was printed
        ending = getattr(stop, "ending", "")
        return stop.code if isinstance(stop.code, int) and stop.code else _print(ending, end="\n" if ending else "")
    except BaseException as error:
        return _explain(error)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        return _print(overview())
    if words[0] == "--version":
        return _print(f"bertie {VERSION}")
    if words[0] == "--print-completion":
        return _print(importlib.import_module("bertie.completion").script(words[1:]))
    name, words = _command_name(words[0]), words[1:]
    if name == "run" and words and not words[0].startswith("-"):
        # The words after the file are flags of the command that the file names.
        run = importlib.import_module("bertie.commands.run")
        file = run.settings_file(words[0])
        name, words = run.command_of(file), ["--config", str(file), *words[1:]]
    if name not in SHARED and _num_processes() > 1:
        return _refuse_to_share(name)
    _share_the_machine()
    function = getattr(registry.load("commands", name), name)
    # Imported here, because the overview and a wrong command name need no parser.
    parameters, output = importlib.import_module("bertie.flags").parse(function, words)
    progress.set_quiet(output.quiet)
    report: Report = importlib.import_module("bertie.commands._storage").run_command(function, parameters, name)
    if _num_processes() > 1 and os.environ.get("RANK", "0") != "0":
        return report.exit_code  # torchrun started several processes, and the first prints
    width = {"width": shutil.get_terminal_size().columns} if sys.stdout and sys.stdout.isatty() else {}
    code = _print(fit_json(report.as_json()) if output.json else fit(report.as_text(**width))) or report.exit_code
    if report.next_command and not (output.json or output.quiet):
        progress.note(f"next: {report.next_command}")
    return code


def _num_processes() -> int:
    """Return the number of processes that torchrun started; 1 without it."""
    size = os.environ.get("WORLD_SIZE", "1") if "TORCHELASTIC_RUN_ID" in os.environ else "1"
    return int(size) if size.isdecimal() else 1


def _refuse_to_share(name: str) -> int:
    """Refuse a command that every process would do as a whole; the first process says so."""
    if os.environ.get("RANK", "0") != "0":
        return 2
    shown = name.replace("_", "-")
    runner = f", or divide it by bertie {shown} --runner slice" if name in ("prepare_corpus", "predict") else ""
    raise SettingsError(
        f"torchrun started {_num_processes()} processes, and each would do all the work of bertie {shown}; run it "
        f"without torchrun{runner}. Only pretrain and finetune share their work among processes"
    )


def _share_the_machine(state: Path = Path("/proc/loadavg")) -> None:
    """Make OpenMP threads sleep while they wait for each other, if another program is running on this machine.

    On an idle machine, threads that spin instead are up to a fifth faster. Beside another busy program, a spinning
    thread occupies the core that the thread it waits for needs, and two cores do as little as a tenth of their work.
    Results are the same. OpenMP reads the setting when torch is loaded; a value that the user has set is kept.
    """
    try:
        # The field "2/118" is the number of running threads, including this one, and of all threads.
        running = int(state.read_text(encoding="ascii").split()[3].split("/")[0])
    except (OSError, ValueError, IndexError):
        return  # not Linux
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
        + "\n\nbertie COMMAND --help lists a command's arguments and flags. In Python: bertie.COMMAND(...)."
        + "\nFiles and folders may be addresses of object stores, such as s3://bucket/corpus."
    )


def _command_name(word: str) -> str:
    known = [name.replace("_", "-") for name in registry.choices("commands")]
    if word.startswith("-"):
        raise SettingsError(f"unknown flag {word} before a command; usage: bertie COMMAND [--FLAGS], see bertie --help")
    if (dashed := word.replace("_", "-")) not in known:
        command = COMMANDS.get(dashed.lower(), "")
        advice = f"did you mean {command!r}?" if command in known else registry.did_you_mean(dashed, known)
        raise SettingsError(f"unknown command {word!r}; {advice}")
    return dashed.replace("-", "_")


def _print(text: str, end: str = "\n") -> int:
    """Print a result; it is no error if the reader closed the pipe, as ``head`` does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # escape characters that the terminal's encoding lacks
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        # Python flushes stdout again at exit, and would fail there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise
    return 0


def _explain(error: BaseException) -> int:
    """Print an error to stderr and return the exit code."""
    user_error = _user_error(error)
    if user_error is None or os.environ.get("BERTIE_DEBUG") == "1":
        # Imported here, because only errors need it and help should appear at once.
        lines = importlib.import_module("traceback").format_exception(error)
        print(fit("".join(lines)), file=sys.stderr, end="")
    if user_error is None:
        print("error: this is a bug in bertie; please report it with the lines above", file=sys.stderr)
        return 1
    print(fit(addresses.shown(f"error: {user_error}")), file=sys.stderr)
    return user_error.exit_code


def _user_error(error: BaseException) -> BertieError | None:
    """Return the error to show for an exception that the user or the machine caused; None for a bug in bertie."""
    if isinstance(error, BertieError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error):
        detail = str(error).partition("\n")[0]
        return ResourceError(f"out of memory{': ' if detail else ''}{detail}; use smaller batches or shorter texts")
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes | os.PathLike) else ""
        if error.errno in RESOURCE_ERRORS:
            return ResourceError(f"{os.strerror(error.errno).lower()}{where}; free some and run the command again")
        if where:
            return SettingsError(f"{os.strerror(error.errno).lower()}{where}")
    if without_torch := torch_error(error):
        return without_torch
    if isinstance(error, ImportError) and (error.name or "bertie").partition(".")[0] != "bertie":
        return ResourceError(
            f"can't import {error.name} ({error}): the installation may be broken, or this system may not support the "
            "package. Install bertie again; if that doesn't help, report it with the name of your system"
        )
    return None
