"""The tokenizer: it encodes texts into packed pieces, shows pieces as text, and writes itself to a folder.

The Rust package encodes. bertie adds checks: it reads written files back, and golden ids reveal a version of the
package that cuts texts differently. `reading.py` reads its files, `writing.py` writes them. `subwords.py` has the byte-
level and Unigram tokenizers, whose pieces must be decoded to be readable.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError
from bertie.tokenizer.layout import layout
from bertie.tokenizer.pieces import Pieces
from bertie.tokenizer.rebuild import SPECIALS as SPECIALS
from bertie.tokenizer.rebuild import plain
from bertie.tokenizer.rust import readable
from bertie.untrusted import parse_object

Cut = Literal["error", "truncate"]
"""How to treat a text that is too long."""
_FREE = ("lowercase", "strip_accents", "handle_chinese_chars")
GOLDEN_TEXT = (
    "The café's 3 naïve Über-cats didn't cost $12.50 (really!). 北京的猫在2024年吃了三条鱼，很好。 E=mc² ＡＢＣ"
)


class Tokenizer:
    """A WordPiece tokenizer like BERT's, or a tokenizer of whole words.

    Args:
        rust: the package's tokenizer; its padding and truncation are switched off.
        source: its file, for messages.
        specials: names of the special tokens, in the order of `SPECIALS`.
        settings: tokenizer_config.json, from which `save` keeps some values.

    Raises:
        DataError: bertie doesn't support its kind or its layout of texts, or it lacks special tokens.
    """

    KINDS: ClassVar[tuple[type[models.Model], ...]] = (models.WordPiece, models.WordLevel)
    spaced: ClassVar[bool] = False
    """Whether a piece includes the space before it, so that a word at the start of a text has other pieces."""

    def __init__(
        self,
        rust: RustTokenizer,
        *,
        source: str = "tokenizer",
        specials: Sequence[str] = SPECIALS,
        settings: dict[str, Any] | None = None,
    ) -> None:
        rust.no_padding()
        rust.no_truncation()
        self._rust, self.source, self._specials, self._config = rust, source, tuple(specials), settings or {}
        if not isinstance(rust.model, self.KINDS) or not self._is_known():
            kind = type(rust.model).__name__
            raise DataError(f"{source} is a {kind} tokenizer; bertie reads WordPiece, byte-level BPE and Unigram")
        missing = [name for name in specials if rust.token_to_id(name) is None]
        if missing:
            raise DataError(f"{source} lacks the special tokens {', '.join(missing)}")
        ids = [int(rust.token_to_id(name) or 0) for name in specials]
        self.pad, self.unknown, self.start, self.separator, self.mask = ids
        self.special_ids = tuple(sorted(set(ids)))
        self.remarks: tuple[str, ...] = ()
        """Notes for the user on how it was read."""
        self.is_bare = False
        """Whether its file adds no special tokens to a text; bertie adds them anyway."""
        self.doubt: list[str] = []
        """Notes for the user that matter only if the model has segments."""
        self.num_between, self.tells_segments = layout(rust, self._specials, source)
        """Number of separators between the texts of a pair; whether the second text is segment 1."""

    @classmethod
    def build(
        cls, tokens: Sequence[str], *, lowercase: bool, strip_accents: bool | None = None, cjk: bool = True
    ) -> "Tokenizer":
        """Build a plain tokenizer from its tokens, in the order of their ids."""
        vocabulary = {token: number for number, token in enumerate(tokens)}
        rust = plain(vocabulary, unknown="[UNK]", lowercase=lowercase, strip_accents=strip_accents, cjk=cjk)
        rust.add_special_tokens(
            [AddedToken(name, special=True, normalized=False) for name in SPECIALS if name in vocabulary]
        )
        return cls(rust)

    def _is_known(self) -> bool:
        """Tell whether bertie supports the model's kind together with its pre-tokenizer."""
        return True

    @property
    def vocab_size(self) -> int:
        """Number of ids, including ids that the files leave unused."""
        return len(self.tokens)

    @cached_property
    def tokens(self) -> list[str]:
        """All tokens in the order of their ids, spelled as in the file; "" for an unused id."""
        pieces = {number: piece for piece, number in self._rust.get_vocab(with_added_tokens=True).items() if piece}
        return [pieces.get(number, "") for number in range(max(pieces) + 1)]

    @cached_property
    def gaps(self) -> tuple[int, ...]:
        """Unused ids."""
        return tuple(number for number, piece in enumerate(self.tokens) if not piece)

    @cached_property
    def as_json(self) -> str:
        """The whole tokenizer, as the text of a tokenizer.json."""
        return str(self._rust.to_str())

    @cached_property
    def state(self) -> dict[str, Any]:
        """The whole tokenizer, as the object in a tokenizer.json."""
        state: dict[str, Any] = parse_object(self.as_json, self.source)
        return state

    @property
    def shown(self) -> list[str]:
        """All tokens as text for a reader, in the order of their ids."""
        return self.tokens

    @cached_property
    def inner(self) -> str:
        """The prefix of a piece inside a word, such as ##; "" if all pieces are whole words."""
        return str(self.state["model"].get("continuing_subword_prefix") or "")

    def word_starts(self, ids: Sequence[int]) -> list[bool]:
        """Return whether each piece of a sequence starts a word."""
        return [not self.inner or not self.tokens[piece].startswith(self.inner) for piece in ids]

    def token_id(self, piece: str) -> int:
        """Return the id of a piece.

        Raises:
            DataError: the vocabulary doesn't have the piece.
        """
        number = self._rust.token_to_id(piece)
        if number is None:
            raise DataError(f"{piece!r} is not in the vocabulary of {self.source}")
        return int(number)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The normalizer's settings."""
        normalizer = self.state["normalizer"] or {}
        return {
            name: normalizer.get(name) for name in ("lowercase", "strip_accents", "handle_chinese_chars", "clean_text")
        }

    @property
    def lowercase(self) -> bool:
        """Whether texts are lower-cased."""
        normalizer = json.dumps(self.state["normalizer"])
        return '"Lowercase"' in normalizer or '"lowercase": true' in normalizer

    @property
    def config(self) -> dict[str, Any]:
        """The values of tokenizer_config.json, unchanged."""
        return self._config

    @property
    def specials(self) -> tuple[str, ...]:
        """Names of the special tokens, in the order of `SPECIALS`."""
        return self._specials

    @cached_property
    def is_plain(self) -> bool:
        """Whether the tokens, their order and the settings of BERT's normalizer determine it completely."""
        twin = parse_object(plain({}, unknown="[UNK]", lowercase=True, strip_accents=None, cjk=True).to_str(), "")
        normalizer = self.state["normalizer"] or {}
        model = {key: value for key, value in self.state["model"].items() if key != "vocab"}
        usual = ("single_word", "lstrip", "rstrip", "normalized")
        return (
            self.specials == SPECIALS
            and self.num_between == 1
            and all(self.tokens)
            and {**normalizer, **dict.fromkeys(_FREE)} == {**twin["normalizer"], **dict.fromkeys(_FREE)}
            and self.state["pre_tokenizer"] == twin["pre_tokenizer"]
            and {**model, "vocab": {}} == twin["model"]
            and all(
                token["content"] in SPECIALS and not any(token[flag] for flag in usual)
                for token in self.state["added_tokens"]
            )
        )

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything that decides how texts are cut."""
        values = [self.tokens, self.settings] if self.is_plain else [self.state, self.specials]
        text = json.dumps(values, ensure_ascii=True, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def golden_ids(self) -> list[int]:
        """Encode a fixed bilingual text; every model folder stores its ids."""
        return self.encode_batch([GOLDEN_TEXT])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode without [CLS] and [SEP] and without truncation.

        Raises:
            DataError: a text holds a lone surrogate; the message gives the text's number.
        """
        return [encoding.ids for encoding in self._encode(texts)]

    def encode_batch_aligned(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Encode with the (start, end) characters of each piece."""
        return [(encoding.ids, encoding.offsets) for encoding in self._encode(texts, aligned=True)]

    def _encode(self, texts: Sequence[str], *, aligned: bool = False) -> list[Any]:
        encode = self._rust.encode_batch if aligned else self._rust.encode_batch_fast
        try:
            with readable("encoding"):
                return encode(list(texts), add_special_tokens=False)
        except DataError as error:
            for number, text in enumerate(texts):
                if not isinstance(text, str):
                    raise DataError(f"text {number + 1} is a {type(text).__name__}, not a string") from error
                if any("\ud800" <= character <= "\udfff" for character in text):
                    raise DataError(f"text {number + 1} holds a lone surrogate, which is not Unicode text") from error
            raise

    def pack(
        self,
        texts: Sequence[str],
        pairs: Sequence[str | None] | None = None,
        *,
        max_length: int,
        truncation: Cut = "error",
    ) -> Pieces:
        """Encode texts, or pairs, as packed sequences [CLS] a [SEP] (b [SEP]).

        Some tokenizers put two [SEP] between the texts of a pair (`num_between`). A pair that is too long loses pieces
        from the end of its longer text.

        Args:
            texts: first texts.
            pairs: second texts, one for each first text, or None for a text without one.
            max_length: maximum length of a sequence in tokens.
            truncation: whether a longer sequence is an error or is cut.

        Raises:
            DataError: a sequence is too long and `truncation` is "error", or a text holds a lone surrogate.
        """
        first = self.encode_batch(texts)
        second: list[list[int] | None] = [None] * len(first)
        if pairs is not None:
            encoded = self.encode_batch(["" if pair is None else pair for pair in pairs])
            second = [None if pair is None else ids for pair, ids in zip(pairs, encoded, strict=True)]
        return self.pack_ids(first, second, max_length=max_length, truncation=truncation)

    def pack_ids(
        self,
        first: Sequence[Sequence[int]],
        second: Sequence[Sequence[int] | None],
        *,
        max_length: int,
        truncation: Cut = "error",
    ) -> Pieces:
        """Do the same as `pack` for texts that are encoded already."""
        tokens: list[int] = []
        segments: list[int] = []
        offsets, cut = [0], []
        for number, (a, b) in enumerate(zip(first, second, strict=True)):
            room = max_length - (2 if b is None else 2 + self.num_between)
            excess = max(0, len(a) + len(b or ()) - room)
            if excess and truncation == "error":
                length = excess + max_length
                raise DataError(
                    f"text {number + 1} has {length} tokens, more than {max_length}; shorten it, raise the length "
                    "(--length), or allow truncation"
                )
            keep_a, keep_b = _kept(len(a), len(b or ()), room)
            tokens += [self.start, *a[:keep_a], self.separator]
            segments += [0] * (keep_a + 2)
            if b is not None:
                tokens += [self.separator] * (self.num_between - 1)
                segments += [0] * (self.num_between - 1)
                tokens += [*b[:keep_b], self.separator]
                segments += [1] * (keep_b + 1)
            offsets.append(len(tokens))
            cut.append(excess)
        return Pieces(
            np.asarray(tokens, np.int64),
            np.asarray(segments, np.int64),
            np.asarray(offsets, np.int32),
            np.asarray(cut, np.int64),
        )

    def decode(self, ids: Sequence[int], *, specials: bool = False) -> str:
        """Join pieces to a text, without special tokens unless `specials` is set."""
        with readable("decoding"):
            return self._rust.decode(list(ids), skip_special_tokens=not specials)


def _kept(a: int, b: int, room: int) -> tuple[int, int]:
    """Return the lengths of both texts after the longer one (the second on ties) has lost pieces until they fit.

    >>> _kept(10, 3, 8)
    (5, 3)
    >>> _kept(10, 9, 7)
    (4, 3)
    """
    if a + b <= room:
        return a, b
    half = room // 2
    if a <= half:
        return a, room - a
    if b <= half:
        return room - b, b
    return room - half, half
