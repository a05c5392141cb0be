"""The settings that predict, evaluate and search share."""

import inspect
from typing import Any

from bertie.commands._use import UseSettings, flat, with_use_settings
from bertie.help_texts import argument_help


@with_use_settings
def command(model: str, *, first: int = 1, use: UseSettings, last: int = 2) -> dict[str, Any]:
    """Do something.

    Args:
        model: a model.
        first: a number.
        use: shared settings.
        last: another number.
    """
    return flat(command, locals())


def test_the_shared_settings_stand_in_the_signature_and_the_help() -> None:
    names = list(inspect.signature(command).parameters)
    assert names[:3] == ["model", "first", "length"] and names[-2:] == ["threads", "last"] and "use" not in names
    helps = argument_help(command)
    assert list(helps) == names and all(helps.values())


def test_they_arrive_in_one_value() -> None:
    values = command("m", precision="bf16", last=5)
    assert list(values) == list(inspect.signature(command).parameters)
    assert (values["precision"], values["last"], values["backend"]) == ("bf16", 5, "auto")
