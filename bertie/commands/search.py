"""Find the texts of a file that are nearest in meaning to a query."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import progress
from bertie.commands._stdin import lines_of_stdin
from bertie.commands.command import UNBOUNDED_WIDTH, Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertie.inference.predictor import Predictor


@dataclass(frozen=True, kw_only=True)
class Found(Report):
    """What a search found; ``--json`` prints one object a query and a line."""

    queries: Sequence[str] = field(default_factory=tuple)
    """What was asked for."""
    hits: Sequence[Sequence[dict[str, Any]]] = field(default_factory=tuple)
    """Of each query its hits, best first: score, line and text."""

    def as_dict(self) -> dict[str, Any]:
        """Return every query with its hits."""
        return {"results": [{"query": query, "hits": list(hits)} for query, hits in self._pairs()]}

    def as_json(self) -> str:
        """Write one line of JSON for each query."""
        return "\n".join(Report(title="", values=values).as_json() for values in self.as_dict()["results"])

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Lay out a small table for each query."""
        from bertie.inference.plain_text import show_hits

        return "\n\n".join(show_hits(query, hits, width) for query, hits in self._pairs())

    def _pairs(self) -> list[tuple[str, Sequence[dict[str, Any]]]]:
        return list(zip(self.queries, self.hits, strict=True))


def search(
    model: Positional[str],
    file: Positional[Path],
    queries: Positional[tuple[str, ...]] = (),
    *,
    top_k: int = 5,
    index: Path | None = None,
    columns: dict[str, str] | None = None,
    length: int | None = None,
    truncation: Literal["truncate", "error", "window"] | None = None,
    settings: dict[str, Any] | None = None,
    batch_tokens: int = 4096,
    precision: Literal["exact", "bf16", "int8"] | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Found:
    """Find the texts of a file that are nearest in meaning to a query.

    Every text is compared, by the cosine of its vector and the query's. Without queries, standard input is read, one
    a line.

    Args:
        model: folder or hub id of a model that makes embeddings; of others the mean of the hidden vectors is taken.
        file: .txt (one text a line), .tsv, .csv, .jsonl or .parquet to search in.
        queries: what to look for.
        top_k: texts to show for each query.
        index: file (.npz) that keeps the texts' vectors for the next search; made when it doesn't exist, and again
            when the model or the file is another one.
        columns: which column of the file holds the texts, such as text=body; found out when not given.
        length: tokens of the longest text; what the model brings when not given.
        truncation: cut longer texts, stop at them (error), or pool windows of them; what the model brings when not
            given.
        settings: further settings of the task embedding, such as pooling=cls.
        batch_tokens: tokens of a batch at most; fewer need less memory.
        precision: how near the encoder's vectors come to fp32's: exact (within 1e-4), bf16 or int8 (a mean cosine of
            0.9999 or 0.995 at least); exact, or what a folder was exported in, when not given.
        backend: what runs the encoder: eager (torch), onnx or openvino; the fastest one that is installed, by a fixed
            rule, when auto.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.

    Returns:
        For each query the nearest texts with their scores and lines.
    """
    from bertie.data.frames import called
    from bertie.inference.predictor import load
    from bertie.inference.search import embed, nearest

    if top_k < 1:
        raise SettingsError(f"--top-k must be at least 1; got {top_k}")
    if index is not None and index.suffix != ".npz":
        raise SettingsError(f"--index {index}: an index is a .npz file; call it {index.name}.npz")
    asked = queries or lines_of_stdin('no queries: give them as arguments ("a query" "another") or on standard input')
    if "" in (query.strip() for query in asked):
        raise DataError("a query is empty; leave it out")
    wishes = {"max_length": length, "truncation": truncation}
    given = {**{name: value for name, value in wishes.items() if value is not None}, **(settings or {})}
    running: dict[str, Any] = {"precision": precision, "backend": backend}
    predictor = load(
        model, task="embedding", device=device, threads=threads, max_tokens=batch_tokens, **running, **given
    )
    places, texts = _texts(file, columns, predictor)
    found = nearest(_vectors(predictor, file, texts, index, columns), embed(predictor, asked), top_k)
    return Found(
        title=f"{called(file)}, searched by {model}",
        queries=asked,
        hits=[
            [{"score": hit.score, **places[hit.number], "text": texts[hit.number]} for hit in hits] for hits in found
        ],
    )


def _texts(
    file: Path, columns: dict[str, str] | None, predictor: "Predictor"
) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the texts and where they stand, line and id; of a pair the first one, and none that is empty."""
    from bertie.data.reading import learned
    from bertie.tasks.task import read_items

    items = read_items(predictor.task, file, columns=columns, like=learned(predictor.bundle.extra)).items
    kept = [item for item in items if item.text.strip()]
    if not kept:
        raise DataError(f"{file} holds no text to search in")
    if len(kept) < len(items):
        progress.note(f"{file}: {len(items) - len(kept):,} empty texts are left out")
    return [{"line": item.line, **({"id": item.id} if item.id else {})} for item in kept], [item.text for item in kept]


def _vectors(
    predictor: "Predictor", file: Path, texts: Sequence[str], index: Path | None, columns: dict[str, str] | None
) -> "NDArray[np.float32]":
    """Take the vectors of the texts from the index, or make them and keep them there."""
    from bertie.inference.search import embed, origin_of, read_index, write_index

    if index is None:
        with progress.bar("Embedding", total=len(texts), unit="texts") as bar:
            return embed(predictor, texts, bar=bar)
    origin = origin_of(predictor, file, columns)
    stored = read_index(index, origin)
    if stored is not None and len(stored) == len(texts):
        return stored
    with progress.bar("Embedding", total=len(texts), unit="texts") as bar:
        vectors = embed(predictor, texts, bar=bar)
    write_index(index, origin, vectors)
    progress.note(f"{index}: {len(vectors):,} vectors kept for the next search")
    return vectors
