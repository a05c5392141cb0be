"""What every encoder keeps, whatever its architecture: names that go there and back, invariance, learning.

A new architecture needs nothing here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie import registry
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.items.choice import Choice
from bertie.items.question import Answer, Question
from bertie.items.words import Words
from bertie.metrics.entities import Entity
from bertie.models.model import Encoder, architecture
from bertie.ops.dropout.op import Dropout
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks.classification import Classification
from bertie.tasks.features import FeaturesTask
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.span_classification import SpanClassification
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import Text
from bertie.training.loop import StepBatches, train
from bertie.training.optimizer import build
from bertie.training.settings import OptimizerSettings

# Models that write, and the pairs of an encoder and a decoder, have tests of their own.
WRITERS = {"causal", "seq2seq", "transformer"}
ENCODERS = [name for name in registry.choices("models") if name not in WRITERS]
TEXTS = ["the cat sat in the old house .", "a dog ran", "", "three fish ate two red birds by the river , not bad !"]
LABELS = ("bad", "good")
TASKS: dict[str, tuple[Any, list[Any]]] = {
    "classification": (
        Classification(labels=LABELS, max_length=32),
        [Text(text, TEXTS[place - 1], LABELS[place % 2]) for place, text in enumerate(TEXTS)],
    ),
    "regression": (
        Regression(center=1.0, spread=2.0, max_length=32),
        [Text(text, label=str(place)) for place, text in enumerate(TEXTS)],
    ),
    "multiple_choice": (
        MultipleChoice(max_length=32),
        [Choice(text, (text, "a dog"), str(place % 2)) for place, text in enumerate(TEXTS)],
    ),
    "tagging": (
        Tagging(labels=("O", "B-X"), max_length=32, stride=5),
        [Words(tuple(text.split()), tuple("O" if len(word) > 2 else "B-X" for word in text.split())) for text in TEXTS],
    ),
    "span_classification": (
        SpanClassification(labels=("X", "Y"), max_span=3, max_length=32, stride=5),
        [Words(tuple(text.split()), spans=(Entity("X", 0, 1),) if text else ()) for text in TEXTS],
    ),
    "question_answering": (
        QuestionAnswering(max_length=32, stride=4, max_query=8),
        [Question("the cat ?", text, (Answer(text.split()[0], 0),) if text else ()) for text in TEXTS],
    ),
}


def shape(name: str, tokenizer: Any, **changes: Any) -> Any:
    tiny = architecture(name).config.sized("2/32", vocab_size=tokenizer.vocab_size)
    return replace(tiny, **{"num_heads": 2, "max_positions": 64, "pad_id": tokenizer.pad, "dropout": 0.0, **changes})


def bundle_of(name: str, task: Any, tokenizer: Any, **changes: Any) -> Any:
    made = new(shape(name, tokenizer, **changes), task, tokenizer, 1, architecture=name)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.model.parameters():  # biases, norms and heads of zeros would hide mistakes
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return made


def masked_batch(tokenizer: Any, task: MaskedLM) -> Batch:
    pieces = tokenizer.pack(TEXTS, max_length=48)
    keys = stream(3, range(len(TEXTS)))
    labels = torch.full((len(TEXTS),), -1).numpy()
    return task.encode(Instances(pieces.tokens, pieces.segments, pieces.offsets, labels, keys), tokenizer, keys)


@pytest.mark.parametrize("name", ENCODERS)
def test_settings(name: str, tiny_tokenizer: Any) -> None:
    config = architecture(name).config
    model_type = architecture(name).model_type
    assert model_type.replace("-", "_") == name
    assert model_type == config.sized("base", vocab_size=9).to_foreign()["model_type"]
    for size in config.SIZES:
        sized = config.sized(size, vocab_size=9)
        assert config.from_foreign(sized.to_foreign()) == sized
    strange = shape(
        name, tiny_tokenizer, dropout=0.25, activation="relu", initializer_range=0.5, attention_dropout=0.125
    )
    assert config.from_foreign(strange.to_foreign()) == strange
    with pytest.raises(SettingsError, match="size must be one of"):
        config.sized("giant", vocab_size=9)
    with pytest.raises(SettingsError, match="swish"):
        config.from_foreign({**strange.to_foreign(), config.FOREIGN["activation"]: "swish"})


@pytest.mark.parametrize("name", ENCODERS)
def test_parts(name: str, tiny_tokenizer: Any) -> None:
    encoder = shape(name, tiny_tokenizer, dropout=0.1).build()
    assert isinstance(encoder, Encoder) and isinstance(encoder, torch.nn.Module)
    assert len(encoder.blocks) >= 1
    encoder.initialize(7)
    again = shape(name, tiny_tokenizer).build()
    again.initialize(7)
    for key, value in encoder.state_dict().items():
        assert torch.isfinite(value).all() and torch.equal(value, again.state_dict()[key])
    assert encoder.token_logits().embedding is encoder.embeddings.word.weight
    sites = [part.site for part in encoder.modules() if isinstance(part, Dropout)]
    assert len(set(sites)) == len(sites)
    head = Classification(labels=LABELS).head(encoder)
    own = [part.site for part in head.modules() if isinstance(part, Dropout) and part.rate > 0]
    assert len({*own, *sites}) == len(own) + len(sites)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_sequence_comes_out_the_same_in_any_company(name: str, tiny_tokenizer: Any) -> None:
    made = bundle_of(name, FeaturesTask(), tiny_tokenizer)
    encoder = made.model.eval().encoder
    pieces = tiny_tokenizer.pack(TEXTS, TEXTS[::-1], max_length=60)
    whole = Batch.pack(pieces.tokens, pieces.segments, pieces.offsets)
    with torch.no_grad():
        together = encoder(whole)
        alone = torch.cat([encoder(whole.select(torch.tensor([place]))) for place in range(len(whole))])
        padded = [torch.nn.functional.pad(whole.unpack(values), (0, 3)) for values in (whole.tokens, whole.segments)]
        mask = torch.arange(padded[0].shape[1])[None, :] < whole.lengths[:, None]
        unpadded = encoder(Batch.from_padded(padded[0], mask.long(), padded[1]))
    assert float(together.std()) > 0.1
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    torch.testing.assert_close(unpadded, together, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_blocks_one_after_another_are_the_whole(name: str, tiny_tokenizer: Any) -> None:
    encoder = bundle_of(name, FeaturesTask(), tiny_tokenizer).model.eval().encoder
    pieces = tiny_tokenizer.pack(TEXTS, max_length=60)
    batch = Batch.pack(pieces.tokens, pieces.segments, pieces.offsets)
    with torch.no_grad():
        whole = encoder(batch)
        for cut in range(len(encoder.blocks) + 1):
            hidden = encoder(batch, None, None, slice(cut))
            assert torch.equal(encoder(batch, None, hidden, slice(cut, None)), whole)


@pytest.mark.parametrize("task", [*TASKS, "masked_lm", "features"])
@pytest.mark.parametrize("name", ENCODERS)
def test_a_folder_holds_everything(name: str, task: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    objective = {"masked_lm": MaskedLM(max_length=64), "features": FeaturesTask(max_length=64)}.get(task)
    made = bundle_of(name, objective or TASKS[task][0], tiny_tokenizer)
    huggingface.write(made, tmp_path / "model")
    again = huggingface.read(tmp_path / "model")
    assert (again.config, again.architecture, again.notes) == (made.config, name, ())
    state = made.model.state_dict()
    assert state.keys() == again.model.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in again.model.state_dict().items())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ENCODERS)
def test_every_weight_learns_a_task(name: str, task: str, tiny_tokenizer: Any) -> None:
    objective, items = TASKS[task]
    made = bundle_of(name, objective, tiny_tokenizer)
    learn(made, objective, objective.encode(items, tiny_tokenizer))


@pytest.mark.parametrize("name", ENCODERS)
def test_every_weight_learns_in_pre_training(name: str, tiny_tokenizer: Any) -> None:
    objective = MaskedLM(max_length=64)
    learn(bundle_of(name, objective, tiny_tokenizer, dropout=0.05), objective, masked_batch(tiny_tokenizer, objective))


def learn(made: Any, objective: Any, batch: Batch) -> None:
    """Take a few steps; the loss must fall and every parameter must move."""
    model = made.model.train()
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    steps = train(
        model,
        objective,
        (StepBatches([batch]) for _ in range(12)),
        optimizer=build(model, OptimizerSettings("adamw", weight_decay=0.0)),
        rate=lambda step: 3e-3,
        clip_norm=1.0,
        precision="fp32",
        device=torch.device("cpu"),
        seed=0,
    )
    losses = [step.figures["loss"] for step in steps]
    assert losses[-1] < 0.8 * losses[0]
    assert [key for key, value in model.named_parameters() if torch.equal(value, before[key])] == []


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "bert"])
def test_next_sentences_are_berts_alone(name: str, tiny_tokenizer: Any) -> None:
    with pytest.raises(SettingsError, match="no next sentence head"):
        NextSentence().head(shape(name, tiny_tokenizer).build())
