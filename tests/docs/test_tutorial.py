"""The tutorial is true: its blocks run from top to bottom, in an empty folder, and leave what they promise."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def blocks() -> list[tuple[str, str]]:
    """Return (language, code) of every fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_block_runs(tmp_path: Path) -> None:
    root = str(TUTORIAL.parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "2"}
    python, outputs = "", ""
    for language, code in blocks():
        if language == "python":
            python, words = code, [sys.executable, "-W", "error", "-c", code]
            runs = [words]
        else:
            assert language == "sh", f"unknown block language {language}"
            lines = code.replace("\\\n", " ").strip().splitlines()
            runs = [["sh", "-ec", line.replace("bertie ", f"{sys.executable} -m bertie ", 1)] for line in lines]
        for words in runs:
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{words[-1]}\n{done.stdout}\n{done.stderr}"
            outputs += done.stdout
    assert python, "the tutorial has no Python"
    assert (tmp_path / "out/encoder/report.html").stat().st_size > 2000
    assert (tmp_path / "out/taste/model/model.safetensors").exists()
    records = [json.loads(line) for line in (tmp_path / "out/encoder/metrics.jsonl").read_text().splitlines()]
    dev = [record["mlm_loss"] for record in records if record["kind"] == "dev"]
    assert dev[-1] < dev[0] - 1.0
