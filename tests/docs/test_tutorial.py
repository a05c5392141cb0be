"""The tutorials are true: their blocks run from top to bottom, in an empty folder, and leave what they promise."""

import faulthandler
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("tutorial.md", "tasks.md", "custom_head.md")  # the later ones go on where the first ended


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Return (language, file, code) of every fenced block; a block with a file's name is saved, not run."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(language: str, code: str) -> list[list[str]]:
    """Return the command lines of a block."""
    if language == "python":
        return [[sys.executable, "-W", "error", "-c", code]]
    assert language == "sh", f"unknown block language {language}"
    lines = code.replace("\\\n", " ").strip().splitlines()
    return [["sh", "-ec", line.replace("bertie ", f"{sys.executable} -m bertie ", 1)] for line in lines]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_block_runs(tmp_path: Path) -> None:
    # The net under hangs in native code is shorter than this test, which waits for other processes in Python only.
    faulthandler.cancel_dump_traceback_later()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    outputs: dict[str, str] = dict.fromkeys(PAGES, "")
    said: dict[str, str] = dict.fromkeys(PAGES, "")
    for page in PAGES:
        for language, file, code in blocks(page):
            if file:
                assert code == (ROOT / "examples" / file).read_text(encoding="utf-8"), f"{page} shows another {file}"
                (tmp_path / file).write_text(code, encoding="utf-8")
                continue
            for words in commands(language, code):
                done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
                assert done.returncode == 0, f"{words[-1]}\n{done.stdout}\n{done.stderr}"
                outputs[page] += done.stdout
                said[page] += done.stderr
    assert (tmp_path / "out/encoder/report.html").stat().st_size > 2000
    assert (tmp_path / "out/taste/model/model.safetensors").exists()
    assert re.search(r"FOOD +piece of bread +16-30", outputs["tasks.md"]) and "«corn»" in outputs["tasks.md"]
    assert re.search(r"FOOD +a piece of bread +29-45", outputs["tasks.md"])
    assert re.search(r"PLACE    +the river +13-22", outputs["tasks.md"])
    assert 'bertie predict out/alike/model "your text" --pair "' in said["tasks.md"]
    assert 'bertie predict out/tags/model "your text"\n' in said["tasks.md"]
    records = [json.loads(line) for line in (tmp_path / "out/encoder/metrics.jsonl").read_text().splitlines()]
    dev = [record["loss"] for record in records if record["kind"] == "dev"]
    assert dev[-1] < dev[0] - 1.0
    assert (
        "Verdict" in outputs["custom_head.md"] and "article_classifier by out/mine/model" in outputs["custom_head.md"]
    )
