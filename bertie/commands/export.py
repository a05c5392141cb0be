"""Export a model for another runtime, such as ONNX Runtime, and check it against the original."""

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
    """Export a model for another runtime, such as ONNX Runtime, and check it against the original.

    The folder contains the encoder's graph, the head's weights, the tokenizer and the config. predict, evaluate and
    search accept it like a model folder. Both models read the same texts, and the export fails if their vectors differ
    more than the precision allows. For other programs, encoder.onnx has the inputs input_ids, attention_mask and
    token_type_ids and the output last_hidden_state.

    Args:
        model: model folder or hub id.
        out: folder to write; must not exist.
        backend: what will run the encoder: onnx or openvino.
        precision: required closeness of its vectors to fp32: exact (within 1e-4), bf16 or int8 (mean cosine at least
            0.9999 or 0.995).
        task: task of the model; the one it was trained for when not given.
        texts: .txt file with texts for the comparison, one per line; a dozen built-in texts when not given.
        threads: CPU threads; all cores when not given.

    Returns:
        The largest difference and the cosines between the vectors of both models, and the sizes.

    Raises:
        SettingsError: `out` exists, the backend isn't installed or can't run the model, or the vectors differ too much.
        DataError: the file has no texts.
    """
    from bertie.files.atomic import atomic_folder
    from bertie.files.checksums import seal
    from bertie.formats import exported
    from bertie.formats.huggingface import read, resolve
    from bertie.inference.choose_backend import load_backend
    from bertie.inference.parity import TEXTS, hold
    from bertie.nn.device import set_threads

    if out.exists() or out.is_symlink():
        raise SettingsError(f"{out} exists already; remove it or choose another name")
    backend_module = load_backend(backend)
    backend_module.require()
    set_threads(threads)
    bundle = read(resolve(model), task=task)
    backend_module.admit(bundle, precision)
    lines = TEXTS if texts is None else _lines(texts)
    with atomic_folder(out) as folder:
        exported.write(bundle, folder, backend=backend_module.name, precision=precision)
        backend_module.freeze(bundle, folder, precision)
        frozen = exported.read(folder, task=task)
        parity = hold(bundle, backend_module.open(frozen, folder, precision), precision, lines)
        seal(folder)
    return Report(
        title=f"{bundle.task.name} exported to {out}",
        values={
            "model": model,
            "out": str(out),
            "backend": backend_module.name,
            "precision": precision,
            "texts": parity.num_texts,
            "largest_difference": parity.largest_difference,
            "mean_cosine": parity.mean_cosine,
            "least_cosine": parity.least_cosine,
            "megabytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6,
        },
        next_command=f"bertie predict {shlex.quote(str(out))} {shlex.quote(TEXTS[1])}",
    )


def _lines(path: Path) -> "Sequence[str]":
    """Read the texts for the comparison."""
    from bertie.errors import DataError
    from bertie.readers.table import read_table

    texts = [item.text for item in read_table(path).items if item.text.strip()]
    if not texts:
        raise DataError(f"--texts {path} holds no text")
    return texts
