"""Settings and fixtures of the whole suite; fixtures of one room live beside that room's tests."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from bertie import progress
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.writing import save_tokenizer

if TYPE_CHECKING:
    from bertie.tasks.task import TaskModel
    from bertie.tokenizer.tokenizer import Tokenizer

# On a busy machine threads that spin while they wait for each other make small tensors twenty times slower.
# Read when torch is loaded, which no test has done yet.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Several workers share the cores out instead of each taking all.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    shares = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, shares)))
# A machine that is busy with something else must not fail a property. Where a change is judged (CI), every run sees the
# same examples; elsewhere they are new each time, which is how faults are found.
settings.register_profile("bertie", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("bertie")

VOCABULARY = """[PAD] [UNK] [CLS] [SEP] [MASK] an the of is was in it this that film story day cat dog bird fish house
river city good bad great poor very not never ran sat saw ate went slept red blue old new two three ##ed ##ing ##ly ##er
##est . , ! ? ' - 北 京 的 猫 鱼 好"""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def speak() -> Iterator[None]:
    """Undo what a test's `--quiet` left behind."""
    yield
    progress.set_quiet(False)


def pytest_report_header() -> str:
    """Say what the suite's CPU work runs on."""
    from bertie.ops.kernels import library

    return f"kernels: {library.describe()}"


def pytest_configure(config: pytest.Config) -> None:
    """Let the process that hands out the tests name each failure at once."""
    if config.option.__dict__.get("numprocesses") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_NamedAtOnce(config), "named-at-once")


class _NamedAtOnce:
    """With several workers the summary comes at the end, which a broken run may never see."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"failed: {report.nodeid}")


@pytest.fixture(scope="session")
def prepare_sentences(tiny_tokenizer: "Tokenizer", tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what prepares a corpus of random sentences, some to a document."""
    import bertie

    def prepare(
        words: tuple[str, ...], *, count: int, lengths: tuple[int, int], document: int, stop: str = "."
    ) -> Path:
        folder, draw = tmp_path_factory.mktemp("corpus"), random.Random(0)
        save_tokenizer(tiny_tokenizer, folder / "tokenizer")
        sentences = [" ".join(draw.choices(words, k=draw.randint(*lengths))) + stop for _ in range(count)]
        documents = ["\n".join(sentences[first : first + document]) for first in range(0, count, document)]
        text, tokenizer, out = folder / "text.txt", folder / "tokenizer", folder / "out"
        text.write_text("\n\n".join(documents), encoding="utf-8")
        bertie.prepare_corpus([text], tokenizer=tokenizer, out=out, sentences="line", processes=1)
        return out

    return prepare


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> "Tokenizer":
    """Return a lower-casing tokenizer of some hundred pieces that spells every English word."""
    folder = tmp_path_factory.mktemp("tiny-tokenizer")
    pieces = [*VOCABULARY.split(), *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def build_model(tiny_tokenizer: "Tokenizer") -> Callable[..., "TaskModel"]:
    """Return a function that puts a task's head on a BERT of two layers, or the kin of it that the task needs.

    Its weights are random, from `seed`.
    """
    import torch

    from bertie.models.bert import BertConfig
    from bertie.models.electra import ElectraConfig
    from bertie.models.seq2seq import EncoderDecoderConfig
    from bertie.nn.initialize import initialize
    from bertie.tasks.task import TaskModel

    def build(task: Any, *, seed: int = 0, dropout: float = 0.0, deviation: float = 0.1) -> TaskModel:
        config = BertConfig(
            tiny_tokenizer.vocab_size,
            hidden_size=32,
            num_layers=2,
            num_heads=2,
            intermediate_size=64,
            max_positions=64,
            dropout=dropout,
            attention_dropout=dropout,
        )
        electra = ElectraConfig(**{**vars(config), "embedding_size": 24})
        pair = EncoderDecoderConfig.over(config, start_id=tiny_tokenizer.start, end_id=tiny_tokenizer.separator)
        shapes: dict[str, Any] = {"generation": pair, "replaced_token": electra}
        encoder: Any = shapes.get(task.name, config).build()
        model: TaskModel = task.network(TaskModel(encoder, task.head(encoder)), seed=seed)
        initialize(model, deviation=deviation, generator=torch.Generator().manual_seed(seed))
        return model

    return build


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real data, from the environment variable BERTIE_TEST_DATA; skip when it is unset."""
    folder = os.environ.get("BERTIE_TEST_DATA")
    if not folder:
        pytest.skip("BERTIE_TEST_DATA is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"BERTIE_TEST_DATA is {folder!r}, which is not a folder")
    return path


@pytest.fixture
def usual_handlers() -> Iterator[None]:
    """Start from a terminal's handlers: a suite in the background of a shell ignores SIGINT."""
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.default_int_handler) for number in signals]
    yield
    for number, handler in zip(signals, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def break_off(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what pre-trains until batch number `at` is drawn, where the run breaks off."""
    import bertie
    from bertie.training import feed

    whole = feed.corpus_feed

    def run(*, at: int, **wishes: Any) -> None:
        def breaking(*parts: Any, **more: Any) -> Iterator[Any]:
            for number, draw in enumerate(whole(*parts, **more), 1):
                if number == at:
                    raise KeyboardInterrupt
                yield draw

        with monkeypatch.context() as patch:
            patch.setattr(feed, "corpus_feed", breaking)
            with pytest.raises(KeyboardInterrupt):
                bertie.pretrain(**wishes)

    return run
