"""The notebook runs from the first cell to the last, offline, and its classifier has learned."""

import ast
import os
import re
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def test_it_has_six_cells_and_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) == 6 and not any(cell.outputs or cell.execution_count for cell in notebook.cells)


@pytest.mark.timeout(600)
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    # The kernel of this Python, and not one that is installed under the notebook's name elsewhere.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    manager = client.create_kernel_manager()
    manager.kernel_spec.argv[0] = sys.executable
    client.execute()

    def shown(number: int, kind: str = "text/plain") -> str:
        results = [each.data for each in notebook.cells[number - 1].outputs if "data" in each]
        return str(results[-1][kind])

    assert ast.literal_eval(shown(3))["accuracy"] >= 0.8
    assert [label for label, _ in ast.literal_eval(shown(4))] == ["weather", "food"]
    printed = "".join(each.text for each in notebook.cells[4].outputs if each.get("name") == "stdout")
    scores = [float(text) for text in re.findall(r": (\S+)", printed)]
    assert len(scores) == 2 and min(scores) > 0.5
    assert "Fine-tuning topic" in shown(6, "text/html") and (tmp_path / "quickstart" / "topic" / "model").is_dir()
