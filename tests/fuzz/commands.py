"""Damaged tables, corpora, settings and model folders through every command: what escapes is counted by kind.

    python tests/fuzz/commands.py 20000            # cases, in half an hour to an hour on one free core
    python tests/fuzz/commands.py 200 --seed 7 --keep FOLDER

A case is drawn from its number alone, so ``--only NUMBER`` repeats one and shows it. Looked for: a traceback, an exit
code that no error has, more than 20 seconds of CPU time, more than 2 GiB of memory, a control character in what is
printed, and a file outside --out that was made, changed or removed. Cases run in one long-lived process through
``bertie.cli.main``; one that dies or hangs is named, and a fresh process goes on behind it. Half of the cases skip the
comparison of checksums, or nothing behind it would be reached.
"""

import argparse
import contextlib
import faulthandler
import importlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from cases import case
from seeds import make_seeds

MOST_SECONDS, HANG_SECONDS, MOST_BYTES = 20.0, 180.0, 2 * 2**30
CHECKED = [False]
"""Whether checksums are taken as right."""
CODES = {0, 2, 3, 4, 5}


def _unfit(text: str) -> bool:
    turned = "\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"
    return any((one < " " and one not in "\n\t") or "\x7f" <= one <= "\x9f" or one in turned for one in text)


def _tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        found[str(path)] = (state.st_mode, state.st_size, state.st_mtime_ns if path.is_file() else 0)
    return found


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _without_checksums() -> None:
    """Let comparisons of checksums say yes while CHECKED holds True."""
    import bertie.corpus.shards as shards
    from bertie.files.checksums import has_own_sum as right

    whole = shards._check_file

    def has_own_sum(values: Any) -> bool:
        return CHECKED[0] or bool(right(values))

    def present(path: Path, num_bytes: int, sha256: str, *, verify: bool) -> None:
        if verify or not CHECKED[0] or not path.is_file():
            whole(path, num_bytes, sha256, verify=verify)

    for name, module in [*sys.modules.items()]:
        if name.startswith("bertie") and hasattr(module, "has_own_sum"):
            module.has_own_sum = has_own_sum
    shards._check_file = present


def run_case(number: int, seed: int, seeds: Path, place: Path) -> dict[str, Any]:
    """Run one case in this process and return what was wrong with it, if anything was."""
    from bertie.cli import main

    shutil.rmtree(place, ignore_errors=True)
    for name in ("in", "out", "here"):
        (place / name).mkdir(parents=True)
    kind, words, done = case(number, seed, seeds, place)
    before = _tree(place / "in"), _tree(seeds)
    os.chdir(place / "here")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    low = io.TextIOWrapper(tempfile.TemporaryFile(), encoding="utf-8", errors="replace")  # noqa: SIM115
    saved = os.dup(2)
    os.dup2(low.fileno(), 2)
    printed, said = io.StringIO(), io.StringIO()
    started, wall = time.process_time(), time.monotonic()
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=saved)
    trace = ""
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            code = main(words)
    except BaseException:
        code, trace = -1, traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
        os.dup2(saved, 2)
        os.close(saved)
    low.seek(0)
    shown, errors = printed.getvalue(), said.getvalue() + low.read()
    wrong = []
    if code not in CODES or trace or "Traceback" in errors or "bug in bertie" in errors or "panicked" in errors:
        wrong.append("traceback")
    if time.process_time() - started > MOST_SECONDS:
        wrong.append("slow")
    if _peak_bytes() > MOST_BYTES:
        wrong.append("memory")
    if _unfit(shown) or _unfit(errors):
        wrong.append("control character")
    os.chdir("/")
    if (_tree(place / "in"), _tree(seeds)) != before or any((place / "here").iterdir()):
        wrong.append("file outside --out")
    return {
        "number": number,
        "kind": kind,
        "code": code,
        "wrong": wrong,
        "seconds": round(time.monotonic() - wall, 2),
        "words": words,
        "damage": done,
        "tail": (trace + errors)[-3000:] if wrong else errors[-300:],
    }


def work(first: int, last: int, seed: int, seeds: Path, place: Path) -> None:
    """Run cases one after another, and write one line of JSON each."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdin = io.TextIOWrapper(io.BytesIO(b""))
    # All at once: on a busy machine an import can take longer than a case may.
    for name in ("check", "convert", "evaluate", "export", "finetune", "predict", "prepare_corpus", "pretrain", "run"):
        importlib.import_module(f"bertie.commands.{name}")
    for name in ("search", "show", "train_tokenizer"):
        importlib.import_module(f"bertie.commands.{name}")
    resource.setrlimit(resource.RLIMIT_DATA, (2 * MOST_BYTES, 2 * MOST_BYTES))
    _without_checksums()
    for number in range(first, last):
        stdout.write(json.dumps({"begin": number}) + "\n")
        stdout.flush()
        CHECKED[0] = number % 2 == 1
        stdout.write(json.dumps(run_case(number, seed, seeds, place)) + "\n")
        stdout.flush()


def fuzz(count: int, seed: int, folder: Path, *, shown: bool = True) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Run cases in child processes; return counts by kind and code, and the cases that were wrong."""
    seeds = folder / "seeds"
    if not seeds.exists():
        make_seeds(seeds)
    counts: Counter[str] = Counter()
    wrong: list[dict[str, Any]] = []
    number = 0
    environment = {
        **os.environ,
        "BERTIE_KERNELS": "off",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }
    while number < count:
        command = [sys.executable, __file__, "--work", str(number), str(count), str(seed), str(folder)]
        begun = number
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            assert child.stdout is not None
            for line in child.stdout:
                found = json.loads(line)
                if "begin" in found:
                    begun = found["begin"]
                    continue
                number = found["number"] + 1
                counts[f"{found['kind']} {found['code']}"] += 1
                counts["cases"] += 1
                if found["wrong"]:
                    wrong.append(found)
                    counts.update(found["wrong"])
                    if shown:
                        print(json.dumps(found, ensure_ascii=True), flush=True)
                if shown and number % 500 == 0:
                    print(f"# {number} {dict(counts)}", flush=True)
        if child.returncode != 0 or number <= begun < count - 1:
            number = begun + 1
            counts["died or hung"] += 1
            wrong.append({"number": begun, "wrong": ["died or hung"], "code": child.returncode})
            if shown:
                print(json.dumps(wrong[-1]), flush=True)
    return counts, wrong


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", type=int)
    parser.add_argument("--work", nargs=4)
    given = parser.parse_args()
    if given.work:
        # first, last, seed, folder
        sys.argv = sys.argv[:1]
        first, last, seed, folder = (*map(int, given.work[:3]), Path(given.work[3]))
        work(first, last, seed, folder / "seeds", folder / f"case-{os.getpid()}")
        return 0
    folder = given.keep or Path(tempfile.mkdtemp(prefix="bertie-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    if given.only is not None:
        if not (folder / "seeds").exists():
            make_seeds(folder / "seeds")
        print(json.dumps(run_case(given.only, given.seed, folder / "seeds", folder / "case"), indent=1))
        return 0
    counts, wrong = fuzz(given.count, given.seed, folder)
    print(json.dumps(dict(sorted(counts.items())), indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(_main())
