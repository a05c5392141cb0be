"""The pictures of docs/explanation/learning.md and microbert.md, drawn from the runs in docs/studies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from examples.drawing import BLUE, GREEN, INK, LINE, ORANGE, PALE, PLUM, SOFT, Drawing

STUDIES = Path(__file__).parents[1] / "docs" / "studies"
_TASKS = {  # task of docs/studies/pays.json -> names
    "entities": ("names, F1", "人名地名等，F1"),
    "pos": ("parts of speech, accuracy", "词性，准确率"),
    "sst2": ("SST-2, accuracy", "SST-2，准确率"),
    "cola": ("CoLA, Matthews × 100", "CoLA，马修斯系数 × 100"),
    "mrpc": ("MRPC, accuracy", "MRPC，准确率"),
    "lingnli": ("LingNLI, accuracy", "LingNLI，准确率"),
}

Say = Callable[[str, str], str]
"""Returns either the English or the Chinese words."""


def runs_of(name: str) -> list[dict[str, Any]]:
    """Read the runs of a study."""
    runs: list[dict[str, Any]] = json.loads((STUDIES / f"{name}.json").read_text(encoding="utf-8"))
    return runs


class Axes:
    """The frame of a chart on a sheet, which turns values into places.

    Args:
        sheet: the sheet to draw on.
        left, top, width, height: the frame, in pixels.
        x: values at the ends of the x axis.
        y: values at the ends of the y axis, the lower one first.
    """

    def __init__(
        self,
        sheet: Drawing,
        left: float,
        top: float,
        width: float,
        height: float,
        x: tuple[float, float],
        y: tuple[float, float],
    ) -> None:
        self.sheet, self.left, self.top, self.width, self.height, self.x, self.y = sheet, left, top, width, height, x, y

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a value."""
        across, up = (x - self.x[0]) / (self.x[1] - self.x[0]), (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + across * self.width, self.top + (1 - up) * self.height

    def frame(self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, y_name: str) -> None:
        """Draw the ticks and the names of both axes."""
        for tick in y_ticks:
            start = self.at(self.x[0], tick)
            self.sheet.line([start, self.at(self.x[1], tick)], colour=PALE, arrow=False)
            self.sheet.text(start[0] - 8, start[1] + 4, f"{tick:g}", size=12, anchor="end", colour=SOFT)
        for tick in x_ticks:
            place = self.at(tick, self.y[0])
            self.sheet.line([place, (place[0], place[1] + 4)], colour=LINE, arrow=False)
            self.sheet.text(place[0], place[1] + 18, f"{tick:g}", size=12, colour=SOFT)
        self.sheet.line([self.at(*start) for start in ((self.x[0], self.y[0]), (self.x[1], self.y[0]))], arrow=False)
        self.sheet.text(self.left + self.width, self.top + self.height + 36, x_name, size=12, anchor="end", colour=SOFT)
        self.sheet.text(self.left - 34, self.top - 12, y_name, size=12, anchor="start", colour=SOFT)


def dot(sheet: Drawing, place: tuple[float, float], colour: str) -> None:
    """Draw a round mark."""
    sheet.box(place[0] - 4, place[1] - 4, 8, 8, fill=colour, edge="white", round_by=4)


def legend(sheet: Drawing, places: Sequence[tuple[float, float]], names: Sequence[tuple[str, str]]) -> None:
    """Write names beside a mark of their colour; each name comes with its colour."""
    for (x, y), (name, colour) in zip(places, names, strict=True):
        dot(sheet, (x, y - 4), colour)
        sheet.text(x + 10, y, name, size=12, anchor="start")


def leaving(say: Say) -> Drawing:
    """Draw the loss at [MASK] of two architectures from both starts, one line a seed."""
    sheet = Drawing(700, 400, say("Loss at [MASK] from both starts", "两种起点在 [MASK] 处的损失"))
    axes = Axes(sheet, 60, 84, 610, 262, (0, 1), (4.5, 7))
    runs = runs_of("plateau")
    unigram = next(run["unigram"] for run in runs if run["case"] == "BERT")
    axes.frame(
        (0, 0.2, 0.4, 0.6, 0.8, 1), (4.5, 5, 5.5, 6, 6.5, 7), say("million tokens", "百万词元"), say("loss", "损失")
    )
    sheet.line([axes.at(0, unigram), axes.at(1, unigram)], colour=SOFT, arrow=False)
    sheet.text(
        *axes.at(1, unigram + 0.07), say("token frequencies alone", "只看词频"), size=12, anchor="end", colour=SOFT
    )
    names = []
    for case, start, colour in (
        ("BERT", "neighbours", BLUE),
        ("RoFormer", "neighbours", GREEN),
        ("BERT", "paper", ORANGE),
        ("RoFormer", "paper", PLUM),
    ):
        chosen = [run["points"] for run in runs if (run["case"], run["start"]) == (case, start)]
        for points in chosen:
            inside = [axes.at(min(tokens / 1e6, 1), loss) for tokens, loss in points if loss <= axes.y[1]]
            sheet.line(inside, colour=colour, arrow=False)
        ends = [points[-1][1] for points in chosen]
        spread = f"{mean(ends):.2f} ({min(ends):.2f}–{max(ends):.2f})"
        seeds = say(f"{len(ends)} seeds", f"{len(ends)} 个种子")
        names.append((f"{case}, {start}: {spread}, {seeds}", colour))
    legend(sheet, [(30, 24), (30, 46), (370, 24), (370, 46)], names)
    return sheet


def appearing(say: Say) -> Drawing:
    """Draw how much the head that looks most at a neighbour looks at it, at the checkpoints of runs of both starts."""
    sheet = Drawing(700, 390, say("Heads that look at a neighbour", "看邻居的头"))
    axes = Axes(sheet, 60, 84, 610, 252, (0, 1), (0, 1))
    axes.frame(
        (0, 0.2, 0.4, 0.6, 0.8, 1),
        (0, 0.25, 0.5, 0.75, 1),
        say("million tokens", "百万词元"),
        say("weight on one neighbour, mean over the tokens", "对一个邻居的权重，各词元的平均"),
    )
    names = []
    for start, layer, colour in (
        ("neighbours", 0, BLUE),
        ("neighbours", 1, GREEN),
        ("paper", 0, ORANGE),
        ("paper", 1, PLUM),
    ):
        chosen = [run["points"] for run in runs_of("heads") if run["label"].startswith(f"{start}, seed")]
        for points in chosen:
            places = [axes.at(min(point["tokens"] / 1e6, 1), point["layers"][layer]["neighbour"]) for point in points]
            sheet.line(places, colour=colour, arrow=False)
        if start == "neighbours":
            (before,) = [run["points"][0] for run in runs_of("heads") if run["label"].startswith(f"{start}, before")]
            dot(sheet, axes.at(0, before["layers"][layer]["neighbour"]), colour)
        seeds = say(f"{len(chosen)} seeds", f"{len(chosen)} 个种子")
        names.append((say(f"{start}, layer {layer + 1}, {seeds}", f"{start}，第 {layer + 1} 层，{seeds}"), colour))
    legend(sheet, [(30, 24), (30, 46), (370, 24), (370, 46)], names)
    return sheet


def microbert(say: Say) -> Drawing:
    """Draw the loss at held-out masks of examples/microbert.py from both starts, one line a seed."""
    sheet = Drawing(
        700, 380, say("Loss of examples/microbert.py from both starts", "examples/microbert.py 两种起点的损失")
    )
    runs = runs_of("microbert")
    axes = Axes(sheet, 60, 64, 610, 262, (0, 1200), (4.5, 6.5))
    axes.frame(range(0, 1201, 200), (4.5, 5, 5.5, 6, 6.5), say("steps", "步数"), say("loss", "损失"))
    unigram = runs[0]["unigram"]
    for height, words in (
        (unigram, say("word frequencies alone", "只看词频")),
        (unigram - 0.5, say("half a nat below: off the plateau", "低 0.5：离开平台期")),
    ):
        sheet.line([axes.at(0, height), axes.at(1200, height)], colour=LINE, arrow=False)
        sheet.text(*axes.at(1200, height + 0.04), words, size=12, anchor="end", colour=SOFT)
    names = []
    for start, colour in (("neighbours", BLUE), ("paper", ORANGE)):
        chosen = [run for run in runs if run["start"] == start]
        for run in chosen:
            inside = [axes.at(step, loss) for step, _, loss in run["points"] if loss <= axes.y[1]]
            sheet.line(inside, colour=colour, arrow=False)
        ends = ", ".join(f"{run['points'][-1][2]:.2f}" for run in chosen)
        names.append((say(f"{start}; at the end {ends}", f"{start}；最后 {ends}"), colour))
    legend(sheet, [(30, 24), (370, 24)], names)
    return sheet


def collapse(say: Say) -> Drawing:
    """Draw how alike the vectors at different [MASK]s are, and the share of [MASK]s that is right."""
    sheet = Drawing(700, 390, say("Cosine of the vectors at different [MASK]s", "不同 [MASK] 处向量的余弦"))
    axes = Axes(sheet, 60, 106, 610, 232, (0, 1), (0, 45))
    axes.frame(
        (0, 0.2, 0.4, 0.6, 0.8, 1),
        (0, 10, 20, 30, 40),
        say("mean cosine between the vectors at different [MASK]s", "不同 [MASK] 处向量的平均余弦"),
        say("right at [MASK], %", "[MASK] 猜对的比例，%"),
    )
    groups = [
        ("beginning", "bertie, paper", ORANGE, "2/128, paper, 1 M (3)"),
        ("mini", "as before", PLUM, "mini, paper, 33 M (1)"),
        ("beginning", "bertie, neighbours", BLUE, "2/128, neighbours, 1 M (3)"),
        ("scaling", "tiny", INK, say("tiny, neighbours, 1.5 to 33 M (6)", "tiny, neighbours, 1.5 – 33 M (6)")),
        ("mini", "seed", GREEN, "mini, neighbours, 33 M (2)"),
    ]
    for study, label, colour, _ in groups:
        for run in runs_of(study):
            if run["label"].startswith(label):
                dot(sheet, axes.at(run["dev"]["mask_cosine"], 100 * run["dev"]["mask_accuracy"]), colour)
    places = [(30, 24), (30, 46), (260, 24), (260, 46), (260, 68)]
    legend(sheet, places, [(name, colour) for *_, colour, name in groups])
    sheet.text(690, 24, say("(runs)", "（括号内是运行次数）"), size=12, anchor="end", colour=SOFT)
    return sheet


def gain(say: Say) -> Drawing:
    """Draw what an encoder gains from pre-training, by task and number of labels, one dot a seed."""
    runs = runs_of("pays")
    rows = [
        (task, size)
        for task in _TASKS
        for size in (500, 0)
        if any((run["task"], run["size"]) == (task, size) for run in runs)
    ]
    sheet = Drawing(700, 108 + 34 * len(rows), say("The gain from pre-training", "预训练的收益"))
    axes = Axes(sheet, 250, 50, 420, 34 * len(rows), (0, 100), (0, len(rows)))
    axes.frame((0, 20, 40, 60, 80, 100), (), say("score on the dev file", "开发集得分"), "")
    colours = {"random weights": ORANGE, "features + logistic regression": GREEN, "Wikipedia": BLUE}
    for number, (task, size) in enumerate(rows):
        y = len(rows) - number - 0.5
        found = [run for run in runs if (run["task"], run["size"]) == (task, size) and "before" not in run["start"]]
        labels = f"{found[0]['items']:,}"
        sheet.text(240, axes.at(0, y)[1] + 4, f"{say(*_TASKS[task])}, {labels}", size=12, anchor="end")
        sheet.line([axes.at(0, y), axes.at(100, y)], colour=PALE, arrow=False)
        for run in found:
            colour = next(colour for start, colour in colours.items() if run["start"].startswith(start))
            dot(sheet, axes.at(run["score"], y + 0.2 * (list(colours.values()).index(colour) - 1)), colour)
    names = (
        (say("random weights", "随机权重"), ORANGE),
        (say("features + logistic regression", "特征 + 逻辑回归"), GREEN),
        (say("pre-trained on Wikipedia", "在维基百科上预训练"), BLUE),
    )
    legend(sheet, [(60, 26), (220, 26), (470, 26)], names)
    return sheet
