"""Write a task's head into an ONNX graph, and turn the graph's outputs into those of the head.

Outputs have the names that Hugging Face's exports give them: logits, start_logits and end_logits, last_hidden_state;
and token_embeddings with sentence_embedding, as sentence-transformers exports them. `HEADS` has one entry for each
class of heads. A head that isn't there stays in torch, over a graph of the encoder alone.

Shapes: B sequences, S longest sequence, T tokens, M slots, H hidden, E embedding, C classes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertie.backends._frozen import ASKED, Output
from bertie.backends._graph import Writer
from bertie.batch import Batch
from bertie.nn.heads import TokenLogits
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Dropout
from bertie.tasks._heads import (
    ClassificationHead,
    EmbeddingHead,
    FeaturesHead,
    MaskedLMHead,
    MultipleChoiceHead,
    NextSentenceHead,
    PassagesHead,
    PretrainingHead,
    RegressionHead,
    ReplacedTokenHead,
    SpanHead,
    TaggingHead,
)
from bertie.tasks._outputs import FeatureOutputs, PassageOutputs, PretrainingOutputs

HIDDEN = "last_hidden_state"
_VECTORS = "token_embeddings"
_LOGITS, _SPAN = "logits", ("start_logits", "end_logits")
_PAIR = ("prediction_logits", "seq_relationship_logits")
Named = dict[str, tuple[str, Output]]
"""A value of the graph, and what it holds, by the name of the output."""


@dataclass(frozen=True)
class Form:
    """How a class of heads looks in a graph."""

    outputs: tuple[str, ...]
    """The outputs that `restore` needs; empty for any of the hidden vectors."""
    write: Callable[[Writer, Any, str], Named]
    """Write a head over the hidden vectors (B, S, H)."""
    restore: Callable[[Mapping[str, Tensor], Batch, Any], Any]
    """Return what the head returns, from outputs for a packed batch."""


@dataclass(frozen=True, eq=False)
class Table(Logits):
    """Logits that are computed already; `hidden` holds them, (M, V), and the other fields are empty."""

    def materialise(self) -> Tensor:
        """Return the table of logits, (M, V)."""
        return self.hidden

    def cross_entropy_of_rows(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the cross-entropy of the rows; see `Logits`."""
        losses = cross_entropy(self.hidden, targets, reduction="none")
        return losses.sum(), losses, (self.hidden.argmax(1) == targets).long()


def has_form(head: nn.Module) -> bool:
    """Tell whether a head can be written into a graph."""
    form = type(head) in HEADS
    tokens = getattr(head, "token_logits", None)
    stem = getattr(head, "stem", None)
    return form and (tokens is None or type(tokens) is TokenLogits) and (stem is None or isinstance(stem, Dropout))


def write_head(writer: Writer, head: nn.Module, hidden: str) -> Named:
    """Write a head over the hidden vectors (B, S, H), and return the outputs of the graph."""
    return HEADS[type(head)].write(writer, head, hidden)


def restore(head: nn.Module, outputs: Mapping[str, Tensor], batch: Batch) -> Any:
    """Return what a head would return for a batch, from the outputs of a graph.

    Raises:
        KeyError: the graph was written for another head.
    """
    return HEADS[type(head)].restore(outputs, batch, head)


def fits(head: nn.Module, outputs: Mapping[str, Output]) -> bool:
    """Tell whether a graph has the outputs that a head's `restore` needs."""
    names = HEADS[type(head)].outputs
    return set(names) <= set(outputs) and (bool(names) or hidden_of(outputs) is not None)


def hidden_of(outputs: Mapping[str, Any]) -> Any:
    """Return the hidden vectors among the outputs of a graph; None if there are none."""
    return outputs.get(HIDDEN, outputs.get(_VECTORS))


def hidden_output(hidden: str, size: int) -> Named:
    """Return the output of a graph of the encoder alone."""
    return {HIDDEN: (hidden, Output("token", size))}


