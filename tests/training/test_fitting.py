"""What a fine-tuning run chooses for itself: rules on made-up encoders, and what is seen of real weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie import registry
from bertie.models.model import architecture
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel
from bertie.training.fitting import (
    EncoderFacts,
    Fit,
    TaskProfile,
    UserSettings,
    fit,
    further_rate,
    inspect,
    rate_in_words,
)

BASE = EncoderFacts(rms=0.042, width=768, num_weights=85_000_000, trained=True)
OWN = EncoderFacts(rms=0.13, width=256, num_weights=3_100_000, trained=True, tokens=34_000_000)
RANDOM = EncoderFacts(rms=0.0176, width=256, num_weights=3_100_000, trained=False)


def test_the_size_of_the_weights_sets_the_rate() -> None:
    few = TaskProfile(num_items=500)
    assert fit(BASE, few).learning_rate == pytest.approx(3e-5)  # as everybody does for BERT-base
    assert fit(OWN, few).learning_rate > 5 * fit(BASE, few).learning_rate
    assert fit(replace(OWN, rms=0.26), few).learning_rate == pytest.approx(2 * fit(OWN, few).learning_rate, rel=0.3)
    assert fit(RANDOM, few).learning_rate == fit(replace(RANDOM, rms=0.001), few).learning_rate
    assert fit(OWN, replace(few, tags=True)).learning_rate > 2 * fit(OWN, few).learning_rate
    assert fit(BASE, replace(few, tags=True)).learning_rate < 3 * fit(BASE, few).learning_rate
    assert fit(OWN, replace(few, lora=True)).learning_rate > fit(OWN, few).learning_rate
    assert fit(OWN, replace(few, optimizer="muon")).learning_rate > fit(OWN, few).learning_rate
    assert (
        fit(BASE, replace(few, generates_text=True)).learning_rate
        == fit(replace(BASE, trained=False), few).learning_rate
    )


def test_few_examples_take_small_batches_and_many_epochs() -> None:
    found = [fit(OWN, TaskProfile(num_items=count)) for count in (1, 100, 500, 3_000, 8_000, 70_000, 400_000)]
    assert [one.batch_size for one in found] == [8, 8, 8, 16, 16, 32, 32]
    assert [one.epochs for one in found] == [30, 30, 20, 8, 5, 2, 2]
    assert [fit(BASE, TaskProfile(num_items=count)).epochs for count in (500, 8_000, 70_000)] == [20, 3, 2]
    together = fit(OWN, TaskProfile(num_items=100, large_batch=True))
    assert (together.batch_size, together.epochs) == (32, 3)


def test_what_is_given_stays_and_the_rest_fits_it() -> None:
    lesson = TaskProfile(num_items=500)
    free = fit(OWN, lesson)
    assert fit(OWN, lesson, UserSettings(learning_rate=0.0)) == replace(free, learning_rate=0.0)
    assert fit(OWN, lesson, UserSettings(batch_size=32)).batch_size == 32
    # Fewer updates take a higher rate, whatever makes them fewer.
    for fewer in (UserSettings(batch_size=32), UserSettings(epochs=5), UserSettings(steps=300)):
        assert fit(OWN, lesson, fewer).learning_rate == pytest.approx(2 * free.learning_rate, rel=0.3)
    assert fit(OWN, lesson, UserSettings(epochs=7)).epochs == 7
    assert fit(OWN, lesson, UserSettings(steps=3)).epochs is None
    assert fit(OWN, lesson, UserSettings(budget=True)) == replace(free, epochs=None)


@given(
    st.builds(
        EncoderFacts,
        rms=st.floats(0, 1e6),
        width=st.integers(0, 10**5),
        num_weights=st.integers(0, 10**11),
        trained=st.booleans(),
        tokens=st.none() | st.integers(1, 10**13),
    ),
    st.builds(
        TaskProfile,
        num_items=st.integers(0, 10**9),
        tags=st.booleans(),
        generates_text=st.booleans(),
        large_batch=st.booleans(),
        lora=st.booleans(),
        head_only=st.booleans(),
        optimizer=st.sampled_from(["adamw", "lamb", "muon"]),
    ),
    st.builds(
        UserSettings,
        batch_size=st.none() | st.integers(1, 10**6),
        epochs=st.none() | st.integers(1, 10**6),
        steps=st.none() | st.integers(1, 10**9),
        budget=st.booleans(),
    ),
)
def test_every_choice_is_one_that_trains(encoder: EncoderFacts, lesson: TaskProfile, said: UserSettings) -> None:
    found = fit(encoder, lesson, said)
    assert isinstance(found, Fit) and math.isfinite(found.learning_rate) and 1e-6 < found.learning_rate < 0.1
    assert found.batch_size >= 1 and (found.epochs is None or found.epochs >= 1)
    assert str(encoder)


def test_random_weights_are_told_from_trained_ones(build_model: Callable[..., TaskModel]) -> None:
    model = build_model(Tagging(labels=("O", "X")))
    seen = inspect(model)
    assert (seen.trained, seen.width, seen.tokens) == (False, 32, None)
    matrices = [value.detach() for name, value in model.named_parameters() if "blocks" in name and value.dim() == 2]
    assert seen.num_weights == sum(value.numel() for value in matrices)
    assert seen.rms == pytest.approx(float(torch.cat([value.flatten() for value in matrices]).square().mean().sqrt()))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 1 and name.startswith("encoder."):
                value.add_(0.05)
    assert inspect(model, tokens=7_000).trained and inspect(model, tokens=7_000).tokens == 7_000
    assert inspect(model, tokens="many").tokens is None and inspect(model, tokens=True).tokens is None


@pytest.mark.parametrize("name", [name for name in registry.choices("models") if "seq2seq" not in name])
def test_every_architecture_has_weights_to_look_at(name: str) -> None:
    shape = architecture(name).config.sized("2/32", vocab_size=50)
    encoder = shape.build()
    encoder.initialize(0)
    seen = inspect(encoder_under_a_head(encoder))
    assert not seen.trained and seen.width == 32 and 0.005 < seen.rms < 0.3 and seen.num_weights > 0


def encoder_under_a_head(encoder: torch.nn.Module) -> torch.nn.Module:
    """Name the encoder's parameters as a task's network does."""
    network = torch.nn.Module()
    network.encoder = encoder
    return network


def test_a_network_without_blocks_has_a_rate_too() -> None:
    seen = inspect(torch.nn.Linear(3, 2))
    assert (seen.width, seen.num_weights) == (0, 0)
    assert fit(seen, TaskProfile(num_items=10)).learning_rate > 0


def test_rates_are_written_as_people_type_them() -> None:
    assert [rate_in_words(rate) for rate in (1e-3, 1.5e-4, 0.02, 3.0)] == ["1e-3", "1.5e-4", "2e-2", "3e0"]


def test_going_on_has_a_rate_by_the_size_of_the_weights() -> None:
    small = EncoderFacts(rms=0.06, width=384, num_weights=10**7, trained=True)
    large = EncoderFacts(rms=0.04, width=768, num_weights=10**8, trained=True)
    drawn = EncoderFacts(rms=0.02, width=384, num_weights=10**7, trained=False)
    rates = [further_rate(encoder, "adamw", guesses=True) for encoder in (large, small, drawn)]
    assert 1e-5 <= rates[0] < rates[1] < rates[2]
    assert further_rate(small, "muon", guesses=True) > rates[1] > further_rate(small, "adamw", guesses=False)
