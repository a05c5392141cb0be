"""Check whether the files of a model, a run or a corpus have changed since they were written, for `show`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie import config
from bertie.errors import BertieError, DataError
from bertie.files.checksums import SUMS, Differences, compare, has_own_sum, inside, read_sums

WHOLE, DAMAGED = "as they were written", "not as they were written"


def model_files(folder: Path) -> tuple[dict[str, Any], bool]:
    """Compare a model's files with their checksums.

    Returns:
        The differences, and whether all files that affect predictions are unchanged; true without checksums.
    """
    sums = read_sums(folder)
    if sums is None:
        return {"state": f"not checked: there is no {SUMS}"}, True
    differences = compare(folder, sums)
    state = DAMAGED if differences.harmful else WHOLE
    if not differences.harmful and (differences.changed or differences.missing):
        state = f"{WHOLE}, but for the card"
    return {"state": state, **_changed_names(differences)}, not differences.harmful


def corpus_files(folder: Path, manifest: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Compare a corpus's files with its manifest, and the manifest with its own checksum."""
    files = manifest.get("files", {})
    sums = {name: str(entry.get("sha256")) for name, entry in files.items() if inside(name) and "sha256" in entry}
    if not sums:
        return {"state": "not checked: manifest.json has no checksums"}, True
    differences = compare(folder, sums)
    manifest_damage = () if has_own_sum(manifest) else ("manifest.json",)
    differences = Differences((*manifest_damage, *differences.changed), differences.missing)
    is_whole = not differences.harmful
    return {"state": WHOLE if is_whole else DAMAGED, **_changed_names(differences)}, is_whole


def run_files(folder: Path) -> tuple[dict[str, Any], bool]:
    """Compare a run's files with its record, its checkpoints with their manifests, and its model with its checksums."""
    damage: list[str] = []
    changes: tuple[str, ...] = ()
    if (folder / "run.json").is_file():
        try:
            damage, changes = _run_damage(folder)
        except DataError as error:
            damage = [str(error)]
    damage += _checkpoint_damage(folder)
    if (folder / "model" / SUMS).is_file():
        model = model_files(folder / "model")[0]
        damage += [f"model/{name}" for kind in ("changed", "missing") for name in model.get(kind, ())]
    figures: dict[str, Any] = {"state": DAMAGED if damage else WHOLE}
    figures |= {"changed": damage} if damage else {}
    figures |= {"settings_changed": list(changes)} if changes else {}
    return figures, not damage


def _run_damage(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    from bertie.training import record as records

    record = records.read(folder / "run.json")
    files = record.get("files", {})
    differences = compare(folder, {name: str(digest) for name, digest in files.items() if inside(name)})
    recorded_settings = record.get("config")
    changes: tuple[str, ...] = ()
    if recorded_settings is not None and (folder / "config.toml").is_file():
        changes = tuple(
            records.differences(recorded_settings, records.flat(config.read(folder / "config.toml"))).values()
        )
    return [*differences.changed, *differences.missing], changes


def _checkpoint_damage(folder: Path) -> list[str]:
    """Return descriptions of damaged checkpoints, and of damage in the journal before the newest checkpoint."""
    from bertie.training import checkpoint_files, journal

    damage, newest = [], None
    for path in checkpoint_files.saved(folder / "checkpoints"):
        try:
            newest = checkpoint_files.facts(path)
        except BertieError as error:
            if path.exists():  # a run that is going on removes old checkpoints
                damage.append(str(error))
    if newest is not None:
        try:
            journal.check(folder / "metrics.jsonl", newest.state.get("journal", ""))
        except DataError as error:
            damage.append(str(error))
    return damage


def _changed_names(differences: Differences) -> dict[str, list[str]]:
    kinds = {"changed": differences.changed, "missing": differences.missing, "added": differences.added}
    return {kind: list(names) for kind, names in kinds.items() if names}
