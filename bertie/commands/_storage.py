"""Let every command take addresses such as ``s3://bucket/corpus`` where it takes files and folders.

A command gets local paths: inputs are fetched before it, outputs are uploaded after it, or while it trains. What it
prints and records shows the addresses. A command needs no code for this; `_TEXTS` names the parameters that are places
although their type is str.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bertie import addresses, progress
from bertie.commands.command import Report
from bertie.errors import BertieError, SettingsError

if TYPE_CHECKING:
    from bertie.storage.outputs import Output

Kind = TypeVar("Kind")
P = ParamSpec("P")
_TEXTS = frozenset({"model", "models", "files", "from_", "against", "source", "teacher", "add_words"})
_OUTPUTS = frozenset({"out", "report"})
_REPLACED = frozenset({("show", "out"), ("compare", "out"), ("evaluate", "report")})
"""Outputs that replace an earlier file, as they do on a disk."""
_BESIDE = frozenset({("predict", "out")})
"""Outputs with a folder OUT.parts for --resume."""
_NEVER = {
    "seal": "it joins slices in a shared folder",
    "demo": "it writes a folder to look around in",
    "doctor": "it examines this machine",
}
_PASSED_ON = frozenset({"launch", "run"})
"""Commands that pass addresses on: launch writes them into a job file, run calls another command."""


def taking_addresses(command: Callable[P, Kind]) -> Callable[P, Kind]:
    """Decorate a command function to take addresses; its arguments are checked already."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> Kind:
        return run_command(functools.partial(command, *args), kwargs, command.__name__)

    return call


def run_command(command: Callable[..., Kind], parameters: Mapping[str, Any], name: str) -> Kind:
    """Call a command with local copies in place of addresses, and upload what it writes.

    Args:
        command: the command function.
        parameters: its checked arguments, by name.
        name: its name, with underscores.

    Returns:
        What the command returns.

    Raises:
        SettingsError: no such object, something is there already, the command takes no addresses, or a package is
            missing.
        DataError: an input is incomplete.
        ResourceError: the store can't be reached, or an output couldn't be uploaded.
    """
    if name in _PASSED_ON or not any(_is_address(key, value) for key, value in _places(parameters)):
        return command(**parameters)
    parameters = _without_files(parameters)
    if not any(_is_address(key, value) for key, value in _places(parameters)):
        return command(**parameters)  # file:// needs no store
    _refuse(name, parameters)
    from bertie.storage.outputs import pushed_meanwhile

    resumable = "resume" in inspect.signature(command).parameters
    try:
        local = {key: value if key in _OUTPUTS else _local(key, value) for key, value in parameters.items()}
        outputs = _outputs(name, parameters, resumable=resumable)
        local |= {key: output.path for key, output in outputs.items() if key in local}
        with ExitStack() as stack:
            stack.enter_context(_uploaded(list(outputs.values()), resumable=resumable))
            if outputs and resumable:
                stack.enter_context(pushed_meanwhile([each for key, each in outputs.items() if key in _live(name)]))
            return _renamed(command(**local))
    except BertieError as error:
        error.args = tuple(addresses.shown(part) if isinstance(part, str) else part for part in error.args)
        raise


def _live(name: str) -> tuple[str, ...]:
    """Return the outputs whose unfinished state is uploaded."""
    return ("parts",) if (name, "out") in _BESIDE else ("out",)


