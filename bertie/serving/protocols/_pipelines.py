"""The tasks of Hugging Face's endpoints: how each reads `inputs` and `parameters`, and how its answer looks."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from bertie.items.question import Question
from bertie.items.text import Text
from bertie.metrics.retrieval import unit
from bertie.registry import did_you_mean
from bertie.serving.computing import LARGEST
from bertie.serving.hub import Served
from bertie.serving.limits import RequestError
from bertie.serving.payload import check_keys, part, strings, wrong
from bertie.serving.protocols._models import cosines
from bertie.tasks._prediction import plain
from bertie.tasks._word_pieces import as_words

Payload = dict[str, Any]
Pipeline = Callable[[Served, Payload], Awaitable[Any]]

_OWN = {
    "masked_lm": "fill-mask",
    "pretraining": "fill-mask",
    "classification": "text-classification",
    "regression": "text-classification",
    "tagging": "token-classification",
    "span_classification": "token-classification",
    "question_answering": "question-answering",
    "embedding": "feature-extraction",
    "features": "feature-extraction",
}
_FEATURES = ("normalize", "truncate", "truncation_direction", "prompt_name", "dimensions", "encoding_format")
_QUESTION: tuple[str, ...] = ("top_k", "handle_impossible_answer", "max_answer_len", "max_seq_len", "doc_stride")
_QUESTION += ("max_question_len", "align_to_words")  # bertie's answers don't depend on these two
_DIGITS = 7  # decimals of a vector's numbers, as many as fp32 has
_MOST_FILLS = 100_000  # predictions for masks in one answer
_MOST_NUMBERS = 1_000_000  # of vectors in one answer
_AGGREGATIONS = ("none", "simple", "first", "average", "max")


def pipeline_of(served: Served, payload: Payload, asked: str | None = None) -> str:
    """Return the name of the pipeline that a payload is for.

    Args:
        served: the model.
        payload: the body; its form tells similarity and zero-shot classification apart from the model's own task.
        asked: the pipeline in the URL, if there is one.

    Raises:
        RequestError: there is no such pipeline, or none for the model's task.
    """
    if asked is not None:
        if asked not in PIPELINES:
            raise RequestError(
                404, "no_such_route", f"no pipeline {asked!r:.80}; {did_you_mean(asked[:80], PIPELINES)}"
            )
        return asked
    inputs, parameters = payload.get("inputs"), payload.get("parameters")
    if isinstance(inputs, dict) and "source_sentence" in inputs:
        return "sentence-similarity"
    if isinstance(parameters, dict) and "candidate_labels" in parameters:
        return "zero-shot-classification"
    if served.task not in _OWN:
        raise RequestError(422, "wrong_task", f"{served.name} is a model for {served.task}, which has no pipeline")
    return _OWN[served.task]


def _read(payload: Payload, known: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """Return the inputs and the parameters."""
    check_keys(payload, ("inputs", "parameters", "options"))
    if payload.get("inputs") is None:
        raise wrong("the key 'inputs' is missing")
    parameters = part(payload, "parameters", dict, {})
    check_keys(parameters, known, "parameters")
    return payload["inputs"], parameters


def _texts(inputs: Any) -> tuple[list[str], bool]:
    """Return the texts, and whether the client sent one text alone."""
    if isinstance(inputs, str):
        return [inputs], True
    return strings({"inputs": inputs}, "inputs"), False


def _check_size(name: str, size: int, most: int) -> None:
    """Check what an answer would hold: writing it must not keep the server from other requests."""
    if size > most:
        message = f"the answer would have {size:,} {name}, and the server gives at most {most:,}; ask for fewer"
        raise RequestError(413, "answer_too_large", message, limit=name, value=size)


def _require(served: Served, *tasks: str) -> None:
    if served.task not in tasks:
        raise RequestError(
            422, "wrong_task", f"{served.name} is a model for {served.task}; this needs one for {' or '.join(tasks)}"
        )


async def _fill_mask(served: Served, payload: Payload) -> Any:
    """Return the best tokens for each mask, or the given targets."""
    _require(served, "masked_lm", "pretraining")
    inputs, parameters = _read(payload, ("top_k", "targets"))
    texts, alone = _texts(inputs)
    targets = strings(parameters, "targets", [])
    top_k = part(parameters, "top_k", int, None)
    tokenizer = served.predictor.tokenizer
    mask = tokenizer.tokens[tokenizer.mask]
    for number, text in enumerate(texts, 1):
        if mask not in text:
            raise RequestError(422, "no_mask", f"text {number} has no {mask} to fill")
    usual: Any = served.predictor.task
    each = min(top_k or usual.top_k, LARGEST["top_k"])  # a larger one is refused as such
    _check_size("predictions", sum(text.count(mask) for text in texts) * each, _MOST_FILLS)

    def element(text: str, score: float, token: int, word: str) -> dict[str, Any]:
        whole = word.removeprefix(tokenizer.inner) if tokenizer.inner else word
        before, _, after = text.partition(mask)
        joined = before.rstrip() if whole != word else before
        return {"score": score, "token": token, "token_str": word, "sequence": f"{joined}{whole}{after}"}

    if targets:
        if len(targets) > served.limits.inputs:
            raise wrong(f"targets must have at most {served.limits.inputs} words; got {len(targets)}")
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


def _pair(value: Any, place: str) -> Any:
    """Return a text, or a pair {"text": ..., "text_pair": ...}, as an item."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise wrong(f'{place} is {value!r:.60}; it must be a string, or {{"text": ..., "text_pair": ...}}')
    check_keys(value, ("text", "text_pair"), place)
    return Text(part(value, "text", str), part(value, "text_pair", str, None))


