"""Data sets by id: ids taken apart, splits found in folders of any layout, classes by name, wrong names answered."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertie.errors import DataError, SettingsError
from bertie.readers.hub import DatasetId, is_dataset, open_dataset
from bertie.readers.questions import read_questions
from bertie.readers.table import read_table

ROWS = [{"sentence": f"a film number {number}", "label": number % 2} for number in range(6)]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(path: Path, rows: list[dict[str, Any]], names: list[str] | None = None) -> Path:
    """Write a file as `datasets` does: the names of the classes stand in the schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if names:
        features = {"sentence": {"dtype": "string", "_type": "Value"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def test_ids() -> None:
    assert DatasetId.parse("hub:nyu-mll/glue:sst2:train") == DatasetId("nyu-mll/glue", "sst2", "train")
    assert DatasetId.parse("hub:imdb:test") == DatasetId("imdb", None, "test")
    for path in (Path("hub:nyu-mll/glue:sst2:train"), Path("hub:/some/folder:dev")):
        assert is_dataset(path) and DatasetId.parse(str(path)).split in ("train", "dev")
    assert not is_dataset("train.tsv")
    for wrong in ("hub:imdb", "hub::train", "hub:a:b:c:d", "hub:imdb:"):
        with pytest.raises(SettingsError, match="is not the id of a data set; write hub:NAME:SPLIT"):
            DatasetId.parse(wrong)


@pytest.mark.parametrize(
    "files",
    [
        ["train.jsonl", "test.jsonl"],
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"],
        ["train/part-0.jsonl", "train/part-1.jsonl", "test/part-0.jsonl"],
        ["train_0.jsonl", "train_1.jsonl", "test.jsonl"],
    ],
)
def test_layouts_of_folders(tmp_path: Path, files: list[str]) -> None:
    train = [name for name in files if name.partition("/")[2].startswith("train") or name.startswith("train")]
    for name in files:
        rows = ROWS[:2] if name not in train else ROWS[train.index(name) :: len(train)]
        (parquet if name.endswith("parquet") else jsonl)(tmp_path / name, rows)
    found = read_table(Path(f"hub:{tmp_path}:train"), labelled=True)
    assert found.mapping == {"text": "sentence", "label": "label"}
    assert sorted(item.text for item in found.items) == [row["sentence"] for row in ROWS]
    assert [item.line for item in found.items] == [1, 2, 3, 4, 5, 6]
    assert len(read_table(f"hub:{tmp_path}:test").items) == 2
    with pytest.raises(SettingsError, match=r"has no split 'trian'; did you mean 'train'\? \(choices: test, train\)"):
        read_table(f"hub:{tmp_path}:trian")


def test_configs_are_folders(tmp_path: Path) -> None:
    jsonl(tmp_path / "sst2" / "train.jsonl", ROWS)
    jsonl(tmp_path / "cola" / "data" / "train-00000-of-00001.jsonl", ROWS[:3])
    assert len(read_table(f"hub:{tmp_path}:sst2:train").items) == 6
    assert len(read_table(f"hub:{tmp_path}:cola:train").items) == 3
    with pytest.raises(SettingsError, match=r"holds several data sets; choose one.*:cola:train.*cola, sst2"):
        read_table(f"hub:{tmp_path}:train")
    with pytest.raises(SettingsError, match=r"has no config 'sst'; did you mean 'sst2'"):
        read_table(f"hub:{tmp_path}:sst:train")


def test_classes_have_their_names(tmp_path: Path) -> None:
    rows = [*ROWS[:2], {"sentence": "without", "label": -1}]
    parquet(tmp_path / "train.parquet", rows, names=["bad", "good"])
    parquet(tmp_path / "test.parquet", rows[:2], names=["bad", "good"])
    assert [item.label for item in read_table(f"hub:{tmp_path}:test").items] == ["bad", "good"]
    texts = read_table(f"hub:{tmp_path}:train").items  # where labels aren't needed, a row may lack its own
    assert [(item.text, item.label, item.line) for item in texts][2] == ("without", None, 3)
    with pytest.raises(DataError, match=r":train:3: the label is empty"):
        read_table(f"hub:{tmp_path}:train", labelled=True)


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", [{"body": "some words", "mood": "fine"}])
    assert read_table(f"hub:{tmp_path}:train", columns={"text": "body", "label": "mood"}).items[0].label == "fine"
    with pytest.raises(SettingsError, match="no column 'bodi'"):
        read_table(f"hub:{tmp_path}:train", columns={"text": "bodi"})


def test_shards_with_other_columns_are_refused(tmp_path: Path) -> None:
    jsonl(tmp_path / "train-0.jsonl", ROWS)
    jsonl(tmp_path / "train-1.jsonl", [{"other": "x"}])
    with pytest.raises(DataError, match=r"train-1\.jsonl has no column 'label'"):
        read_table(f"hub:{tmp_path}:train")


def test_position_rises_to_the_end(tmp_path: Path) -> None:
    files = [jsonl(tmp_path / f"train-{number}.jsonl", ROWS) for number in range(2)]
    with open_dataset(f"hub:{tmp_path}:train") as rows:
        positions = [rows.position for _ in rows.rows(["sentence"])]
    assert positions == sorted(positions) and positions[-1] == sum(file.stat().st_size for file in files)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        SettingsError, match=r"datasets is needed to read the data set imdb.*pip install 'bertie\[hub\]'"
    ):
        read_table("hub:imdb:train")
    (tmp_path / "state.json").write_text("{}")  # only the package reads what it saved
    with pytest.raises(SettingsError, match=r"bertie\[hub\]"):
        read_table(f"hub:{tmp_path}:train")


def test_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    whole = datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS, features=features)})
    whole.save_to_disk(str(tmp_path / "saved"))
    items = read_table(f"hub:{tmp_path / 'saved'}:train", labelled=True).items
    assert [item.label for item in items] == ["bad", "good"] * 3
    with pytest.raises(SettingsError, match="has no split 'test'; choices: train"):
        read_table(f"hub:{tmp_path / 'saved'}:test")
    parquet_folder = tmp_path / "parquet"
    parquet_folder.mkdir()
    whole["train"].to_parquet(str(parquet_folder / "train.parquet"))
    assert read_table(f"hub:{parquet_folder}:train").items == items
    with pytest.raises(SettingsError, match="can't open the data set no-such/thing"):
        read_table("hub:no-such/thing:train")


def test_questions(tmp_path: Path) -> None:
    row = {"id": "7", "question": "Who?", "context": "Anna ran", "answers": {"text": ["Anna"], "answer_start": [0]}}
    parquet(tmp_path / "squad" / "train-00000-of-00001.parquet", [row])
    (found,) = read_questions(f"hub:{tmp_path / 'squad'}:train", labelled=True).items
    assert (found.text, found.context, found.id) == ("Who?", "Anna ran", "7")
    assert found.label is not None and (found.label[0].text, found.label[0].start) == ("Anna", 0)
