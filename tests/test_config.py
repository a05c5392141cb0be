"""Settings: strict types, unknown keys answered, and a written file that gives back what was written."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie import config
from bertie.config import Positional
from bertie.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Clock:
    """When to act."""

    every: int = 10
    """Steps between."""

    loud: bool = True
    """Whether to say so."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train."""

    save_every: int = 100
    """Steps between checkpoints."""

    rate: float = 1e-4
    """Peak learning rate."""

    kind: Literal["adamw", "paper"] = "adamw"
    """The update."""

    clock: Clock = Clock()
    """Inner group."""


def learn(
    model: Positional[Path],
    *,
    out: Path,
    from_: str | None = None,
    steps: int | None = None,
    languages: tuple[str, ...] = ("en",),
    weights: dict[str, float] | None = None,
    resume: bool = False,
    training: Training = Training(rate=3e-4),
) -> dict[str, Any]:
    """Pretend to learn."""
    return dict(locals())


def from_toml(text: str) -> dict[str, Any]:
    return config.validate(learn, tomllib.loads(text), source="a.toml")


NEEDED = 'model = "m"\nout = "o"\n'


def test_types_and_defaults() -> None:
    values = from_toml(
        NEEDED + 'from = "x"\nlanguages = ["en", "zh"]\nweights = {a = 1, b = 0.5}\n[training]\nsave_every = 7'
    )
    assert values == {
        "model": Path("m"),
        "out": Path("o"),
        "from_": "x",
        "languages": ("en", "zh"),
        "weights": {"a": 1.0, "b": 0.5},
        # A group given in part keeps the parameter's default, which is not its class's.
        "training": Training(save_every=7, rate=3e-4),
    }


@pytest.mark.parametrize("written", ["1e-4", "0.0001", "1.0e-04", "0.1e-3"])
def test_small_floats_are_floats(written: str) -> None:
    assert from_toml(f"{NEEDED}[training]\nrate = {written}")["training"].rate == 1e-4


def test_an_integer_stands_for_a_float() -> None:
    rate = from_toml(f"{NEEDED}[training]\nrate = 1")["training"].rate
    assert rate == 1.0
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps = true", "a.toml: steps should be a valid integer, not True"),
        ('steps = "5"', "a.toml: steps should be a valid integer, not '5'"),
        ("steps = 5.0", "a.toml: steps should be a valid integer, not 5.0"),
        ("steps = 1e6", "a.toml: steps should be a valid integer"),
        ("steps = [5]", "a.toml: steps should be a valid integer"),
        ("resume = 1", "a.toml: resume should be a valid boolean, not 1"),
        ('resume = "yes"', "a.toml: resume should be a valid boolean"),
        ("steps = 1979-05-27", "steps: can't use a value of type date"),
        ('languages = "en"', "a.toml: languages should be a valid array"),
        ("languages = [1]", r"a.toml: languages\[0\] should be a valid string, not 1"),
        ("training = 3", "a.toml: training should be a table of settings, not 3"),
        ("training.rate = nan", "a.toml: training.rate should be a finite number, not nan"),
        ("training.rate = -inf", "a.toml: training.rate should be a finite number"),
        ("training.rate = '1e-4'", "a.toml: training.rate should be a valid number"),
        ("training.rate = false", "a.toml: training.rate should be a valid number"),
        ("training.kind = 'sgd'", "a.toml: training.kind should be 'adamw' or 'paper', not 'sgd'"),
        ("training.clock.loud = 0", "a.toml: training.clock.loud should be a valid boolean"),
        ("stps = 5", "unknown key 'stps'; did you mean 'steps'"),
        ("save_every = 5", "unknown key 'save_every'; did you mean 'training.save_every'?"),
        ("training.save-every = 5", "unknown key 'training.save-every'; did you mean 'training.save_every'"),
        ("training.clock.evry = 5", "unknown key 'training.clock.evry'; did you mean 'training.clock.every'"),
        ('"training.rate" = 1', "a.toml: unknown key 'training.rate'"),
        ("from_ = 'x'\nfrom = 'y'", "from is given twice"),
        ("weights = {a = nan}", "a.toml: weights should be a finite number"),
        ("weights = {a = 'b'}", "a.toml: weights should be a valid number"),
    ],
)
def test_hostile_files(line: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_toml(NEEDED + line)


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^a.toml: out is required$"):
        from_toml('model = "m"')
    assert config.validate(learn, {"model": "m"}, partial=True) == {"model": Path("m")}


def test_a_written_file_repeats_the_call(tmp_path: Path) -> None:
    call = config.checked(learn)
    first = call("m\n\"'\\\x7f 模型", out=tmp_path / "o", from_="x", languages=[], training={"clock": {"loud": False}})
    file = tmp_path / "config.toml"
    config.write(file, command="learn", parameters=first)
    settings = config.read(file)
    assert list(settings)[:2] == ["command", "model"]
    assert settings.pop("command") == "learn"
    assert "steps" not in settings  # absent means None
    assert learn(**config.validate(learn, settings)) == first
    assert config.differences(first, settings) == {}
    assert config.read(tmp_path) == config.read(file)
    assert list(tmp_path.iterdir()) == [file]


scalars = st.one_of(
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8")),
)
keys = st.text(st.characters(codec="utf-8"), min_size=1)
plain_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(keys.filter(lambda key: not key.endswith("_") and key != "command"), plain_values, max_size=5))
def test_rendered_settings_are_toml_of_the_same_values(values: dict[str, Any]) -> None:
    read = tomllib.loads(config.render(command="learn", parameters=values))
    assert read.pop("command") == "learn"
    assert read == values


