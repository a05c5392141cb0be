"""How long does it take from a text file to data that pre-training reads, end to end?

`bertie prepare-corpus`, with and without the nanotoken package, keeps sentences, so that pairs can be drawn. Its peer
is a `datasets.map` that tokenizes, and a second one that joins the text and cuts it into rows of 128: the usual
`group_texts`, which keeps no sentences. Each is a whole process, including its start, with as many worker processes as
threads. The outputs differ, so only the number of pieces must agree, within 1 %: the peer drops the last part of its
rows, and bertie cuts no piece across two sentences.

Usage: python -m benchmarks.prepare [--model FOLDER] [--text FILE] [--megabytes 25]
"""

import json
import os
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import inputs, rounds
from benchmarks.contest import Agreement, Case, Contestant, Ready, Work

LENGTH = 128
PIECES = Agreement("relative difference of the numbers of pieces", lambda a, b: abs(float(a) / float(b) - 1), 0.01)


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    inputs.arguments(parser)
    parser.add_argument("--megabytes", type=float, default=25.0, help="size of the text (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make one case."""
    contestants = (
        Contestant("bertie prepare-corpus", partial(ready, partial(ours, nanotoken=False))),
        Contestant("bertie with nanotoken", partial(ready, partial(ours, nanotoken=True)), ("nanotoken",)),
        Contestant("datasets.map + group_texts", partial(ready, theirs), ("datasets", "transformers")),
    )
    return [Case("text to training data", "MB/s", contestants, PIECES, settings={"megabytes": size(options)})]


def size(options: Namespace) -> float:
    """Return the size of the text in megabytes."""
    return 0.3 if options.smoke else float(options.megabytes)


def prepare(work: Work) -> dict[str, Any]:
    """Write the text, and learn a vocabulary unless the user gives a model."""
    text = inputs.document_text(int(1e6 * size(work.options)), work.options.text)
    (work.folder / "text.txt").write_text(text, encoding="utf-8")
    inputs.tokenizer_folder(work.folder, work.options)
    return inputs.described(work.options.text, [text])


def ready(run: Callable[[Work, Path], int], work: Work) -> Ready:
    """Prepare runs into a folder that is removed before each run."""
    megabytes = (work.folder / "text.txt").stat().st_size / 1e6
    out = work.folder / "out"

    def once() -> int:
        shutil.rmtree(out, ignore_errors=True)
        return run(work, out)

    def repeat() -> float:
        started = time.perf_counter()
        once()
        return megabytes / (time.perf_counter() - started)

    return Ready(once, repeat, warmups=0)


def ours(work: Work, out: Path, *, nanotoken: bool) -> int:
    """Run the command, with nanotoken or as if it weren't installed, and return the number of pieces."""
    environment = dict(os.environ)
    if not nanotoken:
        hidden = work.folder / "hidden"
        hidden.mkdir(exist_ok=True)
        (hidden / "nanotoken.py").write_text('raise ImportError("left out of this contest")\n', encoding="utf-8")
        environment["PYTHONPATH"] = os.pathsep.join([str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = [sys.executable, "-m", "bertie", "prepare-corpus", str(work.folder / "text.txt"), "--json", "--quiet"]
    words += ["--tokenizer", str(inputs.tokenizer_folder(work.folder, work.options)), "--out", str(out)]
    words += ["--processes", str(work.options.threads)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return int(json.loads(done.stdout)["tokens"])


def theirs(work: Work, out: Path) -> int:
    """Run `map_and_group` in another process, and return the number of pieces."""
    words = [sys.executable, "-m", "benchmarks.prepare", "--map", str(work.folder / "text.txt"), str(out)]
    words += [str(inputs.tokenizer_folder(work.folder, work.options)), str(work.options.threads)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def map_and_group(text: str, out: str, tokenizer_folder: str, processes: int) -> int:
    """Tokenize and group with datasets, save the rows, and return the number of pieces."""
    import datasets
    from transformers import BertTokenizer

    datasets.disable_progress_bars()
    tokenizer: Any = BertTokenizer.from_pretrained(tokenizer_folder)
    tokenizer.model_max_length = 1 << 30
    rows = datasets.load_dataset("text", data_files=text, split="train", cache_dir=f"{out}/cache")

    def encode(batch: dict[str, Any]) -> Any:
        return tokenizer(batch["text"], add_special_tokens=False, return_special_tokens_mask=True)

    def group(batch: dict[str, Any]) -> dict[str, Any]:
        joined = {key: list(chain.from_iterable(values)) for key, values in batch.items()}
        whole = len(joined["input_ids"]) // LENGTH * LENGTH
        return {
            key: [values[start : start + LENGTH] for start in range(0, whole, LENGTH)] for key, values in joined.items()
        }

    rows = rows.map(encode, batched=True, num_proc=processes, remove_columns=["text"])
    rows = rows.map(group, batched=True, num_proc=processes)
    rows.save_to_disk(f"{out}/rows")
    return len(rows) * LENGTH


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.prepare", words, rounds=5, repeats=1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--map"]:
        print(map_and_group(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])))
    else:
        main()
