"""How much memory does evaluating the 18,770 questions of QAMR's test set need, in addition to the model's memory?

QAMR stores answers as token indices, so the questions are first written as a table. A fresh process then loads the
model, records its resident memory, and reads and evaluates the table. The figure is the peak of resident memory minus
the recorded value. Batches hold 4,096 tokens, as with `bertie evaluate --batch-tokens 4096`. A model without a
question-answering head gets one with random weights, which changes no size.

Usage: python -m benchmarks.evaluation_memory --model MODEL --data QAMR_FOLDER [--limit 1000]
"""

import gzip
import json
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from benchmarks import inputs, rounds
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference

LIMIT_MB = 300
_STATUS = Path("/proc/self/status")
_SECONDS = 0.01  # between two readings of the memory, if the kernel doesn't record the peak


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--model", required=True, help="folder or hub id")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with QAMR's test.tsv.gz and wiki-sentences.tsv.gz"
    )
    parser.add_argument("--limit", type=int, help="number of questions (default: all)")
    parser.add_argument("--batch-tokens", type=int, default=4096, help="largest number of tokens a batch (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make one case with one contestant, which is compared with the limit."""
    settings = {"limit_mb": LIMIT_MB, "batch_tokens": options.batch_tokens}
    same = largest_difference(0.0)
    return [Case("memory above the model", "MB", (Contestant("bertie", ready),), same, "lower", settings=settings)]


def prepare(work: Work) -> dict[str, Any]:
    """Write the table."""
    limit = 50 if work.options.smoke else work.options.limit
    table = work.folder / "qamr-test.jsonl"
    convert(Path(work.options.data), table, limit)
    return inputs.described("qamr", table.read_text(encoding="utf-8").splitlines())


def convert(folder: Path, table: Path, limit: int | None) -> int:
    """Write QAMR's test questions as rows of question, context and answers; return their number.

    Three annotators answered each question with token indices. An answer with gaps becomes the whole span.
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
    """Return the text and the first character of the span from the lowest to the highest index; None for no index."""
    indices = [int(number) for number in numbers.split() if number.isdecimal()]
    if not indices:
        return None
    text = " ".join(tokens[min(indices) : max(indices) + 1])
    return text, sum(len(token) + 1 for token in tokens[: min(indices)])


class Peak:
    """A context manager that measures the peak resident memory of this process, in MB."""

    def __enter__(self) -> "Peak":
        self.before = self.most = memory("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak that the kernel records
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
    """Return a memory figure of this process from /proc/self/status, in MB."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def ready(work: Work) -> Ready:
    """Load the model; a repeat reads the table and evaluates it."""
    from bertie.formats.huggingface import read, resolve
    from bertie.inference.evaluate import evaluate
    from bertie.nn.device import set_threads

    set_threads(work.options.threads)
    bundle = read(resolve(work.options.model), task="question_answering", new_head=True)
    table, figures = work.folder / "qamr-test.jsonl", {"model_mb": round(memory("VmRSS"), 1)}

    def repeat() -> float:
        started = time.perf_counter()
        with Peak() as peak:
            items = bundle.task.read(table, labelled=True).items
            max_tokens = work.options.batch_tokens
            evaluation = evaluate(bundle.model, bundle.task, items, bundle.tokenizer, max_tokens=max_tokens)
        figures["questions"] = evaluation.num_items
        figures["seconds"] = round(time.perf_counter() - started, 1)
        return round(peak.most - peak.before, 1)

    # No warm-up: memory that a first evaluation keeps would not show in a second one.
    return Ready(lambda: 0.0, repeat, warmups=0, derive=lambda figure: dict(figures))


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    if not _STATUS.exists():
        sys.exit("this benchmark needs Linux: it reads the memory from /proc/self/status")
    rounds.main("benchmarks.evaluation_memory", words, rounds=5, repeats=1)


if __name__ == "__main__":
    main()
