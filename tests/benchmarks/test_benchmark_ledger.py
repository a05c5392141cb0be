"""Results of benchmarks: ratios, the first layout, a plain table, and whether something has become slower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import check, ledger, machine

MACHINE = {"processor": "P", "cores": 2, "flags": ["avx2"], "threads": 2}


def result(ratio: tuple[float, float, float], **changed: Any) -> dict[str, Any]:
    """Make a result with one case and one peer."""
    median, low, high = ratio
    rows = {name: {"median": 1.0, "min": 0.9, "max": 1.1, "repeats": 5} for name in ("bertie", "peer")}
    case = {
        "name": "mini",
        "unit": "tokens/s",
        "better": "higher",
        "reference": "bertie",
        "rows": rows,
        "missing": {},
        "left_out": {},
        "faster_by": {"peer": {"median": median, "min": low, "max": high}},
    }
    return {"name": "fake", "question": "?", "cases": [case], "machine": MACHINE, "inputs": {"sha256": "a"}, **changed}


def test_ratios_are_of_rounds() -> None:
    ours, theirs = [[10.0, 12.0, 11.0], [20.0, 20.0, 20.0]], [[5.0, 6.0, 5.5], [5.0, 5.0, 5.0]]
    assert ledger.ratios(ours, theirs, higher_is_better=True) == [2.0, 4.0]
    assert ledger.ratios(ours, theirs, higher_is_better=False) == [0.5, 0.25]
    assert ledger.ratios([[4.0, 9.0]], [[2.0, 3.0]], higher_is_better=True) == [2.0, 3.0]


def test_percentiles_need_many() -> None:
    row = {"values": [[float(value) for value in range(101)]], "peak_mb": 1.0, "first_seconds": [0.5]}
    case = {"rows": {"bertie": row}, "better": "lower", "reference": "bertie"}
    assert ledger.summarized(case)["rows"]["bertie"]["p99"] == 99.0
    short = {**case, "rows": {"bertie": {**row, "values": [[1.0, 2.0]]}}}
    assert "p99" not in ledger.summarized(short)["rows"]["bertie"]


def test_no_reference_no_ratio() -> None:
    row = {"values": [[2.0]], "peak_mb": 1.0, "first_seconds": [0.5]}
    case = {"rows": {"peer": row}, "better": "lower", "reference": "bertie"}
    assert ledger.summarized(case)["faster_by"] == {}
    assert ledger.summarized({**case, "rows": {"bertie": {**row, "values": [[1.0]]}, "peer": row}})["faster_by"] == {
        "peer": {"median": 2.0, "min": 2.0, "max": 2.0}
    }


def test_the_first_layout_is_still_read(tmp_path: Path) -> None:
    old = {
        "question": "How fast?",
        "size": "mini",
        "tokens_per_second": {"bertie": {"median": 4.0, "min": 3.0, "max": 5.0, "steps": 16}},
        "ratio": {"peer": 2.0},
        "machine": {"processor": "P", "threads": 2, "bf16": False, "avx512": True, "torch": "2", "python": "3"},
        "date": "2026-01-01",
    }
    path = tmp_path / "pretrain.json"
    path.write_text(json.dumps(old))
    found = ledger.read(path)
    assert found["cases"][0]["rows"]["bertie"]["repeats"] == 16 and found["machine"]["flags"] == ["avx512"]
    path.write_text('{"peak_mb": 3}')
    with pytest.raises(ValueError, match="holds no cases"):
        ledger.read(path)


def test_written_is_read(tmp_path: Path) -> None:
    assert ledger.read(ledger.write(result((2.0, 1.9, 2.1)), tmp_path)) == result((2.0, 1.9, 2.1))


def test_worse_than_both_spreads_is_slower() -> None:
    before = result((3.0, 2.8, 3.2))
    slower, apart = ledger.compared(before, result((2.0, 1.9, 2.1)))
    assert apart == [] and len(slower) == 1 and "33% lost" in slower[0] and "peer" in slower[0]
    for within in ((2.7, 2.6, 2.9), (3.5, 3.4, 3.6)):
        assert ledger.compared(before, result(within)) == ([], [])


def test_what_does_not_compare_is_said() -> None:
    before = result((3.0, 2.8, 3.2))
    for changed, said in (
        ({"machine": {**MACHINE, "processor": "Q"}}, "processor differ"),
        ({"inputs": {"sha256": "b"}}, "other inputs"),
        ({"cases": []}, "not in the fresh run"),
    ):
        slower, apart = ledger.compared(before, result((1.0, 1.0, 1.0), **changed))
        assert slower == [] and said in apart[0]
    without = result((1.0, 1.0, 1.0))
    without["cases"][0]["faster_by"] = {}
    assert ledger.compared(before, without) == ([], ["mini: peer is not in the fresh run"])


def test_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.write(result((3.0, 2.8, 3.2)), tmp_path / "committed")
    words = ["--committed", str(tmp_path / "committed"), "--fresh", str(tmp_path / "fresh")]
    assert check.main(words) == 0 and "no fresh result" in capsys.readouterr().err
    ledger.write(result((1.0, 0.9, 1.1)), tmp_path / "fresh")
    assert check.main(words) == 1 and "67% lost" in capsys.readouterr().out
    ledger.write(result((3.1, 2.9, 3.3)), tmp_path / "fresh")
    assert check.main([*words, "fake"]) == 0 and "no ratio is worse" in capsys.readouterr().out
    assert check.main([*words, "unknown"]) == 0 and "no committed result" in capsys.readouterr().err


def test_another_machines_result_is_not_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.write(result((3.0, 2.8, 3.2), machine={**machine.description(), "processor": "another"}), tmp_path)
    assert check.main(["--committed", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "another machine (processor differ)" in shown.err and shown.out == "no results were compared\n"


def test_the_machine_names_no_place() -> None:
    found = machine.description()
    assert found["cores"] >= 1 and isinstance(found["flags"], list) and machine.peak_mb() > 1
    assert "/" not in json.dumps(machine.environment())


def test_the_check_measures_anew_with_the_flags_behind_the_dashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import startup

    here = {"machine": {**machine.description(), "threads": 2}, "name": "startup"}
    ledger.write(result((3.0, 2.8, 3.2), **here), tmp_path)
    given: list[str] = []

    def measure(words: list[str]) -> None:
        given.extend(words)
        ledger.write(result((1.5, 1.4, 1.6), **here), Path(words[-1]))

    monkeypatch.setattr(startup, "main", measure)
    assert check.main(["startup", "--committed", str(tmp_path), "--", "--threads", "2"]) == 1
    assert given[:3] == ["--threads", "2", "--out"] and "50% lost" in capsys.readouterr().out
    # No more than the same file was read: the fresh result isn't left in the folder of committed ones.
    assert ledger.read(tmp_path / "startup.json")["cases"][0]["faster_by"]["peer"]["median"] == 3.0
