"""Private helper of `huggingface`: the task fill-mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bertie.serving.computing import LARGEST
from bertie.serving.hub import Served
from bertie.serving.limits import RequestError
from bertie.serving.protocols._hf_payloads import FillMaskParameters, FillMaskPayload
from bertie.serving.protocols._models import check_answer, require
from bertie.serving.protocols._payload import wrong_part

_MOST_FILLS = 100_000  # predictions for masks in one answer


async def fill_mask(served: Served, payload: FillMaskPayload) -> Any:
    """Return the best tokens for each mask, or the given targets.

    Raises:
        RequestError: the model fills no masks, a text has none, or the request exceeds a limit.
    """
    require(served, "masked_lm", "pretraining")
    alone, texts = payload.inputs
    parameters = payload.parameters or FillMaskParameters()
    top_k, targets = parameters.top_k, parameters.targets
    tokenizer = served.predictor.tokenizer
    mask = tokenizer.tokens[tokenizer.mask]
    for number, text in enumerate(texts, 1):
        if mask not in text:
            raise RequestError(422, "no_mask", f"text {number} has no {mask} to fill")
    usual: Any = served.predictor.task
    each = min(top_k or usual.top_k, LARGEST["top_k"])  # a larger one is refused as such
    check_answer("predictions", sum(text.count(mask) for text in texts) * each, _MOST_FILLS)

    def element(text: str, score: float, token: int, word: str) -> dict[str, Any]:
        whole = word.removeprefix(tokenizer.inner) if tokenizer.inner else word
        before, _, after = text.partition(mask)
        joined = before.rstrip() if whole != word else before
        return {"score": score, "token": token, "token_str": word, "sequence": f"{joined}{whole}{after}"}

    if targets:
        most = served.limits.inputs
        if len(targets) > most:
            raise wrong_part("parameters.targets", f"must have at most {most} words; got {len(targets)}")
        ranked = await served.predict(texts, targets=targets)
        ids = {piece: number for number, piece in enumerate(tokenizer.shown)}
        found = [
            [element(text, math.exp(one.sum), _id_of(ids, one.pieces), one.answer) for one in answers[:top_k]]
            for text, answers in zip(texts, ranked, strict=True)
        ]
        return found[0] if alone else found
    answers = []
    for text, fills in zip(texts, await served.predict(texts, top_k=top_k), strict=True):
        several = fills if isinstance(fills[0], list) else [fills]
        lists = [[element(text, one.score, one.token_id, one.token) for one in mask_fills] for mask_fills in several]
        answers.append(lists if len(lists) > 1 else lists[0])
    return answers[0] if alone else answers


def _id_of(ids: dict[str, int], pieces: Sequence[str]) -> int:
    """Return the id of a target's only piece; -1 for a target of several pieces."""
    return ids.get(pieces[0], -1) if len(pieces) == 1 else -1
