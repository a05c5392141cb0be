"""The recipes of docs/extending.md: each is carried out in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_recipe_works(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|sh) ?(\S*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shutil.copytree(ROOT / "bertie", tmp_path / "bertie", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "words.txt").write_text("\n\n".join(f"the old cat {n} sat .\nit ran ." for n in range(60)))
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + "good cat\tyes\nbad dog\tno\n" * 8)
    (tmp_path / "rows.ft").write_text("__label__yes good cat\n__label__no bad dog\n" * 8)
    (tmp_path / "dialogues.jsonl").write_text(
        '{"turns": ["it ran", "good"], "label": "yes"}\n{"turns": ["it sat", "bad"], "label": "no"}\n' * 8
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    outputs = ""
    for language, file, code in blocks:
        if language == "python":
            assert not (tmp_path / file).exists(), f"{file} is there already"
            (tmp_path / file).write_text(code, encoding="utf-8")
            continue
        for line in code.strip().splitlines():
            words = ["sh", "-ec", line.replace("bertie ", f"{sys.executable} -m bertie ", 1)]
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            outputs += done.stdout
    assert "accuracy" in outputs and re.search(r"words +\D*\b300\b", outputs)
    assert '"model_type": "unsegmented"' in (tmp_path / "out/encoder/model/config.json").read_text(encoding="utf-8")
    assert '"task": "outcome"' in (tmp_path / "out/outcome/model/config.json").read_text(encoding="utf-8")
    assert '"form": "ft"' in (tmp_path / "out/fasttext/model/config.json").read_text(encoding="utf-8")
    assert "after step" in (tmp_path / "out/tracked/best_loss.txt").read_text()
    assert (tmp_path / "out/halves/encoder.npz").stat().st_size > 0
    assert "half their usual size" in (tmp_path / "out/small/report.html").read_text(encoding="utf-8")
