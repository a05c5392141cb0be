"""Example inputs of a model card, in the language of the model: for its lines of code and for the hub's widget."""

from collections.abc import Sequence
from dataclasses import dataclass

from bertie.reports.text import quoted
from bertie.tasks.task import CardText

_TEXTS = ("text-classification", "token-classification", "text-generation", "text2text-generation")


@dataclass(frozen=True)
class Examples:
    """Short inputs of one language."""

    text: str
    second: str
    masked: str
    question: str
    passage: str
    start: str
    endings: tuple[str, str]


_ENGLISH = Examples(
    text="This is a text.",
    second="This is another text.",
    masked="Paris is the [MASK] of France.",
    question="Where was she born?",
    passage="She was born in Paris in 1903.",
    start="She opened the door",
    endings=("and went in.", "and it was blue."),
)
_CHINESE = Examples(
    text="今天天气很好。",
    second="我们去公园散步。",
    masked="北京是中国的首[MASK]。",
    question="她在哪里出生？",
    passage="她一九〇三年在上海出生。",
    start="她打开门，",
    endings=("走了进去。", "它是蓝色的。"),
)


def examples(languages: Sequence[str]) -> Examples:
    """Return inputs in the first of a model's languages if it is Chinese, else in English.

    Args:
        languages: codes of the hub, such as en and zh; empty if unknown.
    """
    return _CHINESE if languages and languages[0].partition("-")[0] == "zh" else _ENGLISH


def widget(described: CardText, languages: Sequence[str]) -> list[str]:
    """Return the lines of YAML with an input for the hub's widget; none if the hub has no widget for the task.

    Args:
        described: what the card says of the task.
        languages: the languages of the text, as codes of the hub.
    """
    said = examples(languages)
    if described.pipeline == "question-answering":
        fields = {"text": said.question, "context": said.passage}
    elif described.pipeline == "fill-mask":
        fields = {"text": said.masked}
    elif described.pipeline in _TEXTS and described.item == "text":
        fields = {"text": said.text}
    elif described.pipeline == "sentence-similarity":
        return [
            *("widget:", f"- source_sentence: {quoted(said.text)}", "  sentences:"),
            *(f"  - {quoted(text)}" for text in (said.second, said.passage)),
        ]
    else:
        return []
    lines = [f"{key}: {quoted(text)}" for key, text in fields.items()]
    return ["widget:", f"- {lines[0]}", *(f"  {line}" for line in lines[1:])]
