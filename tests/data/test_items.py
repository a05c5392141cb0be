"""What all kinds of items share."""

from bertie.data.items import Text, Words, part, row, whole_text, word_offsets


def test_a_part_is_drawn_from_all_over_the_table_and_keeps_its_order() -> None:
    drawn = part(range(1000), 100)
    assert drawn == sorted(set(drawn)) and len(drawn) == 100
    assert 300 < sum(drawn) / 100 < 700 and drawn[0] < 100 and drawn[-1] > 900
    assert set(part(range(1000), 10)) < set(drawn)
    assert part(range(3), 5) == [0, 1, 2]
    assert part(range(1000), 100, seed=1) != drawn


def test_an_item_becomes_the_row_that_it_is_read_from() -> None:
    assert row(Text("a", label="good", line=3)) == {"text": "a", "label": "good"}
    assert row(Text("a", "b", "good")) == {"text": "a", "pair": "b", "label": "good"}
    assert row(Words(("a", "b"), ("O", "B-PER"))) == {"tokens": ("a", "b"), "tags": ("O", "B-PER")}


def test_words_without_their_text_are_joined_as_their_script_is_written() -> None:
    for words, text in (
        (("Anna", "met", "Li", "."), "Anna met Li ."),
        (("江", "小", "平", "在", "北京", "。"), "江小平在北京。"),
        (("在", "Berlin", "3", "天", "，", "カナ"), "在 Berlin 3 天，カナ"),
        (("서울", "에서"), "서울 에서"),
        ((), ""),
    ):
        item = Words(words)
        assert whole_text(item) == text
        assert tuple(text[start:end] for start, end in word_offsets(item)) == words
    assert whole_text(Words(("江", "山"), text="江 山", offsets=((0, 1), (2, 3)))) == "江 山"
