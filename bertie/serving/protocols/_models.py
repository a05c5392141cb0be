"""Private helper of the protocols: choose a model, get its vectors, and count tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import Header, Query
from numpy.typing import NDArray

from bertie.errors import BertieError
from bertie.metrics.retrieval import unit
from bertie.serving.batcher import refusal
from bertie.serving.computing import sizes_of
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import Limits, RequestError
from bertie.serving.protocols._payload import shown


def wanted(
    model: Annotated[str | None, Query(description="name of the model")] = None,
    model_header: Annotated[str | None, Header(alias="model", description="name of the model")] = None,
) -> str | None:
    """Return the name of the model that a request asks for, in its query or its header; None without one."""
    return model if model is not None else model_header


async def suitable(hub: Hub, name: str | None, *tasks: str) -> Served:
    """Return a model by its name, or the server's first model of a task.

    Args:
        hub: the models.
        name: of the model; None for the first that has one of the tasks.
        *tasks: names of tasks, the best first.

    Returns:
        The model by one of the tasks: its own, or the first one if it can do it.

    Raises:
        RequestError: there is no such model, or it can't do any of the tasks.
    """
    if name is not None:
        model = hub.get(name)
        return model if model.task in tasks else await by_task(model, tasks[0])
    for task in tasks:
        for model in hub.models.values():
            if model.task == task:
                return model
    have = ", ".join(f"{model.name} ({model.task})" for model in hub.models.values())
    raise RequestError(422, "wrong_task", f"this route needs a model for {' or '.join(tasks)}; this server has {have}")


def require(served: Served, *tasks: str) -> None:
    """Check that a model has one of some tasks.

    Raises:
        RequestError: it has another one.
    """
    if served.task not in tasks:
        message = f"{served.name} is a model for {served.task}; this needs one for {' or '.join(tasks)}"
        raise RequestError(422, "wrong_task", message)


async def by_task(model: Served, task: str) -> Served:
    """Return a model by another task; its first use loads it, in a thread because that takes seconds.

    Raises:
        RequestError: the model can't do the task.
    """
    other = model if model.task == task else model.as_task(task)
    await asyncio.to_thread(lambda: other.predictor)
    return other


def first(hub: Hub, name: str | None) -> Served:
    """Return a model by its name, or the server's first model.

    Raises:
        RequestError: there is no such model.
    """
    return next(iter(hub.models.values())) if name is None else hub.get(name)


async def vectors(served: Served, texts: Sequence[str], **settings: Any) -> NDArray[np.float32]:
    """Return the vectors of texts, (N, H).

    Raises:
        RequestError: the request exceeds a limit, or a text can't be used.
    """
    return np.stack([prediction.vector for prediction in await served.predict(texts, **settings)])


async def cosines(served: Served, text: str, others: Sequence[str], **settings: Any) -> list[float]:
    """Return the cosine of a text's vector with that of each other text.

    Raises:
        RequestError: the request exceeds a limit, or a text can't be used.
    """
    units = unit((await vectors(served, [text, *others], **settings)).astype(np.float64))
    values: list[float] = np.clip(units[1:] @ units[0], -1.0, 1.0).tolist()
    return values


async def num_tokens(served: Served, texts: Sequence[str], **settings: Any) -> int:
    """Return the number of tokens that the model reads for texts, after truncation and with special tokens.

    Raises:
        RequestError: a text can't be used.
    """
    try:
        return sum(await asyncio.to_thread(sizes_of, served.predictor, texts, tuple(settings.items())))
    except BertieError as error:
        raise refusal(error) from error


def check_size(limits: Limits, lengths: Sequence[int], key: str) -> None:
    """Check a request that the tokenizer alone answers.

    Args:
        limits: of the server.
        lengths: of the texts in characters, or of the lists of ids.
        key: of the payload, for messages.

    Raises:
        RequestError: there are too many texts, or one is too long.
    """
    for limit, kind, value, most in (
        ("inputs", "too_many_inputs", len(lengths), limits.inputs),
        ("characters", "too_long", max(lengths), limits.characters),
    ):
        if value > most:
            message = f"{key}: {value:,} {limit} are more than {most:,}; send less in one request"
            raise RequestError(413, kind, message, limit=limit, value=value)


def check_dimensions(served: Served, dimensions: int | None) -> None:
    """Check that a client asks for vectors of the model's own size.

    Raises:
        RequestError: it asks for another size.
    """
    size = served.predictor.bundle.config.hidden_size
    if dimensions not in (None, size):
        message = f"dimensions: {served.name} has vectors of {size} numbers, not {shown(dimensions)}; leave it out"
        raise RequestError(422, "wrong_payload", message)


def check_answer(name: str, size: int, most: int) -> None:
    """Check what an answer would hold: writing it must not keep the server from other requests.

    Args:
        name: of what is counted, such as numbers.
        size: how many the answer would have.
        most: how many it may have.

    Raises:
        RequestError: it would have more.
    """
    if size > most:
        message = f"the answer would have {size:,} {name}, and the server gives at most {most:,}; ask for fewer"
        raise RequestError(413, "answer_too_large", message, limit=name, value=size)
