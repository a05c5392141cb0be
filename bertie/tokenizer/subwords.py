"""Tokenizers of other kinds than BERT's: byte-level BPE (RoBERTa, ModernBERT), and Unigram from a tokenizer.json.

Special tokens have roles here, not fixed names; how a pair is laid out is asked of the tokenizer itself.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError
from bertie.files.atomic import write_text
from bertie.tokenizer.tokenizer import NO_SEGMENTS, SPECIALS, Tokenizer, readable

_ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_ROBERTA = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
# Names of the roles where no file says them, tried one after another.
_GUESSES = (_ROBERTA, SPECIALS, ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"))
_FILES = ("tokenizer_config.json", "special_tokens_map.json")
# Settings of other programs that name code to run, or a place elsewhere.
_LEFT_OUT = ("auto_map", "name_or_path", "tokenizer_file", "vocab_file", "merges_file")


def wrap(rust: RustTokenizer, file: Path) -> "SubwordTokenizer | None":
    """Wrap what was read from a tokenizer.json; None if it is none of the kinds here."""
    state = json.loads(rust.to_str())
    byte_level = isinstance(rust.model, models.BPE) and '"ByteLevel"' in json.dumps(state["pre_tokenizer"])
    if not byte_level and not isinstance(rust.model, models.Unigram):
        return None
    return SubwordTokenizer(rust, settings=_beside(file), source=str(file))


def from_merges(file: Path) -> "SubwordTokenizer":
    """Build a byte-level BPE tokenizer of RoBERTa's kind from vocab.json and the merges.txt beside it.

    Raises:
        DataError: a broken file, or one of the two missing.
    """
    merges = file.with_name("merges.txt")
    if not merges.is_file():
        raise DataError(f"{file} needs the merges.txt that belongs to it beside it")
    with readable(f"{file} and {merges.name}"):
        rust = RustTokenizer(models.BPE.from_file(str(file), str(merges)))
    settings = _beside(file)
    specials = _specials(rust, settings, str(file))
    pad, unknown, start, separator, mask = specials
    prefix, trim = (
        bool(settings.get(name, default)) for name, default in (("add_prefix_space", 0), ("trim_offsets", 1))
    )
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    rust.decoder = decoders.ByteLevel()
    # The mask swallows the space before it, as in every RoBERTa that was released.
    rust.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in (start, pad, separator, unknown)]
        + [AddedToken(mask, special=True, normalized=False, lstrip=True)]
    )
    last, first = ((name, int(rust.token_to_id(name) or 0)) for name in (separator, start))
    rust.post_processor = processors.RobertaProcessing(last, first, trim_offsets=trim, add_prefix_space=prefix)
    return SubwordTokenizer(rust, settings=settings, source=str(file))


class SubwordTokenizer(Tokenizer):
    """A byte-level BPE or Unigram tokenizer.

    Args:
        rust: the package's tokenizer; padding and truncation are switched off on it.
        settings: tokenizer_config.json and special_tokens_map.json.
        source: where it came from, for messages.

    Raises:
        DataError: no special tokens for all roles, or texts laid out in a way that isn't known here.
    """

    KINDS: ClassVar[tuple[type[models.Model], ...]] = (models.BPE, models.Unigram)

    def __init__(self, rust: RustTokenizer, *, settings: dict[str, Any], source: str) -> None:
        specials = _specials(rust, settings, source)
        super().__init__(rust, source=source, specials=specials)
        self._specials, self._config = specials, settings
        self.num_between = self._separators_between()

    def _separators_between(self) -> int:
        """Count the separators between the texts of a pair, as the tokenizer itself lays it out."""
        (one,), (two,) = self.encode_batch(["a"]), self.encode_batch(["b"])
        single, pair = self._rust.encode("a").ids, self._rust.encode("a", "b").ids
        between = len(pair) - len(one) - len(two) - 2
        known = [self.start, *one, *[self.separator] * between, *two, self.separator]
        if single != [self.start, *one, self.separator] or pair != known or between not in (1, 2):
            raise DataError(
                f"{self.source} lays texts out otherwise than {' '.join(self._specials[2:3])} a {self._specials[3]} b "
                f"{self._specials[3]}, which is what bertie's encoders are made for"
            )
        return between

    @cached_property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.as_json)
        return state

    @property
    def vocab_size(self) -> int:
        """Number of ids; where the file leaves gaps between them, those count."""
        return len(self.tokens)

    @cached_property
    def tokens(self) -> list[str]:
        """Pieces in the order of their ids, spelled as in the file; an empty string for an id without a piece."""
        pieces = {number: piece for piece, number in self._rust.get_vocab(with_added_tokens=True).items()}
        return [pieces.get(number, "") for number in range(max(pieces) + 1)]

    @cached_property
    def shown(self) -> list[str]:
        """Pieces as text; a byte-level piece that is no whole character shows U+FFFD for its bytes."""
        added = {token["content"] for token in self._state["added_tokens"]}
        return [piece if piece in added else self._as_text(piece) for piece in self.tokens]

    def _as_text(self, piece: str) -> str:
        if isinstance(self._rust.model, models.Unigram):
            return piece.replace("\u2581", " ")
        return bytes(BYTES[letter] for letter in piece if letter in BYTES).decode("utf-8", errors="replace")

    def word_starts(self, ids: Sequence[int]) -> list[bool]:
        """Tell of each piece of a sequence whether a word begins with it: after a space, or beside a special token."""
        edges = [piece in self.special_ids for piece in ids]
        return [
            edge or place == 0 or edges[place - 1] or self.shown[piece][:1].isspace()
            for place, (piece, edge) in enumerate(zip(ids, edges, strict=True))
        ]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Whether texts are lower-cased; the rest of the normaliser has no settings of BERT's kind."""
        return {"lowercase": '"Lowercase"' in json.dumps(self._state["normalizer"])}

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over everything that decides about pieces."""
        text = json.dumps([self._state, self._specials], ensure_ascii=True, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def encode_batch_aligned(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Encode with the (start, end) characters of every piece, the spaces around it left out."""
        return [
            (ids, [_trimmed(text, start, end) for start, end in spans])
            for text, (ids, spans) in zip(texts, super().encode_batch_aligned(texts), strict=True)
        ]

    def save(self, folder: str | Path, *, segments: bool = True) -> None:
        """Write tokenizer.json and what goes with it (vocab.json and merges.txt of a BPE), and read them back.

        Args:
            folder: where to.
            segments: whether the model beside it takes segment ids; other programs pass them on unless told.
        """
        place = Path(folder)
        bpe = isinstance(self._rust.model, models.BPE)
        roberta = bpe and self.num_between == 2
        names: dict[str, Any] = {role: self._role(name) for role, name in zip(_ROLES, self._specials, strict=True)}
        if roberta:
            names = {"bos_token": names["cls_token"], "eos_token": names["sep_token"], **names}
        kind = "RobertaTokenizer" if roberta else "PreTrainedTokenizerFast"
        kept = {name: value for name, value in self._config.items() if name not in _LEFT_OUT}
        typed = {
            role: {"__type": "AddedToken", **name} if isinstance(name, dict) else name for role, name in names.items()
        }
        settings = {
            "tokenizer_class": kind,
            **kept,
            **typed,
            **({} if segments else {"model_input_names": NO_SEGMENTS}),
        }
        write_text(place / "tokenizer.json", self._rust.to_str(pretty=True))
        write_text(place / "tokenizer_config.json", json.dumps(settings, indent=2, sort_keys=True) + "\n")
        write_text(place / "special_tokens_map.json", json.dumps(names, indent=2) + "\n")
        if bpe:
            with readable(f"{place}/vocab.json"):
                self._rust.model.save(str(place))
        for name in ("tokenizer.json", *(["vocab.json"] if roberta else [])):
            if Tokenizer.load(place / name).golden_ids() != self.golden_ids():
                raise DataError(f"{place / name} does not give the same ids after writing")

    def _role(self, name: str) -> Any:
        """Describe a special token as other programs do: by its name, with its flags where it has any."""
        flags = next((token for token in self._state["added_tokens"] if token["content"] == name), None)
        if flags is None or not any(flags[flag] for flag in ("lstrip", "rstrip", "single_word", "normalized")):
            return name
        shown = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
        return {flag: flags[flag] for flag in shown}