async def _classify(served: Served, payload: Payload) -> Any:
    """Return the labels of each text or pair, most probable first; always a list for each text."""
    _require(served, "classification", "regression")
    inputs, parameters = _read(payload, ("top_k", "function_to_apply"))
    values = inputs if isinstance(inputs, list) else [inputs]
    items = [_pair(value, f"inputs[{number}]") for number, value in enumerate(values)]
    top_k, function = part(parameters, "top_k", int, None), part(parameters, "function_to_apply", str, None)
    if function not in (None, "softmax", "sigmoid", "none"):
        raise wrong(f"function_to_apply must be softmax, sigmoid or none; got {function!r:.60}")
    if top_k is not None and top_k < 1:
        raise wrong(f"top_k must be at least 1; got {top_k}")
    if served.task == "regression":
        return [[{"label": "LABEL_0", "score": one.value}] for one in await served.predict(items)]
    if function is None:
        scores = [one.scores for one in await served.predict(items)]
    else:
        task: Any = served.predictor.task
        logits = np.array(await served.predict(items, logits=True)).reshape(len(items), -1)
        changed = {"none": lambda x: x, "sigmoid": _sigmoid, "softmax": _softmax}[function](logits)
        scores = [dict(zip(task.labels, row.tolist(), strict=True)) for row in changed]
    return [_sorted(one)[:top_k] for one in scores]


def _sorted(scores: dict[str, float]) -> list[dict[str, Any]]:
    ordered = sorted(scores.items(), key=lambda pair: -pair[1])
    return [{"label": label, "score": score} for label, score in ordered]


def _sigmoid(values: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -700.0, 700.0)))


def _softmax(values: Any) -> Any:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


async def _tag(served: Served, payload: Payload) -> Any:
    """Return the entities of each text, or with `aggregation_strategy` none its words with a tag."""
    _require(served, "tagging", "span_classification")
    inputs, parameters = _read(payload, ("aggregation_strategy", "ignore_labels", "stride"))
    texts, alone = _texts(inputs)
    how = part(parameters, "aggregation_strategy", str, "simple")
    if how not in _AGGREGATIONS:
        raise wrong(f"aggregation_strategy must be one of {', '.join(_AGGREGATIONS)}; got {how!r:.60}")
    ignored = set(strings(parameters, "ignore_labels", ["O"]))
    stride = part(parameters, "stride", int, None)
    task: Any = served.predictor.task
    by_word = served.task == "tagging" and (how == "none" or not task.finds_entities)
    found = []
    for text, one in zip(texts, await served.predict(texts, stride=stride), strict=True):
        parts = _words(text, one, how) if by_word else [_span(span) for span in one.spans]
        found.append([entry for entry in parts if not {entry.get("entity"), entry.get("entity_group")} & ignored])
    return found[0] if alone else found


def _span(span: Any) -> dict[str, Any]:
    return {"entity_group": span.label, "score": span.score, "word": span.text, "start": span.start, "end": span.end}


def _words(text: str, tagged: Any, how: str) -> list[dict[str, Any]]:
    """Return each word with its tag. A word of an entity has the score of the entity, others that of the text."""
    key, entries = "entity" if how == "none" else "entity_group", []
    offsets = as_words(text, 1, "tagging").word_offsets()
    for number, (tag, (start, end)) in enumerate(zip(tagged.tags, offsets, strict=True), 1):
        score = next((span.score for span in tagged.spans if span.start <= start < span.end), tagged.score)
        entries.append({key: tag, "score": score, "index": number, "word": text[start:end], "start": start, "end": end})
    return entries


async def _answer(served: Served, payload: Payload) -> Any:
    """Return the answer of a question, or the `top_k` best ones."""
    _require(served, "question_answering")
    inputs, parameters = _read(payload, _QUESTION)
    rows = inputs if isinstance(inputs, list) else [inputs]
    items = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise wrong(f'inputs[{number}] is {row!r:.60}; it must be {{"question": ..., "context": ...}}')
        check_keys(row, ("question", "context"), f"inputs[{number}]")
        items.append(Question(part(row, "question", str), part(row, "context", str)))
    top_k = part(parameters, "top_k", int, 1)
    if top_k < 1:
        raise wrong(f"top_k must be at least 1; got {top_k}")
    may_be_empty = part(parameters, "handle_impossible_answer", bool, None)
    task: Any = served.predictor.task
    length = part(parameters, "max_seq_len", int, None)
    settings = {
        "max_answer": part(parameters, "max_answer_len", int, None),
        "max_length": None if length is None else min(length, task.max_length),
        "stride": part(parameters, "doc_stride", int, None),
        "n_best": max(top_k, task.n_best) if top_k > 1 else None,
        "null_threshold": 0.0 if may_be_empty and task.null_threshold is None else None,
    }
    answers = []
    for reply in await served.predict(items, **settings):
        spans = [one for one in reply.n_best if one.text or may_be_empty is not False]
        best = reply if reply.text or may_be_empty is not False or not spans else spans[0]
        chosen = [best] if top_k == 1 else spans[:top_k] or [best]
        shaped = [
            {"answer": one.text, "score": plain(one.score), "start": max(0, one.start), "end": max(0, one.end)}
            for one in chosen
        ]
        answers.append(shaped[0] if top_k == 1 else shaped)
    return answers if isinstance(inputs, list) else answers[0]


