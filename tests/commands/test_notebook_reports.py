"""Reports of commands as notebooks show them."""

from pathlib import Path

from bertie.commands.command import Report
from bertie.training.journal import Journal


def test_figures_tables_and_the_curve_of_a_run(tmp_path: Path) -> None:
    with Journal(tmp_path / "metrics.jsonl") as lines:
        for step in (1, 2, 3):
            lines.write({"kind": "train", "step": step, "loss": 3.0 / step})
    values = {
        "folder": str(tmp_path),
        "scores": {"f1": 0.5},
        "rows": [{"name": "<b>x", "n": 2}, {"name": "y", "n": 3}],
        "report": f"{tmp_path}/report.html",
    }
    html = Report(title="A <run>", values=values)._repr_html_()
    assert "A &lt;run&gt;" in html and "scores.f1" in html and "&lt;b&gt;x" in html and "<b>x" not in html
    assert "training loss: 3 at step 1, 1 at step 3" in html and html.count("<polyline") == 1
    assert f'<a href="{tmp_path}/report.html"' in html


def test_reports_without_a_run(tmp_path: Path) -> None:
    assert "<svg" not in Report(title="x", values={"folder": str(tmp_path), "n": 1})._repr_html_()
    assert "<svg" not in Report(title="x", values={"folder": 3})._repr_html_()
    text = Report(title="x", values={"n": 1}, text="all <i>that</i>")._repr_html_()
    assert "all &lt;i&gt;that" in text
