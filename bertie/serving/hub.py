"""The models of a server: each with its predictor and its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertie.registry import did_you_mean
from bertie.serving.limits import Limits, RequestError

if TYPE_CHECKING:
    from bertie.inference.predictor import Predictor


class Served:
    """A model that a server answers with.

    Args:
        name: its name in URLs.
        predictor: the model.
        limits: of the server.
    """

    def __init__(self, name: str, predictor: Predictor[Any], limits: Limits) -> None:
        self.name, self.predictor, self.limits = name, predictor, limits

    @property
    def task(self) -> str:
        """The name of the model's task."""
        return self.predictor.task.name

    async def predict(self, items: Sequence[Any], **settings: Any) -> list[Any]:
        """Return one prediction for each item.

        Args:
            items: items of the model's task: strings, pairs of strings, or other items.
            **settings: of the task for this request alone, such as top_k=3.

        Raises:
            RequestError: the request exceeds a limit, an item can't be used, or the server is busy.
        """
        del settings
        return await asyncio.to_thread(self.predictor.predict, list(items))

    def as_task(self, task: str) -> Served:
        """Return the same model by another task, such as "embedding" or "features".

        Raises:
            RequestError: the model can't do this task.
        """
        raise RequestError(422, "wrong_task", f"{self.name} can't do {task}")


class Hub:
    """All models of a server, by name.

    Args:
        models: the models, in the order in which the server lists them.
        limits: of the server.
    """

    def __init__(self, models: Sequence[Served], limits: Limits) -> None:
        self.models = {model.name: model for model in models}
        self.limits = limits

    def get(self, name: str) -> Served:
        """Return a model.

        Raises:
            RequestError: there is none of this name.
        """
        if name not in self.models:
            raise RequestError(404, "no_such_model", f"no model {name!r}; {did_you_mean(name, self.models)}")
        return self.models[name]
