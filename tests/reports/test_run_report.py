"""A run's report: what it was given stands on it as text, it loads nothing, and nothing that is missing breaks it."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import SettingsError
from bertie.reports.findings import Findings, Wrong
from bertie.reports.masked import MaskedSentence
from bertie.reports.passages import Mark, Passage
from bertie.reports.run import Comparison, RunReport, render, write

Read = Callable[[str], Any]
HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\ud800"
SHOWN = "</style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\ufffd\ufffd"


def records(num_steps: int, *, dev: bool) -> list[dict[str, Any]]:
    draw = random.Random(0)
    found: list[dict[str, Any]] = []
    for step in range(0, num_steps + 1, 10):
        loss = 3 + 7 * math.exp(-step / 200) + draw.gauss(0, 0.1)
        figures = {"loss": loss + 0.5, "mlm_loss": loss, "mlm_accuracy": 0.4, "nsp_loss": 0.6, "nsp_accuracy": 0.7}
        speed = {"learning_rate": 1e-3 * step / num_steps, "tokens_per_second": 20_000.0, "gradient_norm": 1.5}
        common = {"step": step, "seconds": step / 5, "tokens": step * 4096}
        if step:
            found.append({"kind": "train", **common, **speed, **figures})
        if dev and step % 100 == 0:
            found.append({"kind": "dev", **common, **figures, "mlm_loss": loss + 0.2})
    return found


def full(text: str = "plain") -> RunReport:
    """A report with every part, `text` in every place where text from outside may stand."""
    sentence = MaskedSentence(
        ["the", text, "[MASK]", "."], 2, "cat", [(text, 0.01), ("un", 0.005)], [("cat", 0.7), (text, 0.2)]
    )
    labels = [text, "other"]
    classes = {label: {"precision": 0.8, "recall": 0.7, "f1": 0.75, "support": 20.0} for label in labels}
    return RunReport(
        title=text,
        kind="demo",
        summary={"dev_mlm_loss": 3.1, "train_mlm_loss": 3.0, "tokens": 4096, text: text, "folder": "unseen/folder"},
        records=records(500, dev=True),
        settings=f"command = {text}",
        command=f"bertie run {text}",
        masked=[sentence] * 10,
        findings=Findings(
            labels=labels,
            confusion=[[18, 2], [5, 15]],
            per_class=classes,
            calibration=[(0.55, 0.6, 10), (0.97, 0.9, 30)],
            estimates=[(1.0, 1.5), (4.0, 3.0)],
            worst=[Wrong(text, text, "other", 0.99)],
            examples=[Passage(text, [Mark(0, len(text), "wrong", text)], text, text, text, confidence=0.5)],
        ),
        comparisons=[Comparison(text, [(text, [0.7, 0.8]), ("random", [0.6, 0.65])], text, "%")],
        predictions=[(text, text, 0.9)],
        notes=[text],
        machine={"Processor": text},
        versions={"torch": text},
    )


def test_everything_given_is_on_the_page(read_page: Read) -> None:
    page = read_page(render(full()))
    assert [heading.text for heading in page.all("h2")] == [
        *("plain", "Curves", "Masked words before and after training", "By class", "Calibration", "Predictions"),
        *("Worst errors", "Examples", "Predictions for unlabelled texts", "Notes", "How to reproduce"),
    ]
    assert [link.text for link in page.all("a")] == [heading.text for heading in page.all("h2")]
    words = page.words()
    for expected in ("bertie run plain", "command = plain", "75.0 ± 7.1%", "99.0%", "18", "75.0%"):
        assert expected in words
    assert "unseen/folder" not in words
    assert [chart.all("figcaption")[0].text for chart in page.all("figure", "large") + page.all("figure", "small")] == [
        *("MLM loss", "MLM accuracy", "NSP accuracy", "NSP loss", "Loss"),
        *("Learning rate", "Tokens per second", "Gradient norm"),
    ]


def test_hostile_text_is_shown_as_text(read_page: Read) -> None:
    page = read_page(render(full(HOSTILE)))
    for tag, least in (("title", 1), ("h1", 1), ("h2", 1), ("bdi", 25), ("pre", 2), ("p", 1), ("li", 1), ("dd", 3)):
        assert sum(SHOWN in element.text for element in page.all(tag)) >= least, tag
    policy = [meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes]
    assert policy[0].startswith("default-src 'none'; style-src 'unsafe-inline'")


@settings(max_examples=25)
@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
def test_sound_for_any_text(read_page: Read, text: str) -> None:
    render(full(text)).encode("utf-8")
    read_page(render(full(text)))


@settings(max_examples=40)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kind", "step", "loss", "mlm_loss", "mlm_accuracy", "learning_rate", "<b>", ""]),
            st.sampled_from(["train", "dev"]) | st.none() | st.floats() | st.integers() | st.booleans(),
        ),
        max_size=40,
    )
)
def test_sound_for_any_records(read_page: Read, many: list[dict[str, Any]]) -> None:
    read_page(render(RunReport("x", "pretrain", {}, records=many)))


@pytest.mark.parametrize("kind", ["pretrain", "finetune", "demo"])
def test_an_empty_run(kind: Any, read_page: Read) -> None:
    page = read_page(render(RunReport("Nothing", kind, {}, machine={}, versions={})))
    assert "No figures were logged." in page.words()
    assert ("No dev table was given" in page.words()) == (kind == "finetune")
    assert not page.all("svg") and not page.all("table")


def test_a_missing_dev_set_is_said(read_page: Read) -> None:
    without, with_dev = (render(RunReport("x", "pretrain", {}, records=records(100, dev=dev))) for dev in (False, True))
    assert "No dev set was given" in without and "No dev set was given" not in with_dev
    assert "Dev figures as a table" in with_dev and "Dev figures as a table" not in without
    rows = read_page(with_dev).all("tbody")[0].all("tr")
    assert [row.all("td")[0].text for row in rows] == ["0", "100"]


def test_what_was_measured_on_dev_is_shown_first_and_big(read_page: Read) -> None:
    summary = {
        "steps": 500,
        "train_mlm_loss": 3.0,
        "dev_mlm_loss": 3.1,
        "dev_mlm_accuracy": 0.41,
        "seconds": 100.0,
        "state": math.nan,
    }
    page = read_page(render(RunReport("x", "pretrain", summary, records=records(500, dev=True))))
    big = [" ".join(card.words().split()) for card in page.all("div", "card")]
    assert big == ["MLM accuracy 41.0% dev, initially 40.0%", "MLM loss 3.1 dev, initially 10.29", "Time 1 min 40 s"]
    assert [" ".join(fact.words().split()) for fact in page.all("dl", "facts")[0].inside] == [
        "Steps 500",
        "MLM loss, train 3",
    ]


def test_gaps_where_a_figure_is_no_number(read_page: Read) -> None:
    many = records(200, dev=False)
    many[5]["mlm_loss"], many[9]["mlm_loss"], many[12]["mlm_loss"] = None, math.nan, math.inf
    page = read_page(render(RunReport("x", "pretrain", {}, records=many)))
    assert page.all("figure", "large")[0].all("path", "line")[0].attributes["d"].count("M") == 4


def test_hidden_words_are_counted(read_page: Read) -> None:
    page = read_page(render(full()))
    assert (
        "It is the first prediction in 0 of 10 sentences before training and in 10 after; it is among the first 2 in 0 "
        "before and in 10 after." in page.words()
    )
    assert [hit.words().split() for hit in page.all("li", "hit")] == [["cat", "(right)", "70%"]] * 10
    assert page.all("article")[0].all("p")[0].attributes["dir"] == "auto"
    assert [mark.text for mark in page.all("mark")] == ["cat"] * 10


def test_many_labels_become_a_list_of_confusions(read_page: Read) -> None:
    labels = [f"label {number}" for number in range(30)]
    counts = [[50 if gold == guess else int(gold == 3 and guess == 4) * 7 for guess in range(30)] for gold in range(30)]
    scores = {label: {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 50.0} for label in labels}
    page = read_page(render(RunReport("x", "finetune", {}, findings=Findings(labels, counts, scores))))
    assert not page.all("table", "heat")
    assert [" ".join(row.words().split()) for row in page.all("tbody")[1].all("tr")] == ["label 3 label 4 7"]


@pytest.mark.parametrize("count", range(1, 14))
def test_charts_fill_their_rows(count: int, read_page: Read) -> None:
    many = [{"kind": "train", "step": step, **{f"figure_{n}": 1.0 for n in range(count)}} for step in (1, 2)]
    page = read_page(render(RunReport("x", "pretrain", {}, records=many)))
    num_large, num_small = len(page.all("figure", "large")), len(page.all("figure", "small"))
    assert num_large + num_small == count
    assert num_small % 3 == 0 and (num_large % 2 == 0 or count == 1)


def test_other_figures_get_a_chart_too(read_page: Read) -> None:
    many = [{"kind": "dev", "step": step, "span_f1": step / 100, "note": "text"} for step in (0, 50, 100)]
    page = read_page(render(RunReport("x", "finetune", {}, records=many)))
    assert [caption.text for caption in page.all("figcaption")] == ["Span F1"]
    assert page.all("circle", "c1"), "dev keeps its colour where there is no train"


def test_a_single_point_is_no_curve() -> None:
    once = [*records(100, dev=False), {"kind": "dev", "step": 100, "loss": 1.0, "matthews": 0.5}]
    page = render(RunReport("x", "finetune", {}, records=once))
    charts, table = page.split("Dev figures as a table")
    assert "Matthews" not in charts and "Matthews" in table
    assert (
        "Matthews" in render(RunReport("x", "finetune", {}, records=[{**once[-1], "step": 0}, *once])).split("Dev f")[0]
    )


def test_the_page_stays_small() -> None:
    run = RunReport("x", "pretrain", {}, records=records(100_000, dev=True))
    assert len(render(run)) < 500_000


def test_the_file_appears_whole(tmp_path: Path) -> None:
    write(tmp_path / "run" / "report.html", full())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["report.html"]
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == render(full())


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="can't write"):
        write(tmp_path / "file" / "report.html", full())


def test_a_report_says_what_it_ran_on() -> None:
    run = RunReport("x", "pretrain", {})
    assert int(run.machine["Cores"]) >= 1 and run.machine["Processor"] and run.machine["System"]
    assert {"bertie", "Python", "torch"} <= set(run.versions)
