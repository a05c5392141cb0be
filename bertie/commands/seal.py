"""Join the slices of a job into its output, when all are there and belong together."""

import time
from pathlib import Path

from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError


def seal(out: Positional[Path]) -> Report:
    """Join the slices that prepare-corpus or predict made with --runner slice.

    The output has the same bytes as without slices. The folder of the slices, OUT.slices, is removed afterwards.

    Args:
        out: what the command writes, as given to its --out.

    Returns:
        The figures of the command.
    """
    from bertie.runners import _slices

    started = time.perf_counter()
    if out.exists() or out.is_symlink():
        raise SettingsError(f"{out} exists already; remove it or choose another name")
    sealed = _slices.opened(out)
    if sealed.command == "prepare-corpus":
        from bertie.commands.prepare_corpus import corpus_report
        from bertie.corpus.slices import seal as join

        report = corpus_report(join(sealed), time.perf_counter() - started, words=sealed.origin["--words"])
    elif sealed.command == "predict":
        from bertie.bulk.slices import seal as join_predictions
        from bertie.commands.predict import predicted_file_report

        report = predicted_file_report(f"Predictions {out}", out, join_predictions(sealed))
        report.values["seconds"] = time.perf_counter() - started
    else:
        raise SettingsError(f"these are slices of {sealed.command}, which this version of bertie can't join")
    sealed.remove()
    return report
