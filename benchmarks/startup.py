"""How long do whole processes take: `bertie --help`, and one prediction from cold?

Measures the wall time of a process. The prediction embeds one sentence with a model folder of MiniLM-L6's shape. The
peer is the shortest program that prints the same vector with transformers. Both vectors must be the same.

Usage: python -m benchmarks.startup [--model FOLDER]
"""

import json
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import inputs, rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference

SENTENCE = "A delightful film about two old friends."
THEIRS = """
import sys, torch
from transformers import AutoModel, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1])
with torch.inference_mode():
    hidden = model(**tokenizer(sys.argv[2], return_tensors="pt")).last_hidden_state.mean(1)
print(torch.nn.functional.normalize(hidden)[0].tolist())
"""
Words = Callable[[Work], list[str]]


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--model", type=Path, help="BERT folder (default: MiniLM-L6's shape with random weights)")


def cases(options: Namespace) -> list[Case]:
    """Make a case for help and one for a prediction."""
    same = largest_difference(1e-4)
    helped = (
        Contestant("bertie --help", partial(ready, help_words, lambda out: 0.0)),
        Contestant("python -c pass", partial(ready, lambda work: [sys.executable, "-c", "pass"], lambda out: 0.0)),
        Contestant(
            "python -c 'import transformers'",
            partial(ready, lambda work: [sys.executable, "-c", "import transformers"], lambda out: 0.0),
            ("transformers",),
        ),
    )
    predicted = (
        Contestant("bertie predict", partial(ready, predict_words, vector)),
        Contestant("transformers", partial(ready, their_words, json.loads), ("transformers",)),
    )
    return [
        Case("help", "s", helped, same, "lower"),
        Case("one prediction from cold", "s", predicted, same, "lower", settings={"sentence": SENTENCE}),
    ]


def prepare(work: Work) -> dict[str, Any]:
    """Write a model folder unless the user gives one."""
    inputs.model_folder(work.folder, work.options)
    return {}


def help_words(work: Work) -> list[str]:
    """Return the command line of `bertie --help`."""
    return [sys.executable, "-m", "bertie", "--help"]


def predict_words(work: Work) -> list[str]:
    """Return the command line of one prediction."""
    folder = str(inputs.model_folder(work.folder, work.options))
    return [sys.executable, "-m", "bertie", "predict", folder, SENTENCE, "--task", "embedding", "--json", "--quiet"]


def their_words(work: Work) -> list[str]:
    """Return the command line of the peer's program."""
    return [sys.executable, "-c", THEIRS, str(inputs.model_folder(work.folder, work.options)), SENTENCE]


def vector(out: str) -> Any:
    """Return the vector from the output of `bertie predict --json`."""
    return json.loads(out.splitlines()[0])["vector"]


def ready(words: Words, read: Callable[[str], Any], work: Work) -> Ready:
    """Prepare to time whole processes; the first one fills the system's file cache and is not counted."""
    command = words(work)

    def run() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def repeat() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return Ready(lambda: read(run()), repeat)


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.startup", words, rounds=5, repeats=2)


if __name__ == "__main__":
    main()
