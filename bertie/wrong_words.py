"""What to say of words that a command doesn't take: unknown flags, and what tyro prints about the rest."""

import contextlib
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from bertie import config, registry
from bertie.errors import SettingsError
from bertie.hints import hint, is_known

_FEW = 3  # commands that are worth naming


def refuse_unknown_flags(function: Callable[..., Any], words: list[str], places: set[str]) -> None:
    """Refuse words that look like a flag and are none, and say which flag was meant.

    Args:
        function: the command function.
        words: arguments and flags.
        places: names of what is typed without a flag.

    Raises:
        SettingsError: an unknown flag, or a switch with a value.
    """
    command = function.__name__.replace("_", "-")
    kinds: dict[str, Any] = {"config": str, "json": bool, "quiet": bool, "help": bool, **config.known_keys(function)}
    keys = [key for key, kind in kinds.items() if key in places or not config.group_type(kind)]
    flags = {_flag(key): key for key in keys if key not in places}
    switches = {_flag(key, no="no-") for key, kind in kinds.items() if kind is bool and key != "help"}

    def spell(key: str, value: str) -> str:
        if key in places:
            return f"{key.upper()}, without a flag"
        return f"{_flag(key)} {value}".rstrip()

    for place, word in enumerate(words):
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
            if key.startswith("no_") and (said := _without(_flag(key.removeprefix("no_")), flags, switches)):
                raise SettingsError(f"unknown flag {typed}; {said}")
            said = hint(typed, keys, spell) or f"{_elsewhere(typed, command)}see bertie {command} --help"
            raise SettingsError(f"unknown flag {typed}; {said}")
        following = next(iter(words[place + 1 :]), "")
        if kinds[flags[flag]] is bool and (equals or (following in ("true", "false") and "texts" not in places)):
            raise SettingsError(
                f"{flag} is a switch and takes no value; {_flag(flags[flag], no='no-')} switches it off"
            )


def _elsewhere(word: str, command: str) -> str:
    """Say which other commands take a setting that this one doesn't."""
    names = [name for name in registry.choices("commands") if name.replace("_", "-") != command]
    taking = [
        name.replace("_", "-")
        for name in names
        if is_known(word, config.known_keys(getattr(registry.load("commands", name), name)))
    ]
    return f"that is for {' and '.join(taking)}; " if 0 < len(taking) <= _FEW else ""


def _without(flag: str, flags: dict[str, str], switches: set[str]) -> str:
    """Say how to do without a flag that has no form to switch it off by that name."""
    if flag not in flags:
        return ""
    off = _flag(flags[flag], no="no-")
    return f"did you mean {off}?" if off in switches else f"{flag} is no switch: leave it out, or give it a value"


def _flag(key: str, no: str = "") -> str:
    """Write a key as a flag."""
    group, dot, name = key.replace("_", "-").rpartition(".")
    return f"--{group}{dot}{no}{name}"


@contextlib.contextmanager
def readable_errors(command: str, words: list[str]) -> Iterator[None]:
    """Turn what tyro prints about wrong words into one ``SettingsError``; let its help through.

    Args:
        command: its name.
        words: arguments and flags.

    Raises:
        SettingsError: what tyro said.
        SystemExit: help was asked for and printed.
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
    text = re.sub(r"^Error parsing (\S+): ", r"\1: ", text).rstrip(".")
    text = re.sub(r"invalid literal for int\(\) with base 10: (.*)", r"\1 is not a whole number", text)
    return re.sub(r"could not convert string to float: (.*)", r"\1 is not a number", text)
