"""Values of any kind anywhere in a tokenizer's files: read, or refused in words."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from bertie.errors import BertieError, DataError
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.writing import save_tokenizer

STRANGE: tuple[Any, ...] = (
    None,
    True,
    3,
    -1,
    10**250,
    0.5,
    "",
    "x",
    "-1",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    {"": {}},
    ["a"],
)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, part in [*inner][:12] for found in [(*way, key), *places(part, (*way, key))]]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_any_value_anywhere(name: str, tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    save_tokenizer(tiny_tokenizer, tmp_path)
    whole = (tmp_path / name).read_text()
    draw = random.Random(name)
    for way in places(json.loads(whole)):
        for value in draw.sample(STRANGE, 3):
            changed = json.loads(whole)
            holder = changed
            for key in way[:-1]:
                holder = holder[key]
            holder[way[-1]] = value
            (tmp_path / name).write_text(json.dumps(changed))
            try:
                load_tokenizer(tmp_path).encode_batch(["the cat"])
            except BertieError as error:
                assert "\n" not in str(error), (way, value)


@pytest.mark.parametrize("tokens", [3, [3], {"a": 1}, ["[PAD]"]])
def test_added_tokens_that_are_no_list_of_objects(tokens: Any, tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    save_tokenizer(tiny_tokenizer, tmp_path)
    state = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**state, "added_tokens": tokens}))
    with pytest.raises(DataError, match="added_tokens must be a list of objects"):
        load_tokenizer(tmp_path)
