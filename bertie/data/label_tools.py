"""Exports of label tools, made into rows of one form: Label Studio, Prodigy, doccano, spaCy and NER annotators.

What people rejected, skipped or did not look at is nothing to learn from: it is left out, counted and shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertie.data.json_values import Value, is_pair, objects
from bertie.data.reading import LeftOut, shown_row
from bertie.errors import DataError


@dataclass
class Labelled:
    """Rows of an export."""

    tool: str
    rows: list[tuple[int, dict[str, Any]]]
    mapping: dict[str, str]
    """Role to the name under which the file has it; rows have the roles as names."""
    dropped: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Reason to the lines and contents that were left out."""

    def drop(self, reason: str, line: int, content: str) -> None:
        """Leave a row out."""
        self.dropped.setdefault(reason, []).append((line, content))

    def left_out(self) -> tuple[LeftOut, ...]:
        """Count what was left out."""
        return tuple(LeftOut.of(reason, rows) for reason, rows in self.dropped.items())


def read_export(file: Path, values: Sequence[Value], columns: Mapping[str, str]) -> Labelled | None:
    """Read what a label tool wrote; None for other JSON.

    Args:
        file: for messages.
        values: of the file.
        columns: text, to take the text of a Label Studio task from.

    Raises:
        DataError: an export of another form than its tool writes, or that may be read in two ways.
    """
    if len(values) == 1 and isinstance(values[0][1], dict) and isinstance(values[0][1].get("annotations"), list):
        inner = [one for one in values[0][1]["annotations"] if one is not None]
        if inner and all(map(is_pair, inner)):  # {"classes": [...], "annotations": [[text, {...}], ...]}
            return _spacy_pairs(file, list(enumerate(inner, 1)))
    first = values[0][1] if values else None
    if is_pair(first):
        return _spacy_pairs(file, values)
    if not isinstance(first, dict):
        return None
    if isinstance(first.get("paragraphs"), list) and "qas" not in str(first)[:2000]:
        return _spacy_documents(file, values)
    if isinstance(first.get("data"), dict) and {"annotations", "completions", "result"} & set(first):
        return _label_studio(file, values, columns)
    if "answer" in first and ({"_input_hash", "_task_hash", "spans"} & set(first)):
        return _prodigy(file, values)
    name = next((name for _, value in values for name in _min_names(value)), "")
    return _label_studio_min(file, values, name, columns) if name else None


def _spacy_pairs(file: Path, values: Sequence[Value]) -> Labelled:
    found = Labelled("spaCy", [], {"text": "text", "spans": "entities"})
    for line, value in values:
        if not is_pair(value):
            raise DataError(f'{file}:{line}: spaCy has [text, {{"entities": [...]}}] here; this is {value!r:.60}')
        found.rows.append((line, {"text": value[0], "spans": value[1].get("entities")}))
    return found


def _spacy_documents(file: Path, values: Sequence[Value]) -> Labelled:
    """Read the JSON that spaCy 2 trained on: documents, paragraphs, sentences, tokens."""
    found = Labelled("spaCy 2", [], {"words": "orth", "tags": "ner"})
    sentences: list[tuple[int, list[Any]]] = []
    try:
        for line, document in values:
            for paragraph in document["paragraphs"]:
                sentences += [(line, sentence["tokens"]) for sentence in paragraph["sentences"]]
        has_tags = [all(name in token for _, tokens in sentences for token in tokens) for name in ("ner", "tag")]
        name = "ner" if has_tags[0] else "tag" if has_tags[1] else ""
        for line, tokens in sentences:
            row: dict[str, Any] = {"words": [token["orth"] for token in tokens]}
            if name:
                row["tags"] = [token[name] for token in tokens]
            found.rows.append((line, row))
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{file}: spaCy's documents have paragraphs, sentences and tokens; {error} is missing"
        ) from error
    found.mapping = {"words": "orth", **({"tags": name} if name else {})}
    return found


def _prodigy(file: Path, values: Sequence[Value]) -> Labelled:
    """Read Prodigy's rows: those that were accepted; without spans they hold no entity."""
    found = Labelled("Prodigy", [], {"text": "text", "spans": "spans"})
    for line, row in objects(file, values):
        answer = row.get("answer", "accept")
        if answer != "accept":
            found.drop(f"answer is {answer!r}", line, shown_row([row.get("text")]))
            continue
        spans = row.get("spans")
        found.rows.append((line, {"text": row.get("text"), "spans": [] if spans is None else spans}))
    return found


