"""The stub of the package: written from the commands as they are, and enough for a strict type checker."""

import subprocess
import sys
from pathlib import Path

from docs.stub import STUB, stub

_USER = """
from pathlib import Path

import bertie

bertie.finetune("base", train=[{"text": "good", "label": "yes"}], out="out/run", optimizer={"weight_decay": 0.0})
bertie.finetune("base", train=Path("train.csv"), out=Path("out/run"), seeds=(1, 2))
predictor = bertie.load("out/run/model", task="classification", device="cpu")
one = predictor.predict("so good")
many = predictor.predict(["so good", "so bad"])
reveal_type(one.label)
reveal_type(one.scores)
reveal_type([each.score for each in many])
reveal_type(bertie.load("out/run/model").predict("so good"))
reveal_type(bertie.load("out/run/model", "masked_lm").predict("so [MASK]"))
reveal_type(bertie.predict("out/run/model", "so good").predictions)


class Own(bertie.Task):
    name = "own"


class Typed(bertie.Task[bertie.Text, int, bertie.Prediction]):
    name = "typed"


def judge(own: Own, typed: Typed, prediction: bertie.Prediction) -> None:
    own.judge("anything", 3)
    typed.judge(prediction, bertie.Text("good"))
    typed.judge("anything", bertie.Text("good"))


bertie.finetune("base", train=3, out="out/run")
bertie.finetune("base", train="train.csv", out="out/run", epoch=3)
"""
_REVEALED = [
    "str",
    "dict[str, float]",
    "list[float]",
    "bertie.tasks._prediction.Prediction",
    "list[bertie.tasks.masked_lm.Fill] | list[list[bertie.tasks.masked_lm.Fill]]",
]


def test_the_stub_says_what_the_commands_take() -> None:
    assert STUB.read_text(encoding="utf-8") == stub(), "run: python docs/stub.py"


def test_a_checker_knows_the_types_of_a_users_script(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text(_USER)
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\n[mypy-torch.*,numpy.*]\nfollow_imports = skip\n")  # for speed
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), "--cache-dir", str(tmp_path), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=STUB.parents[1])
    lines = done.stdout.splitlines()
    revealed = [line.partition('Revealed type is "')[2].rstrip('"') for line in lines if "Revealed" in line]
    assert revealed[: len(_REVEALED)] == _REVEALED, done.stdout
    assert not any("Any" in kind for kind in revealed), revealed
    errors = [line for line in lines if ": error:" in line]
    assert len(errors) == 3, done.stdout
    assert "user.py:30" in errors[0] and 'expected "Prediction"' in errors[0]
    assert "user.py:33" in errors[1] and '"train"' in errors[1]
    assert "user.py:34" in errors[2] and '"epoch"' in errors[2]