def _pooled(writer: Writer, pooler: Any, hidden: str) -> str:
    """Pool the first token: (B, H)."""
    first = writer.add("Gather", hidden, writer.integer(0), axis=1)
    dense = pooler.dense if hasattr(pooler, "dense") else pooler.transform
    return writer.activate(writer.linear(first, dense), pooler.activation)


def _classifier(writer: Writer, head: Any, hidden: str) -> Named:
    """Write pooler and classifier: logits (B, C). State dicts hold the true scale of regression."""
    state = head.classifier.state_dict()
    logits = writer.small_linear(_pooled(writer, head.pooler, hidden), state["weight"], state["bias"])
    return {_LOGITS: (logits, Output("sequence", len(state["bias"])))}


def _choice(writer: Writer, head: Any, hidden: str) -> Named:
    """Write pooler and scorer: logits (items, choices)."""
    scores, _ = _classifier(writer, head, hidden)[_LOGITS]
    shape = writer.add("Shape", "input_ids", start=0, end=2)
    return {_LOGITS: (writer.add("Reshape", scores, shape), Output("choice", 0))}


def _next_sentence(writer: Writer, head: Any, hidden: str) -> Named:
    layer = head.next_sentence
    logits = writer.small_linear(_pooled(writer, head.pooler, hidden), layer.weight, layer.bias)
    return {_LOGITS: (logits, Output("sequence", 2))}


def _tags(writer: Writer, head: Any, hidden: str) -> Named:
    layer = head.classifier
    logits = writer.small_linear(hidden, layer.weight, layer.bias)
    return {_LOGITS: (logits, Output("token", len(layer.bias)))}


def _answers(writer: Writer, head: Any, hidden: str) -> Named:
    layer = head.qa_outputs
    both = writer.small_linear(hidden, layer.weight, layer.bias)  # (B, S, 2)
    return {
        name: (writer.add("Gather", both, writer.integer(number), axis=2), Output("token", 0))
        for number, name in enumerate(_SPAN)
    }


def _replaced(writer: Writer, head: Any, hidden: str) -> Named:
    layers = head.discriminator
    inner = writer.activate(writer.linear(hidden, layers.dense), layers.activation)
    scores = writer.small_linear(inner, layers.output.weight, layers.output.bias)
    return {_LOGITS: (writer.add("Squeeze", scores, writer.integers(-1)), Output("token", 0))}


def _features(writer: Writer, head: Any, hidden: str) -> Named:
    size = writer.size
    outputs = hidden_output(hidden, size)
    if head.pooler is not None:
        outputs["pooler_output"] = (_pooled(writer, head.pooler, hidden), Output("sequence", size))
    return outputs


def _embedding(writer: Writer, head: Any, hidden: str) -> Named:
    """Write the pooling of a text in one window. bertie itself pools longer texts from the tokens' vectors."""
    pooling, real = head.pooling, writer.add("Unsqueeze", writer.real(), writer.integers(-1))  # (B, S, 1)
    if pooling.pooling == "cls":
        pooled = writer.add("Gather", hidden, writer.integer(0), axis=1)
    elif pooling.pooling == "max":
        lowest = writer.add("Mul", writer.add("Sub", real, writer.number(1.0)), writer.number(1e9))
        pooled = writer.add("ReduceMax", writer.add("Add", hidden, lowest), writer.integers(1), keepdims=0)
    else:
        sums = writer.add("ReduceSum", writer.add("Mul", hidden, real), writer.integers(1), keepdims=0)
        count = writer.add("ReduceSum", real, writer.integers(1), keepdims=0)
        pooled = writer.add("Div", sums, writer.add("Max", count, writer.number(1e-9)))
    if pooling.normalized:
        norm = writer.add("ReduceL2", pooled, writer.integers(1), keepdims=1)
        pooled = writer.add("Div", pooled, writer.add("Max", norm, writer.number(1e-12)))
    size = writer.size
    return {_VECTORS: (hidden, Output("token", size)), "sentence_embedding": (pooled, Output("sequence", size))}


