"""Whether the files of a model, a run or a corpus are as they were written: what `show` says of them."""

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
        What differs, and whether all files that matter are as they were written, as far as anybody can tell.
    """
    sums = read_sums(folder)
    if sums is None:
        return {"state": f"not checked: there is no {SUMS}"}, True
    found = compare(folder, sums)
    state = DAMAGED if found.harmful else WHOLE
    if not found.harmful and (found.changed or found.missing):
        state = f"{WHOLE}, but for the card"
    return {"state": state, **_named(found)}, not found.harmful


def corpus_files(folder: Path, manifest: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Compare a corpus's files with its manifest, and the manifest with its own checksum."""
    files = manifest.get("files", {})
    sums = {name: str(entry.get("sha256")) for name, entry in files.items() if inside(name) and "sha256" in entry}
    if not sums:
        return {"state": "not checked: manifest.json has no checksums"}, True
    found = compare(folder, sums)
    own = () if has_own_sum(manifest) else ("manifest.json",)
    found = Differences((*own, *found.changed), found.missing)
    whole = not found.harmful
    return {"state": WHOLE if whole else DAMAGED, **_named(found)}, whole


def run_files(folder: Path) -> tuple[dict[str, Any], bool]:
    """Compare a run's files with its record, its checkpoints with their manifests, and its model with its checksums."""
    damage: list[str] = []
    changes: tuple[str, ...] = ()
    if (folder / "run.json").is_file():
        try:
            damage, changes = _recorded(folder)
        except DataError as error:
            damage = [str(error)]
    damage += _checkpoints(folder)
    if (folder / "model" / SUMS).is_file():
        found = model_files(folder / "model")[0]
        damage += [f"model/{name}" for kind in ("changed", "missing") for name in found.get(kind, ())]
    said: dict[str, Any] = {"state": DAMAGED if damage else WHOLE}
    said |= {"changed": damage} if damage else {}
    said |= {"settings_changed": list(changes)} if changes else {}
    return said, not damage


def _recorded(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    from bertie.training import record as records

    record = records.read(folder / "run.json")
    files = record.get("files", {})
    found = compare(folder, {name: str(digest) for name, digest in files.items() if inside(name)})
    written = record.get("config")
    changes: tuple[str, ...] = ()
    if written is not None and (folder / "config.toml").is_file():
        changes = tuple(records.differences(written, records.flat(config.read(folder / "config.toml"))).values())
    return [*found.changed, *found.missing], changes


def _checkpoints(folder: Path) -> list[str]:
    """Name the damage of checkpoints, and of the journal before the newest one."""
    saved = sorted((folder / "checkpoints").glob("step-" + "[0-9]" * 8))
    if not saved:
        return []
    from bertie.training import checkpoint, journal

    damage, newest = [], None
    for path in saved:
        try:
            newest = checkpoint.load(path)
        except BertieError as error:
            damage.append(str(error))
    if newest is not None:
        try:
            journal.check(folder / "metrics.jsonl", newest.state.get("journal", ""))
        except DataError as error:
            damage.append(str(error))
    return damage


def _named(found: Differences) -> dict[str, list[str]]:
    kinds = {"changed": found.changed, "missing": found.missing, "added": found.added}
    return {kind: list(names) for kind, names in kinds.items() if names}
