"""The notebooks about an encoder and about a head of one's own run offline, and show what they promise."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
ROOT = Path(__file__).parents[2]


def executed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a notebook in an empty folder, and return it with its outputs."""
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(folder / "jupyter"))
    # The kernel of this Python, and not one that is installed under the notebook's name elsewhere.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in codes)
    client = nbclient.NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.create_kernel_manager().kernel_spec.argv[0] = sys.executable
    client.execute()
    return codes


def shown(cell: Any, kind: str) -> str:
    """Return what a cell shows in one format."""
    (result,) = [output.data for output in cell.outputs if "data" in output]
    return str(result[kind])


@pytest.mark.timeout(600)
def test_use_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, hidden, several, vectors, numbers, similar = executed("use_an_encoder", tmp_path, monkeypatch)
    figures = shown(training, "text/html")
    assert "training loss" in figures and "<svg" in figures and "dev mask accuracy" in figures
    assert shown(hidden, "text/html").count("%</span>") == 5 and "Fill(token=" in shown(hidden, "text/plain")
    assert shown(several, "text/html").count("%</span>") == 10
    assert "128 numbers" in shown(vectors, "text/html") and "[SEP]" in shown(numbers, "text/plain")
    assert shown(similar, "text/html").count("1.00</td>") >= 3


@pytest.mark.timeout(600)
def test_own_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, loop, finetuned, predicted = executed("own_head", tmp_path, monkeypatch)
    printed = "".join(each.text for each in loop.outputs if each.get("name") == "stdout")
    share = printed.partition("other sentences: ")[2].strip()
    assert share.endswith("%") and int(share.removesuffix("%")) >= 80
    assert "scores.accuracy" in shown(finetuned, "text/html")
    assert shown(predicted, "text/html").index("weather") < shown(predicted, "text/html").index("food")
