"""Reference of settings: groups that commands share, the settings of each task, and the words that a setting takes."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from bertie import basic, help_texts, registry
from bertie.commands._recipe_files import recipes, summary
from bertie.tasks._lookup import task_class
from docs.website import commands, markup

_WORDS = {
    "tasks": ("Tasks", "`--task`"),
    "models": ("Architectures", "`--model.architecture`"),
    "starts": ("First weights", "`--model.start`"),
    "optimizers": ("Optimizers", "`--optimizer.name`"),
    "schedules": ("Schedules of the learning rate", "`--schedule.shape`"),
    "backends": ("Backends", "`--backend`"),
    "trackers": ("Trackers", "`--track`"),
    "tables": ("Formats of tables", "the file's name, or `--columns format=WORD`"),
    "serving/protocols": ("Protocols of the server", "its paths: `bertie serve` answers in all of them"),
}
"""Folder of choices -> its heading, and the flag that takes them."""


def pages() -> dict[str, str]:
    """Return the page of the settings and the page of the words."""
    return {
        "reference/settings.md": "\n\n".join(_settings()),
        "reference/words.md": "\n\n".join(_words()),
    }


def _settings() -> Iterator[str]:
    known = commands.functions()
    yield "# Settings"
    yield (
        "A setting has one name in three places: `--training.log-every 50` as a flag, `log_every = 50` below "
        '`[training]` in a settings file, and `training={"log_every": 50}` in Python. Flags win over the file that '
        "`--config` names, and the file wins over the defaults."
    )
    yield "## A settings file"
    yield (
        "A settings file is TOML. `command` names the command, the other keys are its parameters, and each group is a "
        "table. Every run writes the file that repeats it, `config.toml`, with all defaults; `bertie run FILE` repeats "
        "the run. Types are strict: no number in quotes. An absent key keeps its default. This is one of the "
        "[recipes](words.md#recipes):"
    )
    yield f"```toml\n{recipes()['sst2'].read_text(encoding='utf-8').strip()}\n```"
    yield (
        "The parameters of each command are on its page: "
        + ", ".join(f"[{name}](commands/{name}.md)" for name in known)
        + ". The groups and the settings of the tasks are below."
    )
    takers: dict[tuple[str, type], list[str]] = {}
    for name, function in known.items():
        for group, kind in commands.groups(function).items():
            takers.setdefault((group, kind), []).append(name)
    for (group, kind), names in takers.items():
        yield f"## `[{group}]`"
        where = ", ".join(f"[{name}](commands/{name}.md)" for name in names)
        yield f"{markup.prose(' '.join((kind.__doc__ or '').split()))} Taken by {where}."
        yield markup.table(["key", "type", "default", "meaning"], map(_row, commands.group_fields("", kind)))
    yield "## `settings` of a task"
    yield (
        "`--settings KEY=VALUE,...` and the table `[settings]` set what belongs to one task. They are stored with the "
        "model, in the [`bertie` object](files.md#the-bertie-object-of-configjson) of `config.json`."
    )
    for name in registry.choices("tasks"):
        yield f"### {name}"
        yield markup.prose(registry.summary("tasks", name)) + "."
        if rows := [_row(each) for each in _task_settings(task_class(name))]:
            yield markup.table(["key", "type", "default", "meaning"], rows)


def _row(setting: commands.Setting) -> list[str]:
    given = "" if setting.default is None else markup.code(markup.default(setting.default) or "none")
    kinds = "true or false" if bool in markup.members(setting.kind) else _kind(setting.kind)
    return [f"`{setting.key}`", kinds, given, markup.prose(setting.text)]


def _kind(annotation: Any) -> str:
    written = markup.value(annotation)
    words = {"INT": "integer", "FLOAT": "number", "STR": "text", "PATH": "path", "KEY=VALUE,...": "table"}
    lists = {"INT,INT,...": "list of integers", "STR ...": "list of texts", "PATH ...": "list of paths"}
    lists |= {"FLOAT ...": "list of numbers"}
    return words.get(written) or lists.get(written) or ", ".join(map(markup.code, written.split("|")))


def _task_settings(task: Any) -> list[commands.Setting]:
    texts: dict[str, str] = {}
    for base in reversed(task.__mro__):
        if hasattr(base, "__dataclass_fields__"):
            texts |= help_texts.field_help(base)
    hints = basic.hints(task)
    return [
        commands.Setting(each.name, hints[each.name], each.default, text=texts.get(each.name, ""))
        for each in fields(task)
    ]


def _words() -> Iterator[str]:
    yield "# Words that settings take"
    yield (
        "Values of settings that are names. Each is a file of the folder of that name in the package: a new file is a "
        "new word ([extending bertie](../extending.md))."
    )
    for folder, (heading, flag) in _WORDS.items():
        yield f"## {heading}"
        yield f"For {flag}."
        rows = ((f"`{name}`", markup.prose(registry.summary(folder, name))) for name in registry.choices(folder))
        yield markup.table(["word", "meaning"], rows)
    yield "## Recipes"
    yield "`bertie run RECIPE` runs one; `bertie run` lists them."
    known = recipes().items()
    rows = ([f"`{name}`", f"`{file.parent.name}`", markup.prose(summary(file))] for name, file in known)
    yield markup.table(["word", "command", "what it is"], rows)
