"""Regular expressions of a tokenizer.json: those without end are refused before a text meets them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bertie.errors import DataError
from bertie.tokenizer.patterns import KNOWN, check_patterns
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.writing import save_tokenizer


def text(*patterns: str) -> str:
    splits = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in patterns
    ]
    return json.dumps({"normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits}})


@pytest.mark.parametrize("pattern", ["(a+)+$", "a*a*a*a*b", r"(\w+\s?)*\.", "(x+x+)+y"])
def test_without_end(pattern: str) -> None:
    with pytest.raises(DataError, match=r"^f\.json: its regular expression .* could stop the program"):
        check_patterns(text(pattern), "f.json")


def test_harmless_and_known(monkeypatch: pytest.MonkeyPatch) -> None:
    check_patterns(text(r"\d{1,3}|\s|[^\d\s]+"), "f.json")

    def never(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("no child is needed")

    monkeypatch.setattr(subprocess, "run", never)
    check_patterns(text(*KNOWN), "f.json")
    check_patterns('{"pre_tokenizer": {"type": "Whitespace"}}', "f.json")


def test_no_expression_at_all() -> None:
    with pytest.raises(DataError, match="its regular expression"):
        check_patterns(text("(unclosed"), "f.json")


def test_on_loading(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    save_tokenizer(tiny_tokenizer, tmp_path)
    state = json.loads((tmp_path / "tokenizer.json").read_text())
    state["pre_tokenizer"] = json.loads(text("(a|aa)+$"))["pre_tokenizer"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(DataError, match="its regular expression"):
        load_tokenizer(tmp_path / "tokenizer.json")
