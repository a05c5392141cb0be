"""The machinery of the benchmarks, with contestants that only pretend: turns, proofs, what is missing or breaks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import rounds

FAKES = '''
"""Which of the pretenders is the fastest?

More of it.
"""
import os
from functools import partial
from pathlib import Path

from benchmarks.contest import Case, Contestant, Ready, largest_difference

LOG = Path(os.environ["FAKE_LOG"])
KEEPS_MEMORY = True


def arguments(parser):
    parser.add_argument("--strange", type=float, default=2.0)
    parser.add_argument("--file", type=Path)


def prepare(work):
    (work.folder / "shared").write_text("5")
    return {"text": "fake", "sha256": "ab", "machine": {"accelerator": "none"}}


def make(name, figure, proof, work):
    shared = float((work.folder / "shared").read_text())

    def note(what):
        with LOG.open("a") as stream:
            stream.write(f"{what} {name} {os.getpid()}\\n")

    def prove():
        note("prove")
        if name == "broken":
            raise ValueError("no such product\\nand more lines")
        return [proof * shared, 2.0]

    def repeat():
        note("repeat")
        if name == "tired":
            raise RuntimeError("too tired")
        return figure

    return Ready(prove, repeat, derive=lambda median: {"share": median / 100}, peak_mb=lambda: figure)


def cases(options):
    def one(name, figure, proof=1.0, **more):
        return Contestant(name, partial(make, name, figure, proof), **more)

    plain = (one("bertie", 12.0), one("slow", 3.0), one("absent", 1.0, needs=("no-such-package-at-all",)))
    strange = one("strange", 24.0, options.strange, may_differ=True)
    odd = (one("bertie", 12.0), strange, one("broken", 1.0), one("tired", 1.0))
    same = largest_difference(1e-6)
    strict = (one("bertie", 1.0), one("wrong", 1.0, 1.5))
    other = Case("other shape", "ms", plain[:2], same, "lower", settings={"rows": 2}, repeats=2, proof_of="plain")
    return [Case("plain", "tokens/s", plain, same), Case("odd", "ms", odd, same, "lower"),
            other, Case("strict", "ms", strict, same)]
'''


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a benchmark of pretenders that this process and those it starts can import."""
    name = f"pretenders_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FAKES, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    for variable in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):  # which a run sets
        monkeypatch.setenv(variable, "1")
    for variable in rounds.KEPT_MEMORY:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def run(fake: str, tmp_path: Path, *words: str) -> tuple[dict[str, Any], list[list[str]]]:
    rounds.main(fake, ["--out", str(tmp_path / "out"), "--threads", "1", *words], rounds=5, repeats=1)
    log = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    return json.loads((tmp_path / "out" / f"{fake}.json").read_text(encoding="utf-8")), log


