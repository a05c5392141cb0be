"""The command line: from argv to a command's parameters, and from its report or error to output and exit code.

The only file that knows argv, and the only one that prints results. What a command takes is its function's signature
(``bertie.config``); what it does is the function. Help for the whole program imports no command and nothing heavy.
"""

import contextlib
import dataclasses
import difflib
import errno
import importlib
import inspect
import io
import itertools
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bertie import __version__, progress, registry
from bertie.errors import BertieError, Interrupted, ResourceError, SettingsError

if TYPE_CHECKING:
    from bertie.commands.command import Report

# The order in which a user meets them; a command not named here comes after these.
LIFE = (
    *("demo", "check", "train_tokenizer", "prepare_corpus", "pretrain", "finetune", "evaluate", "predict"),
    *("export", "convert", "serve", "show", "run"),
)
USAGE = """usage: bertie COMMAND [ARGUMENTS] [--FLAGS]

A complete BERT system: raw text in; a vocabulary, an encoder, fine-tuned models and scores out.

"""
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Examples?):\s*$", re.MULTILINE)
RESOURCE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EFBIG}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """How to print: the flags every command has."""

    json: bool
    quiet: bool


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
        return _print(f"bertie {__version__}")
    name, words = _command_name(words[0]), words[1:]
    if name == "run" and words and not words[0].startswith("-"):
        # What follows the file are flags of the command that the file names.
        name, words = importlib.import_module("bertie.commands.run").command_of(words[0]), ["--config", *words]
    function = getattr(registry.load("commands", name), name)
    parameters, output = parse(function, words)
    progress.set_quiet(output.quiet)
    report: Report = function(**parameters)
    width = {"width": shutil.get_terminal_size().columns} if sys.stdout and sys.stdout.isatty() else {}
    code = _print(report.as_json() if output.json else report.as_text(**width))
    if report.next_command and not (output.json or output.quiet):
        progress.note(f"next: {report.next_command}")
    return code


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
        raise SettingsError(f"unknown command {word!r}; {registry.did_you_mean(dashed, known)}")
    return dashed.replace("-", "_")


def parse(function: Callable[..., Any], words: list[str]) -> tuple[dict[str, Any], Output]:
    """Turn the words after a command's name into its parameters: defaults, then ``--config``, then flags.

    Args:
        function: the command function.
        words: arguments and flags.

    Returns:
        Keyword arguments for the function, and how to print its report.

    Raises:
        SettingsError: an unknown flag, a missing argument, a wrong value, or a bad settings file.
        SystemExit: help was asked for and printed.
    """
    import tyro

    from bertie import config

    command = function.__name__.replace("_", "-")
    parameters = config.signature(function)
    _refuse_unknown_flags(function, words)
    shape = _shape(function, _settings_from_file(function, words))
    with _readable_errors(command, words):
        parsed: Any = tyro.cli(shape, args=words, prog=f"bertie {command}", config=(tyro.conf.AvoidSubcommands,))
    values = {name: getattr(parsed, name) for name in parameters}
    empty = [
        name.upper() for name in values if values[name] == () and parameters[name].default is inspect.Parameter.empty
    ]
    if empty:  # tyro takes no words for a tuple of none; a parameter without default wants at least one
        raise SettingsError(f"missing: {', '.join(empty)}; see bertie {command} --help")
    return config.validate(function, values), Output(json=parsed.json, quiet=parsed.quiet)


def _shape(function: Callable[..., Any], settings: dict[str, Any]) -> type:
    """Build the dataclass that tyro fills: a command's parameters, a file's settings as defaults, our own flags."""
    import tyro

    from bertie import config

    helps = argument_help(function)
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in config.signature(function).items():
        required = name not in settings and parameter.default is parameter.empty
        default = tyro.MISSING if required else settings.get(name, parameter.default)
        positional = _is_positional(parameter)
        details = tyro.conf.arg(
            name=config.public_name(name), help=helps.get(name, ""), metavar=name.upper() if positional else None
        )
        annotation: Any = Annotated[parameter.annotation, details]
        if positional:
            annotation = Annotated[annotation, tyro.conf.Positional]
        fields.append((name, annotation, default))
    for name, kind, default, text in (
        ("config", Path | None, None, "Settings file; flags win over it."),
        ("json", bool, False, "Print the result as JSON."),
        ("quiet", bool, False, "No progress and no remarks on stderr."),
    ):
        fields.append((name, Annotated[kind, tyro.conf.arg(help=text)], default))
    shape = dataclasses.make_dataclass(
        function.__name__,
        [(name, kind, dataclasses.field(default=default)) for name, kind, default in fields],
        kw_only=True,
        frozen=True,
    )
    shape.__doc__ = SECTION.split(inspect.getdoc(function) or "")[0]
    return shape


