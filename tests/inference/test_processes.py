"""Predictors and processes: forked ones work, pickles and copies are the same predictor, interrupts leave no trace."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie import registry
from bertie.commands.export import export
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import read, write
from bertie.inference.predictor import Predictor, load
from bertie.ops.kernels import library
from bertie.tasks.classification import Classification

TEXTS = ["the film was good", "the dog sat in the house", "a cat"] * 40


@pytest.fixture(scope="module")
def folder(build_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = Classification(labels=("bad", "good"), max_length=32)
    model = build_model(task, deviation=0.3)
    place = tmp_path_factory.mktemp("processes") / "model"
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), place)
    return place


@pytest.fixture(scope="module")
def frozen(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if registry.load("backends", "onnx").BACKEND().missing():
        pytest.skip("onnxruntime is not installed")
    place = tmp_path_factory.mktemp("frozen") / "model"
    export(str(folder), place)
    return place


HEAD = """
import multiprocessing, os, signal, sys
import torch, bertie
signal.alarm(120)
predictor = bertie.load(sys.argv[1], threads=2, **eval(sys.argv[2]))
texts = ["the film was good", "the dog sat in the house", "a cat"] * 40
big = torch.rand(1000, 1000)
big @ big  # a pool of two threads is at work now
expected = [each.label for each in predictor.predict(texts)]

def labels(number=0):
    signal.alarm(60)
    return [each.label for each in predictor.predict(texts)]
"""
SCENARIOS = {
    "fork": """
for _ in range(2):
    child = os.fork()
    if not child:
        os._exit(labels() != expected)
    assert os.waitpid(child, 0)[1] == 0
assert labels() == expected  # and the parent goes on
""",
    "fork while another thread predicts": """
import threading
stop = threading.Event()
def work():
    while not stop.is_set():
        assert labels() == expected
busy = threading.Thread(target=work)
busy.start()
for _ in range(3):
    child = os.fork()
    if not child:
        os._exit(labels() != expected)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
busy.join()
assert labels() == expected
""",
    "a forked process that ends as any does": """
child = os.fork()
if not child:
    sys.exit(labels() != expected)
assert os.waitpid(child, 0)[1] == 0
""",
    "a forked process that forks": """
child = os.fork()
if not child:
    assert labels() == expected
    second = os.fork()
    if not second:
        os._exit(labels() != expected)
    os._exit(os.waitpid(second, 0)[1] != 0)
assert os.waitpid(child, 0)[1] == 0
""",
    "multiprocessing": """
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(labels, range(3)) == [expected] * 3
""",
    "loader": """
class Texts(torch.utils.data.Dataset):
    def __len__(self): return 3
    def __getitem__(self, number): return labels()
loader = torch.utils.data.DataLoader(Texts(), batch_size=None, num_workers=2, multiprocessing_context="fork")
assert list(loader) == [expected] * 3
""",
    "more threads": """
child = os.fork()
if not child:
    again = bertie.load(sys.argv[1], threads=2)
    assert torch.get_num_threads() == 1
    os._exit([each.label for each in again.predict(texts)] != expected)
assert os.waitpid(child, 0)[1] == 0
""",
}


def run(body: str, folder: Path, **settings: Any) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "2"}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"
    command = [sys.executable, "-c", HEAD + body, str(folder), repr(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_forked_process_predicts(folder: Path, scenario: str) -> None:
    said = run(SCENARIOS[scenario], folder)
    assert "a forked process computes on one thread" in said
    if scenario == "more threads":
        assert "--threads 2: a forked process computes on one thread" in said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.parametrize("how", ["named", "exported"])
def test_a_forked_process_predicts_by_another_program(folder: Path, frozen: Path, how: str) -> None:
    run(SCENARIOS["fork"], folder, backend="onnx") if how == "named" else run(SCENARIOS["fork"], frozen)


def test_a_system_that_does_not_fork(folder: Path) -> None:
    code = """
import os, sys, torch  # which registers something itself
for name in ("fork", "register_at_fork"):
    if hasattr(os, name):
        delattr(os, name)
import bertie
print(bertie.load(sys.argv[1]).predict("a cat").label)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() in ("bad", "good"), done.stderr[-3000:]


def there_and_back(predictor: Predictor) -> Predictor:
    made: Predictor = pickle.loads(pickle.dumps(predictor))  # noqa: S301
    return made


