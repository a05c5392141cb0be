"""Write the live page of a small masked language model, as one HTML file, for `show` and `demo`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._attention import check_free, model_of
from bertie.commands.command import Report
from bertie.errors import BertieError

if TYPE_CHECKING:
    from bertie.serving.live_page import Stage

_DEFAULT = Path("live.html")
_MOST_READ = 24  # checkpoints that are read; more than a page holds


def write_live_page(model: Path, out: Path | None) -> Report:
    """Write a page that holds a model and computes with it.

    Args:
        model: a model folder, the folder of the run that made it, or a hub id. A run that kept checkpoints also gives
            the model at some of its steps.
        out: the file; live.html in the working folder when None. A page of an earlier call is replaced.

    Raises:
        SettingsError: `out` holds something else, or the page can't compute such a model.
    """
    file = _DEFAULT if out is None else out
    check_free(file)
    from bertie.files.atomic import write_text
    from bertie.inference.predictor import load
    from bertie.serving.live_page import check, live_page

    folder, name = model_of(model)
    predictor = load(folder, device="cpu")
    check(predictor, name)
    run = folder.parent if folder.name == "model" and (folder.parent / "metrics.jsonl").is_file() else None
    stages = [] if run is None else list(_stages(run))
    curve = [] if run is None else _curve(run)
    last = curve[-1][0] if curve else None
    stages = [stage for stage in stages if last is None or stage.step < last]
    made = live_page(predictor, name, stages=stages, last_step=last, curve=curve)
    write_text(file, made.content)
    if stages and len(made.steps) < len(stages):
        progress.note(f"the page holds {len(made.steps)} of {len(stages)} checkpoints, so that it stays below 5 MB")
    return Report(
        title=f"{file}: {name} in a page of its own",
        values={
            "kind": "live page",
            "path": str(folder),
            "out": str(file),
            "bytes": len(made.content.encode()),
            "bits_of_a_weight": made.bits,
            "rounding_changes_guesses_by": made.guess_difference,
            "rounding_changes_attention_by": made.attention_difference,
            "checkpoints": list(made.steps),
            "bits_of_a_checkpoint's_weight": made.stage_bits,
            "open_in_a_browser": file.absolute().as_uri(),
        },
    )


def _stages(run: Path) -> Iterator[Stage]:
    """Read the checkpoints of a run, spread evenly; damaged ones are named in a warning and left out."""
    from bertie.serving.live_page import Stage
    from bertie.training.checkpoint import load
    from bertie.training.checkpoint_files import saved

    paths = saved(run / "checkpoints")
    step = max(1, -(-len(paths) // _MOST_READ))
    for path in paths[::step]:
        try:
            found = load(path)
        except BertieError as error:
            progress.warn(f"{error}; the page leaves it out")
            continue
        weights = {
            key.removeprefix("model."): value for key, value in found.tensors.items() if key.startswith("model.")
        }
        yield Stage(found.step, weights)


def _curve(run: Path) -> list[tuple[int, float]]:
    """Return the training loss at the steps of metrics.jsonl, at most some hundred of them."""
    from bertie.training.journal import read

    points: list[tuple[int, float]] = []
    for record in read(run / "metrics.jsonl"):
        loss: Any = record.get("mask_loss", record.get("mlm_loss", record.get("loss")))
        if record.get("kind") == "train" and isinstance(loss, float):
            points.append((int(record["step"]), round(loss, 4)))
    every = max(1, len(points) // 200)
    return [point for number, point in enumerate(points) if number % every == 0 or number == len(points) - 1]
