"""Use a model: items in, predictions out in the same order, whatever the task.

What a prediction is and how texts become tensors is the task's affair; models come from `formats/`. Nothing here looks
at labels (`evaluate.py`) or knows a terminal (`plain_text.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bertie import progress
from bertie.errors import SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import read, resolve
from bertie.inference.forward import MAX_TOKENS, forward, numbered
from bertie.nn.device import resolve_device, set_threads


class Predictor:
    """Apply a model to texts, pairs of texts, or whatever its task takes.

    Args:
        bundle: model, task and tokenizer.
        max_tokens: tokens of a batch at most; fewer need less memory.
        device: auto (the GPU if there is one), cpu, cuda, cuda:1.
    """

    def __init__(self, bundle: Bundle, *, max_tokens: int = MAX_TOKENS, device: str = "auto") -> None:
        if max_tokens < 1:
            raise SettingsError(f"max_tokens must be at least 1; got {max_tokens}")
        self.bundle, self.max_tokens, self.device = bundle, max_tokens, resolve_device(device)
        self.task, self.tokenizer = bundle.task, bundle.tokenizer
        self.model = bundle.model.to(self.device).eval()
        self.num_cut = 0
        """Items that truncation made shorter so far."""

    def predict(self, items: Any, *, bar: progress.Bar | None = None) -> Any:
        """Predict for one item, or for many.

        Args:
            items: a text, a pair of texts (a tuple) or another single item of the task; or a list or stream of them.
            bar: is advanced by the number of items done.

        Returns:
            The prediction of a single item; a list in the order of the items for many.

        Raises:
            DataError: an item that can't be used, by its number.
        """
        # A tuple is a pair, that is one item; what can't be gone through is one item of some task's own kind.
        if isinstance(items, str | bytes | tuple | Mapping) or not isinstance(items, Iterable):
            return next(self.stream([items], bar=bar))
        return list(self.stream(items, bar=bar))

    def stream(self, items: Iterable[Any], *, bar: progress.Bar | None = None) -> Iterator[Any]:
        """Predict for a stream of any length in its order, holding some thousand items at a time.

        Args:
            items: as in `predict`.
            bar: is advanced by the number of items done.

        Yields:
            One prediction an item.

        Raises:
            DataError: an item that can't be used, by its number.
        """
        waiting: dict[int, Any] = {}
        following = 0
        bare = (_without_label(item) for item in items)
        for part in forward(self.model, self.task, bare, self.tokenizer, max_tokens=self.max_tokens):
            with torch.inference_mode(), numbered(part.numbers, part.items):
                decoded = self.task.decode(part.outputs, part.batch, part.items, self.tokenizer)
            self.count_cut(part.batch.targets.get("sequence.cut"))
            if bar is not None:
                bar.advance(len(part.items))
            waiting.update(zip(part.numbers, decoded, strict=True))
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    def count_cut(self, cut: torch.Tensor | None) -> None:
        """Count cut items and warn of the first; a warning a call would drown a loop over single texts."""
        num_cut = 0 if cut is None else int((cut > 0).sum())
        if num_cut and not self.num_cut:
            progress.warn(
                f"texts longer than {getattr(self.task, 'max_length', 'the model takes')} tokens are cut at the end; "
                "num_cut counts them, and truncation='error' stops instead"
            )
        self.num_cut += num_cut

    def __repr__(self) -> str:
        encoder = type(self.model.encoder).__name__
        millions = sum(value.numel() for value in self.model.parameters()) / 1e6
        settings = "".join(f", {name}={value!r}" for name, value in vars(self.task).items())
        return (
            f"Predictor({self.task.name} on {encoder} with {millions:.1f} million parameters, device={self.device}, "
            f"max_tokens={self.max_tokens}{settings})"
        )


def _without_label(item: Any) -> Any:
    """Take off the label that a table gave an item: predicting doesn't look at it."""
    return item if getattr(item, "label", None) is None else replace(item, label=None)


def load(
    path: str | Path,
    *,
    task: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    max_tokens: int = MAX_TOKENS,
    **settings: Any,
) -> Predictor:
    """Open a model folder or hub id, ready to predict.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.
        task: what to do with it; inferred from the model's own settings when None.
        device: auto, cpu, cuda, cuda:1.
        threads: CPU threads; torch's own number when None.
        max_tokens: tokens of a batch at most.
        **settings: of the task, instead of those that the model brings (max_length, truncation, top_k, ...).

    Raises:
        SettingsError: no such folder or model, an unknown task or setting, a task that the model has no head for.
        DataError: the folder holds no model we can read.
    """
    resolve_device(device)  # a wrong name should not wait for a large model
    bundle = read(resolve(path), task=task, settings=settings)  # text such as "32" gets its field's type there
    length = getattr(bundle.task, "max_length", 0)
    if length > bundle.config.max_positions:
        raise SettingsError(f"max_length {length} is more than the {bundle.config.max_positions} positions of {path}")
    for line in bundle.notes:
        progress.note(line)
    set_threads(threads)
    return Predictor(bundle, max_tokens=max_tokens, device=device)
