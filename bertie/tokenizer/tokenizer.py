"""BERT's WordPiece tokenizer, and what every tokenizer has in common: loads files, encodes into packed pieces, writes.

Encoding is the Rust package's; what is ours is the checking around it: its panics become errors of ours, files are
written together and read back, and golden ids tell when another version of the package would cut texts otherwise.
Other kinds than WordPiece are in `subwords.py`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError, SettingsError
from bertie.files.atomic import write_text
from bertie.tokenizer.pieces import Pieces

Cut = Literal["error", "truncate"]
"""What happens to a text that is too long."""
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NO_SEGMENTS = ["input_ids", "attention_mask"]
"""What other programs are told to pass on to a model that takes no segment ids."""
GOLDEN_TEXT = (
    "The café's 3 naïve Über-cats didn't cost $12.50 (really!). 北京的猫在2024年吃了三条鱼，很好。 E=mc² ＡＢＣ"
)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn whatever the Rust package raises, panics included, into a DataError that names `what`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        raise DataError(f"{what}: {error}") from error


class Tokenizer:
    """A WordPiece tokenizer of BERT's kind.

    Args:
        rust: the package's tokenizer; padding and truncation are switched off on it.
        source: where it came from, for messages.
        specials: names of the special tokens, in the order of `SPECIALS`.

    Raises:
        DataError: another kind of tokenizer, or one without the special tokens.
    """

    KINDS: ClassVar[tuple[type[models.Model], ...]] = (models.WordPiece,)
    num_between = 1
    """Separators between the two texts of a pair."""

    def __init__(self, rust: RustTokenizer, *, source: str = "tokenizer", specials: Sequence[str] = SPECIALS) -> None:
        if not isinstance(rust.model, self.KINDS):
            kind = type(rust.model).__name__
            raise DataError(f"{source} is a {kind} tokenizer; bertie reads WordPiece, byte-level BPE and Unigram")
        rust.no_padding()
        rust.no_truncation()
        missing = [name for name in specials if rust.token_to_id(name) is None]
        if missing:
            raise DataError(f"{source} lacks the special tokens {', '.join(missing)}")
        self._rust, self.source = rust, source
        places = [int(rust.token_to_id(name) or 0) for name in specials]
        self.pad, self.unknown, self.start, self.separator, self.mask = places
        self.special_ids = tuple(sorted(set(places)))

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a folder that holds tokenizer.json, vocab.txt, or vocab.json and merges.txt; or one such file.

        Raises:
            SettingsError: no such file.
            DataError: a file that is no such tokenizer.
        """
        from bertie.tokenizer import subwords

        place = Path(path)
        if place.is_dir():
            names = ("tokenizer.json", "vocab.txt", "vocab.json")
            found = [place / name for name in names if (place / name).is_file()]
            if not found:
                pieces = sorted(file.name for file in place.glob("*.model"))
                other = f" (only {pieces[0]}, a sentencepiece model, which bertie doesn't read)" if pieces else ""
                raise SettingsError(f"{place} holds neither tokenizer.json nor vocab.txt{other}")
            file = found[0]
        else:
            file = place
        if not file.is_file():
            raise SettingsError(f"{file}: no such tokenizer; give a folder with tokenizer.json or vocab.txt")
        if file.name == "vocab.json":
            return subwords.from_merges(file)
        if file.suffix == ".json":
            with readable(str(file)):
                rust = RustTokenizer.from_file(str(file))
            return subwords.wrap(rust, file) or cls(rust, source=str(file))
        return _from_vocabulary(file)

    @classmethod
    def build(
        cls, tokens: Sequence[str], *, lowercase: bool, strip_accents: bool | None = None, cjk: bool = True
    ) -> "Tokenizer":
        """Make a plain tokenizer from the pieces in the order of their ids."""
        vocabulary = {token: number for number, token in enumerate(tokens)}
        rust = RustTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
        rust.normalizer = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=cjk, strip_accents=strip_accents, lowercase=lowercase
        )
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.decoder = decoders.WordPiece(prefix="##")
        rust.add_special_tokens(
            [AddedToken(name, special=True, normalized=False) for name in SPECIALS if name in vocabulary]
        )
        return cls(rust)

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return self._rust.get_vocab_size(with_added_tokens=True)

    @cached_property
    def tokens(self) -> list[str]:
        """Pieces in the order of their ids."""
        return [
            piece for piece, _ in sorted(self._rust.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
        ]

    @cached_property
    def as_json(self) -> str:
        """The whole tokenizer, as tokenizer.json says it."""
        return str(self._rust.to_str())

    @property
    def shown(self) -> list[str]:
        """Pieces as a reader should see them, in the order of their ids."""
        return self.tokens

    def word_starts(self, ids: Sequence[int]) -> list[bool]:
        """Tell of each piece of a sequence whether a word begins with it."""
        return [not self.tokens[piece].startswith("##") for piece in ids]

    def token_id(self, piece: str) -> int:
        """Look up a piece.

        Raises:
            DataError: it isn't in the vocabulary.
        """
        number = self._rust.token_to_id(piece)
        if number is None:
            raise DataError(f"{piece!r} is not in the vocabulary of {self.source}")
        return int(number)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The normaliser's settings."""
        normalizer = json.loads(self.as_json)["normalizer"] or {}
        return {
            name: normalizer.get(name) for name in ("lowercase", "strip_accents", "handle_chinese_chars", "clean_text")
        }

    @property
    def lowercase(self) -> bool:
        """Whether texts are lower-cased."""
        return bool(self.settings["lowercase"])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over pieces and normaliser."""
        text = json.dumps([self.tokens, self.settings], ensure_ascii=True, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def golden_ids(self) -> list[int]:
        """Encode the fixed bilingual text that every model stores the ids of."""
        return self.encode_batch([GOLDEN_TEXT])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode without [CLS] and [SEP], never cutting.

        Raises:
            DataError: a text with a lone surrogate, by its number.
        """
        return [encoding.ids for encoding in self._encode(texts)]

    def encode_batch_aligned(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Encode with the (start, end) characters of every piece."""
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
        """Encode texts, or pairs, as [CLS] a [SEP] (b [SEP]), one after another.

        Some tokenizers have two [SEP] between the texts of a pair (`num_between`). A pair that is too long loses pieces
        from the end of its longer text.

        Args:
            texts: first texts.
            pairs: second texts, as many; None for a text without one.
            max_length: tokens of the longest sequence.
            truncation: what happens to longer ones.

        Raises:
            DataError: a longer one under `error`, by its number; a text with a lone surrogate.
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
        """Do what `pack` does with texts that are piece ids already."""
        tokens: list[int] = []
        segments: list[int] = []
        offsets, cut = [0], []
        for number, (a, b) in enumerate(zip(first, second, strict=True)):
            room = max_length - (2 if b is None else 2 + self.num_between)
            excess = max(0, len(a) + len(b or ()) - room)
            if excess and truncation == "error":
                length = excess + max_length
                raise DataError(
                    f"text {number + 1} has {length} tokens, more than {max_length}; shorten it, or ask for truncation"
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

    def decode(self, ids: Sequence[int]) -> str:
        """Join pieces to a text, special tokens left out."""
        with readable("decoding"):
            return self._rust.decode(list(ids), skip_special_tokens=True)

    def save(self, folder: str | Path, *, segments: bool = True) -> None:
        """Write vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json, and read them back.

        Args:
            folder: where to.
            segments: whether the model beside it takes segment ids; other programs pass them on unless told.
        """
        place = Path(folder)
        names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIALS, strict=True))
        settings = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": self.settings["strip_accents"],
            "tokenize_chinese_chars": self.settings["handle_chinese_chars"],
            **names,
            **({} if segments else {"model_input_names": NO_SEGMENTS}),
        }
        write_text(place / "vocab.txt", "".join(f"{token}\n" for token in self.tokens))
        rust = self._rust
        if not segments and rust.post_processor is None:
            rust = RustTokenizer.from_str(rust.to_str())
            # BERT's own class over there puts [CLS] and [SEP] in by itself; the classes of such models do not.
            ends = [(self.tokens[piece], piece) for piece in (self.start, self.separator)]
            rust.post_processor = processors.TemplateProcessing(
                single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
            )
        write_text(place / "tokenizer.json", rust.to_str(pretty=True))
        write_text(place / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
        write_text(place / "special_tokens_map.json", json.dumps(names, indent=2) + "\n")
        for name in ("tokenizer.json", "vocab.txt"):
            if Tokenizer.load(place / name).golden_ids() != self.golden_ids():
                raise DataError(f"{place / name} does not give the same ids after writing")


def _kept(a: int, b: int, room: int) -> tuple[int, int]:
    """Return how much of both stays when the longer one loses its end, piece by piece (the second on ties)."""
    if a + b <= room:
        return a, b
    half = room // 2
    if a <= half:
        return a, room - a
    if b <= half:
        return room - b, b
    return room - half, half


def _from_vocabulary(file: Path) -> Tokenizer:
    """Build from vocab.txt and the tokenizer_config.json beside it."""
    try:
        # Only "\n" ends a line here: the Chinese vocabulary holds U+2028 as a piece, which splitlines would cut at.
        tokens = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start}") from error
    while tokens and not tokens[-1]:
        tokens.pop()
    if len(set(tokens)) != len(tokens):
        double = next(token for number, token in enumerate(tokens) if token in tokens[:number])
        raise DataError(f"{file} holds {double!r} twice")
    beside = file.with_name("tokenizer_config.json")
    try:
        settings = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise DataError(f"{beside} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise DataError(f"{beside} holds no JSON object")
    guess = not any(token.isalpha() and token != token.lower() for token in tokens)
    return Tokenizer.build(
        tokens,
        lowercase=bool(settings.get("do_lower_case", guess)),
        strip_accents=settings.get("strip_accents"),
        cjk=bool(settings.get("tokenize_chinese_chars", True)),
    )
