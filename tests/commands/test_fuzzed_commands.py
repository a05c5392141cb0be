"""Damaged files through every command; `tests/fuzz/commands.py` runs thousands of cases and says how."""

import os
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
FUZZ = Path(__file__).parents[1] / "fuzz"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_escapes(tmp_path: Path) -> None:
    count = int(os.environ.get("BERTIE_FUZZ_CASES", "60"))
    counts, wrong = runpy.run_path(str(FUZZ / "commands.py"))["fuzz"](count, 0, tmp_path, shown=False)
    assert wrong == [] and counts["cases"] == count