def _places(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each parameter, and of each field of a group."""
    for key, value in values.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        else:
            yield from ((key, each) for each in (value if isinstance(value, tuple) else (value,)))


def _is_address(key: str, value: Any) -> bool:
    return _split(key, value)[1] is not None


def _split(key: str, value: Any) -> tuple[str, str | None]:
    """Return what is before an address (NAME= of a model to serve), and the address; None if there is none."""
    if isinstance(value, Path):
        return "", addresses.address_of(value)
    if key not in _TEXTS or not isinstance(value, str):
        return "", None
    named = re.match(r"[^=/:]+=", value) if key == "models" else None
    start = named[0] if named else ""
    return start, addresses.address_of(value.removeprefix(start))


def _mapped(key: str, value: Any, change: Callable[[str], Path]) -> Any:
    """Return a parameter in which each address has been changed to a path."""
    if isinstance(value, tuple):
        return tuple(_mapped(key, each, change) for each in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        changed = {name: _mapped(name, each, change) for name, each in fields.items()}
        return dataclasses.replace(value, **changed) if changed != fields else value
    start, address = _split(key, value)
    return value if address is None else type(value)(f"{start}{change(address)}")


def _without_files(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with paths in place of ``file://`` addresses."""

    def path(address: str) -> Path:
        # An address stays one: it is text until the local copy is there.
        return addresses.place(address) if address.startswith("file://") else Path(address)

    return {
        key: _mapped(key, value, path) if any(_is_file(name, one) for name, one in _places({key: value})) else value
        for key, value in parameters.items()
    }


def _is_file(key: str, value: Any) -> bool:
    return (_split(key, value)[1] or "").startswith("file://")


def _local(key: str, value: Any) -> Any:
    from bertie.storage.inputs import fetch

    return _mapped(key, value, fetch)


def _refuse(name: str, parameters: Mapping[str, Any]) -> None:
    """Refuse addresses where they can't work.

    Raises:
        SettingsError: they can't.
    """
    flag = next(key for key, value in _places(parameters) if _is_address(key, value))
    spoken = f"bertie {name.replace('_', '-')}"
    if name in _NEVER:
        raise SettingsError(f"{spoken} takes no addresses of object stores, because {_NEVER[name]}; give a local path")
    if name == "search" and _is_address("index", parameters.get("index")):
        raise SettingsError("--index needs a local file, because it may be read and written; the other files may not")
    if name == "show" and parameters.get("accept_changes"):
        raise SettingsError("--accept-changes writes to the folder that it shows; give a local folder")
    writes = any(_is_address(key, parameters.get(key)) for key in _OUTPUTS)
    runner = parameters.get("runner", "local")
    if runner == "ray" or (runner == "slice" and writes):
        raise SettingsError(
            f"--runner {runner} needs folders that all machines share in place of {flag.strip('_')}; give local "
            "paths, and copy the result"
        )
    if writes and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("under torchrun, --out must be a folder that all processes share; copy it afterwards")


def _outputs(name: str, parameters: Mapping[str, Any], *, resumable: bool) -> dict[str, Output]:
    """Open the outputs that are addresses, by parameter; OUT.parts as "parts"."""
    from bertie.storage.outputs import Output

    found: dict[str, Output] = {}
    resume = bool(parameters.get("resume"))
    for key in _OUTPUTS & parameters.keys():
        address = addresses.address_of(parameters[key])
        if address is None:
            continue
        if addresses.is_pattern(address):
            raise SettingsError(f"--{key} {address} is a pattern; give one address")
        beside, replace = (name, key) in _BESIDE, (name, key) in _REPLACED
        advice = "resume it with --resume, or choose another --out" if resumable else f"choose another --{key}"
        found[key] = Output(address)
        folder = not beside and not replace
        found[key].open(folder=folder, resume=resume and folder, replace=replace, advice=advice)
        if beside:
            found["parts"] = Output(f"{address}.parts")
            found["parts"].open(folder=True, resume=resume, advice=advice)
    return found


@contextmanager
def _uploaded(outputs: list[Output], *, resumable: bool) -> Iterator[None]:
    """Upload outputs at the end: complete ones if the command ended well, else the state of a run."""
    from bertie.storage.outputs import failed

    try:
        try:
            yield
        except BaseException:
            for output in outputs if resumable else []:
                _push_state(output)
            raise
        for output in outputs:
            try:
                if output.path.exists():
                    output.push(complete=True)
                else:
                    output.remove_everywhere()
            except BertieError as error:
                raise failed(output, error) from error
    finally:
        for output in outputs:
            output.release()


def _push_state(output: Output) -> None:
    """Upload the state of a run that was stopped. If that fails, the first error stays the one that is raised."""
    from bertie.storage.outputs import failed

    try:
        if output.path.is_dir():
            output.push(complete=False)
    except BertieError as error:
        progress.warn(str(failed(output, error, complete=False)))


def _renamed(result: Kind) -> Kind:
    """Return a report in which local copies have their addresses."""
    if not isinstance(result, Report):
        return result
    named = {field.name: _shown(getattr(result, field.name)) for field in dataclasses.fields(result) if field.init}
    return dataclasses.replace(result, **named)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return addresses.shown(value)
    if isinstance(value, Path):
        text = addresses.shown(str(value))
        return value if text == str(value) else text
    if isinstance(value, dict):
        return {_shown(key): _shown(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_shown(each) for each in value)
    return value
