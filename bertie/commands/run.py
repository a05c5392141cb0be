"""Repeat a run from the settings file it left.

Only finds the command and hands it its settings; what runs is that command itself.
"""

from pathlib import Path
from typing import Any

from bertie import config, registry
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError


def run(file: Positional[Path], **overrides: Any) -> Report:
    """Repeat a run from the settings file it left, with any of its settings changed.

    Every run writes a config.toml that repeats it. Flags after the file are those of the command that the file names
    and win over it: bertie run out/mini/config.toml --out out/mini-again --seed 2

    Args:
        file: the config.toml of a run, or the folder that holds it.
        **overrides: parameters of the command that the file names.

    Returns:
        The report of that command.

    Raises:
        SettingsError: the file isn't there, names no command, or holds a setting the command doesn't take.
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
    """Read which command a settings file belongs to.

    Args:
        file: the settings file, or the folder that holds it as ``config.toml``.

    Returns:
        The command's name, as its file is named.

    Raises:
        SettingsError: the file isn't there, isn't TOML, or names no command that can be repeated.
    """
    command = config.read(file).get("command")
    if not isinstance(command, str):
        raise SettingsError(f'{file}: names no command; begin it with a line such as command = "pretrain"')
    name = command.replace("-", "_")
    known = [choice for choice in registry.choices("commands") if choice != "run"]
    if name not in known:
        raise SettingsError(f"{file}: unknown command {command!r}; {registry.did_you_mean(name, known)}")
    return name
