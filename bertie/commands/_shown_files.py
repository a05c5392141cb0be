"""Describe other files and folders for `show`: indexes, unfinished predictions, tables, texts, and folders of these."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.commands._integrity import DAMAGED as CHANGED
from bertie.commands._integrity import WHOLE
from bertie.commands._shown import DAMAGED, Description, quoted, size, some
from bertie.commands.command import Report
from bertie.errors import DataError, SettingsError
from bertie.untrusted import check_regular, read_object

_COUNTED_BYTES = 64_000_000
"""Rows are counted in files up to this size."""
_MOST = 200
_TASKS = {
    ("question", "context"): "question_answering",
    ("paragraphs",): "question_answering",
    ("tokens",): "tagging",
    ("spans",): "span_classification",
    ("choices",): "multiple_choice",
    ("label",): "classification",
}


def describe_index(file: Path) -> Report:
    """Describe a search index."""
    from bertie.inference.search_index import stored

    origin, vectors = stored(file)
    values = {
        "kind": "search index",
        "path": str(file),
        "num_vectors": len(vectors),
        "size_of_vectors": vectors.shape[1],
        "bytes": file.stat().st_size,
        "origin": origin,
    }
    return Description(
        title=f"{file}: a search index of {len(vectors):,} texts",
        values=values,
        facts={
            "vectors": f"{len(vectors):,} of {vectors.shape[1]} numbers",
            "model": f"fingerprint {str(origin.get('model'))[:16]}",
            "texts": f"a file with sha256 {str(origin.get('file'))[:16]}",
            "columns": None if origin.get("columns") == "{}" else origin.get("columns"),
            "size": size(values["bytes"]),
        },
        next_command=f'bertie search MODEL FILE "a query" --index {quoted(file)}',
    )


def describe_predictions(folder: Path) -> Report:
    """Describe the work folder of a file of predictions that isn't finished."""
    from bertie.bulk.parts import Work
    from bertie.files.lock import is_held

    origin, state = read_object(folder / "origin.json"), "running" if is_held(folder / "lock") else "stopped"
    files: dict[str, Any] = {"state": WHOLE}
    rows = errors = None
    try:
        work = Work(folder)
        rows, errors = work.num_rows, work.num_errors
    except DataError as error:
        files = {"state": CHANGED, "changed": [str(error)]}
    out = folder.with_name(folder.name.removesuffix(".parts"))
    before = origin.get("the input file")
    values = {
        "kind": "predictions in progress",
        "path": str(folder),
        "out": str(out),
        "state": state,
        "rows": rows,
        "errors": errors,
        "origin": origin,
        "files": files,
    }
    input_bytes = before.get("bytes") if isinstance(before, dict) else None
    settings = {name: value for name, value in origin.items() if name.startswith("--") and value not in (None, "None")}
    again = "" if state == "running" else f"bertie predict MODEL --file FILE --out {quoted(out)} --resume"
    return Description(
        title=f"{folder}: unfinished predictions for {out.name}, {state}",
        values=values,
        facts={
            "rows so far": rows,
            "rows with an error": errors,
            "input file": size(input_bytes) if isinstance(input_bytes, int) else None,
            "made by": f"bertie {origin.get('the version of bertie', '')} predict",
            "settings": ", ".join(f"{name} {value}" for name, value in settings.items()),
            "files": some(files.get("changed", [files["state"]])),
            "to continue": "give the same model, file and settings as before" if again else None,
        },
        next_command=again or None,
        exit_code=0 if files["state"] == WHOLE else DAMAGED,
    )


def is_table(file: Path) -> bool:
    """Tell whether a file is a data table by its suffix."""
    from bertie.files.compression import format_suffix
    from bertie.tables.table import suffixes

    return format_suffix(file) in suffixes(vague=True)


def describe_table(file: Path) -> Report:
    """Describe a data table: its columns, and its rows if the file isn't large."""
    from bertie.tables.table import open_rows

    num_bytes = check_regular(file)
    with open_rows(file) as table:
        columns = list(table.columns)
        counts = num_bytes <= _COUNTED_BYTES and bool(columns)
        rows = sum(1 for _ in table.rows(columns[:1])) if counts else None
        values = {
            "kind": "data table",
            "path": str(file),
            "columns": columns,
            "rows": rows,
            "encoding": table.encoding,
            "delimiter": table.delimiter,
            "header": table.header,
            "bytes": num_bytes,
        }
    names = {name.lower() for name in columns}
    task = next((task for needed, task in _TASKS.items() if names.issuperset(needed)), "classification")
    separators = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
    return Description(
        title=f"{file}: a data table with {len(columns)} columns",
        values=values,
        facts={
            "columns": some(columns, 12),
            "header": None if values["header"] is None else "yes" if values["header"] else "no: columns have numbers",
            "rows": rows,
            "separated by": separators.get(str(values["delimiter"])),
            "encoding": values["encoding"] if values["encoding"] != "UTF-8" else None,
            "size": size(num_bytes),
        },
        next_command=f"bertie check {quoted(file)} --task {task}",
    )


def describe_text(file: Path) -> Report:
    """Describe a file of raw text."""
    num_bytes = check_regular(file)
    with file.open("rb") as stream:
        start = stream.read(1_000_000)
    if b"\0" in start:
        raise SettingsError(f"{file} holds binary data, and its name doesn't say which; bertie doesn't know it")
    values: dict[str, Any] = {"kind": "text", "path": str(file), "bytes": num_bytes}
    if num_bytes <= len(start):
        values["lines"] = start.count(b"\n")
    return Description(
        title=f"{file}: a text of {size(num_bytes)}",
        values=values,
        facts={"lines": values.get("lines"), "size": size(num_bytes)},
        next_command=f"bertie check {quoted(file)}",
    )


def describe_folder(folder: Path, kinds: Mapping[str, str]) -> Report:
    """Describe a folder that holds several artefacts.

    Args:
        folder: the folder.
        kinds: the kind of each entry that bertie knows, by its name.
    """
    rows = [{"name": name, "kind": kind} for name, kind in list(kinds.items())[:_MOST]]
    return Description(
        title=f"{folder}: a folder with {len(kinds):,} things that bertie knows",
        values={"kind": "folder", "path": str(folder), "entries": rows},
        facts={"entries": rows},
        next_command=f"bertie show {quoted(folder / rows[0]['name'])}",
    )
