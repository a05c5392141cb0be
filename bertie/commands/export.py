"""Freeze a model for use: an encoder as another program runs it, held against the original, in a folder of its own."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence


def export(
    model: Positional[str],
    out: Path,
    *,
    backend: str = "onnx",
    precision: Literal["exact", "bf16", "int8"] = "exact",
    task: str | None = None,
    texts: Path | None = None,
    threads: int | None = None,
) -> Report:
    """Freeze a model for use: an encoder as another program runs it, held against the original, in a folder of its own.

    The folder holds the encoder's graph, the head's weights, the tokenizer and the config; predict, evaluate and search
    take it as they take a model folder. Real texts go through both models, and a graph that misses its class is not
    kept. Other programs find input_ids, attention_mask and token_type_ids in encoder.onnx, and last_hidden_state.

    Args:
        model: model folder or hub id.
        out: folder to write; must not exist.
        backend: what will run the encoder: onnx or openvino.
        precision: how near its vectors must come to fp32's: exact (within 1e-4), bf16 or int8 (a mean cosine of 0.9999
            or 0.995 at least).
        task: what the model is for; what it was made for when not given.
        texts: .txt file with texts to compare both models on, one a line; a dozen of our own when not given.
        threads: CPU threads; all cores when not given.

    Returns:
        The largest difference and the cosines between the vectors that both models give the texts, and the sizes.

    Raises:
        SettingsError: `out` exists, the backend isn't installed or can't run the model, or misses the class.
        DataError: no texts in the file.
    """
    from bertie.backends._choice import load_backend
    from bertie.backends._parity import TEXTS, hold
    from bertie.files.atomic import atomic_folder
    from bertie.files.checksums import seal
    from bertie.formats import exported
    from bertie.formats.huggingface import read, resolve
    from bertie.nn.device import set_threads

    if out.exists() or out.is_symlink():
        raise SettingsError(f"{out} exists already; remove it or choose another name")
    chosen = load_backend(backend)
    chosen.require()
    set_threads(threads)
    bundle = read(resolve(model), task=task)
    chosen.admit(bundle, precision)
    lines = TEXTS if texts is None else _lines(texts)
    with atomic_folder(out) as folder:
        exported.write(bundle, folder, backend=chosen.name, precision=precision)
        chosen.freeze(bundle, folder, precision)
        frozen = exported.read(folder, task=task)
        found = hold(bundle, chosen.open(frozen, folder, precision), precision, lines)
        seal(folder)
    return Report(
        title=f"{bundle.task.name} exported to {out}",
        values={
            "model": model,
            "out": str(out),
            "backend": chosen.name,
            "precision": precision,
            "texts": found.num_texts,
            "largest_difference": found.largest_difference,
            "mean_cosine": found.mean_cosine,
            "least_cosine": found.least_cosine,
            "megabytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6,
        },
        next_command=f"bertie predict {shlex.quote(str(out))} {shlex.quote(TEXTS[1])}",
    )


def _lines(path: Path) -> "Sequence[str]":
    """Read the texts to compare on."""
    from bertie.data.table import read_table
    from bertie.errors import DataError

    found = [item.text for item in read_table(path).items if item.text.strip()]
    if not found:
        raise DataError(f"--texts {path} holds no text")
    return found
