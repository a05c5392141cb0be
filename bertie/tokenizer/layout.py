"""Find out how a tokenizer arranges a text or a pair with special tokens, by encoding examples with it."""

from collections.abc import Sequence

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models

from bertie.errors import DataError
from bertie.tokenizer.rust import readable


def is_bare(rust: RustTokenizer) -> bool:
    """Tell whether a tokenizer adds no special tokens to a text."""
    return rust.num_special_tokens_to_add(False) == rust.num_special_tokens_to_add(True) == 0


def layout(rust: RustTokenizer, specials: Sequence[str], source: str) -> tuple[int, bool]:
    """Return how many separators a tokenizer puts between the texts of a pair, and whether it numbers segments.

    Args:
        rust: the package's tokenizer.
        specials: names of its special tokens.
        source: its file, for messages.

    Returns:
        The number of separators between the two texts of a pair, and whether the second text is segment 1.

    Raises:
        DataError: bertie's encoders don't support the layout.
    """
    if is_bare(rust) and isinstance(rust.model, (models.WordPiece, models.WordLevel)):
        return 1, True  # as in BERT
    if is_bare(rust):
        raise DataError(
            f"{source} has no post_processor that adds special tokens to a text, so bertie can't know where "
            f"{specials[2]} and {specials[3]} belong; add a TemplateProcessing or a RobertaProcessing"
        )
    start, separator = (rust.token_to_id(name) for name in specials[2:4])
    with readable(source):
        one, two = (rust.encode(text, add_special_tokens=False).ids for text in ("a", "b"))
        single, pair = rust.encode("a"), rust.encode("a", "b")
    between = len(pair.ids) - len(one) - len(two) - 2
    known = [start, *one, *[separator] * between, *two, separator]
    zeros, halves = [0] * len(pair.ids), [0] * (1 + len(one) + between) + [1] * (len(two) + 1)
    fits = single.ids == [start, *one, separator] and pair.ids == known and between in (1, 2)
    if not fits or any(single.type_ids) or pair.type_ids not in (zeros, halves):
        first, last = specials[2:4]
        raise DataError(
            f"{source} encodes a text as {' '.join(single.tokens)} and a pair as {' '.join(pair.tokens)}, segments "
            f"{' '.join(map(str, pair.type_ids))}; bertie's encoders need {first} a {last} and {first} a {last} b "
            f"{last}, segments 0 and 1"
        )
    return between, pair.type_ids != zeros
