"""Read exports of label tools into rows of one form: Label Studio, Prodigy, doccano, spaCy and NER annotators.

Rows that annotators rejected, skipped or did not see are left out, counted and shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.readers.json_values import Value, is_pair, objects
from bertie.readers.reading import LeftOut, shown_row


@dataclass
class Labelled:
    """The rows of an export."""

    tool: str
    rows: list[tuple[int, dict[str, Any]]]
    mapping: dict[str, str]
    """Role to its name in the file. In `rows`, the roles are the names."""
    dropped: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Reason to the (line, content) of the rows left out."""

    def drop(self, reason: str, line: int, content: str) -> None:
        """Leave a row out."""
        self.dropped.setdefault(reason, []).append((line, content))

    def left_out(self) -> tuple[LeftOut, ...]:
        """Count the rows left out, by reason."""
        return tuple(LeftOut.of(reason, rows) for reason, rows in self.dropped.items())


def read_export(file: Path, values: Sequence[Value], columns: Mapping[str, str]) -> Labelled | None:
    """Read the export of a label tool; return None for other JSON.

    Args:
        file: file name for messages.
        values: values of the file.
        columns: `text` names the text of a Label Studio task, `spans` its spans.

    Raises:
        DataError: the export is malformed or ambiguous.
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
    export = Labelled("spaCy", [], {"text": "text", "spans": "entities"})
    for line, value in values:
        if not is_pair(value):
            raise DataError(f'{file}:{line}: expected spaCy\'s [text, {{"entities": [...]}}], got {value!r:.60}')
        export.rows.append((line, {"text": value[0], "spans": value[1].get("entities")}))
    return export


def _spacy_documents(file: Path, values: Sequence[Value]) -> Labelled:
    """Read the JSON training format of spaCy 2: documents, paragraphs, sentences, tokens."""
    export = Labelled("spaCy 2", [], {"words": "orth", "tags": "ner"})
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
            export.rows.append((line, row))
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: a spaCy document has paragraphs, sentences and tokens; {error} is missing") from error
    export.mapping = {"words": "orth", **({"tags": name} if name else {})}
    return export


def _prodigy(file: Path, values: Sequence[Value]) -> Labelled:
    """Read the accepted rows of Prodigy; a row without spans has no entity."""
    export = Labelled("Prodigy", [], {"text": "text", "spans": "spans"})
    for line, row in objects(file, values):
        answer = row.get("answer", "accept")
        if answer != "accept":
            export.drop(f"answer is {answer!r}", line, shown_row([row.get("text")]))
            continue
        spans = row.get("spans")
        export.rows.append((line, {"text": row.get("text"), "spans": [] if spans is None else spans}))
    return export


def _label_studio(file: Path, values: Sequence[Value], columns: Mapping[str, str]) -> Labelled:
    """Read tasks with their annotations."""
    tasks = list(objects(file, values))
    name = columns.get("text") or _text_name(file, [task.get("data") for _, task in tasks])
    export = Labelled("Label Studio", [], {"text": name, "spans": "annotations"})
    for line, task in tasks:
        data = task.get("data")
        if not isinstance(data, dict) or not isinstance(data.get(name), str):
            raise DataError(f"{file}:{line}: this task has no text named {name!r}")
        text = data[name]
        annotations = task.get("annotations", task.get("completions", task.get("result"))) or []
        annotations = [one for one in annotations if isinstance(one, dict)] if isinstance(annotations, list) else []
        kept = [one for one in annotations if not one.get("was_cancelled") and not one.get("skipped")]
        if annotations and not kept:
            export.drop("skipped by the annotator", line, shown_row([text]))
            continue
        if ground_truth := [one for one in kept if one.get("ground_truth")]:
            kept = ground_truth
        several = [_results(file, line, one.get("result", [one]), text) for one in kept]
        if any(spans != several[0] for spans in several[1:]):
            export.drop("labelled differently by several annotators", line, shown_row([text]))
        elif not several:
            export.rows.append((line, {"text": text, "spans": None}))
        else:
            export.rows.append((line, {"text": text, "spans": several[0]}))
    return export


def _text_name(file: Path, data: Sequence[Any]) -> str:
    """Find the text of the tasks: by its name, or as the only string."""
    first = data[0] if data else {}
    names = [name for name, value in first.items() if isinstance(value, str)] if isinstance(first, dict) else []
    if "text" in names or len(names) == 1:
        return "text" if "text" in names else names[0]
    raise DataError(
        f"{file}: can't tell which part of a task's data is the text ({', '.join(names)}); set --columns text=NAME"
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
        offsets = whole if isinstance(whole := value.get("globalOffsets"), dict) else value
        spans.append({"start": offsets.get("start"), "end": offsets.get("end"), "label": labels})
        if isinstance(value.get("text"), str):
            spans[-1]["text"] = value["text"]
    return sorted(
        spans, key=lambda span: (str(span["start"]).zfill(12), str(span["end"]).zfill(12), str(span["label"]))
    )


def _min_names(value: Any) -> list[str]:
    """Return the names of fields that hold spans in Label Studio's short form: start, end, labels."""
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
    """Read Label Studio's short form: one flat row for each task; a row without labels lacks that field."""
    rows = list(objects(file, values))
    others = {other for _, row in rows for other in _min_names(row)} - {name}
    if others and "spans" not in columns:
        raise DataError(
            f"{file}: {name!r} and {min(others)!r} may both be the spans; choose one: --columns text=NAME,spans=NAME"
        )
    name = columns.get("spans", name)
    tool_fields = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time")
    text = columns.get("text") or _text_name(
        file, [{key: value for key, value in row.items() if key not in tool_fields} for _, row in rows]
    )
    export = Labelled("Label Studio", [], {"text": text, "spans": name})
    for line, row in rows:
        if not isinstance(row.get(text), str):
            raise DataError(f"{file}:{line}: this row has no text named {text!r}")
        unseen = None if name not in row and "annotation_id" not in row else row.get(name) or []
        export.rows.append((line, {"text": row[text], "spans": unseen}))
    return export
