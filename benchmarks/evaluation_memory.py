"""How much memory does evaluating the 18,770 questions of QAMR's test set need, above the model's own?

The questions, which QAMR keeps as numbers of tokens, are first written as a table. A fresh process then loads the
model, notes its memory, reads the table and evaluates it; what counts is the peak of the process's resident memory
after that note. Batches hold 4,096 tokens, as with `bertie evaluate --batch-tokens 4096`. A model without a head for
answers gets one with random weights, which changes no size.
Usage: python benchmarks/evaluation_memory.py MODEL QAMR_FOLDER [--limit 1000] [--out benchmarks/results]
"""

import argparse
import gzip
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

LIMIT_MB = 300
_STATUS = Path("/proc/self/status")
_SECONDS = 0.01  # between two looks at the memory, where the kernel doesn't keep the peak itself


def convert(folder: Path, table: Path, limit: int | None) -> int:
    """Write QAMR's test questions as rows of question, context and answers; return how many.

    Three people answered each question by numbers of tokens; an answer in several runs stands for all between them.
    """
    with gzip.open(folder / "wiki-sentences.tsv.gz", "rt", encoding="utf-8") as stream:
        sentences = dict(line.rstrip("\n").split("\t", 1) for line in stream)
    count = 0
    with gzip.open(folder / "test.tsv.gz", "rt", encoding="utf-8") as stream, table.open("w", encoding="utf-8") as out:
        for line in stream:
            fields = line.rstrip("\n").split("\t")
            tokens = sentences[fields[0]].split(" ")
            answers = [_answer(tokens, part.rsplit(":", 1)[-1]) for part in fields[6:9]]
            kept = [answer for answer in answers if answer is not None]
            row = {
                "id": str(count),
                "question": fields[5],
                "context": " ".join(tokens),
                "answers": {"text": [text for text, _ in kept], "answer_start": [start for _, start in kept]},
            }
            out.write(json.dumps(row) + "\n")
            count += 1
            if count == limit:
                break
    return count


def _answer(tokens: list[str], numbers: str) -> tuple[str, int] | None:
    """Return text and first character of the tokens from the smallest to the largest number; None for no numbers."""
    places = [int(number) for number in numbers.split() if number.isdecimal()]
    if not places:
        return None
    text = " ".join(tokens[min(places) : max(places) + 1])
    return text, sum(len(token) + 1 for token in tokens[: min(places)])


class Peak:
    """The largest resident memory of this process while the context lasts, in MB."""

    def __enter__(self) -> "Peak":
        self.before = self.most = memory("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # sets the kernel's own peak back
            self._kernel = memory("VmHWM") <= self.before + 1
        except OSError:
            self._kernel = False
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._stop.wait(_SECONDS):
            self.most = max(self.most, memory("VmRSS"))

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._watch.join()
        self.most = max(self.most, memory("VmHWM") if self._kernel else memory("VmRSS"))


def memory(name: str) -> float:
    """Read a figure of this process from Linux, in MB."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def measure(model: str, table: Path, batch_tokens: int, threads: int | None) -> dict[str, Any]:
    """Load, read, evaluate, and return the figures."""
    from bertie.formats.huggingface import read, resolve
    from bertie.inference.evaluate import evaluate
    from bertie.nn.device import set_threads
    from bertie.progress import bar

    used = set_threads(threads)
    bundle = read(resolve(model), task="question_answering", new_head=True)
    started = time.perf_counter()
    with Peak() as peak:
        items = bundle.task.read(table, labelled=True).items
        with bar("Evaluating", total=len(items), unit="questions") as shown:
            found = evaluate(bundle.model, bundle.task, items, bundle.tokenizer, max_tokens=batch_tokens, bar=shown)
    return {
        "questions": found.num_items,
        "model_mb": round(peak.before, 1),
        "parameters": sum(value.numel() for value in bundle.model.parameters()),
        "peak_mb": round(peak.most, 1),
        "above_model_mb": round(peak.most - peak.before, 1),
        "limit_mb": LIMIT_MB,
        "seconds": round(time.perf_counter() - started, 1),
        "threads": used,
        "batch_tokens": batch_tokens,
        "scores": {name: round(score, 4) for name, score in found.scores.items()},
    }


def main() -> None:
    """Convert, measure in a process of its own, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder or hub id")
    parser.add_argument("data", type=Path, help="folder with QAMR's test.tsv.gz and wiki-sentences.tsv.gz")
    parser.add_argument("--limit", type=int, help="questions to take; all when not given")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--measure", action="store_true", help="data is the converted table; print figures as JSON")
    given = parser.parse_args()
    if not _STATUS.exists():
        sys.exit("this benchmark reads memory as Linux shows it")
    if given.measure:
        print(json.dumps(measure(given.model, given.data, given.batch_tokens, given.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "qamr-test.jsonl"
        convert(given.data, table, given.limit)
        options = ["--batch-tokens", str(given.batch_tokens)]
        options += ["--threads", str(given.threads)] if given.threads else []
        command = [sys.executable, __file__, given.model, str(table), "--measure", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    figures["machine"] = (
        f"{platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "evaluation_memory.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
