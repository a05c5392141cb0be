"""Error messages for words that a command doesn't take: unknown flags, and what tyro reports about other words."""

import contextlib
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bertie import config, registry
from bertie.errors import SettingsError
from bertie.hints import hint, is_known

COMMON: dict[str, Any] = {"config": Path, "json": bool, "quiet": bool, "help": bool, "help_all": bool}
"""The flags that every command has, and their types."""
_FEW = 3  # commands that a message names at most


def refuse_unknown_flags(function: Callable[..., Any], words: list[str], places: set[str]) -> None:
    """Check that every word that looks like a flag is one.

    Args:
        function: the command function.
        words: arguments and flags.
        places: names of the positional parameters.

    Raises:
        SettingsError: an unknown flag, with the flag that was probably meant, or a switch with a value.
    """
    command = function.__name__.replace("_", "-")
    kinds: dict[str, Any] = {**COMMON, **config.known_keys(function)}
    keys = [key for key, kind in kinds.items() if key in places or not config.group_type(kind)]
    flags = {_flag(key): key for key in keys if key not in places}
    switches = {_flag(key, no="no-") for key, kind in kinds.items() if kind is bool and not key.startswith("help")}

    def spell(key: str, value: str) -> str:
        if key in places:
            return f"{key.upper()}, without a flag"
        return f"{_flag(key)} {value}".rstrip()

    for index, word in enumerate(words):
        if word == "--":
            return
        typed, equals, _ = word.partition("=")
        flag = typed.replace("_", "-")
        if not re.match("--|-[A-Za-z]", word) or flag in switches or word == "-h":
            continue
        if flag not in flags:
            key = flag.lstrip("-").replace("-", "_")
            if key in places:
                raise SettingsError(f"{key.upper()} is given without {flag}; see bertie {command} --help")
            if key.startswith("no_") and (advice := _advise_off(_flag(key.removeprefix("no_")), flags, switches)):
                raise SettingsError(f"unknown flag {typed}; {advice}")
            advice = hint(typed, keys, spell) or f"{_other_commands(typed, command)}see bertie {command} --help"
            raise SettingsError(f"unknown flag {typed}; {advice}")
        following = next(iter(words[index + 1 :]), "")
        if kinds[flags[flag]] is bool and (equals or (following in ("true", "false") and "texts" not in places)):
            raise SettingsError(
                f"{flag} is a switch and takes no value; {_flag(flags[flag], no='no-')} switches it off"
            )


def _other_commands(word: str, command: str) -> str:
    """Return a clause that names the other commands with this setting; "" if there are none or too many."""
    names = [name for name in registry.choices("commands") if name.replace("_", "-") != command]
    commands = [
        name.replace("_", "-")
        for name in names
        if is_known(word, config.known_keys(getattr(registry.load("commands", name), name)))
    ]
    return f"that is for {' and '.join(commands)}; " if 0 < len(commands) <= _FEW else ""


def _advise_off(flag: str, flags: dict[str, str], switches: set[str]) -> str:
    """Return advice for an unknown ``--no-FLAG``: the name that switches the flag off, or to leave the flag out."""
    if flag not in flags:
        return ""
    off = _flag(flags[flag], no="no-")
    return f"did you mean {off}?" if off in switches else f"{flag} is not a switch: leave it out, or give it a value"


def _flag(key: str, no: str = "") -> str:
    """Return a key as a flag, such as ``--training.no-best``."""
    group, dot, name = key.replace("_", "-").rpartition(".")
    return f"--{group}{dot}{no}{name}"


@contextlib.contextmanager
def readable_errors(command: str, words: list[str]) -> Iterator[None]:
    """Turn what tyro prints about wrong words into a ``SettingsError``, and let its help through.

    Args:
        command: the command's name.
        words: arguments and flags.

    Raises:
        SettingsError: tyro refused the words.
        SystemExit: ``--help`` printed the help.
    """
    boxes = io.StringIO()
    columns = os.environ.get("COLUMNS")
    asks_help = bool({"-h", "--help"} & set(words))
    try:
        if not asks_help:
            os.environ["COLUMNS"] = "10000"  # no line breaks inside the message
        with contextlib.redirect_stderr(boxes):
            yield
    except BrokenPipeError:
        raise SystemExit(0) from None  # the reader of the help closed the pipe
    except SystemExit as stop:
        if not stop.code:
            raise
        raise SettingsError(f"{_first_error(boxes.getvalue())}; see bertie {command} --help") from None
    finally:
        if not asks_help:
            os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)


def _first_error(box: str) -> str:
    """Return the error in a box that tyro printed, as one line."""
    # A title, sometimes a rule, the error, a rule, advice. Colours on a terminal; dashes as rules without UTF-8.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line[2:-2].rstrip() for line in plain.splitlines()[1:]]
    is_rule = re.compile(r"\s*[─-]{5,}").fullmatch
    body = list(itertools.takewhile(lambda line: not is_rule(line), itertools.dropwhile(is_rule, lines)))
    if body and body[0].startswith("Missing from"):
        # A name is indented by four columns, its help by eight.
        return "missing: " + ", ".join(line.strip() for line in body if re.match(r" {4}\S", line))
    text = " ".join(line.strip() for line in body)
    text = re.sub(r"^Error parsing (\S+): ", r"\1: ", text).rstrip(".")
    text = re.sub(r"invalid literal for int\(\) with base 10: (.*)", r"\1 is not a whole number", text)
    return re.sub(r"could not convert string to float: (.*)", r"\1 is not a number", text)
