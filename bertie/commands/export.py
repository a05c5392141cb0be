"""Export a model for another runtime, such as ONNX Runtime, and prove that it gives the same answers."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bertie.backends._frozen import Facts
    from bertie.backends.backend import Backend, Precision
    from bertie.formats.format import Bundle


def export(
    model: Positional[str],
    out: Path,
    *,
    backend: str = "onnx",
    precision: Literal["exact", "bf16", "int8"] = "exact",
    dev: Path | None = None,
    max_drop: float = 0.5,
    columns: dict[str, str] | None = None,
    task: str | None = None,
    settings: dict[str, Any] | None = None,
    texts: Path | None = None,
    threads: int | None = None,
) -> Report:
    """Export a model for another runtime, such as ONNX Runtime, and prove that it gives the same answers.

    The folder contains one graph with encoder and head, the tokenizer, the config and a model card. predict, evaluate,
    search and serve accept it like a model folder. Other programs read model.onnx: its inputs and outputs have the
    names of Hugging Face's exports. Both models read the same texts, and nothing is written if the answers differ more
    than the precision allows. With --dev, both are scored, and nothing is written if the score falls too much.

    Args:
        model: model folder or hub id.
        out: folder to write; must not exist.
        backend: what will run the model: onnx or openvino.
        precision: required closeness to fp32: exact (outputs within 1e-4), bf16 or int8 (mean cosine of texts' vectors
            at least 0.9999 or 0.995); int8 takes less than a third of the space.
        dev: table of the task, to measure its scores before and after.
        max_drop: largest loss of the task's main score on --dev, in points (hundredths).
        columns: roles of --dev's columns, such as text=body,label=tag; detected when not given.
        task: task of the model; the one it was trained for when not given.
        settings: settings of the task that replace the model's, here and in the folder, such as truncation=truncate.
        texts: .txt file with texts for the comparison, one per line; --dev's texts or a dozen built-in ones when not
            given.
        threads: CPU threads; all cores when not given.

    Returns:
        The largest difference between the outputs of both models, the sizes, and the scores on --dev.

    Raises:
        SettingsError: `out` exists, the backend isn't installed or can't run the model, or the answers differ too much.
        DataError: a file has no texts.
    """
    from bertie.files.atomic import atomic_folder
    from bertie.files.checksums import seal
    from bertie.formats import exported
    from bertie.formats.huggingface import read, resolve
    from bertie.inference.choose_backend import load_backend
    from bertie.inference.opening import reader_of
    from bertie.nn.device import set_threads
    from bertie.reports.export_card import export_card

    if out.exists() or out.is_symlink():
        raise SettingsError(f"{out} exists already; remove it or choose another name")
    if not 0.0 <= max_drop <= 100.0:
        raise SettingsError(f"--max-drop must be from 0 to 100 points; got {max_drop:g}")
    if columns is not None and dev is None:
        raise SettingsError("--columns describes the table of --dev; give one")
    exporter = load_backend(backend)
    exporter.require()
    set_threads(threads)
    bundle = read(resolve(model), task=task, settings=settings)
    exporter.admit(bundle, precision)
    items = None if dev is None else _items(bundle, dev, columns)
    with atomic_folder(out) as folder:
        facts = exporter.freeze(bundle, folder, precision)
        proof, measured = _prove(bundle, exporter, folder, facts, texts=texts, items=items, dev=dev, max_drop=max_drop)
        facts = replace(facts, proof=proof)
        if not exporter.freezes_head(bundle):
            exported.write_head(bundle, folder)
        card = export_card(bundle.card, bundle.task, facts, bundle.tokenizer)
        exported.write(bundle, folder, export=facts.as_json(), card=card)
        reader_of(folder)(folder)  # what is written can be read, by the reader that predict uses
        seal(folder)
    return Report(
        title=f"{bundle.task.name} exported to {out}",
        values={
            "model": model,
            "out": str(out),
            "backend": exporter.name,
            "precision": precision,
            "outputs": ", ".join(facts.outputs),
            **({} if exporter.freezes_head(bundle) else {"head": "not in the graph: bertie runs it in torch"}),
            **measured,
            "megabytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6,
        },
        next_command=f"bertie predict {shlex.quote(str(out))} FILE",
    )


def _items(bundle: "Bundle", dev: Path, columns: dict[str, str] | None) -> "Sequence[Any]":
    """Read the dev table."""
    from bertie.errors import DataError
    from bertie.readers.reading import learned
    from bertie.tasks._lookup import read_items

    task = bundle.task
    items = read_items(task, dev, columns=columns, labelled=task.needs_labels, like=learned(bundle.extra)).items
    if not items:
        raise DataError(f"--dev {dev} holds no rows")
    if task.needs_labels:
        task.check_items(items, dev)
    return items


def _prove(
    bundle: "Bundle",
    exporter: "Backend",
    folder: Path,
    facts: "Facts",
    *,
    texts: Path | None,
    items: "Sequence[Any] | None",
    dev: Path | None,
    max_drop: float,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare the graph in `folder` with the model.

    Returns:
        The proof for the folder, and the same as figures for the report.

    Raises:
        SettingsError: the answers differ too much.
    """
    from bertie.inference.parity import TEXTS, hold
    from bertie.inference.proof import compare_outputs, compare_scores, item_batches, text_batches
    from bertie.readers.frames import called

    precision: Precision = facts.precision  # type: ignore[assignment]
    lines = TEXTS if texts is None else _lines(texts)
    from_dev = items is not None and texts is None
    network = exporter.open(bundle, folder, facts)
    batches = item_batches(bundle, items) if items is not None and from_dev else text_batches(bundle, lines)
    difference = compare_outputs(bundle, network, batches)
    source = "built-in texts" if texts is None else called(texts).rpartition("/")[2]
    file = "" if dev is None else called(dev).rpartition("/")[2]
    proof: dict[str, Any] = {
        "compared": f"{difference.num_sequences} sequences of {file if from_dev else source}",
        "largest_difference": difference.largest,
    }
    if precision == "exact":
        difference.check()
    else:
        parity = hold(bundle, exporter.prepare(bundle, precision), precision, lines)
        proof |= {"mean_cosine": parity.mean_cosine, "least_cosine": parity.least_cosine}
    weights = {id(value): value.numel() for value in bundle.model.parameters()}
    proof["graph_megabytes"] = sum((folder / name).stat().st_size for name in facts.sha256) / 1e6
    proof["fp32_megabytes"] = 4 * sum(weights.values()) / 1e6
    measured = dict(proof)
    if items is not None and dev is not None:
        scores = compare_scores(bundle, network, items, dev)
        scores.check(max_drop)
        proof["scores"] = {"file": file, "items": scores.num_items, "before": scores.before, "after": scores.after}
        measured |= {"score": scores.name, "before": scores.before[scores.name], "after": scores.after[scores.name]}
        measured["points_lost"] = scores.drop
    proof["versions"] = exporter.versions()
    return proof, measured


def _lines(path: Path) -> "Sequence[str]":
    """Read the texts for the comparison."""
    from bertie.errors import DataError
    from bertie.readers.table import read_table

    texts = [item.text for item in read_table(path).items if item.text.strip()]
    if not texts:
        raise DataError(f"--texts {path} holds no text")
    return texts