def _tokens(writer: Writer, head: Any, hidden: str) -> Named:
    """Write the masked-LM head: logits (B, S, V), or (1, M, V) where attention_mask marks M slots.

    Most tokens of a text are not asked for, and V logits for each of them would cost more than a small encoder. A
    runtime computes all outputs of a graph, also those that a caller leaves out, so a second output would save nothing.
    """
    layers = head.token_logits
    size, count = writer.size, len(layers.bias)
    mask = writer.input("attention_mask")
    asked = writer.add("Reshape", writer.add("Equal", mask, writer.integer(ASKED)), writer.integers(-1))
    slots = writer.add("Reshape", writer.add("NonZero", asked), writer.integers(-1))  # (M,)
    is_asked = writer.add("Min", writer.add("Size", slots), writer.integer(1))
    is_whole = writer.add("Sub", writer.integer(1), is_asked)
    limit = writer.add("Mul", writer.add("Size", mask), is_whole)
    every = writer.add("Range", writer.integer(0), limit, writer.integer(1))  # all tokens, or none
    rows = writer.add("Gather", writer.add("Reshape", hidden, writer.integers(-1, size)), _joined(writer, slots, every))
    inner = writer.norm(writer.activate(writer.linear(rows, layers.dense), layers.activation), layers.norm)
    logits = writer.over_vocabulary(inner, layers.embedding, layers.bias)
    batch = writer.add("Mul", writer.add("Shape", mask, start=0, end=1), is_whole)
    shape = _joined(writer, writer.add("Add", batch, is_asked), writer.integers(-1, count))
    return {_LOGITS: (writer.add("Reshape", logits, shape), Output("slot", count))}


def _joined(writer: Writer, *values: str) -> str:
    return str(writer.add("Concat", *values, axis=0))


def _pretraining(writer: Writer, head: Any, hidden: str) -> Named:
    return {
        _PAIR[0]: _tokens(writer, head, hidden)[_LOGITS],
        _PAIR[1]: _next_sentence(writer, head, hidden)[_LOGITS],
    }


def _logits(outputs: Mapping[str, Tensor], batch: Batch, head: Any) -> Tensor:
    return outputs[_LOGITS]


def _number(outputs: Mapping[str, Tensor], batch: Batch, head: Any) -> Tensor:
    return outputs[_LOGITS][:, 0]


def _spans(outputs: Mapping[str, Tensor], batch: Batch, head: Any) -> Tensor:
    return torch.stack([outputs["start_logits"], outputs["end_logits"]], 1)


def table(values: Tensor) -> Table:
    """Return logits of slots that a graph has computed, (M, V)."""
    nothing = values.new_empty(0)
    return Table(values, nothing, nothing)


HEADS: dict[type[nn.Module], Form] = {
    ClassificationHead: Form((_LOGITS,), _classifier, _logits),
    RegressionHead: Form((_LOGITS,), _classifier, _number),
    MultipleChoiceHead: Form((_LOGITS,), _choice, _logits),
    NextSentenceHead: Form((_LOGITS,), _next_sentence, _logits),
    TaggingHead: Form((_LOGITS,), _tags, _logits),
    SpanHead: Form(_SPAN, _answers, _spans),
    ReplacedTokenHead: Form((_LOGITS,), _replaced, _logits),
    MaskedLMHead: Form((_LOGITS,), _tokens, lambda outputs, batch, head: table(outputs[_LOGITS])),
    PassagesHead: Form(
        (_LOGITS,), _tokens, lambda outputs, batch, head: PassageOutputs(table(outputs[_LOGITS]), torch.empty(0))
    ),
    PretrainingHead: Form(
        _PAIR,
        _pretraining,
        lambda outputs, batch, head: PretrainingOutputs(table(outputs[_PAIR[0]]), outputs[_PAIR[1]]),
    ),
    EmbeddingHead: Form((), _embedding, lambda outputs, batch, head: head.pooling(hidden_of(outputs), batch)),
    FeaturesHead: Form(
        (), _features, lambda outputs, batch, head: FeatureOutputs(hidden_of(outputs), outputs.get("pooler_output"))
    ),
}
