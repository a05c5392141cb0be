"""Predict with a model: labels, fillings of [MASK], choices, vectors, for texts from arguments, stdin or a file."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import progress
from bertie.commands._stdin import lines_of_stdin, refuse_names, refuse_table
from bertie.commands.command import UNBOUNDED_WIDTH, Report
from bertie.config import Positional
from bertie.data.items import Choice
from bertie.errors import DataError, SettingsError

if TYPE_CHECKING:
    from bertie.inference.predictor import Predictor
    from bertie.tasks._prediction import Prediction

_MANY = 200  # texts that are worth a progress bar


@dataclass(frozen=True, kw_only=True)
class Predictions(Report):
    """What a model said; `--json` prints one object a text and a line."""

    items: Sequence[Any] = field(default_factory=tuple)
    """What it was asked."""
    predictions: Sequence["Prediction | None"] = field(default_factory=tuple)
    """Its answers, in the same order; None for an item of a file without any text."""
    places: Sequence[dict[str, Any]] = field(default_factory=tuple)
    """The line, and the id where there is one, of each item; empty for texts that were given as arguments."""

    def as_dict(self) -> dict[str, Any]:
        """Return every text with its prediction, and with its place in the file it came from."""
        from bertie.inference.plain_text import records

        found = records(self.items, self.predictions)
        places = self.places or [{}] * len(found)
        return {"predictions": [{**place, **one} for place, one in zip(places, found, strict=True)]}

    def as_json(self) -> str:
        """Write one line of JSON for each text."""
        return "\n".join(Report(title="", values=values).as_json() for values in self.as_dict()["predictions"])

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Lay the predictions out as their form asks for."""
        from bertie.inference.plain_text import show

        return show(self.items, self.predictions, width)


