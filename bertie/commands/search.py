"""Find the texts of a file that are nearest in meaning to a query."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._stdin import lines_of_stdin
from bertie.commands._use import UseSettings, with_use_settings
from bertie.commands.command import UNBOUNDED_WIDTH, Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bertie.inference.predictor import Predictor


@dataclass(frozen=True, kw_only=True)
class SearchResults(Report):
    """The results of a search; ``--json`` prints one JSON object per line and query."""

    queries: Sequence[str] = field(default_factory=tuple)
    """The queries."""
    hits: Sequence[Sequence[dict[str, Any]]] = field(default_factory=tuple)
    """The hits of each query, best first: score, line and text."""

    def as_dict(self) -> dict[str, Any]:
        """Return every query with its hits."""
        return {"results": [{"query": query, "hits": list(hits)} for query, hits in self._pairs()]}

    def as_json(self) -> str:
        """Return one line of JSON for each query."""
        return "\n".join(Report(title="", values=values).as_json() for values in self.as_dict()["results"])

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Return a small table for each query, as text."""
        from bertie.inference.render import show_hits

        return "\n\n".join(show_hits(query, hits, width) for query, hits in self._pairs())

    def _pairs(self) -> list[tuple[str, Sequence[dict[str, Any]]]]:
        return list(zip(self.queries, self.hits, strict=True))


@with_use_settings
def search(
    model: Positional[str],
    file: Positional[Path],
    queries: Positional[tuple[str, ...]] = (),
    *,
    top_k: int = 5,
    index: Path | None = None,
    columns: dict[str, str] | None = None,
    use: UseSettings,
) -> SearchResults:
    """Find the texts of a file that are nearest in meaning to a query.

    Every text is compared with the query by the cosine of their vectors. Without queries, standard input is read, one
    query per line.

    Args:
        model: folder or hub id of an embedding model; for other models the mean of the hidden vectors is used.
        file: .txt (one text per line) or table (.csv, .jsonl, .parquet, ...) to search in.
        queries: texts to search for.
        top_k: number of texts to show for each query.
        index: file (.npz) that stores the texts' vectors for the next search; written if it doesn't exist, and again if
            the model or the file has changed.
        columns: the column of the file that holds the texts, such as text=body; detected when not given.
        use: settings that predict, evaluate and search share.

    Returns:
        For each query the nearest texts with their scores and lines.
    """
    from bertie.inference.search import embed, nearest
    from bertie.readers.frames import called

    if top_k < 1:
        raise SettingsError(f"--top-k must be at least 1; got {top_k}")
    if index is not None and index.suffix != ".npz":
        raise SettingsError(f"--index {index}: an index is a .npz file; name it {index.name}.npz")
    query_texts = queries or lines_of_stdin(
        'no queries: give them as arguments ("a query" "another") or on standard input'
    )
    if "" in (query.strip() for query in query_texts):
        raise DataError("a query is empty; leave it out")
    predictor = use.load(model, task="embedding")
    lines, texts = _texts(file, columns, predictor)
    results = nearest(_vectors(predictor, file, texts, index, columns), embed(predictor, query_texts), top_k)
    return SearchResults(
        title=f"{called(file)}, searched by {model}",
        queries=query_texts,
        hits=[
            [{"score": hit.score, **lines[hit.number], "text": texts[hit.number]} for hit in hits] for hits in results
        ],
    )


def _texts(
    file: Path, columns: dict[str, str] | None, predictor: "Predictor"
) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the non-empty texts, the first of a pair, with their lines and ids."""
    from bertie.readers.reading import learned
    from bertie.tasks._lookup import read_items

    items = read_items(predictor.task, file, columns=columns, like=learned(predictor.bundle.extra)).items
    nonempty = [item for item in items if item.text.strip()]
    if not nonempty:
        raise DataError(f"{file} has no text to search in")
    if len(nonempty) < len(items):
        progress.note(f"{file}: {len(items) - len(nonempty):,} empty texts are left out")
    return [{"line": item.line, **({"id": item.id} if item.id else {})} for item in nonempty], [
        item.text for item in nonempty
    ]


def _vectors(
    predictor: "Predictor", file: Path, texts: Sequence[str], index: Path | None, columns: dict[str, str] | None
) -> "NDArray[np.float32]":
    """Read the vectors of the texts from the index, or compute them and write the index."""
    from bertie.inference.search import embed, origin_of
    from bertie.inference.search_index import read_index, write_index

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
    progress.note(f"{index}: {len(vectors):,} vectors stored for the next search")
    return vectors
