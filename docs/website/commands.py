"""Reference of the command line: a page for each command, from the signature and the docstring of its function."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args

from typing_extensions import Doc

from bertie import basic, config, flags, help_texts, registry
from bertie.arguments import is_positional
from bertie.cli import LIFE
from bertie.cli import main as exit_codes
from docs.website import markup

_FOLDER = "reference/commands"


@dataclass(frozen=True)
class Setting:
    """A parameter of a command or a field of a group, as it is typed."""

    key: str
    kind: Any
    default: Any = None
    required: bool = False
    usual: bool = False
    text: str = ""

    @property
    def flag(self) -> str:
        """The flag with what it takes, or the switch that changes the default."""
        name = self.key.replace("_", "-")
        if bool in markup.members(self.kind):
            return f"--no-{name}" if self.default is True else f"--{name}"
        return f"--{name} {markup.value(self.kind)}"

    @property
    def default_text(self) -> str:
        """The default as one types it; empty for a switch and for none."""
        return "" if isinstance(self.default, bool) else markup.default(self.default)


def functions() -> dict[str, Callable[..., Any]]:
    """Return the function of every command by its name as it is typed, in the order of `bertie --help`."""
    names = sorted(registry.choices("commands"), key=lambda name: LIFE.index(name) if name in LIFE else len(LIFE))
    return {name.replace("_", "-"): getattr(registry.load("commands", name), name) for name in names}


def parameters(function: Callable[..., Any]) -> list[Setting]:
    """Return a command's parameters that are no groups."""
    helps, usual = help_texts.argument_help(function), basic.marked(function)
    return [
        Setting(
            config.public_name(name),
            parameter.annotation,
            None if parameter.default is parameter.empty else parameter.default,
            required=parameter.default is parameter.empty,
            usual=name in usual,
            text=helps.get(name, ""),
        )
        for name, parameter in config.signature(function).items()
        if config.group_type(parameter.annotation) is None or is_positional(parameter)
    ]


def groups(function: Callable[..., Any]) -> dict[str, type]:
    """Return a command's groups of settings by name."""
    found = {name: config.group_type(each.annotation) for name, each in config.signature(function).items()}
    return {config.public_name(name): group for name, group in found.items() if group}


def group_fields(name: str, group: type) -> list[Setting]:
    """Return the fields of a group; a name with a dot in front of each if one is given."""
    texts, hints, usual = help_texts.field_help(group), basic.hints(group), basic.marked(group)
    settings = []
    for each in fields(group):
        written = next((mark.documentation for mark in get_args(hints[each.name]) if isinstance(mark, Doc)), None)
        given = each.default if each.default is not MISSING else None
        key = f"{name}.{each.name}" if name else each.name
        text = written or texts.get(each.name, "")
        settings.append(Setting(key, hints[each.name], given, usual=each.name in usual, text=text))
    return settings


def pages() -> dict[str, str]:
    """Return the pages of the commands, and the page that lists them."""
    known = functions()
    written = {f"{_FOLDER}/{name}.md": "\n\n".join(_page(name, function)) for name, function in known.items()}
    return {f"{_FOLDER}/index.md": "\n\n".join(_contents(known)), **written}


def _page(name: str, function: Callable[..., Any]) -> Iterator[str]:
    yield f"# bertie {name}"
    yield markup.prose(help_texts.introduction(function).strip())
    positional = {key for key, each in config.signature(function).items() if is_positional(each)}
    settings = parameters(function)
    yield f"```text\n{_usage(name, settings, positional)}\n```"
    if example := help_texts.example(function):
        yield f"For example:\n\n```sh\n{example}\n```"
    yield f"```{{program}} bertie {name}\n```"
    if places := [each for each in settings if each.key in positional]:
        yield "## Arguments"
        yield from (_option(each, each.key.upper()) for each in places)
    rest = [each for each in settings if each.key not in positional]
    usual = [each for each in rest if each.required or each.usual]
    layered = help_texts.is_layered(function)
    if layered:
        yield "## Usual flags"
        yield from (_option(each, each.flag) for each in usual)
    yield "## Further flags" if layered else "## Flags"
    yield from (_option(each, each.flag) for each in rest if not (layered and each in usual))
    yield from (_option(Setting(*each), Setting(*each[:3]).flag) for each in _common())
    for group, kind in groups(function).items():
        yield f"## `--{group}.*`"
        yield markup.prose(inspect.getdoc(kind) or "")
        yield from (_option(each, each.flag) for each in group_fields(group, kind))
    yield from _in_python(name, function)


def _usage(name: str, settings: list[Setting], positional: set[str]) -> str:
    words = ["bertie", name]
    for each in settings:
        if each.key in positional:
            many = " ..." if "..." in markup.value(each.kind) else ""
            words.append(f"{each.key.upper()}{many}" if each.required else f"[{each.key.upper()}{many}]")
        elif each.required:
            words.append(each.flag)
    return " ".join([*words, "[FLAGS]"])


def _common() -> list[tuple[Any, ...]]:
    return [(key, kind, default, False, False, text) for key, kind, default, text in flags.COMMON]


def _option(setting: Setting, name: str) -> str:
    notes = []
    if setting.required:
        notes.append("Required.")
    elif setting.default_text:
        notes.append(f"Default: {markup.code(setting.default_text)}.")
    text = " ".join(setting.text.split())
    return f"```{{option}} {name}\n{' '.join([markup.prose(text), *notes]).strip()}\n```"


def _in_python(name: str, function: Callable[..., Any]) -> Iterator[str]:
    yield "## In Python and in a settings file"
    python = function.__name__
    yield (
        f"{{py:func}}`bertie.{python}` takes the same settings as keyword arguments, with `_` in place of `-`. A file "
        f'for `--config` has `command = "{name}"` and the same names as keys; [settings](../settings.md) says how.'
    )


def _contents(known: dict[str, Callable[..., Any]]) -> Iterator[str]:
    yield "# Commands"
    yield (
        "Every command with every flag, as `bertie COMMAND --help-all` prints them. A flag is also a key of a settings "
        "file and an argument in Python ([settings](../settings.md))."
    )
    rows = ((f"[{name}]({name}.md)", markup.prose(_first_line(each))) for name, each in known.items())
    yield markup.table(["command", "what it does"], rows)
    yield "```{toctree}\n:hidden:\n\n" + "\n".join(known) + "\n```"
    yield "## Exit codes"
    returns = inspect.getdoc(exit_codes) or ""
    codes = " ".join(returns.partition("Returns:")[2].split()).removeprefix("The exit code: ").removesuffix(".")
    rows = (entry.strip().split(" ", 1) for entry in codes.split(", ") if entry)
    yield markup.table(["code", "meaning"], ([code, markup.prose(meaning)] for code, meaning in rows))
    yield (
        "`bertie --version` prints the version, and `bertie --print-completion bash|zsh|fish` a script by which a "
        "shell completes commands and flags ([installation](../../installation.md#completion-in-the-shell))."
    )


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
