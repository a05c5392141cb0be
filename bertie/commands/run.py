"""Repeat a run from its settings file.

This command reads the command and its settings from the file, and calls that command.
"""

from pathlib import Path
from typing import Any

from bertie import config, registry
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError


def run(file: Positional[Path], **overrides: Any) -> Report:
    """Repeat a run from its settings file, optionally with changed settings.

    Every run writes a config.toml that repeats it. Flags after the file are flags of the command that the file names,
    and replace its settings: bertie run out/mini/config.toml --out out/mini-again --seed 2

    Args:
        file: the config.toml of a run, or the folder that holds it.
        **overrides: parameters of the command that the file names.

    Returns:
        The report of that command.

    Raises:
        SettingsError: the file doesn't exist, names no command, or has a setting that the command doesn't take.
    """
    name = command_of(file)
    function = getattr(registry.load("commands", name), name)
    changes = {config.public_name(key): config.plain(value, key) for key, value in overrides.items()}
    settings = {key: value for key, value in config.read(file).items() if key != "command"}
    settings = config.left_of_file(settings, {key for key, value in changes.items() if value is not None})
    values = config.validate(function, config.merged(settings, changes), source=str(file))
    report: Report = function(**values)
    return report


def command_of(file: str | Path) -> str:
    """Read the command of a settings file.

    Args:
        file: the settings file, or the folder that holds it as ``config.toml``.

    Returns:
        The command's name, with underscores.

    Raises:
        SettingsError: the file doesn't exist, isn't TOML, or names no command that can be repeated.
    """
    command = config.read(file).get("command")
    if not isinstance(command, str):
        raise SettingsError(f'{file}: names no command; add a first line such as command = "pretrain"')
    name = command.replace("-", "_")
    known = [choice for choice in registry.choices("commands") if choice != "run"]
    if name not in known:
        raise SettingsError(f"{file}: unknown command {command!r}; {registry.did_you_mean(name, known)}")
    return name
