"""The curve of pre-training: what it says of sizes, tokens and texts that are read again."""

from itertools import pairwise

import pytest

from bertie.training import scaling
from bertie.training.scaling import Rung, best, dropout_of, fitting, for_time, for_tokens, loss_left, weights_of, worth

SIZES = [("tiny", weights_of(2, 128)), ("mini", weights_of(4, 256)), ("small", weights_of(4, 512))]
PLENTY = 10**12


def test_more_weights_and_more_tokens_leave_less() -> None:
    assert loss_left(10**6, 10**7) > loss_left(10**7, 10**7) > loss_left(10**7, 10**8) > scaling.FLOOR
    assert loss_left(10**6, 0.0) == 1.0  # nothing was learned


def test_text_that_is_read_again_is_worth_less_each_time() -> None:
    assert worth(900.0, 1000) == 900.0
    gains = [worth(passes * 1000.0, 1000) for passes in range(1, 80)]
    steps = [after - before for before, after in pairwise(gains)]
    assert 800.0 < steps[0] < 1000.0 and steps == sorted(steps, reverse=True)
    assert gains[-1] < 5_001.0


def test_the_time_decides_about_the_size() -> None:
    speeds = {"tiny": 40_000.0, "mini": 12_000.0, "small": 4_000.0}

    def chosen(seconds: float) -> str:
        return best(for_time(SIZES, lambda size: speeds[size] * seconds, PLENTY)).size

    assert chosen(10.0) == "tiny"
    assert chosen(10_000_000.0) == "small"


def test_sizes_are_looked_at_only_as_far_as_they_help() -> None:
    asked = []

    def tokens(size: str) -> float:
        asked.append(size)
        return {"tiny": 1e7, "mini": 1e4, "small": 1e12}[size]

    assert [rung.size for rung in for_time(SIZES, tokens, PLENTY)] == ["tiny", "mini"] == asked
    assert [rung.size for rung in for_time(SIZES, {"tiny": 1e5, "mini": 0.0}.__getitem__, PLENTY)] == ["tiny"]


def test_tokens_decide_about_the_size() -> None:
    few, many = (for_tokens(SIZES, tokens, PLENTY, 10**6) for tokens in (1e4, 1e11))
    assert few.size == "tiny" and many.size == "small" and many.tokens == 1e11


def test_a_batch_is_small_where_a_small_encoder_would_have_few_updates() -> None:
    tiny, mini = SIZES[0][1], SIZES[1][1]
    usual = scaling.USUAL_BATCH
    assert (
        scaling.batch_of(1e5, tiny, compares_items=False) < scaling.batch_of(1e8, tiny, compares_items=False) == usual
    )
    assert (
        scaling.batch_of(1e5, mini, compares_items=False) == scaling.batch_of(1e5, tiny, compares_items=True) == usual
    )


@pytest.mark.parametrize("tokens", [0.0, 5e6])
def test_passes(tokens: float) -> None:
    assert Rung(size="tiny", weights=1, tokens=tokens, corpus_tokens=1_000_000).passes == tokens / 1e6


def test_a_short_text_takes_a_small_encoder() -> None:
    assert [size for size, _ in fitting(SIZES, 1000)] == ["tiny"]
    assert fitting(SIZES, PLENTY) == SIZES


def test_dropout_is_for_text_that_is_read_often() -> None:
    assert dropout_of(0.3) == dropout_of(5.0) == 0.0 < dropout_of(18.0)
