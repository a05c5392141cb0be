"""Private helper of `huggingface`: the tasks token-classification and question-answering: parts of a text."""

from __future__ import annotations

from typing import Any

from bertie.items.question import Question
from bertie.serving.hub import Served
from bertie.serving.protocols._hf_payloads import QuestionParameters, QuestionPayload, TokenParameters, TokenPayload
from bertie.serving.protocols._models import require
from bertie.tasks._prediction import plain
from bertie.tasks._word_pieces import as_words


async def tag(served: Served, payload: TokenPayload) -> Any:
    """Return the entities of each text, or with `aggregation_strategy` none its words with a tag.

    Raises:
        RequestError: the model marks no spans, or the request exceeds a limit.
    """
    require(served, "tagging", "span_classification")
    alone, texts = payload.inputs
    parameters = payload.parameters or TokenParameters()
    how = parameters.aggregation_strategy or "simple"
    ignored = {"O"} if parameters.ignore_labels is None else set(parameters.ignore_labels)
    task: Any = served.predictor.task
    by_word = served.task == "tagging" and (how == "none" or not task.finds_entities)
    found = []
    for text, one in zip(texts, await served.predict(texts, stride=parameters.stride), strict=True):
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


async def find_answer(served: Served, payload: QuestionPayload) -> Any:
    """Return the answer of a question, or the `top_k` best ones.

    Raises:
        RequestError: the model answers no questions, or the request exceeds a limit.
    """
    require(served, "question_answering")
    alone, rows = payload.inputs
    parameters = payload.parameters or QuestionParameters()
    items = [Question(row.question, row.context) for row in rows]
    top_k, may_be_empty = parameters.top_k or 1, parameters.handle_impossible_answer
    task: Any = served.predictor.task
    length = parameters.max_seq_len
    settings = {
        "max_answer": parameters.max_answer_len,
        "max_length": None if length is None else min(length, task.max_length),
        "stride": parameters.doc_stride,
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
    return answers[0] if alone else answers
