"""Pairs out of Wikipedia: what goes with what, what is left out, and that the settings files read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertie import config
from bertie.commands.finetune import finetune
from bertie.tasks.generation import Generation
from examples.wikipedia_pairs import main

LEAD = (
    "Myth is a series of games, and this\tlead is long enough to be learned from: it has more than a hundred letters."
)
FOUR = 'It came in 1997. "Myth II" came a year later. Both were liked by those who wrote about games. A third followed.'
LAST = "Its makers had sold the name."
DOCUMENTS = f"""<doc id="1" url="u" title="Myth &amp; more">
Myth & more

{LEAD}
Release dates.
{FOUR} {LAST}
</doc>
<doc id="2" url="u" title="Mercury">
Mercury

Mercury may refer to:
</doc>
"""


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    (tmp_path / "wiki.txt").write_text(DOCUMENTS, encoding="utf-8")
    return tmp_path / "wiki.txt"


def pairs(wiki: Path, kind: str) -> list[tuple[str, object]]:
    """Make a table, and read it as the settings file of that name says."""
    out = wiki.with_name(f"{kind}.tsv")
    main([kind, str(wiki), "--out", str(out)])
    name = {"title": "wiki-title", "next-sentence": "wiki-next"}[kind]
    file = Path(__file__).parents[2] / "bertie" / "recipes" / "finetune" / f"{name}.toml"
    settings = config.validate(
        finetune, {key: value for key, value in config.read(file).items() if key != "command"}, partial=True
    )
    table = Generation.read(out, columns=settings["columns"], labelled=True)
    return [(item.text, item.label) for item in table.items]


def test_title(wiki: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pairs(wiki, "title") == [(LEAD.replace("\t", " "), "Myth & more")]
    said = capsys.readouterr().err
    assert "title.tsv: 1 pairs" in said and "left out: 1 articles without" in said


def test_next_sentence(wiki: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pairs(wiki, "next-sentence") == [(FOUR, LAST)]
    assert "left out: 3 paragraphs with few sentences" in capsys.readouterr().err


def test_a_table_is_never_overwritten(wiki: Path) -> None:
    words = ["title", str(wiki), "--out", str(wiki.with_suffix(".tsv")), "--most", "0"]
    main(words)
    assert wiki.with_suffix(".tsv").read_text(encoding="utf-8") == "source\ttarget\n"
    with pytest.raises(FileExistsError):
        main(words)