WAYS: dict[str, Callable[[Predictor], Predictor]] = {
    "pickle": there_and_back,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_pickles_and_copies_predict_alike(folder: Path, way: str, used: bool) -> None:
    predictor = load(folder, max_length=8, max_tokens=100)
    expected = predictor.predict(TEXTS) if used else load(folder, max_length=8).predict(TEXTS)
    other = WAYS[way](predictor)
    assert [each.label for each in other.predict(TEXTS)] == [each.label for each in expected]
    assert (other.max_tokens, other.task, other.precision) == (100, predictor.task, predictor.precision)
    assert len(pickle.dumps(predictor)) < 5000  # the folder and the settings, not the weights


def test_what_was_changed_after_loading_travels(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(folder.parent)
    predictor = load(folder.name)
    predictor.task = replace(predictor.task, labels=("no", "yes"))
    monkeypatch.chdir(tmp_path)
    assert there_and_back(predictor).predict("a cat").label in ("no", "yes")
    with torch.no_grad():
        for value in predictor.bundle.model.head.parameters():
            value.zero_()
    found = there_and_back(predictor).predict("a cat")
    assert found.score == pytest.approx(0.5)


def test_a_model_without_a_folder_travels_with_its_weights(folder: Path) -> None:
    bundle = read(folder)
    predictor = Predictor(bundle, precision="exact")
    expected = predictor.predict(TEXTS[:3])
    for way in WAYS.values():
        assert way(predictor).predict(TEXTS[:3]) == expected
    again: Bundle = pickle.loads(pickle.dumps(bundle))  # noqa: S301
    assert Predictor(again).predict(TEXTS[:3]) == expected
    assert Predictor(copy.deepcopy(bundle)).predict(TEXTS[:3]) == expected


def test_an_exported_model_travels_as_its_folder(frozen: Path) -> None:
    predictor = load(frozen)
    expected = [each.label for each in predictor.predict(TEXTS)]
    for way in WAYS.values():
        assert [each.label for each in way(predictor).predict(TEXTS)] == expected


def test_a_folder_that_is_gone_is_named(build_model: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    write(read(folder), tmp_path / "model")
    kept = pickle.dumps(load(tmp_path / "model"))
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(SettingsError, match=f"{tmp_path}/model: no such model folder"):
        pickle.loads(kept)  # noqa: S301


@pytest.mark.parametrize("place", ["encode", "decode"])
def test_an_interrupt_leaves_no_trace(folder: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    predictor = load(folder)
    expected = predictor.predict(TEXTS)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classification, place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            predictor.predict(TEXTS)
    assert predictor.predict(TEXTS) == expected


def test_an_interrupt_while_the_network_is_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = load(folder)
    few = predictor.predict(TEXTS[:2])

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predictor, "_run_by", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predictor.expect(None)
    assert predictor._case == "few"
    assert predictor.predict(TEXTS[:2]) == few
    predictor.expect(None)
    assert predictor._case == "many"


def test_an_error_of_one_item_leaves_the_predictor_as_it_was(folder: Path) -> None:
    predictor = load(folder)
    expected = predictor.predict(TEXTS[:2])
    with pytest.raises(DataError):
        predictor.predict(["a cat", 3])
    assert predictor.predict(TEXTS[:2]) == expected


def test_a_changed_folder_is_noticed_when_a_predictor_is_unpickled(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "model"
    write(read(folder), place)
    kept = pickle.dumps(load(place))
    assert pickle.loads(kept).predict("a cat") == load(place).predict("a cat")  # noqa: S301
    changed = read(folder)
    with torch.no_grad():
        next(changed.model.head.parameters()).add_(1.0)
    write(changed, place, overwrite=True)
    with pytest.raises(
        DataError, match=r"has changed since the pickled predictor was loaded; open it with bertie\.load"
    ):
        pickle.loads(kept)  # noqa: S301


def test_sixteen_threads_share_a_predictor(folder: Path) -> None:
    calls = [
        [f"{text} {'of the old dog ' * (number % 15)}" for text in TEXTS[: 1 + number % 9]] for number in range(96)
    ]
    alone = load(folder)
    expected = [alone.predict(texts) for texts in calls]
    shared = load(folder)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(shared.predict, calls))
    assert found == expected if library.load("linear") is not None else len(found) == len(expected)
    assert shared.num_cut == alone.num_cut > 0
