"""Repeat a run from its settings file, or run a recipe by its name.

This command reads the command and its settings from the file, and calls that command.
"""

from pathlib import Path
from typing import Any

from bertie import config, registry
from bertie.commands._recipe_files import FOLDER, recipes, settings_file, summary
from bertie.commands._storage import run_command
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError


def run(file: Positional[Path | None] = None, **overrides: Any) -> Report:
    """Repeat a run from its settings file, or run a recipe by its name, optionally with changed settings.

    Every run writes a config.toml that repeats it. Flags after the file are flags of the command that the file names,
    and replace its settings: bertie run out/mini/config.toml --out out/mini-again --seed 2

    bertie has recipes for published data sets: bertie run sst2 --model MODEL. Without a file, the recipes are listed.

    Args:
        file: the config.toml of a run, the folder that holds it, or the name of a recipe; lists the recipes when not
            given.
        **overrides: parameters of the command that the file names.

    Returns:
        The report of that command, or the list of recipes.

    Raises:
        SettingsError: the file doesn't exist, names no command, or has a setting that the command doesn't take.
    """
    if file is None:
        if overrides:
            raise SettingsError(f"{min(overrides)} is given without a file; name a settings file or a recipe first")
        return _overview()
    file = settings_file(file)
    name = command_of(file)
    function = getattr(registry.load("commands", name), name)
    changes = {config.public_name(key): config.plain(value, key) for key, value in overrides.items()}
    settings = {key: value for key, value in config.read(file).items() if key != "command"}
    settings = config.left_of_file(settings, {key for key, value in changes.items() if value is not None})
    values = config.validate(function, config.merged(settings, changes), source=str(file))
    report: Report = run_command(function, values, name)
    return report


def _overview() -> Report:
    """List the recipes."""
    found = recipes()
    rows = [{"recipe": name, "command": file.parent.name, "about": summary(file)} for name, file in found.items()]
    wide = max(map(len, found))
    parts = [f"recipes in {FOLDER}:"]
    for command in dict.fromkeys(row["command"] for row in rows):
        parts.append(f"\n{command}")
        parts += [f"  {row['recipe']:<{wide}}  {row['about']}" for row in rows if row["command"] == command]
    return Report(
        title="Recipes",
        values={"folder": str(FOLDER), "recipes": rows},
        text="\n".join(parts),
        next_command="bertie run sst2 --model MODEL --train FILE --dev FILE --out OUT",
    )


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
