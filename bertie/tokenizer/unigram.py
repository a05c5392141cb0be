"""Build the tokenizer of a sentencepiece model as the converters of transformers do, which wrote most tokenizer.json.

Each class has its own normalizer and special tokens: ALBERT, DeBERTa v2 and v3, XLM-RoBERTa. A text for ALBERT is cut
into words first, as the class does it with a tokenizer.json. Without a tokenizer.json, transformers 5 cuts some texts
differently; `remarks` tells which.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError
from bertie.tokenizer.rebuild import albert, flag, template
from bertie.tokenizer.rust import readable
from bertie.tokenizer.sentencepiece import CONTROL, USER_DEFINED, Model
from bertie.tokenizer.sources import Sources, declared

Steps = list[Any]
"""Steps of a normalizer."""
End = tuple[str, int]
"""The special token at an end of a text, and its id."""
_AFTER_NUMBER = -100.0
"""Added to the score of a piece such as `9,`, because ALBERT cuts the comma from a number."""


def converted(sources: Sources, model: Model, names: Sequence[str]) -> RustTokenizer:
    """Build a tokenizer of the folder's class around the pieces of its sentencepiece model.

    Args:
        sources: the folder's files.
        model: its sentencepiece model.
        names: special tokens, in the order of `ROLES`.

    Raises:
        DataError: the package refuses the pieces, or a file names another piece for unknown text.
    """
    unknown, _ = model.pieces[model.unknown]
    if unknown != names[1]:
        raise DataError(
            f"{sources.file} has {unknown!r} for unknown text, but the unk_token is {names[1]!r}; write "
            f'"unk_token": "{unknown}" into {sources.config.name}'
        )
    scored = sources.scored
    if sources.family == "albert":
        scored = [(piece, score + _AFTER_NUMBER * _ends_number(piece)) for piece, score in scored]
    make = {"albert": _albert, "deberta-v2": _deberta, "xlm-roberta": _xlm_roberta}[sources.family]
    with readable(str(sources.file)):
        unigram = models.Unigram(scored, sources.vocabulary[unknown], False)
        charsmap = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
        ids = {**declared(sources), **sources.vocabulary}
        start, separator = ((name, ids[name]) for name in names[2:4])
        rust = make(sources, unigram, charsmap, start, separator)
        # The package rounds some scores when it reads a tokenizer.json; what is written must have the same fingerprint.
        return RustTokenizer.from_str(rust.to_str())


def own_tokens(model: Model) -> list[AddedToken]:
    """Return the pieces that a text is never cut within: those of control are special, those of the user are not."""
    return [
        AddedToken(piece, normalized=False, special=kind == CONTROL)
        for (piece, _), kind in zip(model.pieces, model.types, strict=True)
        if kind in (CONTROL, USER_DEFINED)
    ]


def remarks(sources: Sources, model: Model) -> list[str]:
    """Return notes on settings that transformers and bertie don't follow, and on differences from transformers 5."""
    file, numbers, notes = sources.file, model.numbers, []
    if numbers["byte_fallback"]:
        unknown = model.pieces[model.unknown][0]
        notes.append(
            f"{file} has byte_fallback true, which transformers doesn't follow, and neither does bertie: a character "
            f"without a piece becomes {unknown}"
        )
    for name in ("add_dummy_prefix", "remove_extra_whitespaces"):
        if not numbers[name]:
            notes.append(f"{file} has {name} false, which transformers doesn't follow, and neither does bertie")
    if numbers["unk_id"] != model.unknown:
        notes.append(
            f"{file} names the id {numbers['unk_id']} for unknown text, but its piece for it has the id "
            f"{model.unknown}, which is used, as in sentencepiece"
        )
    if sources.family == "deberta-v2" and model.charsmap:
        notes.append(
            f"{file} has a map of characters, which bertie and transformers 4 follow, but the DebertaV2Tokenizer of "
            "transformers 5 doesn't"
        )
    if sources.family == "albert" and any(_ends_number(piece) for piece, _ in model.pieces):
        notes.append(
            f"{file} has pieces of a number with a comma; bertie and transformers 4 cut the comma off, but "
            "transformers 5 only with a tokenizer.json"
        )
    return notes


def _ends_number(piece: str) -> bool:
    """Tell whether a piece ends in a comma after a digit.

    >>> _ends_number("▁19,"), _ends_number("▁a,"), _ends_number(",")
    (True, False, False)
    """
    return piece[-1:] == "," and piece[-2:-1].isdigit()


def _albert(sources: Sources, unigram: models.Unigram, charsmap: Steps, start: End, separator: End) -> RustTokenizer:
    return albert(sources, unigram, charsmap, (start[0], separator[0]))


def _deberta(sources: Sources, unigram: models.Unigram, charsmap: Steps, start: End, separator: End) -> RustTokenizer:
    rust = RustTokenizer(unigram)
    lower = [normalizers.Lowercase()] if flag(sources, "do_lower_case", False) else []
    rust.normalizer = normalizers.Sequence(
        [*lower, normalizers.Strip(), *charsmap, normalizers.Replace(Regex(" {2,}"), " ")]
    )
    cuts = [pre_tokenizers.Punctuation(behavior="isolated")] if flag(sources, "split_by_punct", False) else []
    rust.pre_tokenizer = pre_tokenizers.Sequence([*cuts, pre_tokenizers.Metaspace("▁", _scheme(sources))])
    rust.decoder = decoders.Metaspace("▁", _scheme(sources))
    rust.post_processor = template(start, separator)
    return rust


def _xlm_roberta(
    sources: Sources, unigram: models.Unigram, charsmap: Steps, start: End, separator: End
) -> RustTokenizer:
    rust = RustTokenizer(unigram)
    rust.normalizer = normalizers.Sequence(
        [*charsmap, normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
    )
    rust.pre_tokenizer = pre_tokenizers.Metaspace("▁", _scheme(sources))
    rust.decoder = decoders.Metaspace("▁", _scheme(sources))
    first, last = start[0], separator[0]
    rust.post_processor = processors.TemplateProcessing(
        single=[first, "$A", last], pair=[first, "$A", last, last, "$B", last], special_tokens=[start, separator]
    )
    return rust


def _scheme(sources: Sources) -> str:
    return "always" if flag(sources, "add_prefix_space", True) else "never"
