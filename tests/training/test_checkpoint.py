"""Checkpoints: what is saved comes back bit for bit, damage of every kind is seen, the newest good one wins."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie.errors import DataError, SettingsError
from bertie.training import checkpoint

DTYPES = [
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float64,
    torch.int64,
    torch.int16,
    torch.uint8,
    torch.bool,
]
FILES = ["tensors-00001.safetensors", "tensors-00002.safetensors", "state.json", "MANIFEST.json"]


def content(step: int) -> dict[str, torch.Tensor]:
    return {"a": torch.arange(200) * step, "b": torch.full((30, 5), float(step)), "c": torch.tensor(step)}


def save(folder: Path, *steps: int, keep: int = 2) -> None:
    for step in steps:
        checkpoint.save(folder, step=step, tensors=content(step), state={"tokens": step * 10}, keep=keep)


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the checkpoints of steps 10 and 20, each in several files."""
    monkeypatch.setattr(checkpoint, "_PART_BYTES", 1000)
    save(tmp_path / "two", 10, 20)
    assert sorted(path.name for path in (tmp_path / "two" / "step-00000020").iterdir()) == sorted(FILES)
    return tmp_path / "two"


def test_nothing_saved(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path / "none") is None
    assert checkpoint.load_newest(tmp_path) is None


def test_newest_comes_back(two: Path) -> None:
    found = checkpoint.load_newest(two)
    assert found is not None
    assert (found.step, found.state, found.path) == (20, {"tokens": 200}, two / "step-00000020")
    assert found.tensors.keys() == {"a", "b", "c"}
    assert all(torch.equal(found.tensors[name], value) for name, value in content(20).items())


def test_memory_is_our_own(two: Path) -> None:
    found = checkpoint.load_newest(two)
    assert found is not None
    shutil.rmtree(two)
    for tensor in found.tensors.values():
        tensor += 1
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        assert tensor.data_ptr() % 64 == 0  # as torch allocates, whatever the length of a file's header
    assert torch.equal(found.tensors["a"], content(20)["a"] + 1)


