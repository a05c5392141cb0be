"""Which task a folder is for: stored by bertie, or implied by what others wrote; never code that the folder names."""

from pathlib import Path
from typing import Any

import pytest

from bertie.errors import DataError, SettingsError
from bertie.formats._objective import infer_task, make_task, stored_task

HERE = Path("some/folder")


def test_a_folder_does_not_choose_what_code_is_run() -> None:
    with pytest.raises(SettingsError, match=r"if you trust it, give --task os:path"):
        stored_task({"bertie": {"task": "os:path"}}, HERE)
    assert stored_task({"bertie": {"task": "classification"}}, HERE) == "classification"
    assert stored_task({}, HERE) is None


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ({"architectures": ["BertForSequenceClassification"]}, "classification"),
        ({"architectures": ["BertForSequenceClassification"], "problem_type": "regression"}, "regression"),
        ({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}, "regression"),
        ({"architectures": ["BertForMaskedLM"]}, "masked_lm"),
        ({"architectures": ["BertModel"]}, "features"),
        ({}, "features"),
    ],
)
def test_what_others_wrote(values: dict[str, Any], task: str) -> None:
    assert infer_task(values, set(), HERE) == task


def test_several_labels_are_known_by_the_problem_type() -> None:
    values = {"problem_type": "multi_label_classification", "id2label": {"0": "a", "1": "b"}}
    task: Any = make_task("classification", values, {}, 512, {})
    assert task.multi_label and task.labels == ("a", "b")


def test_settings_typed_as_text_get_their_types() -> None:
    task: Any = make_task(
        "classification", {}, {}, 512, {"labels": ("a", "b"), "stride": "7", "label_smoothing": "0.1"}
    )
    assert task.stride == 7 and task.label_smoothing == 0.1
    with pytest.raises(SettingsError, match="did you mean 'label_smoothing'"):
        make_task("classification", {}, {}, 512, {"label_smooting": "0.1"})
    with pytest.raises((SettingsError, DataError), match="stride"):
        make_task("classification", {}, {}, 512, {"labels": ("a", "b"), "stride": "seven"})