def argument_help(function: Callable[..., Any]) -> dict[str, str]:
    """Read what a docstring's ``Args`` section says of each parameter.

    Args:
        function: a command function with a Google docstring.

    Returns:
        One paragraph per parameter named there.
    """
    parts = SECTION.split(inspect.getdoc(function) or "")  # text, then a heading and its text in turn
    section = dict(zip(parts[1::2], parts[2::2], strict=True)).get("Args", "")
    helps: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if start := re.match(r" {4}\*{0,2}(\w+)(?: \(.*?\))?: *(.*)", line):
            name, helps[start[1]] = start[1], start[2]
        elif name and line.strip():
            helps[name] = f"{helps[name]} {line.strip()}"
    return helps


def _is_positional(parameter: inspect.Parameter) -> bool:
    from bertie.config import PositionalMarker

    return any(isinstance(mark, PositionalMarker) for mark in getattr(parameter.annotation, "__metadata__", ()))


def _settings_from_file(function: Callable[..., Any], words: list[str]) -> dict[str, Any]:
    """Read the file that ``--config`` names, if any, checked against the command."""
    from bertie import config

    path: str | None = None
    for place, word in enumerate(words):
        if word == "--":
            break
        if word == "--config":
            path = next(iter(words[place + 1 :]), None)
        elif word.startswith("--config="):
            path = word.partition("=")[2]
    if not path:
        return {}
    settings = config.read(path)
    command = settings.pop("command", function.__name__)
    if str(command).replace("-", "_") != function.__name__:
        wanted = function.__name__.replace("_", "-")
        raise SettingsError(
            f"{path} holds settings of {command!r}, not of {wanted!r}; repeat it with: bertie run {path}"
        )
    return config.validate(function, settings, source=path, partial=True)


def _refuse_unknown_flags(function: Callable[..., Any], words: list[str]) -> None:
    from bertie import config

    command = function.__name__.replace("_", "-")
    parameters = config.signature(function)
    flags = {"--config", "--help", "--json", "--no-json", "--quiet", "--no-quiet"}
    for key, annotation in config.known_keys(function).items():
        if config.group_type(annotation) or (key in parameters and _is_positional(parameters[key])):
            continue
        group, dot, name = key.replace("_", "-").rpartition(".")
        flags |= {f"--{group}{dot}{name}", f"--{group}{dot}no-{name}"}
    for word in words:
        if word == "--":
            return
        flag = word.partition("=")[0].replace("_", "-")
        if word.startswith("--") and flag not in flags:
            parameter = parameters.get(flag[2:].replace("-", "_"))
            if parameter and _is_positional(parameter):
                raise SettingsError(f"{flag[2:].upper()} is given without {flag}; see bertie {command} --help")
            near = difflib.get_close_matches(flag, flags, n=1)
            hint = f"did you mean {near[0]}?" if near else f"see bertie {command} --help"
            raise SettingsError(f"unknown flag {flag}; {hint}")


@contextlib.contextmanager
def _readable_errors(command: str, words: list[str]) -> Iterator[None]:
    """Turn what tyro prints about wrong words into one ``SettingsError``; let its help through."""
    boxes = io.StringIO()
    columns = os.environ.get("COLUMNS")
    asks_help = bool({"-h", "--help"} & set(words))
    try:
        if not asks_help:
            os.environ["COLUMNS"] = "10000"  # no line breaks inside the message
        with contextlib.redirect_stderr(boxes):
            yield
    except BrokenPipeError:
        raise SystemExit(0) from None  # the reader of the help has seen enough
    except SystemExit as stop:
        if not stop.code:
            raise
        raise SettingsError(f"{_sentence(boxes.getvalue())}; see bertie {command} --help") from None
    finally:
        if not asks_help:
            os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)


def _sentence(box: str) -> str:
    """Say in one line what a box of tyro's says in many."""
    # A title, perhaps a rule, what is wrong, a rule, advice; coloured on a terminal, of dashes where UTF-8 is missing.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line[2:-2].rstrip() for line in plain.splitlines()[1:]]
    is_rule = re.compile(r"\s*[─-]{5,}").fullmatch
    body = list(itertools.takewhile(lambda line: not is_rule(line), itertools.dropwhile(is_rule, lines)))
    if body and body[0].startswith("Missing from"):
        # A name stands four columns in, its help eight.
        return "missing: " + ", ".join(line.strip() for line in body if re.match(r" {4}\S", line))
    text = " ".join(line.strip() for line in body)
    if wrong := re.match(r"Error parsing (\S+): no type matching (\S+) could be instantiated from \[(.*?)\]\.", text):
        return f"{wrong[1]}: {wrong[3]} is not {wrong[2].removeprefix('{None}|')}"
    return text.rstrip(".")


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
        traceback.print_exception(error)
    if known is None:
        print("error: this is a bug in bertie; please report it with the lines above", file=sys.stderr)
        return 1
    print(f"error: {known}", file=sys.stderr)
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
    return None