def predict(
    model: Positional[str],
    texts: Positional[tuple[str, ...]] = (),
    *,
    pair: tuple[str, ...] = (),
    file: Path | None = None,
    columns: dict[str, str] | None = None,
    task: str | None = None,
    top_k: int | None = None,
    joint: bool = False,
    targets: tuple[str, ...] = (),
    answer_length: int | None = None,
    likelihood: bool = False,
    scoring: Literal["masked", "causal"] | None = None,
    length: int | None = None,
    truncation: Literal["truncate", "error", "window"] | None = None,
    settings: dict[str, Any] | None = None,
    batch_tokens: int = 4096,
    precision: Literal["exact", "bf16", "int8"] | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Predictions:
    """Predict with a model: labels, fillings of [MASK], choices, vectors, for texts from arguments, stdin or a file.

    Without texts and file, standard input is read, one text a line; a tab parts the two texts of a pair, or a text and
    its choices. --joint, --targets, --answer-length and --likelihood are for masked language models, one at a time.

    Args:
        model: model folder or hub id.
        texts: texts to predict for; a tab parts the two texts of a pair.
        pair: second texts, one for each text; for multiple choice the choices of a single text.
        file: .txt (one text a line), .tsv, .csv, .jsonl or .parquet to read the texts from.
        columns: what the columns of the file hold, such as text=body,pair=title, and how it is read, such as
            header=no,delimiter=semicolon; as the model's training file, or found out, when not given.
        task: what to do with the model; what it was made for when not given.
        top_k: guesses for each [MASK], or for all masks of a text together.
        joint: fill all [MASK] of a text together instead of each on its own.
        targets: answers to rank for the one [MASK] of each text, of any number of words, parted by commas.
        answer_length: find whole answers of 1 to this many pieces for the one [MASK] of each text.
        likelihood: score whole texts instead: log-likelihood (natural logarithm) and perplexity. A masked LM's is a
            pseudo-log-likelihood; pieces to the right in the same word are hidden too.
        scoring: what each piece is guessed from in a likelihood: all the others (masked) or those before it (causal);
            what the model was made for when not given.
        length: tokens of the longest text; what the model brings when not given.
        truncation: cut longer texts, stop at them (error), or slide a window over them; what the model brings when
            not given.
        settings: further settings of the task, instead of those that the model brings, such as stride=32;
            names in their order as labels=bad|good.
        batch_tokens: tokens of a batch at most; fewer need less memory.
        precision: how near the encoder's vectors come to fp32's: exact (within 1e-4), bf16 or int8 (a mean cosine of
            0.9999 or 0.995 at least); exact, or what a folder was exported in, when not given.
        backend: what runs the encoder: eager (torch), onnx or openvino; the fastest one that is installed, by a fixed
            rule, when auto.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.

    Returns:
        One prediction a text, in their order.
    """
    from bertie.inference.predictor import load

    if scoring is not None and not likelihood:
        raise SettingsError("--scoring says how likelihoods are worked out; add --likelihood")
    asked = _asked(
        joint=joint,
        targets=targets,
        answer_length=answer_length,
        likelihood=likelihood,
        scoring=scoring,
        top_k=top_k,
    )
    wishes = {"top_k": top_k, "max_length": length, "truncation": truncation}
    given = {**{name: value for name, value in wishes.items() if value is not None}, **(settings or {})}
    running: dict[str, Any] = {"precision": precision, "backend": backend}
    predictor = load(model, task=task, device=device, threads=threads, max_tokens=batch_tokens, **running, **given)
    items, places = _items(texts, pair, file, columns, predictor)
    blank = [bool(places) and _is_blank(item) for item in items]
    said = [item for item, nothing in zip(items, blank, strict=True) if not nothing]
    predictor.expect(len(said))
    many = len(said) >= _MANY
    with progress.bar("Predicting", total=len(said), unit="texts") if many else nullcontext() as bar:
        predictions = asked(predictor, said, bar=bar) if said else []
    if len(said) < len(items):
        predictions = _in_place(blank, places, predictions)
    return Predictions(title=f"{predictor.task.name} by {model}", items=items, predictions=predictions, places=places)


def _asked(
    *,
    joint: bool,
    targets: Sequence[str],
    answer_length: int | None,
    likelihood: bool,
    scoring: Literal["masked", "causal"] | None,
    top_k: int | None,
) -> Callable[..., list[Any]]:
    """Return what answers the flags: a function of (predictor, items, bar=)."""
    given = {
        "--joint": joint,
        "--targets": bool(targets),
        "--answer-length": answer_length is not None,
        "--likelihood": likelihood,
    }
    chosen = [flag for flag, wanted in given.items() if wanted]
    if len(chosen) > 1:
        raise SettingsError(f"{' and '.join(chosen)} are different questions; ask one at a time")
    if likelihood and top_k is not None:
        raise SettingsError("--top-k goes with guesses, and --likelihood makes none; leave it out")
    if likelihood:
        from bertie.inference.likelihood import pseudo_log_likelihood

        return partial(pseudo_log_likelihood, scoring=scoring)
    if joint:
        from bertie.inference.filling import fill_jointly

        return fill_jointly
    if targets:
        from bertie.inference.answers import rank_targets

        words = [word.strip() for target in targets for word in target.split(",")]
        return lambda predictor, items, bar: [own[:top_k] for own in rank_targets(predictor, items, words, bar=bar)]
    if answer_length is not None:
        from bertie.inference.answers import find_answers

        return partial(find_answers, max_pieces=answer_length)
    return lambda predictor, items, bar: predictor.predict(items, bar=bar)


def _items(
    texts: Sequence[str],
    pair: Sequence[str],
    file: Path | None,
    columns: dict[str, str] | None,
    predictor: "Predictor",
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Gather the items from where they are, and their places in a file, which is read as the model's training file."""
    from bertie.data.reading import learned
    from bertie.tasks.task import read_items

    task = predictor.task
    if file is not None:
        if texts or pair:
            raise SettingsError("give texts or --file, not both")
        items = list(read_items(task, file, columns=columns, like=learned(predictor.bundle.extra)).items)
        return items, [_place(item) for item in items]
    if columns is not None:
        raise SettingsError("--columns goes with --file")
    refuse_names((*texts, *pair))
    if pair and task.takes_choices:
        if len(texts) != 1:
            raise SettingsError(f"{len(texts)} texts with choices by --pair; give one text, or several by --file")
        return [Choice(texts[0], tuple(pair))], []
    if pair:
        if len(pair) != len(texts):
            raise SettingsError(f"{len(texts)} texts and {len(pair)} second texts by --pair; give as many of both")
        return list(zip(texts, pair, strict=True)), []
    piped = not texts
    if piped:
        texts = lines_of_stdin('no texts: give them as arguments ("a text" "another"), by --file, or on standard input')
        refuse_table(texts)
    items = [_parted(text, number, choices=task.takes_choices) for number, text in enumerate(texts, 1)]
    return items, [{"line": number} for number in range(1, len(items) + 1)] if piped else []


def _place(item: Any) -> dict[str, Any]:
    """Say where an item stands in its file, for whoever joins predictions to its rows."""
    place: dict[str, Any] = {"line": item.line} if getattr(item, "line", 0) else {}
    return {**place, "id": item.id} if getattr(item, "id", "") else place


def _is_blank(item: Any) -> bool:
    """Tell whether an item holds no text at all: an empty line, or a row with nothing in it."""
    from bertie.inference.plain_text import sides

    return not any(part.strip() for part in sides(item).values())


def _in_place(blank: Sequence[bool], places: Sequence[dict[str, Any]], found: Sequence[Any]) -> list[Any]:
    """Put None where there was no text to predict for, and say so."""
    first = places[blank.index(True)].get("line", blank.index(True) + 1)
    progress.note(f"{sum(blank):,} of {len(blank):,} have no text, the first in line {first}; their prediction is null")
    following = iter(found)
    return [None if nothing else next(following) for nothing in blank]


def _parted(text: str, number: int, *, choices: bool) -> Any:
    """Part a pair at its tab, or a text and its choices at theirs."""
    parts = text.split("\t")
    if choices:
        return Choice(parts[0], tuple(parts[1:]))
    if len(parts) > 2:
        raise DataError(f"text {number} holds {len(parts) - 1} tabs; one parts a pair, and a table is read by --file")
    return (parts[0], parts[1]) if len(parts) == 2 else text