@st.composite
def tensors(draw: Callable[..., int]) -> torch.Tensor:
    """Draw a tensor of any type, shape and bits, transposed or not."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    size = max(1, torch.empty(shape, dtype=dtype).nbytes)
    bits = torch.tensor(list(draw(st.binary(min_size=size, max_size=size))), dtype=torch.uint8)
    count = torch.Size(shape).numel()
    flat = (bits[:count] > 127) if dtype is torch.bool else bits[: count * dtype.itemsize].clone().view(dtype)
    shaped = flat.reshape(shape)
    return shaped.transpose(0, -1) if shape and draw(st.booleans()) else shaped


@given(st.dictionaries(st.text(min_size=1, max_size=8), tensors(), max_size=6), st.integers(1, 200))
def test_any_tensors_come_back(tmp_path_factory: pytest.TempPathFactory, given: dict, part_bytes: int) -> None:
    if "__metadata__" in given:
        return
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_PART_BYTES", part_bytes)
        checkpoint.save(folder, step=0, tensors=given, state={})
    found = checkpoint.load_newest(folder)
    assert found is not None
    assert found.tensors.keys() == given.keys()
    for name, tensor in given.items():
        back = found.tensors[name]
        assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
        flat = [value.contiguous().flatten().view(torch.uint8) for value in (back, tensor) if value.numel()]
        assert not flat or torch.equal(*flat)


def test_state_comes_back(tmp_path: Path) -> None:
    state = {"seconds": 0.1 + 0.2, "feed": {"step": 2**60, "place": [1, None, True]}, "text": "二\ud800", "step": 7}
    checkpoint.save(tmp_path, step=3, tensors={}, state=state)
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert (found.step, found.tensors, found.state) == (3, {}, state)


def test_oldest_are_removed(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3, keep=5)
    assert steps(tmp_path) == [1, 2, 3]
    save(tmp_path, 4, keep=1)
    assert steps(tmp_path) == [4]
    save(tmp_path, 99_999_999, 100_000_000, 100_000_001, keep=2)
    assert steps(tmp_path) == [100_000_000, 100_000_001]
    with pytest.raises(SettingsError, match=r"training\.keep must be at least 1, got 0"):
        save(tmp_path, 100_000_002, keep=0)


def test_refused_removal_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, 1)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint.shutil, "rmtree", refuse)
    save(tmp_path, 2, keep=1)
    assert "can't remove" in capsys.readouterr().err
    found = checkpoint.load_newest(tmp_path)
    assert found is not None and found.step == 2


@pytest.mark.parametrize("file", FILES)
def test_truncated_lengthened_and_missing_files(
    tmp_path: Path, two: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    whole = (two / "step-00000020" / file).read_bytes()
    damages = [whole[:0], whole[:1], whole[: len(whole) // 2], whole[:-1], whole + b"\0", whole + b"\n", None]
    for number, damage in enumerate(damages):
        copy = tmp_path / str(number)
        shutil.copytree(two, copy)
        damaged = copy / "step-00000020" / file
        damaged.unlink() if damage is None else damaged.write_bytes(damage)
        found = checkpoint.load_newest(copy)
        assert found is not None and found.step == 10 and torch.equal(found.tensors["a"], content(10)["a"])
        warning = capsys.readouterr().err
        assert f"step-00000020/{file}" in warning and "trying the checkpoint before it" in warning


def test_flipped_bytes(tmp_path: Path, two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = random.Random(0)
    copy, missed = tmp_path / "copy", []
    shutil.copytree(two, copy)
    for _ in range(200):
        file = source.choice(FILES)
        path = copy / "step-00000020" / file
        whole = path.read_bytes()
        place, flip = source.randrange(len(whole)), source.choice([1 << source.randrange(8), source.randrange(1, 256)])
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        found = checkpoint.load_newest(copy)
        if found is None or found.step != 10 or "step-00000020/" not in capsys.readouterr().err:
            missed.append((file, place, flip))
        shutil.rmtree(copy / "step-00000020.damaged", ignore_errors=True)
        shutil.copytree(two / "step-00000020", copy / "step-00000020", dirs_exist_ok=True)
    assert missed == []


def test_every_byte_of_a_manifest_counts(tmp_path: Path, two: Path) -> None:
    path = two / "step-00000020" / "MANIFEST.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 32]) + whole[place + 1 :])
        with pytest.raises(DataError, match="step-00000020/"):
            checkpoint.load(path.parent)


def test_a_checkpoint_under_another_name_is_damaged(two: Path) -> None:
    (two / "step-00000020").rename(two / "step-00000021")
    found = checkpoint.load_newest(two)
    assert found is not None and found.step == 10


def test_damaged_ones_go_with_the_next_save(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (two / "step-00000020" / "state.json").write_text("")
    found = checkpoint.load_newest(two)
    assert found is not None and found.step == 10
    assert sorted(path.name for path in two.iterdir()) == ["step-00000010", "step-00000020.damaged"]
    capsys.readouterr()
    save(two, 20)
    assert capsys.readouterr().err == ""
    assert steps(two) == [10, 20]
    found = checkpoint.load_newest(two)
    assert found is not None and found.step == 20


def test_all_damaged_is_an_error_that_stays(two: Path) -> None:
    for step in (10, 20):
        (two / f"step-{step:08d}" / "MANIFEST.json").unlink()
    for _ in range(2):
        with pytest.raises(DataError, match=r"no valid checkpoint is left in .*two; remove this folder to start"):
            checkpoint.load_newest(two)
    assert steps(two) == [10, 20]


def test_leftovers_are_removed(two: Path) -> None:
    shutil.copytree(two / "step-00000020", two / "step-00000030.partial-0a1b")
    found = checkpoint.load_newest(two)
    assert found is not None and found.step == 20
    assert steps(two) == [10, 20]
