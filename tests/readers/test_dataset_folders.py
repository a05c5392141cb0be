"""A folder that `datasets` saved is named as what it is, with what to do, where the package isn't there."""

import sys
from pathlib import Path

import pytest

from bertie.errors import SettingsError
from bertie.readers.table import read_table


def test_saved_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    split = tmp_path / "saved" / "train"
    split.mkdir(parents=True)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    for name in ("state.json", "dataset_info.json", "data-00000-of-00001.arrow"):
        (split / name).write_text("{}")
    with pytest.raises(SettingsError, match=r"datasets saved \(train/data-00000.*bertie\[hub\].*to_parquet"):
        read_table(f"hub:{tmp_path / 'saved'}:train")
    with pytest.raises(SettingsError, match=r"saved by datasets, write hub:.*saved:train"):
        read_table(split)
    with pytest.raises(SettingsError, match="datasets is needed to read the data set imdb"):
        read_table("hub:imdb:train")
