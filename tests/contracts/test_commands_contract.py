"""Every command keeps the contract: one function, typed and documented, whose settings survive a file."""

import ast
import dataclasses
import inspect
import textwrap
import tomllib
import types
import typing
from collections.abc import Callable
from typing import Any

import pytest

from bertie import cli, config, help_texts, registry
from bertie.commands.command import Report

COMMANDS = registry.choices("commands")
RESERVED = {"config", "json", "quiet", "help"}


def function_of(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(registry.load("commands", name), name)
    return function


def groups_of(name: str) -> dict[str, type]:
    """Return the settings dataclasses a command takes, by dotted key."""
    keys = config.known_keys(function_of(name))
    return {key: group for key, annotation in keys.items() if (group := config.group_type(annotation))}


def may_be_none(annotation: Any) -> bool:
    if hasattr(annotation, "__metadata__"):
        annotation = typing.get_args(annotation)[0]
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return is_union and type(None) in typing.get_args(annotation)


@pytest.mark.parametrize("name", COMMANDS)
def test_function_returns_a_report(name: str) -> None:
    returned = typing.get_type_hints(function_of(name))["return"]
    assert isinstance(returned, type)
    assert issubclass(returned, Report)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_explained(name: str) -> None:
    function = function_of(name)
    parameters = config.signature(function)
    assert {parameter for parameter in parameters if not help_texts.argument_help(function).get(parameter)} == set()
    assert not RESERVED & {config.public_name(parameter) for parameter in parameters}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_may_be_none_defaults_to_none(name: str) -> None:
    """TOML has no null: an absent key must mean None wherever None is allowed."""
    wrong = [
        parameter.name
        for parameter in config.signature(function_of(name)).values()
        if may_be_none(parameter.annotation) and parameter.default not in (None, parameter.empty)
    ]
    for key, group in groups_of(name).items():
        hints = typing.get_type_hints(group, include_extras=True)
        wrong += [
            f"{key}.{field.name}"
            for field in dataclasses.fields(group)
            if may_be_none(hints[field.name]) and field.default is not None
        ]
    assert wrong == []


@pytest.mark.parametrize("name", COMMANDS)
def test_groups_are_frozen_with_a_default_and_a_help_line_each(name: str) -> None:
    for key, group in groups_of(name).items():
        group()  # every field has a default
        assert typing.cast(Any, group).__dataclass_params__.frozen, key
        body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(group))).body[0]).body
        silent = [
            typing.cast(ast.Name, statement.target).id
            for statement, following in zip(body, [*body[1:], None], strict=True)
            if isinstance(statement, ast.AnnAssign) and not isinstance(following, ast.Expr)
        ]
        assert silent == [], key


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_survive_a_file(name: str) -> None:
    function = function_of(name)
    defaults = {
        parameter.name: parameter.default
        for parameter in config.signature(function).values()
        if parameter.default is not parameter.empty
    }
    settings = tomllib.loads(config.render(command=name, parameters=defaults))
    assert settings.pop("command") == name
    read = config.validate(function, settings, partial=True)
    assert {parameter: read.get(parameter) for parameter in defaults} == defaults


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name.replace("_", "-"), "--help-all"]) == 0
    text = capsys.readouterr().out
    function = function_of(name)
    parameters = config.signature(function)
    for key, annotation in config.known_keys(function).items():
        positional = any(isinstance(mark, config.PositionalMarker) for mark in getattr(annotation, "__metadata__", ()))
        if not config.group_type(annotation):
            assert (key.upper() if positional else f"--{key.replace('_', '-')}") in text
    assert parameters.keys() or name in ("demo", "doctor")
