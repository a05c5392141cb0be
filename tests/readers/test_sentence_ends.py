"""Which column numbers the sentences: numbers of any length are looked at without a stop."""

import pytest

from bertie.readers.sentence_ends import _counts_sentences


@pytest.mark.parametrize("strange", ["9" * 5000, "9" * 400, "Sentence: " + "1" * 5000])
def test_very_long_numbers_count_no_sentences(strange: str) -> None:
    assert _counts_sentences(["1", "1", "2", "2", "3", "3"])
    assert not _counts_sentences(["1", "1", "2", "2", strange, strange])