def test_turns_and_figures(fake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, log = run(fake, tmp_path, "--case", "plain", "--rounds", "3", "--repeats", "2")
    assert [line[:2] for line in log[:2]] == [["prove", "bertie"], ["prove", "slow"]]
    timed = [line[1] for line in log[2:]]
    assert timed == (["bertie"] * 3 + ["slow"] * 3) * 3, "one warm-up and two repeats each, in turn"
    assert len({line[2] for line in log}) == 8, "a process each time"
    (case,) = result["cases"]
    assert case["rows"]["slow"] == {
        "median": 3.0,
        "min": 3.0,
        "max": 3.0,
        "repeats": 6,
        "peak_mb": 3.0,
        "share": 0.03,
        "first_seconds": case["rows"]["slow"]["first_seconds"],
    }
    assert case["faster_by"] == {"slow": {"median": 4.0, "min": 4.0, "max": 4.0}}
    assert case["missing"] == {"absent": "pip install no-such-package-at-all"}
    assert case["agreement"]["values"] == {"bertie": 0.0, "slow": 0.0}
    assert result["question"] == "Which of the pretenders is the fastest?"
    assert result["inputs"] == {"text": "fake", "sha256": "ab"} and result["machine"]["accelerator"] == "none"
    assert {"processor", "cores", "flags", "memory", "threads"} <= result["machine"].keys()
    assert result["environment"]["OMP_NUM_THREADS"] == "1" and "python" in result["versions"]
    assert rounds.KEPT_MEMORY.items() <= result["environment"].items()
    shown = capsys.readouterr().out
    assert "slow" in shown and "bertie is 4 times as fast" in shown
    assert "not installed: pip install no-such-package-at-all" in shown


def test_who_differs_or_breaks_is_listed_and_not_timed(fake: str, tmp_path: Path) -> None:
    result, log = run(fake, tmp_path, "--case", "odd", "--rounds", "2", "--repeats", "3")
    (case,) = result["cases"]
    assert list(case["rows"]) == ["bertie"] and "share" in case["rows"]["bertie"]
    assert case["left_out"] == {
        "strange": "outside this class: largest difference 5, the limit is 1e-06",
        "broken": "failed: ValueError: no such product",
        "tired": "failed: RuntimeError: too tired",
    }
    assert [line for line in log if line[:2] == ["repeat", "strange"]] == []
    assert len([line for line in log if line[:2] == ["repeat", "tired"]]) == 1, "once broken, not asked again"


def test_lower_is_better_and_flags_reach_the_contestants(fake: str, tmp_path: Path) -> None:
    result, _ = run(
        fake, tmp_path, "--case", "odd", "--strange", "1.0", "--only", "strange", "--rounds", "1", "--repeats", "5"
    )
    (case,) = result["cases"]
    assert list(case["rows"]) == ["bertie", "strange"] and case["left_out"] == {}
    assert case["faster_by"]["strange"]["median"] == 2.0


def test_another_cases_proof(fake: str, tmp_path: Path) -> None:
    result, log = run(fake, tmp_path, "--case", "other", "--rounds", "3", "--repeats", "2")
    (case,) = result["cases"]
    assert case["name"] == "other shape" and case["unit"] == "ms" and case["better"] == "lower"
    assert case["settings"] == {"rows": 2}
    assert case["rows"]["bertie"]["repeats"] == 6 and case["missing"] == {}
    assert len([line for line in log if line[0] == "prove"]) == 2, "where the other isn't asked for, it proves itself"


def test_a_wrong_result_stops_everything(fake: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"wrong disagrees .*2\.5.*stops before timing"):
        run(fake, tmp_path, "--case", "strict")
    assert "repeat" not in (tmp_path / "log").read_text()
    assert not (tmp_path / "out").exists()


def test_a_smoke_run_writes_nothing(fake: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(fake, tmp_path, "--case", "plain", "--smoke")
    assert (tmp_path / "log").read_text().count("repeat bertie") == 2


def test_out_of_time(fake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = rounds.Run(fake, rounds.parse(_module(fake), [], rounds=5, repeats=1), tmp_path, seconds=-1.0)
    case = {"name": "plain", "agreement": {"values": {"bertie": 0.0}}, "left_out": {}, "rows": {}}
    begun.time(_module(fake).cases(begun.options)[0], case, 1)
    assert case["left_out"] == {"bertie": "out of time"} and not (tmp_path / "log").exists()


def test_few_repeats_and_unknown_cases_are_refused(fake: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(fake, tmp_path, "--rounds", "2", "--repeats", "2")
    assert stopped.value.code == 2
    with pytest.raises(SystemExit, match="the cases are plain, odd"):
        run(fake, tmp_path, "--case", "nothing")


def test_a_number_that_is_none_never_agrees() -> None:
    from benchmarks.contest import largest_difference, mean_cosine

    assert not largest_difference(1.0).holds(float("nan")) and not mean_cosine(0.5).holds(float("nan"))
    assert mean_cosine(0.995).holds(0.996) and not mean_cosine(0.995).holds(0.994)


def _module(name: str) -> Any:
    import importlib

    return importlib.import_module(name)


def test_one_proof_speaks_for_two_cases(fake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _module(fake)
    plain, _, other, _ = module.cases(rounds.parse(module, [], rounds=5, repeats=1))
    asked: list[str] = []

    def ask(self: rounds.Run, mode: str, case: str, contestant: str, repeats: int = 1) -> Any:
        asked.append(f"{mode} {case} {contestant}")
        return [1.0]

    monkeypatch.setattr(rounds.Run, "ask", ask)
    found = rounds.Run(fake, rounds.parse(module, [], rounds=5, repeats=1), tmp_path).prove_all([plain, other])
    assert asked == ["prove plain bertie", "prove plain slow"]
    assert [(case["name"], case["unit"], sorted(case["missing"])) for case in found] == [
        ("plain", "tokens/s", ["absent"]),
        ("other shape", "ms", []),
    ]
    assert found[1]["agreement"]["values"] == {"bertie": 0.0, "slow": 0.0}
