"""A part of a table, drawn by a seed."""

from bertie.sampling.part import part


def test_a_part_is_drawn_from_all_over_the_table_and_keeps_its_order() -> None:
    drawn = part(range(1000), 100)
    assert drawn == sorted(set(drawn)) and len(drawn) == 100
    assert 300 < sum(drawn) / 100 < 700 and drawn[0] < 100 and drawn[-1] > 900
    assert set(part(range(1000), 10)) < set(drawn)
    assert part(range(3), 5) == [0, 1, 2]
    assert part(range(1000), 100, seed=1) != drawn