def _label_studio(file: Path, values: Sequence[Value], columns: Mapping[str, str]) -> Labelled:
    """Read tasks with their annotations."""
    tasks = list(objects(file, values))
    name = columns.get("text") or _text_name(file, [task.get("data") for _, task in tasks])
    found = Labelled("Label Studio", [], {"text": name, "spans": "annotations"})
    for line, task in tasks:
        data = task.get("data")
        if not isinstance(data, dict) or not isinstance(data.get(name), str):
            raise DataError(f"{file}:{line}: this task has no text named {name!r}")
        text = data[name]
        made = task.get("annotations", task.get("completions", task.get("result"))) or []
        made = [one for one in made if isinstance(one, dict)] if isinstance(made, list) else []
        kept = [one for one in made if not one.get("was_cancelled") and not one.get("skipped")]
        if made and not kept:
            found.drop("skipped by whoever labelled it", line, shown_row([text]))
            continue
        if sure := [one for one in kept if one.get("ground_truth")]:
            kept = sure
        several = [_results(file, line, one.get("result", [one]), text) for one in kept]
        if any(spans != several[0] for spans in several[1:]):
            found.drop("labelled in different ways by several people", line, shown_row([text]))
        elif not several:
            found.rows.append((line, {"text": text, "spans": None}))
        else:
            found.rows.append((line, {"text": text, "spans": several[0]}))
    return found


def _text_name(file: Path, data: Sequence[Any]) -> str:
    """Find the text of tasks: by its name, or as the only string."""
    first = data[0] if data else {}
    names = [name for name, value in first.items() if isinstance(value, str)] if isinstance(first, dict) else []
    if "text" in names or len(names) == 1:
        return "text" if "text" in names else names[0]
    raise DataError(
        f"{file}: can't tell which part of a task's data is the text ({', '.join(names)}); say --columns text=NAME"
    )


def _results(file: Path, line: int, results: Any, text: str) -> list[dict[str, Any]]:
    """Return the spans among the results of an annotation, in their order in the text."""
    spans = []
    for result in results if isinstance(results, list) else []:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue
        labels = next((value[name] for name in ("labels", "hypertextlabels") if value.get(name)), None)
        if labels is None:
            continue  # a relation, a choice, a note
        place = whole if isinstance(whole := value.get("globalOffsets"), dict) else value
        spans.append({"start": place.get("start"), "end": place.get("end"), "label": labels})
        if isinstance(value.get("text"), str):
            spans[-1]["text"] = value["text"]
    return sorted(
        spans, key=lambda span: (str(span["start"]).zfill(12), str(span["end"]).zfill(12), str(span["label"]))
    )


def _min_names(value: Any) -> list[str]:
    """Name what holds spans as Label Studio's short form has them: start, end, labels."""
    if not isinstance(value, dict):
        return []
    return [
        name
        for name, spans in value.items()
        if isinstance(spans, list)
        and spans
        and all(isinstance(span, dict) and {"start", "end", "labels"} <= set(span) for span in spans)
    ]


def _label_studio_min(file: Path, values: Sequence[Value], name: str, columns: Mapping[str, str]) -> Labelled:
    """Read the short form: a flat row each, which lacks the labels where there are none."""
    rows = list(objects(file, values))
    others = {other for _, row in rows for other in _min_names(row)} - {name}
    if others and "spans" not in columns:
        raise DataError(
            f"{file}: {name!r} and {min(others)!r} may both be the spans; say --columns text=NAME,spans=NAME"
        )
    name = columns.get("spans", name)
    ours = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time")
    text = columns.get("text") or _text_name(
        file, [{key: value for key, value in row.items() if key not in ours} for _, row in rows]
    )
    found = Labelled("Label Studio", [], {"text": text, "spans": name})
    for line, row in rows:
        if not isinstance(row.get(text), str):
            raise DataError(f"{file}:{line}: this row has no text named {text!r}")
        unseen = None if name not in row and "annotation_id" not in row else row.get(name) or []
        found.rows.append((line, {"text": row[text], "spans": unseen}))
    return found
