"""Strings of many scripts through sentence splitters and tokenizers; `tests/fuzz/strings.py` runs a million of them."""

import runpy
from pathlib import Path

import pytest
import sentencex

from bertie.corpus import sentences
from bertie.corpus.sentences import LANGUAGES, split

STRINGS = Path(__file__).parents[1] / "fuzz" / "strings.py"


def test_thousands_of_strings() -> None:
    found = runpy.run_path(str(STRINGS))["run"](3000, 0)
    assert {kind: count for kind, count in found.items() if count} == {"strings": 3000}


@pytest.mark.parametrize("space", ["\u3000", "\u1680", "\u205f", "\u2028", "\xa0"])
def test_wide_spaces_behind_a_mark(space: str) -> None:
    for language in LANGUAGES:
        for text in (
            f"a.{space}",
            f"..{space}。{space}",
            f"はい。{space}いいえ！{space}{space}",
            f"No.{space}{space}5",
        ):
            unsplit: list[str] = []
            pieces = split(text, language=language, unsplit=unsplit)
            assert "".join("".join(pieces).split()) == "".join(text.split()) and not unsplit


def test_a_splitter_that_fails_hands_the_text_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        pass

    def fail(language: str, text: str) -> list[str]:
        if "bad" in text:
            raise Panic
        return [text[:3], text[3:]] if "lost" not in text else ["lost"]

    monkeypatch.setattr(sentencex, "segment", fail)
    unsplit: list[str] = []
    assert split("a bad text. So it is.", unsplit=unsplit) == ["a bad text. So it is."]
    assert split("is lost. Gone.", unsplit=unsplit) == ["is lost. Gone."]
    assert split("good.", unsplit=unsplit) == ["goo", "d."]
    assert unsplit == ["a bad text. So it is.", "is lost. Gone."]

    def stop(language: str, text: str) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(sentencex, "segment", stop)
    with pytest.raises(KeyboardInterrupt):
        sentences.split("a")