def _beside(file: Path) -> dict[str, Any]:
    """Read the settings beside a tokenizer's file.

    Raises:
        DataError: a file that holds no JSON object.
    """
    settings: dict[str, Any] = {}
    for name in _FILES:
        path = file.with_name(name)
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise DataError(f"{path} holds no JSON object")
        settings = {**found, **settings}
    return settings


def _specials(rust: RustTokenizer, settings: dict[str, Any], source: str) -> tuple[str, ...]:
    """Name the special tokens of all roles, by the files or, where they say nothing, by what is usual.

    Raises:
        DataError: a role without a token.
    """
    given = [settings.get(role) for role in _ROLES]
    named = [name.get("content") if isinstance(name, dict) else name for name in given]
    for guess in _GUESSES:
        names = [name if isinstance(name, str) else usual for name, usual in zip(named, guess, strict=True)]
        if all(rust.token_to_id(name) is not None for name in names):
            return tuple(names)
    said = ", ".join(f"{role} {name!r}" for role, name in zip(_ROLES, named, strict=True) if name is not None)
    raise DataError(
        f"{source} has no special tokens for all of {', '.join(_ROLES)}; tokenizer_config.json beside it names "
        f"{said or 'none'}, and each must be in the vocabulary"
    )


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out the spaces at both ends of text[start:end], unless there is nothing else."""
    piece = text[start:end]
    if not piece.strip():
        return start, end
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


def _byte_letters() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for.

    Bytes that are printable in Latin-1 stand for themselves; the others, in their order, for U+0100 and onwards.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


BYTES = _byte_letters()
"""The byte that each letter of a byte-level vocabulary stands for."""
