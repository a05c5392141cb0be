"""What files hold never moves a terminal's cursor: every outlet spells control characters."""

import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie import progress
from bertie.cli import main
from bertie.terminal import fit, fit_json

HOSTILE = "\x1b[2J\x1b]0;title\x07\r\x00\x7f\x9b31m\u202eabc\u2066\u2028\x85"
anything = st.text(st.characters(codec=None, exclude_categories=()))


def unfit(text: str) -> list[str]:
    bidi = "\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    kinds = ("Cc", "Cs", "Zl", "Zp")
    return [one for one in text if one not in "\n\t" and (unicodedata.category(one) in kinds or one in bidi)]


@given(anything)
def test_nothing_unfit_is_left_and_the_rest_stays(text: str) -> None:
    assert not unfit(fit(text))
    assert unfit(text) or fit(text) == text


@given(st.recursive(anything, lambda inner: st.lists(inner) | st.dictionaries(anything, inner)))
def test_json_says_the_same(value: object) -> None:
    written = json.dumps(value, ensure_ascii=False)
    assert not unfit(fit_json(written))
    assert json.loads(fit_json(written)) == value


def test_spelled() -> None:
    assert fit("a\x1b[1mb\u202e\n\tc") == "a\\x1b[1mb\\u202e\n\tc"
    assert fit_json('"\x9b\u202e"') == '"\\u009b\\u202e"'
    assert fit("שלום ‏é 👩‍👧") == "שלום ‏é 👩‍👧"  # joiners and marks of direction without effect beyond their word


def test_notes_warnings_and_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    progress.note(f"a {HOSTILE}")
    progress.warn(f"b {HOSTILE}")
    monkeypatch.setattr(progress, "LINE_INTERVAL_SECONDS", 0.0)
    with progress.bar(f"c {HOSTILE}", unit=HOSTILE) as bar:
        bar.advance(1, loss=HOSTILE)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.bar(f"d {HOSTILE}", total=2, unit=HOSTILE) as bar:
        bar.advance(1, loss=HOSTILE)
    said = capsys.readouterr().err
    assert "\x9b" not in said and "\u202e" not in said and "\x07" not in said and "[2J" in said


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = "\x1b[31mred\x9b"
    rows = [
        {"text": f"some {HOSTILE} text {number}", "label": label if number % 2 else "\u202eb"} for number in range(8)
    ]
    table = tmp_path / "a\x1b[7m.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in (["check", str(table)], ["check", str(table), "--json"], ["check", f"{table}x"], ["check\x1b"]):
        main(words)
        done = capsys.readouterr()
        assert not unfit(done.out + done.err)
