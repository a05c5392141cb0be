"""The reading plan: said in one line, kept as JSON, read back whole."""

import json

from bertie.readers.reading import LeftOut, Reading, shown_row


def plan() -> Reading:
    left = LeftOut.of("blank lines", [(3, ""), (9, ""), (12, ""), (20, "")])
    return Reading(
        "train.csv",
        "csv",
        delimiter=";",
        quoted=True,
        header=True,
        columns={"text": "nachricht", "label": "status"},
        labels="one label a row",
        rows=1234,
        left_out=(left,),
        remarks=("a remark",),
    )


def test_a_plan_is_one_sentence() -> None:
    said = plan().line()
    assert said.startswith("train.csv: 1,234 rows, text from column 'nachricht', label from column 'status'")
    for part in ("semicolons", "the first line is the header", "left out: 4 (blank lines)", "a remark"):
        assert part in said
    assert "\n" not in said


def test_a_plan_goes_through_json() -> None:
    stored = json.loads(json.dumps(plan().as_dict()))
    assert Reading.from_dict({**stored, "from_a_later_version": 1}) == plan()
    assert plan().num_left_out == 4 and [line for line, _ in plan().left_out[0].rows] == [3, 9, 12]


def test_a_row_is_shown_on_one_line() -> None:
    assert shown_row(["a\nb", "c"]) == "a b | c"
    assert shown_row(["x" * 500], width=20) == f"{'x' * 19}…"
