"""The pages of docs/explanation show the code and pictures there are now, run, and say the same in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.bert import BertConfig
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.tokenizer import Tokenizer
from docs import explain
from examples import explanation_pictures as pictures
from examples.learning_pictures import runs_of

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "explanation"
README = (PAGES / "README.md").read_text(encoding="utf-8")
ENGLISH = ("README.md", *re.findall(r"^\d\. \[.*?\]\((\w+\.md)\)", README, re.MULTILINE))


def read(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def chinese(name: str) -> str:
    return name.replace(".md", ".zh.md")


def code(page: str) -> list[str]:
    """Return the comments that say what is cut out of which file."""
    return re.findall(r"<!-- code: (.*?) -->", page)


def snippets(page: str) -> list[str]:
    """Return what a reader types: the code that isn't cut out of a file."""
    own = re.sub(r"<!-- code: .*?" + re.escape(explain.END), "", page, flags=re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```$", own, re.MULTILINE | re.DOTALL)


def test_pages_show_the_code_there_is() -> None:
    pages = sorted(path.name for path in PAGES.glob("*.md"))
    assert {*ENGLISH, *map(chinese, ENGLISH)} <= {*pages}
    stale = [name for name in pages if explain.drawn(read(name)) != read(name)]
    assert stale == [], "what these pages show has changed: run python docs/explain.py, and read whether the text fits"
    assert sum(len(code(read(name))) for name in ENGLISH) > 20


@pytest.mark.parametrize("name", [name for name in (*ENGLISH, *map(chinese, ENGLISH)) if snippets(read(name))])
def test_snippets_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each page is run from its top to its bottom; the asserts in it are what it promises."""
    namespace: dict[str, Any] = {}
    for snippet in snippets(read(name)):
        exec(compile(snippet, name, "exec"), namespace)
    assert capsys.readouterr().out


def test_both_languages_show_the_same() -> None:
    assert len(ENGLISH) == 10
    for name in ENGLISH:
        one, other = read(name), read(chinese(name))
        assert code(one) == code(other), name
        assert one.count("```math") == other.count("```math") and one.count("\n## ") == other.count("\n## "), name
        texts = [[re.sub(r"\s*#.*", "", snippet) for snippet in snippets(page)] for page in (one, other)]
        assert [_said(text) for text in texts[0]] == [_said(text) for text in texts[1]], name
        images = [re.findall(r"images/([\w.-]+)\.svg", page) for page in (one, other)]
        assert [f"{image}.zh" for image in images[0]] == images[1], name


def _said(snippet: str) -> str:
    """Leave out what is said in one language or the other."""
    return re.sub(r'"[^"\n]*"', '""', snippet)


def test_links_lead_somewhere() -> None:
    lost = []
    for path in PAGES.glob("*.md"):
        text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        assert links, path.name
        lost += [f"{path.name}: {link}" for link in links if not (path.parent / link).exists()]
    assert lost == []


def test_pictures_are_what_the_script_draws() -> None:
    drawn = pictures.drawn()
    stale = [name for name, svg in drawn.items() if (pictures.IMAGES / name).read_text(encoding="utf-8") != svg]
    assert stale == [], "run python -m examples.explanation_pictures"
    assert {path.name for path in pictures.IMAGES.glob("explanation-*.svg")} == set(drawn)
    shown = {
        name for path in PAGES.glob("*.md") for name in re.findall(r"images/([\w.-]+\.svg)", path.read_text("utf-8"))
    }
    assert shown == set(drawn)
    for name, svg in drawn.items():
        sheet = ET.fromstring(svg)
        assert len(svg) < 50_000 and sheet.find("{http://www.w3.org/2000/svg}title") is not None, name


@pytest.mark.parametrize("name", ["learning.md", "learning.zh.md"])
def test_figures_of_learning_are_those_of_the_runs(name: str) -> None:
    page = " ".join(read(name).split())
    for case, start in (("BERT", "neighbours"), ("RoFormer", "neighbours"), ("BERT", "paper"), ("RoFormer", "paper")):
        runs = [run for run in runs_of("plateau") if (run["case"], run["start"]) == (case, start)]
        ends = [run["points"][-1][1] for run in runs]
        assert f"{mean(ends):.2f}" in page and f"{min(ends):.2f}" in page and f"{max(ends):.2f}" in page
        below = [run["unigram"] - end for run, end in zip(runs, ends, strict=True)]
        assert max(below) < 0.4 if start == "paper" else min(below) > 1
    for start in ("Wikipedia, 15 M tokens", "random weights"):
        wanted = ("entities", 500, start)
        scores = [run["score"] for run in runs_of("pays") if (run["task"], run["size"], run["start"]) == wanted]
        assert f"{mean(scores):.1f} ± {stdev(scores):.1f}" in page
    by_start = {start: [run for run in runs_of("heads") if run["label"].startswith(start)] for start in ("n", "p")}
    (before,) = [run["points"][0]["layers"] for run in by_start["n"] if "before" in run["label"]]
    assert all(f"{layer['neighbour']:.2f}" in page for layer in before)
    runs = [run["points"] for run in by_start["n"] if "seed" in run["label"] and "before" not in run["label"]]
    assert len(runs) == len(by_start["p"]) == 3
    for number in (3, -1):
        weights = [points[number]["layers"][0]["neighbour"] for points in runs]
        assert f"{min(weights):.2f}" in page and f"{max(weights):.2f}" in page
    assert max(layer["neighbour"] for points in runs for layer in points[0]["layers"]) <= 0.1
    beside = [layer["neighbour"] for run in by_start["p"] for point in run["points"] for layer in point["layers"]]
    assert max(beside) < 0.02
    for rate in ("15 %", "30 to 15 %", "60 to 15 %", "90 to 15 %"):
        masks = [run["dev"]["mask_loss"] for run in runs_of("masks") if run["label"].startswith(f"{rate}, seed")]
        assert len(masks) == 3 and f"{mean(masks):.2f}" in page and f"± {stdev(masks):.2f}" in page
    for label in ("tiny, 1.5 M", "tiny, 1.5 M, 4,096 a step", "tiny, 1.5 M, 2,048 a step", "tiny, 5 M"):
        (loss,) = (run["dev"]["mask_loss"] for run in runs_of("scaling") if run["label"] == label)
        assert f"{loss:.2f}" in page, label
    paper = [run["dev"] for run in runs_of("beginning") if run["label"].startswith("bertie, paper")]
    assert min(dev["mask_cosine"] for dev in paper) >= 0.998
    assert {f"{dev['mask_accuracy']:.3f}" for dev in paper} == {"0.037"}


@pytest.mark.parametrize("name", ["microbert.md", "microbert.zh.md"])
def test_figures_of_microbert_are_those_of_the_runs(name: str) -> None:
    page, runs = read(name), runs_of("microbert")
    for run in runs:
        assert f"{run['points'][-1][2]:.2f}" in page and f"{run['unigram']:.2f}" in page
        left = [(step, seconds) for step, seconds, loss in run["points"] if loss < run["unigram"] - 0.5]
        assert bool(left) == (run["start"] == "neighbours")
        if left:
            assert f"{left[0][0]}" in page and left[0][1] < 60
        shown = run["scores"] if run["start"] == "neighbours" else {"pre-trained": run["scores"].get("pre-trained", [])}
        assert all(f"{score:.1f}" in page for scores in shown.values() for score in scores)
    assert {run["start"] for run in runs} == {"neighbours", "paper"} and runs[0]["cpu"] in page


def test_heads_of_a_model_of_your_own(
    tiny_tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = BertConfig(tiny_tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=64)
    huggingface.write(new(config, MaskedLM(max_length=32), tiny_tokenizer, 0), tmp_path / "bert")
    model, drawing = ["--model", str(tmp_path / "bert")], tmp_path / "heads.svg"
    pictures.main([*model, "--sentence", "the cat sat", "--heads", "1.4", "2.1", "--out", str(drawing)])
    words = [part.text for part in ET.fromstring(drawing.read_text(encoding="utf-8")).iter()]
    assert {"layer 1, head 4", "layer 2, head 1", "[CLS]", "sat"} <= {*words}
    found = pictures.attention_of(model[1], "the cat sat", ["2.3"])
    assert [abs(sum(row) - 100) <= 3 for row in found["heads"][0]["percent"]] == [True] * 5
    for lost in ("3.1", "1.5", "0.1", "two"):
        with pytest.raises(SystemExit, match=f"no head {lost}: write LAYER.HEAD, from 1.1 to 2.4"):
            pictures.attention_of(model[1], "the cat sat", [lost])


def test_shares_in_the_picture() -> None:
    shares = pictures.fates_of_many()
    assert shares == pytest.approx({"mask": 0.8, "random": 0.1, "same": 0.1}, abs=0.005)


def test_parts_are_found_by_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = 'def f(self) -> int:\n        """Say."""\n        one = 1\n        return one\n'
    source = f'class A:\n    """Words."""\n\n    {body}'
    (tmp_path / "a.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(explain, "ROOT", tmp_path)
    assert explain.excerpt("a.py:A.f") == "def f(self) -> int:\n    one = 1\n    return one"
    assert explain.excerpt('a.py:A.f from "one =" to "one ="') == "one = 1"
    assert explain.excerpt("a.py:A").splitlines()[:2] == ["class A:", "    def f(self) -> int:"]
    page = explain.drawn(f"before\n<!-- code: a.py:A.f -->\nold\n{explain.END}\nafter\n")
    assert "    return one\n```\n" in page and "old" not in page and page.endswith("\nafter\n")
    assert explain.drawn(page) == page


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("a.py:g", "a.py has no g"),
        ("b.py:f", "can't read"),
        ('a.py:f from "three" to "one"', "no line contains 'three'"),
        ('a.py:f from "one" to "two"', "no line after the first one contains 'two'"),
        ('a.py:f from "one"', "can't read"),
    ],
)
def test_what_is_not_there_is_said(said: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("def f() -> None:\n    one = 1\n", encoding="utf-8")
    monkeypatch.setattr(explain, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=re.escape(wrong)):
        explain.excerpt(said)


def test_an_open_excerpt_is_said() -> None:
    with pytest.raises(SystemExit, match="needs an"):
        explain.drawn("<!-- code: a.py:f -->\ntext\n")
