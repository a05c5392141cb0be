"""The settings that all commands share which use a model: predict, evaluate, search and serve."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

if TYPE_CHECKING:
    from bertie.inference.predictor import Predictor

R = TypeVar("R")
_NAME = "use"


@dataclass(frozen=True)
class UseSettings:
    """How a model is loaded and run.

    Args:
        length: largest number of tokens in a text; that of the model when not given.
        truncation: what to do with longer texts: truncate, error (stop), or window (read them in overlapping windows);
            that of the model when not given.
        settings: further settings of the task that replace the model's, such as stride=32; give names in their order,
            as labels=bad|good.
        batch_tokens: largest number of tokens in a batch; a smaller number needs less memory.
        precision: closeness of the encoder's vectors to fp32: exact (within 1e-4), bf16 or int8 (mean cosine at least
            0.9999 or 0.995); by default exact, or the precision of an exported folder.
        backend: what runs the encoder: eager (torch), onnx, openvino, or auto: the fastest installed one by a fixed
            rule.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.
    """

    length: int | None = None
    truncation: Literal["truncate", "error", "window"] | None = None
    settings: dict[str, Any] | None = None
    batch_tokens: int = 4096
    precision: Literal["exact", "bf16", "int8"] | None = None
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None

    def load(self, model: Any, *, task: str | None, **more: Any) -> "Predictor[Any]":
        """Open a model.

        Args:
            model: model folder or hub id.
            task: task of the model; None: the one it was trained for.
            **more: settings of the task that have a flag of their own. None: the model's.
        """
        from bertie.inference.predictor import load

        limits = {**more, "max_length": self.length, "truncation": self.truncation}
        task_settings = {name: value for name, value in limits.items() if value is not None} | (self.settings or {})
        return load(
            model,
            task=task,
            device=self.device,
            threads=self.threads,
            max_tokens=self.batch_tokens,
            precision=self.precision,
            backend=self.backend,
            **task_settings,
        )


def with_use_settings(command: Callable[..., R]) -> Callable[..., R]:
    """Decorate a command with a parameter `use` so that it takes the fields of `UseSettings` in its place.

    The decorated command has these fields in its signature and in its docstring, as if they were written there.
    """
    shape, names = inspect.signature(command), [field.name for field in fields(UseSettings)]
    parameters = []
    for name, parameter in shape.parameters.items():
        shared = [parameter.replace(name=field.name, default=field.default) for field in fields(UseSettings)]
        parameters += shared if name == _NAME else [parameter]

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> R:
        use = UseSettings(**{name: kwargs.pop(name) for name in names if name in kwargs})
        return command(*args, use=use, **kwargs)

    own = {name: kind for name, kind in command.__annotations__.items() if name != _NAME}
    call.__signature__ = shape.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {**own, **get_type_hints(UseSettings)}
    call.__doc__ = re.sub(rf"(?m)^ {{8}}{_NAME}: .*\n", lambda _: _arguments(UseSettings), command.__doc__ or "")
    return call


def flat(command: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a decorated command, in their order, from those that the undecorated one has."""
    every = {**values, **vars(values[_NAME])}
    return {name: every[name] for name in inspect.signature(command).parameters}


def _arguments(kind: type) -> str:
    """Return the lines of the `Args` section of a class, indented as in a function of a module."""
    return re.split(r"(?m)^ {4}Args:\n", kind.__doc__ or "")[1].rstrip(" ")
