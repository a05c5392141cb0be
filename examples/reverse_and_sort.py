"""Train a Transformer to reverse or sort sequences of symbols, and evaluate it on sequences that it never saw.

python examples/reverse_and_sort.py sort --out out/sort

writes the tables and their vocabulary, runs the command that trains from random weights, and reports how many unseen
sequences it solves exactly. Flags other than those below, such as --seed 1, are passed to `bertie finetune`.
"""

from __future__ import annotations

import argparse
import random
import shlex
import string
import sys
from pathlib import Path

from bertie.cli import main as bertie
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

SYMBOLS = string.ascii_lowercase
# One layer on each side, 128 hidden units, four attention heads. Every answer is certain, so neither dropout nor label
# smoothing helps. A beta2 of 0.98, as in the original, forgets large gradients quickly.
FLAGS = shlex.split(
    "--task generation --model.architecture transformer --model.size 1/128 --model.num-heads 4 --model.dropout 0 "
    "--epochs 1 --batch-size 32 --learning-rate 2e-3 --optimizer.beta2 0.98 --optimizer.weight-decay 0 "
    "--training.save-every 0"
)
WORKS = ("reverse", "sort")


def answer(work: str, symbols: str) -> str:
    """Return the right answer: the symbols reversed or sorted.

    >>> answer("reverse", "bca"), answer("sort", "bca")
    ('acb', 'abc')
    """
    return symbols[::-1] if work == "reverse" else "".join(sorted(symbols))


def write_data(folder: Path, work: str, *, num_train: int, num_dev: int, longest: int, seed: int = 0) -> None:
    """Write train.tsv, dev.tsv and tokenizer/: sequences of 1 to `longest` letters, with all lengths equally likely.

    No sequence of dev.tsv is in train.tsv. There are few different short sequences, and train.tsv has most of them.
    """
    draw = random.Random(seed)

    def sequence() -> str:
        return "".join(draw.choices(SYMBOLS, k=draw.randint(1, longest)))

    train = [sequence() for _ in range(num_train)]
    seen, dev = set(train), list[str]()
    while len(dev) < num_dev:
        if (unseen := sequence()) not in seen:
            seen.add(unseen)
            dev.append(unseen)
    for name, sequences in (("train", train), ("dev", dev)):
        rows = (f"{' '.join(symbols)}\t{' '.join(answer(work, symbols))}\n" for symbols in sequences)
        (folder / f"{name}.tsv").write_text("source\ttarget\n" + "".join(rows), encoding="utf-8")
    (folder / "tokenizer").mkdir()
    save_tokenizer(Tokenizer.build([*SPECIALS, *SYMBOLS], lowercase=True), folder / "tokenizer")


def command(folder: Path, longest: int) -> list[str]:
    """Return the arguments of the training command, with lengths that leave room for start and end tokens."""
    max_target = longest + 1
    files = {"train": "train.tsv", "dev": "dev.tsv", "tokenizer": "tokenizer", "out": "run"}
    paths = [word for flag, name in files.items() for word in (f"--{flag}", str(folder / name))]
    sizes = f"--length {longest + 2} --settings label_smoothing=0,max_target={max_target},max_new_tokens={max_target}"
    return ["finetune", *paths, *FLAGS, *shlex.split(sizes)]


def main(words: list[str]) -> int:
    """Write the data, train and evaluate; return the exit code of `bertie finetune`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--out", type=Path, required=True, help="folder for data and run; must not exist")
    parser.add_argument("--longest", type=int, default=30, help="length of the longest sequence (%(default)s)")
    parser.add_argument("--num-train", type=int, default=100_000, help="number of training sequences (%(default)s)")
    parser.add_argument("--num-dev", type=int, default=1_000, help="number of unseen sequences to test (%(default)s)")
    chosen, further = parser.parse_known_args(words)
    chosen.out.mkdir(parents=True)
    sizes = {"num_train": chosen.num_train, "num_dev": chosen.num_dev, "longest": chosen.longest}
    write_data(chosen.out, chosen.work, **sizes)
    line = [*command(chosen.out, chosen.longest), *further]
    print(f"bertie {shlex.join(line)}", file=sys.stderr)
    return bertie(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
