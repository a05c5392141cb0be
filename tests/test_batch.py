"""The packed batch: building, padding in and out, selecting and splitting, with targets carried along their axes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie.batch import Batch

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=7)


def make(lengths: list[int], *, seed: int = 0) -> Batch:
    """Build a batch with random tokens, a target on every axis and every third token as a slot."""
    random = np.random.default_rng(seed)
    offsets = np.cumsum([0, *lengths])
    total = int(offsets[-1])
    slots = np.flatnonzero(random.random(total) < 0.3)
    return Batch.pack(
        random.integers(0, 100, total),
        random.integers(0, 2, total),
        offsets,
        rows=np.arange(len(lengths)),
        targets={
            "sequence.label": random.integers(0, 3, len(lengths)),
            "sequence.vector": random.random((len(lengths), 2)),
            "token.tag": random.integers(0, 9, total),
            "slot.position": slots,
            "slot.token": random.integers(0, 100, len(slots)),
        },
    )


def sequences(batch: Batch) -> list[dict[str, object]]:
    """Spell a batch out, one plain dictionary a sequence, without using any of its methods."""
    offsets = batch.offsets.tolist()
    found = []
    for number, (start, end) in enumerate(pairwise(offsets)):
        slots = {
            position - start: token
            for position, token in zip(
                batch.targets["slot.position"].tolist(), batch.targets["slot.token"].tolist(), strict=True
            )
            if start <= position < end
        }
        found.append(
            {
                "tokens": batch.tokens[start:end].tolist(),
                "segments": batch.segments[start:end].tolist(),
                "positions": batch.positions[start:end].tolist(),
                "label": int(batch.targets["sequence.label"][number]),
                "vector": batch.targets["sequence.vector"][number].tolist(),
                "tags": batch.targets["token.tag"][start:end].tolist(),
                "slots": slots,
            }
        )
    return found


def assert_well_formed(batch: Batch) -> None:
    assert int(batch.offsets[0]) == 0 and int(batch.offsets[-1]) == batch.num_tokens
    assert batch.offsets.dtype == torch.int32 and batch.tokens.dtype == torch.int64
    assert batch.max_length == int(batch.lengths.max()) and int(batch.lengths.min()) >= 1
    assert bool((batch.targets["slot.position"].diff() > 0).all())


def test_pack_works_positions_out() -> None:
    batch = Batch.pack([5, 6, 7, 8, 9], [0, 0, 1, 0, 0], [0, 3, 5])
    assert len(batch) == 2 and batch.num_tokens == 5 and batch.max_length == 3
    assert batch.positions.tolist() == [0, 1, 2, 0, 1]
    assert batch.starts.tolist() == [0, 3] and batch.lengths.tolist() == [3, 2]
    assert batch.rows.tolist() == [0, 1]


@pytest.mark.parametrize("offsets", [[0, 3], [1, 5], [0, 3, 3, 5], [0, 4, 2, 5], [0], [0, 6]])
def test_pack_refuses_offsets_that_do_not_fit(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets must rise from 0 to 5"):
        Batch.pack([1, 2, 3, 4, 5], [0] * 5, offsets)


@pytest.mark.parametrize("segments", [[0], [0] * 6, []])
def test_pack_refuses_segments_that_do_not_fit(segments: list[int]) -> None:
    with pytest.raises(ValueError, match="5 tokens need as many segments"):
        Batch.pack([1, 2, 3, 4, 5], segments, [0, 5])


def test_from_padded_refuses_no_rows() -> None:
    with pytest.raises(ValueError, match="no empty sequence"):
        Batch.from_padded(torch.zeros(0, 3, dtype=torch.int64))


@given(LENGTHS, st.integers(0, 3))
def test_padded_tensors_come_in_and_go_out(lengths: list[int], extra: int) -> None:
    width = max(lengths) + extra
    mask = torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, 100, mask.shape) * mask
    segments = torch.randint(0, 2, mask.shape) * mask
    batch = Batch.from_padded(ids, mask.long(), segments)
    assert batch.lengths.tolist() == lengths
    assert torch.equal(batch.unpack(batch.tokens), ids[:, : max(lengths)])
    assert torch.equal(batch.unpack(batch.segments), segments[:, : max(lengths)])


def test_from_padded_takes_everything_as_real_without_a_mask() -> None:
    batch = Batch.from_padded(torch.tensor([[1, 2, 0], [3, 4, 5]]))
    assert batch.lengths.tolist() == [3, 3] and batch.segments.tolist() == [0] * 6


@pytest.mark.parametrize("mask", [[[0, 1, 1]], [[1, 0, 1]], [[0, 0, 0]], [[1, 1, 1], [0, 0, 0]]])
def test_from_padded_refuses_other_masks(mask: list[list[int]]) -> None:
    attention_mask = torch.tensor(mask)
    with pytest.raises(ValueError, match="attention_mask must be 1 on the left"):
        Batch.from_padded(torch.ones_like(attention_mask), attention_mask)


def test_unpack_fills_and_carries_gradients() -> None:
    batch = Batch.pack([1, 2, 3, 4], [0] * 4, [0, 1, 4])
    values = torch.randn(4, 2, requires_grad=True)
    padded = batch.unpack(values, padding=-1.0)
    assert padded.shape == (2, 3, 2)
    assert bool((padded[0, 1:] == -1.0).all()) and torch.equal(padded[1], values[1:])
    padded[1].sum().backward()
    assert values.grad is not None and values.grad.tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]


@given(LENGTHS, st.data())
def test_select_carries_each_target_along_its_axis(lengths: list[int], data: st.DataObject) -> None:
    batch = make(lengths, seed=len(lengths))
    order = data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1, unique=True))
    chosen = batch.select(order)
    assert_well_formed(chosen)
    whole = sequences(batch)
    assert sequences(chosen) == [whole[index] for index in order]


def test_select_of_everything_in_order_is_the_batch() -> None:
    batch = make([3, 1, 5])
    again = batch.select([0, 1, 2])
    assert torch.equal(again.tokens, batch.tokens) and torch.equal(again.offsets, batch.offsets)
    assert all(torch.equal(again.targets[name], value) for name, value in batch.targets.items())


@given(LENGTHS, st.integers(1, 30))
def test_split_keeps_order_and_budget(lengths: list[int], max_tokens: int) -> None:
    batch = make(lengths, seed=3)
    parts = batch.split(max_tokens)
    for part in parts:
        assert_well_formed(part)
        assert part.num_tokens <= max_tokens or len(part) == 1
    assert [piece for part in parts for piece in sequences(part)] == sequences(batch)
    for one, following in pairwise(parts):  # greedy: the next sequence would not have fitted
        assert one.num_tokens + int(following.lengths[0]) > max_tokens


def windowed(sizes: list[int]) -> Batch:
    """Build a batch of items with so many sequences of three tokens each."""
    rows = [row for row, size in enumerate(sizes) for _ in range(size)]
    count = len(rows)
    targets = {"item.label": [10 * row for row in range(len(sizes))], "sequence.number": list(range(count))}
    return Batch.pack(list(range(3 * count)), [0] * 3 * count, range(0, 3 * count + 1, 3), rows=rows, targets=targets)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 20))
def test_sequences_of_an_item_are_never_parted_where_a_target_runs_along_items(sizes: list[int], budget: int) -> None:
    batch = windowed(sizes)
    parts = batch.split(budget)
    assert torch.cat([part.tokens for part in parts]).tolist() == batch.tokens.tolist()
    labels = [label for part in parts for label in part.targets["item.label"].tolist()]
    assert labels == [10 * row for row in range(len(sizes))]
    for part in parts:
        assert part.num_items == len(part.targets["item.label"]) == int(part.rows.max()) + 1
        assert part.num_tokens <= budget or part.num_items == 1
    loose = batch.split(budget, whole_items=False)
    assert all(part.num_tokens <= budget or len(part) == 1 for part in loose)


def test_select_numbers_items_anew() -> None:
    chosen = windowed([2, 1, 3]).select([3, 4, 0])
    assert chosen.rows.tolist() == [0, 0, 1] and chosen.targets["item.label"].tolist() == [20, 0]
    assert chosen.targets["sequence.number"].tolist() == [3, 4, 0]


def test_means_over_the_sequences_of_an_item() -> None:
    batch = windowed([2, 1])
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 7.0]])
    assert batch.item_means(values).tolist() == [[2.0, 4.0], [5.0, 7.0]]
    assert batch.item_means(values[:, 0]).tolist() == [2.0, 5.0]


def test_the_decoder_side_is_selected_too() -> None:
    source = make([2, 3])
    batch = Batch.pack([1, 2, 3], [0] * 3, [0, 1, 3], targets={"sequence.label": [4, 5]})
    both = replace(batch, target=source).select([1])
    assert both.target is not None
    assert sequences(both.target) == [sequences(source)[1]]
    assert both.targets["sequence.label"].tolist() == [5]


def test_to_moves_every_tensor() -> None:
    batch = replace(make([2, 3]), target=make([1, 1])).to("meta")
    assert batch.target is not None
    for part in (batch, batch.target):
        tensors = [part.tokens, part.segments, part.positions, part.offsets, part.rows, *part.targets.values()]
        assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_sequences_that_begin_elsewhere() -> None:
    batch = Batch.pack([5, 6, 7, 8, 9], [0] * 5, [0, 3, 5], targets={"token.x": [1, 2, 3, 4, 5]})
    moved = batch.begun_at(torch.tensor([4, 9]))
    assert moved.positions.tolist() == [4, 5, 6, 9, 10]
    assert torch.equal(moved.unpack(moved.tokens), batch.unpack(batch.tokens))
    assert moved.select([1, 0]).positions.tolist() == [9, 10, 4, 5, 6]
    assert [part.positions.tolist() for part in moved.split(3)] == [[4, 5, 6], [9, 10]]
    assert torch.equal(moved.begun_at(torch.tensor([0, 1])).positions, torch.tensor([0, 1, 2, 1, 2]))
    assert torch.equal(moved.begun_at_zero().positions, batch.positions)
