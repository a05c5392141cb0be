"""Requests that schemathesis makes from /openapi.json: no answer of 5xx, and each has the form that is described there.

The suite runs a few for each route. BERTIE_GENERATED_REQUESTS=600 makes 600 for each, more than
20,000 in all; this takes so long that pytest needs `-o faulthandler_timeout=0`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("schemathesis", reason="needs the package schemathesis")
# A request of the right form is refused with 422 if no model can do it, such as a text without a mask to fill.
CONFIG = "[checks.positive_data_acceptance]\nexpected-statuses = ['2xx', '401', '403', '404', '413', '422']\n"
# 400 is broken JSON, and 413 a request with too many items; the default list lacks 413 and 415.
CONFIG += "[checks.negative_data_rejection]\nexpected-statuses = ['400', '404', '405', '406', '413', '415', '422']\n"


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_generated_requests_conform(client: Any, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    each = os.environ.get("BERTIE_GENERATED_REQUESTS", "5")
    words = ["run", f"{client.url}/openapi.json", "--checks", "all", "--max-examples", each, "--request-timeout", "60"]
    phases = "fuzzing" if each == "5" else "examples,coverage,fuzzing"
    words += ["--phases", phases, "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all"]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "requests_of_models",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "BERTIE_SERVED": ",".join(client.hub.models),
    }
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", *words]
    found = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    (tmp_path / "out.txt").write_text(found.stdout + found.stderr, encoding="utf-8")
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2000:]
    made = re.search(r"([\d,]+) generated", found.stdout)
    assert made is not None and int(made[1].replace(",", "")) >= 100, found.stdout
    print(made[0])
