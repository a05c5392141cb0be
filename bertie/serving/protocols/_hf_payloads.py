"""Private helper of `huggingface`: the payloads of Hugging Face's tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from bertie.serving.protocols._payload import (
    STRINGS,
    Ignored,
    Payload,
    Positive,
    Right,
    Strings,
    checked_by,
    objects_of,
    shown,
    string_list,
)

One = bool
"""Whether the client sent one item alone, which is answered without a list around."""


def _texts(value: Any) -> tuple[One, list[str]]:
    """Return a string, or a list of strings, as a list."""
    if not isinstance(value, str | list):
        raise ValueError(f"must be a string or a list of strings; got {shown(value)}")
    return (True, [value]) if isinstance(value, str) else (False, _strings(value))


def _strings(value: Any) -> list[str]:
    """Return a list of strings, which may be empty."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list of strings; got {shown(value)}")
    return string_list(value) if value else []


def _classified(value: Any) -> list[Any]:
    """Return the items of text classification: strings, and pairs of texts as objects."""
    values = value if isinstance(value, list) else [value]
    return objects_of(TextPair, values, 'a string, or {"text": ..., "text_pair": ...}', or_text=True)


def _questions(value: Any) -> tuple[One, list[Any]]:
    """Return the questions with their contexts."""
    alone = not isinstance(value, list)
    return alone, objects_of(Asked, [value] if alone else value, '{"question": ..., "context": ...}')


def _object(*required: str, **properties: str) -> dict[str, Any]:
    parts = {name: {"type": kind} for name, kind in properties.items()}
    return {"type": "object", "properties": parts, "required": list(required), "additionalProperties": False}


def _or_list(*kinds: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*kinds, {"type": "array", "items": {"anyOf": list(kinds)}}]}


_TEXT = {"type": "string"}
_ANY_STRINGS = {"type": "array", "items": _TEXT}
_PAIR = _object("text", text="string", text_pair="string")
_ASKED = _object("question", "context", question="string", context="string")
TextsOrOne = Annotated[tuple[One, list[str]], *checked_by(_texts, _or_list(_TEXT))]
"""Whether the client sent one text alone, and the texts."""
AnyStrings = Annotated[list[str], *checked_by(_strings, _ANY_STRINGS)]
"""A list of strings, which may be empty."""
Count = Positive | None


class TextPair(Payload):
    """One item of text classification."""

    text: str
    text_pair: str | None = None


class Asked(Payload):
    """One item of question answering."""

    question: str
    context: str


class HuggingFacePayload(Payload):
    """Base class: `options` tells Hugging Face's own servers how to wait, and changes no answer."""

    options: Ignored = None


class FillMaskParameters(Payload):
    """The parameters of fill-mask."""

    top_k: Count = None
    targets: AnyStrings | None = None
    """Words to rank; without them, the best of the vocabulary."""


class FillMaskPayload(HuggingFacePayload):
    """The payload of fill-mask."""

    inputs: TextsOrOne
    parameters: FillMaskParameters | None = None


class ClassificationParameters(Payload):
    """The parameters of text-classification."""

    top_k: Count = None
    function_to_apply: Literal["softmax", "sigmoid", "none"] | None = None


class ClassificationPayload(HuggingFacePayload):
    """The payload of text-classification."""

    inputs: Annotated[list[Any], *checked_by(_classified, _or_list(_TEXT, _PAIR))]
    parameters: ClassificationParameters | None = None


class TokenParameters(Payload):
    """The parameters of token-classification."""

    aggregation_strategy: Literal["none", "simple", "first", "average", "max"] | None = None
    ignore_labels: AnyStrings | None = None
    """Tags to leave out; O without them."""
    stride: Count = None


class TokenPayload(HuggingFacePayload):
    """The payload of token-classification."""

    inputs: TextsOrOne
    parameters: TokenParameters | None = None


class QuestionParameters(Payload):
    """The parameters of question-answering. The answers don't depend on `max_question_len` and `align_to_words`."""

    top_k: Count = None
    handle_impossible_answer: bool | None = None
    max_answer_len: Count = None
    max_seq_len: Count = None
    doc_stride: Count = None
    max_question_len: Ignored = None
    align_to_words: Ignored = None


class QuestionPayload(HuggingFacePayload):
    """The payload of question-answering."""

    inputs: Annotated[tuple[One, list[Any]], *checked_by(_questions, _or_list(_ASKED))]
    parameters: QuestionParameters | None = None


class Compared(Payload):
    """The inputs of sentence-similarity."""

    source_sentence: str
    sentences: Strings


class NoParameters(Payload):
    """The parameters of a task that has none."""


class ComparisonPayload(HuggingFacePayload):
    """The payload of sentence-similarity."""

    inputs: Compared
    parameters: NoParameters | None = None


class FeatureParameters(Payload):
    """The parameters of feature-extraction, which the client writes next to the inputs."""

    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Right | None = None
    dimensions: Positive | None = None
    encoding_format: Literal["float"] | None = None
    prompt_name: None = None


class FeaturePayload(FeatureParameters):
    """The payload of feature-extraction."""

    inputs: TextsOrOne
    parameters: FeatureParameters | None = None
    options: Ignored = None

    def setting(self, name: str) -> Any:
        """Return a setting, which may stand next to the inputs or in `parameters`."""
        value = getattr(self, name)
        return getattr(self.parameters, name) if value is None and self.parameters else value


class ZeroShotParameters(Payload):
    """The parameters of zero-shot-classification."""

    candidate_labels: Annotated[list[str], *checked_by(string_list, {**STRINGS, "uniqueItems": True})]
    multi_label: bool | None = None
    hypothesis_template: str | None = None


class ZeroShotPayload(HuggingFacePayload):
    """The payload of zero-shot-classification."""

    inputs: TextsOrOne
    parameters: ZeroShotParameters
