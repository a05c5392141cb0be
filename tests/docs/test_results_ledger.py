"""The page of results is what its script draws from the ledger; a run becomes an entry without places or surprises."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bertie import config
from bertie.commands.finetune import finetune
from bertie.training.settings import LoraSettings
from docs import results

ROOT = Path(__file__).parents[2]


def run_folder(place: Path, name: str, **changed: Any) -> Path:
    """Make the run.json that a run of NAME leaves."""
    parameters = config.signature(finetune)
    settings = {key: part.default for key, part in parameters.items() if part.default is not part.empty}
    settings |= tomllib.loads((ROOT / "bertie" / "recipes" / "finetune" / f"{name}.toml").read_text(encoding="utf-8"))
    del settings["command"]
    settings |= {
        "model": str(place / "models" / "small"),
        "threads": 2,
        "precision": "bf16",
        "device": "cpu",
        **changed,
    }
    flat = results._flat(config.plain(settings))
    flat |= {key: str(place.resolve() / flat[key]) for key in ("train", "dev", "out")}
    values = {"scores": {"accuracy": 0.8125, "macro_f1": 0.75}, "seconds": 90.0, "steps": 560, "folder": "out/x"}
    folder = place / f"run-{settings['seed']}"
    folder.mkdir(parents=True)
    record = {"command": "finetune", "settings": flat, "data": "ab" * 32, "torch": "2.13.0", "values": values}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def entry(name: str, seed: int, score: float, *, by: str = "bertie", **more: Any) -> dict[str, Any]:
    key = results.ROWS[name].score
    return {"name": name, "by": by, "model": "small", "seed": seed, "scores": {key: score}, "minutes": 2.0, **more}


def test_the_page_is_what_the_script_draws() -> None:
    page = (ROOT / "docs" / "measured" / "results.md").read_text(encoding="utf-8")
    assert results.drawn(page, results.read_ledger(results.LEDGER)) == page, "run: python docs/results.py draw"


def test_every_entry_is_whole() -> None:
    for found in results.read_ledger(results.LEDGER):
        assert found["name"] in results.ROWS and results.ROWS[found["name"]].score in found["scores"]
        assert {"command", "settings", "seed", "minutes", "commit", "machine", "date"} <= found.keys()


def test_every_row_has_a_settings_file() -> None:
    assert {file.stem for file in (ROOT / "bertie" / "recipes" / "finetune").glob("*.toml")} == set(results.ROWS)


def test_a_run_as_its_settings_file_says(tmp_path: Path) -> None:
    found = results.entry_of_run(run_folder(tmp_path, "mrpc", seed=3), "mrpc")
    assert found["changed"] == {} and found["seed"] == 3 and found["minutes"] == 1.5
    assert found["command"] == "bertie run mrpc --model small --seed 3"
    assert found["settings"]["train"] == "train.tsv.gz" and found["settings"]["columns.text"] == "#1 String"
    assert found["settings"]["learning_rate"] == 1e-4 and found["settings"]["optimizer.weight_decay"] == 0.01
    assert str(tmp_path) not in json.dumps(found) and found["machine"]["precision"] == "bf16"


def test_what_a_run_did_otherwise_is_said(tmp_path: Path) -> None:
    found = results.entry_of_run(run_folder(tmp_path, "mrpc", epochs=2, lora=LoraSettings(rank=8)), "mrpc")
    assert found["changed"] == {"epochs": 2, "lora.rank": 8}
    assert "--epochs 2" in found["command"] and "--lora.rank 8" in found["command"]
    assert "| MRPC dev, accuracy, epochs 2" in results.tables([found])


def test_other_data_are_said_and_stand_apart(tmp_path: Path) -> None:
    found = results.entry_of_run(run_folder(tmp_path, "mrpc", dev="other/test.tsv.gz"), "mrpc")
    assert found["changed"] == {"dev": "test.tsv.gz"}
    rows = results.tables([entry("rte", 1, 0.5, data="a"), entry("rte", 2, 0.7, data="b")]).splitlines()[2:]
    assert ["50.00" in rows[0], "70.00" in rows[1]] == [True, True]


def test_a_hub_id_stays(tmp_path: Path) -> None:
    assert results.entry_of_run(run_folder(tmp_path, "mrpc", model="owner/name"), "mrpc")["model"] == "owner/name"


def test_a_runs_model_goes_by_the_name_of_the_run(tmp_path: Path) -> None:
    found = results.entry_of_run(run_folder(tmp_path, "mrpc", model=str(tmp_path / "mini" / "model")), "mrpc")
    assert found["model"] == "mini" and "--model mini " in found["command"]


def test_random_weights_are_no_change(tmp_path: Path) -> None:
    random = {"model": {"size": "mini", "dropout": 0.0}, "tokenizer": str(tmp_path / "small")}
    found = results.entry_of_run(run_folder(tmp_path, "wiki-title", **random), "wiki-title")
    assert found["model"] == "random mini" and found["changed"] == {}
    assert "--model.size mini --model.dropout 0.0" in found["command"] and "--tokenizer small" in found["command"]


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "mrpc")
    record = json.loads((folder / "run.json").read_text())
    del record["values"]
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit, match="isn't finished"):
        results.entry_of_run(folder, "mrpc")
    with pytest.raises(SystemExit, match="is not a run"):
        results.entry_of_run(tmp_path, "mrpc")


def test_a_run_is_there_once(tmp_path: Path) -> None:
    first = results.entry_of_run(run_folder(tmp_path / "a", "mrpc", seed=1), "mrpc")
    again = results.entry_of_run(run_folder(tmp_path / "b", "mrpc", seed=1, threads=8), "mrpc")
    other = results.entry_of_run(run_folder(tmp_path / "c", "mrpc", seed=2), "mrpc")
    paths = {results.write_entry(found, tmp_path / "ledger") for found in (first, again, other)}
    assert len(paths) == 2 and len(results.read_ledger(tmp_path / "ledger")) == 2


def test_a_peers_run_on_a_part_is_not_its_run_on_all(tmp_path: Path) -> None:
    whole = {**entry("lingnli", 1, 0.65, by="transformers 5.23"), "settings": {"epochs": 2}}
    part = {**whole, "changed": {"train_limit": 6000}}
    assert results.write_entry(whole, tmp_path) != results.write_entry(part, tmp_path)


def test_mean_deviation_and_targets() -> None:
    runs = [entry("sst2", seed, score) | {"model": "minilm"} for seed, score in ((1, 0.91), (2, 0.92), (3, 0.93))]
    row = [cell.strip() for cell in results.tables(runs).splitlines()[2].split("|")[1:-1]]
    assert row == ["SST-2 dev, accuracy", "minilm", "92.00 ± 1.00", "1, 2, 3", "2.0", "91", "90.25", ""]
    other = results.tables([entry("sst2", 1, 0.8)]).splitlines()[2]
    assert other.endswith("| small | 80.00 (one run) | 1 | 2.0 |  |  |  |"), "targets are one encoder's"
    assert "| 50.00 (one run) |" in results.tables([entry("rte", 1, 0.5)]), "one seed has no deviation"


def test_peers_stand_beside_ours() -> None:
    ours = [entry("mrpc", seed, score) for seed, score in ((1, 0.80), (2, 0.82))]
    theirs = [entry("mrpc", seed, score, by="transformers 5.23") for seed, score in ((1, 0.79), (2, 0.79))]
    lines = results.tables([*ours, *theirs]).splitlines()
    assert lines[-1].startswith("| MRPC dev, accuracy | 81.00 ± 1.41 | 79.00 ± 0.00 | +2.00, +2.0 errors | 2 and 2 |")
    assert "transformers" not in results.tables(ours)


def test_a_peer_stands_beside_the_run_that_did_the_same_otherwise() -> None:
    ours = [entry("lingnli", 1, 0.65), entry("lingnli", 1, 0.64) | {"changed": {"train_limit": 9}}]
    theirs = entry("lingnli", 1, 0.63, by="transformers 5.23") | {"changed": {"train_limit": 9}}
    lines = results.tables([*ours, theirs]).splitlines()
    assert lines[-1].startswith("| LingNLI dev, accuracy, train_limit 9 | 64.00 (one run) | 63.00 (one run) | +1.00 |")
    assert not lines[-2].startswith("| LingNLI")


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"results\.md has no markers for docs/results\.py"):
        results.drawn("text", [])