async def _compare(served: Served, payload: Payload) -> Any:
    """Return the cosine of a sentence with each of the others."""
    inputs, _ = _read(payload, ())
    values = part({"inputs": inputs}, "inputs", dict)
    check_keys(values, ("source_sentence", "sentences"), "inputs")
    source, sentences = part(values, "source_sentence", str), strings(values, "sentences")
    return await cosines(served.as_task("embedding"), source, sentences)


async def _extract(served: Served, payload: Payload) -> Any:
    """Return a vector for each text by an embedding model, or the hidden vectors of its tokens by another."""
    check_keys(payload, ("inputs", "parameters", "options", *_FEATURES))
    flat = {name: value for name, value in payload.items() if name in _FEATURES}
    inputs, nested = _read({name: value for name, value in payload.items() if name not in flat}, _FEATURES)
    parameters = {**nested, **flat}
    texts, alone = _texts(inputs)
    for name, usual in (("truncation_direction", "right"), ("encoding_format", "float"), ("prompt_name", None)):
        if parameters.get(name) not in (None, usual):
            raise wrong(f"{name} can't be {parameters[name]!r:.60} here; leave it out")
    size, normalize = part(parameters, "dimensions", int, None), part(parameters, "normalize", bool, None)
    if size is not None and size < 1:
        raise wrong(f"dimensions must be at least 1; got {size}")
    truncation = None if (cut := part(parameters, "truncate", bool, None)) is None else "truncate" if cut else "error"
    if served.task == "embedding":
        vectors = [one.vector for one in await served.predict(texts, truncation=truncation)]
    else:
        features = served.as_task("features")
        vectors = [one.hidden for one in await features.predict(texts, truncation=truncation or "truncate")]
    vectors = [vector[..., :size] for vector in vectors]
    _check_size("numbers", sum(vector.size for vector in vectors), _MOST_NUMBERS)
    if normalize:
        vectors = [unit(one) for one in vectors]
    lists = [np.nan_to_num(vector.astype(np.float64)).round(_DIGITS).tolist() for vector in vectors]
    return lists[0] if alone else lists


async def _zero_shot(served: Served, payload: Payload) -> Any:
    """Return how well each label fits a text: whether the text entails a sentence about the label."""
    _require(served, "classification")
    inputs, parameters = _read(payload, ("candidate_labels", "multi_label", "hypothesis_template"))
    texts, alone = _texts(inputs)
    labels = strings(parameters, "candidate_labels")
    template = part(parameters, "hypothesis_template", str, "This example is {}.")
    several = part(parameters, "multi_label", bool, False)
    if not labels or len(set(labels)) < len(labels):
        raise wrong("candidate_labels must hold at least one label, and each only once")
    if template.count("{}") != 1:
        raise wrong("hypothesis_template must hold {} once, in the place of the label")
    if len(texts) * len(labels) > served.limits.inputs:
        raise RequestError(
            413,
            "too_many_inputs",
            f"{len(texts):,} texts with {len(labels):,} labels are more than {served.limits.inputs:,} pairs",
            limit="inputs",
            value=len(texts) * len(labels),
        )
    task: Any = served.predictor.task
    columns = {label.casefold()[:6]: number for number, label in enumerate(task.labels)}
    if "entail" not in columns:
        raise RequestError(422, "wrong_task", f"{served.name} has no label entailment, which zero-shot needs")
    items = [(text, template.replace("{}", label)) for text in texts for label in labels]
    logits = np.array(await served.predict(items, logits=True)).reshape(len(texts), len(labels), len(task.labels))
    entailed = logits[..., columns["entail"]]
    if several or len(labels) == 1:
        against = columns.get("contra", min(set(columns.values()) - {columns["entail"]}, default=columns["entail"]))
        scores = _sigmoid(entailed - logits[..., against])
    else:
        scores = _softmax(entailed)
    found = [_sorted(dict(zip(labels, row.tolist(), strict=True))) for row in scores]
    return found[0] if alone else found


PIPELINES: dict[str, Pipeline] = {
    "fill-mask": _fill_mask,
    "text-classification": _classify,
    "token-classification": _tag,
    "question-answering": _answer,
    "sentence-similarity": _compare,
    "feature-extraction": _extract,
    "zero-shot-classification": _zero_shot,
}
"""The pipelines, by the names of Hugging Face."""
