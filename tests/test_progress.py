"""Progress: lines on a pipe, a bar on a terminal, silence when quiet, and warnings always."""

import io

import pytest

from bertie import progress


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_quiet", False)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_notes_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    progress.note("reading")
    progress.set_quiet(True)
    progress.note("unseen")
    progress.warn("2 lines are empty")
    captured = capsys.readouterr()
    assert captured.err == "reading\nwarning: 2 lines are empty\n"
    assert captured.out == ""


def test_a_command_can_leave_out_the_notes_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.without_notes():
        progress.note("unseen")
        progress.warn("2 lines are empty")
    progress.note("reading")
    assert capsys.readouterr().err == "warning: 2 lines are empty\nreading\n"


def test_lines_come_seldom_and_once_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.bar("Training", total=1000, unit="steps") as bar:
        for step in range(12):
            now[0] += 1
            bar.advance(1, loss=f"{step}.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Training: 5/1,000 steps  loss 4.5  about 17 min left",
        "Training: 10/1,000 steps  loss 9.5  about 16 min left",
        "Training: 12/1,000 steps  loss 11.5 (done after 12.0 s)",
    ]


def test_the_time_left_goes_by_the_pace_of_this_process(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.bar("Training", total=1000, unit="steps") as bar:
        bar.begin(900)  # by an earlier process
        now[0] = 10
        bar.advance(10)
        now[0] = 20
        bar.advance(90)
    with progress.bar("Training", total=10_000, unit="steps") as bar:
        now[0] = 30
        bar.advance(10)
    with progress.bar("Reading", unit="MB") as bar:
        now[0] = 40
        bar.advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["Training: 910/1,000 steps  about 2 min left", "Training: 1,000/1,000 steps"]
    assert lines[3] == "Training: 10/10,000 steps  about 2 h 46 min left"
    assert lines[5] == "Reading: 10 MB"


def test_what_is_renamed_is_said_by_its_other_name(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.renamed("a/b.jsonl", "the table"):
        progress.note("a/b.jsonl: 3 rows")
        progress.warn("a/b.jsonl is old")
    progress.note("a/b.jsonl")
    assert capsys.readouterr().err == "the table: 3 rows\nwarning: the table is old\na/b.jsonl\n"


def test_an_error_inside_is_said_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), progress.bar("Reading", unit="MB") as bar:
        bar.advance(1.5)
        raise KeyError("x")
    assert "Reading: 1.5 MB (stopped after" in capsys.readouterr().err


def test_quiet_bars_still_count(capsys: pytest.CaptureFixture[str]) -> None:
    progress.set_quiet(True)
    with progress.bar("Reading", total=3) as bar:
        bar.advance(2)
        assert bar.done == 2
    assert capsys.readouterr().err == ""


def test_terminals_get_a_bar_and_bars_may_nest(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress.bar("Outer [MASK]", total=2, unit="epochs") as outer:
        with progress.bar("Inner", total=4) as inner:
            inner.advance(4)
        outer.advance(1, loss="2.31")
    assert "Outer [MASK]" in terminal.getvalue()
    assert "Inner" in terminal.getvalue()
    assert "1/2 epochs  loss 2.31" in terminal.getvalue()
    assert progress._display is None


def test_a_reader_of_stderr_that_goes_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    progress.note("anybody there?")
    progress.note("no")


def test_warnings_can_be_collected(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.collected() as outer:
        progress.warn("one")
        with progress.collected() as inner:
            progress.warn("two")
        progress.warn("three")
    assert (outer, inner) == (["one", "three"], ["two"])
    assert capsys.readouterr().err == ""
    progress.warn("four")
    assert capsys.readouterr().err == "warning: four\n"
