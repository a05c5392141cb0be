"""Rounded shapes: few sizes, and what is added is zeros that are cut off again."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie.ops.rounding import pad_rows, rounded, rounded_group


@given(count=st.integers(0, 100_000), step=st.sampled_from([1, 8, 64, 128]))
def test_rounded_up_by_less_than_a_step_and_an_eighth(count: int, step: int) -> None:
    up = rounded(count, step=step)
    assert count <= up < count + step
    assert up <= count * 9 / 8
    assert count < 2 * step or up % min(step, 1 << (count.bit_length() - 1) >> 3 or 1) == 0


@given(count=st.integers(0, 100_000), step=st.sampled_from([8, 64, 128]))
def test_a_model_that_learns_rounds_small_counts_too(count: int, step: int) -> None:
    up = rounded(count, step=step, learning=True)
    assert count <= up < count + max(step, 16)
    if count >= 2 * step or count <= 16:
        assert up == rounded(count, step=step)
    else:
        assert up % 16 == 0


def test_shapes_of_small_batches_in_use_and_in_learning() -> None:
    values = torch.randn(100, 4)
    assert pad_rows(values, step=128).shape == (112, 4)
    with torch.no_grad():
        assert pad_rows(values, step=128).shape == (100, 4)


@given(count=st.integers(1, 10_000))
def test_groups_grow_by_an_eighth_or_to_a_power_of_two(count: int) -> None:
    up = rounded_group(count)
    assert count <= up < 2 * count + 8
    assert up in (1, 2, 4, 8) or up % 8 == 0


def test_few_shapes_in_a_run() -> None:
    assert {rounded(count, step=128) for count in range(3969, 4097)} == {4096}
    assert len({rounded(count, step=128) for count in range(256, 1024)}) == 16 + 1


@pytest.mark.parametrize("shape", [(300, 4), (300,), (300, 2, 3)])
def test_zeros_behind(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape)
    padded = pad_rows(values, step=128)
    assert padded.shape == (320, *shape[1:])
    assert torch.equal(padded[:300], values)
    assert not padded[300:].any()
