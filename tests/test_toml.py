"""What is written as TOML is read back as the same values."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie import toml
from bertie.errors import SettingsError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, PLAIN, max_size=4))
def test_round_trip(values: dict[str, object]) -> None:
    assert tomllib.loads(toml.dumps(values)) == values


def test_what_has_no_form() -> None:
    with pytest.raises(SettingsError, match="a: a settings file can't hold nan"):
        toml.dumps({"a": float("nan")})
    assert toml.dumps({"a": None, "b": 1}) == "b = 1\n"