@given(st.dictionaries(st.sampled_from(sorted(config.known_keys(learn))), plain_values, max_size=4))
def test_whatever_a_file_says_is_used_or_refused_as_settings(values: dict[str, Any]) -> None:
    try:
        given_values = config.validate(learn, values, partial=True)
    except SettingsError:
        return
    assert config.validate(learn, given_values, partial=True) == given_values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"steps = ", "not valid TOML"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"\xff\xfe", "this is UTF-16"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"broken.toml: {message}"):
        config.read(file)


def test_absent_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: no such file"):
        config.read(tmp_path / "nowhere.toml")


def test_python_calls_are_checked() -> None:
    call = config.checked(learn)
    values = call("m", out="o", steps=np.int64(3), training=Training(rate=float(np.float32(0.5))))
    assert (values["model"], values["out"], values["steps"]) == (Path("m"), Path("o"), 3)
    assert values["training"] == Training(rate=0.5)
    with pytest.raises(SettingsError, match="unknown key 'stps'; did you mean 'steps'"):
        call("m", out="o", stps=3)
    with pytest.raises(SettingsError, match="steps: can't use a value of type object"):
        call("m", out="o", steps=object())
    with pytest.raises(TypeError, match="multiple values for argument 'model'"):
        call("m", model="n", out="o")
    with pytest.raises(TypeError, match="too many positional"):
        call("m", "n")


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    text = config.render(command="x", parameters={"rate": np.float64(0.5), "steps": np.int64(3)})
    assert tomllib.loads(text) == {"command": "x", "rate": 0.5, "steps": 3}


def test_names_that_are_no_text_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"model: 'caf.*' is not valid UTF-8"):
        config.validate(learn, {"model": "caf\udce9", "out": "o"})


def test_numbers_that_are_none_have_no_form_in_a_file() -> None:
    with pytest.raises(SettingsError, match=r"training.rate: a settings file can't hold nan"):
        config.render(command="x", parameters={"training": Training(rate=float("nan"))})


def test_differences_name_dotted_keys() -> None:
    old = {"steps": 3, "from_": None, "training": Training(clock=Clock(every=5))}
    new = {"steps": 4, "from": "x", "training": {**config.plain(Training()), "kind": "adamw"}}
    assert config.differences(old, new) == {"steps": (3, 4), "training.clock.every": (5, 10), "from": (None, "x")}


def test_a_way_to_say_how_long_takes_the_place_of_the_file_s() -> None:
    file = {"epochs": 20, "batch_size": 8}
    assert config.left_of_file(file, {"steps", "seed"}) == {"batch_size": 8}
    assert config.left_of_file(file, {"seed"}) == file
