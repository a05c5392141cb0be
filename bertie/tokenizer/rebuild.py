"""Build the package's tokenizer from a folder's files in the same way as the class of transformers.

BertTokenizer, RobertaTokenizer and AlbertTokenizer read only the vocabulary, even from a tokenizer.json, and build
normalizer, pre-tokenizer and post-processor from tokenizer_config.json. If tokenizer.json differs from the result, it
is ambiguous which of the two the model was trained with. bertie then refuses the folder, unless tokenizer_config.json
states the setting explicitly.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bertie.errors import DataError
from bertie.files.text import shorten
from bertie.tokenizer.letters import BYTES
from bertie.tokenizer.rust import readable
from bertie.tokenizer.sources import FAST, Sources
from bertie.untrusted import parse_object

ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
ALBERT = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
Parts = dict[str, Any]
_KINDS = {"bert": "WordPiece", "roberta": "BPE", "albert": "Unigram"}


def rebuilt(sources: Sources, names: Sequence[str]) -> RustTokenizer:
    """Build a tokenizer of the folder's class around its vocabulary.

    Args:
        sources: the folder's files; their family must not be `file`.
        names: special tokens, in the order of `ROLES`.

    Raises:
        DataError: the vocabulary is invalid or of the wrong kind, or tokenizer.json contradicts the class.
    """
    kind = _kind(sources)
    if kind != _KINDS[sources.family]:
        raise DataError(
            f"{sources.file} holds a {kind} vocabulary, but transformers 5 needs a {_KINDS[sources.family]} one for a "
            f"{sources.shown}. To follow tokenizer.json, write {FAST} into {sources.config.name}"
        )
    make: dict[str, Callable[[Sources, Sequence[str]], RustTokenizer]] = {
        "bert": _bert,
        "roberta": _roberta,
        "albert": _albert,
    }
    with readable(str(sources.file)):
        rust = make[sources.family](sources, names)
    if sources.state:
        _compare(sources, rust, names)
    return rust


def _kind(sources: Sources) -> str:
    """Return the kind of a vocabulary, inferred from its form, because old files don't name it."""
    model = sources.state.get("model") if sources.state else None
    if not isinstance(model, dict):
        return _KINDS[sources.family]
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "BPE" if "merges" in model else "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def plain(
    vocabulary: dict[str, int], *, unknown: str, lowercase: bool, strip_accents: bool | None, cjk: bool
) -> RustTokenizer:
    """Build BERT's pipeline around a vocabulary."""
    rust = RustTokenizer(models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=100))
    rust.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=cjk, strip_accents=strip_accents, lowercase=lowercase
    )
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece(prefix="##")
    return rust


def template(start: tuple[str, int], separator: tuple[str, int]) -> processors.TemplateProcessing:
    """Return the post-processor that adds special tokens and segments as BERT does."""
    first, last = start[0], separator[0]
    return processors.TemplateProcessing(
        single=[f"{first}:0", "$A:0", f"{last}:0"],
        pair=[f"{first}:0", "$A:0", f"{last}:0", "$B:1", f"{last}:1"],
        special_tokens=[start, separator],
    )


def flag(sources: Sources, name: str, default: bool) -> bool:
    """Read a setting that is true or false.

    Raises:
        DataError: it is neither.
    """
    value = sources.settings.get(name, default)
    if not isinstance(value, bool):
        raise DataError(f"{sources.config}: {name} must be true or false; got {value!r}")
    return value


def _bert(sources: Sources, names: Sequence[str]) -> RustTokenizer:
    accents = sources.settings.get("strip_accents")
    if accents is not None and not isinstance(accents, bool):
        raise DataError(f"{sources.config}: strip_accents must be true, false or null; got {accents!r}")
    return plain(
        sources.vocabulary,
        unknown=names[1],
        lowercase=flag(sources, "do_lower_case", True),
        strip_accents=accents,
        cjk=flag(sources, "tokenize_chinese_chars", True),
    )


def _roberta(sources: Sources, names: Sequence[str]) -> RustTokenizer:
    prefix, trim = flag(sources, "add_prefix_space", False), flag(sources, "trim_offsets", True)
    if sources.state:
        model = sources.state.get("model") or {}
        merges: Any = [
            tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model.get("merges", ())
        ]
        bpe = models.BPE(sources.vocabulary, merges)
    else:
        merges_file = sources.file.with_name("merges.txt")
        if not merges_file.is_file():
            raise DataError(f"{sources.file} needs its merges.txt in the same folder")
        with readable(f"{sources.file} and {merges_file.name}"):
            bpe = models.BPE.from_file(str(sources.file), str(merges_file))
    rust = RustTokenizer(bpe)
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    rust.decoder = decoders.ByteLevel()
    start, separator = ((name, int(rust.token_to_id(name) or 0)) for name in (names[2], names[3]))
    rust.post_processor = processors.RobertaProcessing(separator, start, trim_offsets=trim, add_prefix_space=prefix)
    return rust


def _albert(sources: Sources, names: Sequence[str]) -> RustTokenizer:
    model = sources.state.get("model") or {}
    stored = sources.state.get("normalizer") or {}
    maps = [step for step in stored.get("normalizers", [stored]) if step.get("type") == "Precompiled"]
    charsmap = [RustTokenizer.from_str(json.dumps({**_EMPTY, "normalizer": step})).normalizer for step in maps[:1]]
    pieces = [(piece, score) for piece, score in model.get("vocab", ())]
    return albert(sources, models.Unigram(pieces, 1, False), charsmap, ("[CLS]", "[SEP]"))


def albert(sources: Sources, model: models.Unigram, charsmap: list[Any], ends: Sequence[str]) -> RustTokenizer:
    """Build ALBERT's pipeline around pieces with scores.

    Args:
        sources: the folder's files, for the settings.
        model: the pieces.
        charsmap: the normalizer that applies the map of characters of a sentencepiece model; empty without a map.
        ends: names of the special tokens at the start and the end of a text.
    """
    rust = RustTokenizer(model)
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not flag(sources, "keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if flag(sources, "do_lower_case", True):
        steps.append(normalizers.Lowercase())
    rust.normalizer = normalizers.Sequence([*steps, *charsmap])
    scheme = "always" if flag(sources, "add_prefix_space", True) else "never"
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
    )
    rust.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    start, separator = ((name, int(rust.token_to_id(name) or 0)) for name in ends)
    rust.post_processor = template(start, separator)
    return rust


_EMPTY: Parts = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": None,
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {}, "unk_token": ""},
}
_COMPARED = ("normalizer", "pre_tokenizer", "model")
# For each family, the settings of the class: the name, and the part and key of tokenizer.json with the same meaning.
_SETTINGS = {
    "bert": (
        ("do_lower_case", ("normalizer", "lowercase")),
        ("strip_accents", ("normalizer", "strip_accents")),
        ("tokenize_chinese_chars", ("normalizer", "handle_chinese_chars")),
    ),
    "roberta": (("add_prefix_space", ("pre_tokenizer", "add_prefix_space")),),
    "albert": (),
}
# Keys of the model that are not compared: they don't change ids, or are the vocabulary that both share.
_IDLE = ("type", "vocab", "merges", "fuse_unk")
_ONE_SPACE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
"""A step that transformers 4 wrote when it converted ALBERT's sentencepiece file; WhitespaceSplit does the same."""
_SHOWN, _BEFORE = 200, 60


def _compare(sources: Sources, rust: RustTokenizer, names: Sequence[str]) -> None:
    """Compare the built tokenizer with tokenizer.json.

    Raises:
        DataError: they differ, and tokenizer_config.json doesn't settle it.
    """
    stored, built = _parts(sources.state, str(sources.file)), _parts(_state(rust), "")
    for setting, (part, key) in _SETTINGS[sources.family]:
        ours, theirs = built[part], stored[part]
        if not isinstance(theirs, dict) or theirs.get("type") != ours["type"] or theirs.get(key) == ours[key]:
            continue
        if not sources.says(setting) and _effect(theirs, key) != _effect(ours, key):
            raise DataError(
                f"{sources.file} has {key} {json.dumps(theirs[key])}, but {sources.config.name} has no {setting}, for "
                f"which the default of transformers is {json.dumps(ours[key])}; write "
                f'"{setting}": {json.dumps(theirs[key])} (or {json.dumps(ours[key])}) into it'
            )
        theirs[key] = ours[key]
    for part in _COMPARED:
        if stored[part] != built[part]:
            theirs, ours = _shown(stored[part], built[part])
            raise DataError(
                f"{sources.file} has the {part} {theirs}, but for a {sources.shown} transformers 5 uses {ours}. "
                f"To follow tokenizer.json, as transformers 4 did, write {FAST} into {sources.config.name}"
            )
    _compare_layout(sources, rust, names)


def _compare_layout(sources: Sources, rust: RustTokenizer, names: Sequence[str]) -> None:
    """Compare the special tokens and segments of a text and a pair; a file without a post_processor gets the class's.

    Raises:
        DataError: they differ.
    """
    if sources.state.get("post_processor") is None:
        return
    with readable(f"{sources.file}: its post_processor"):
        stored = RustTokenizer.from_str(
            json.dumps({**_EMPTY, "post_processor": sources.state["post_processor"]})
        ).post_processor
        first, second = (rust.encode(text, add_special_tokens=False) for text in ("a", "b"))
        usual = rust.post_processor or template(*((name, rust.token_to_id(name) or 0) for name in names[2:4]))
        for texts in ((first,), (first, second)):
            theirs, ours = stored.process(*texts), usual.process(*texts)
            if (theirs.ids, theirs.type_ids) != (ours.ids, ours.type_ids):
                raise DataError(
                    f"{sources.file} encodes a text or a pair as {' '.join(theirs.tokens)}, but for a {sources.shown} "
                    f"transformers 5 makes it {' '.join(ours.tokens)}. To follow tokenizer.json, as transformers "
                    f"4 did, write {FAST} into {sources.config.name}"
                )


def _state(rust: RustTokenizer) -> Parts:
    """Return a tokenizer as an object, without the vocabulary where possible, because converting it takes longest."""
    if isinstance(rust.model, models.Unigram):  # there is no other way to read its settings
        return parse_object(rust.to_str(), "")
    bare = RustTokenizer(models.WordLevel({}, unk_token=""))
    if rust.normalizer is not None:
        bare.normalizer = rust.normalizer
    bare.pre_tokenizer = rust.pre_tokenizer
    names = [name for name in dir(rust.model) if not name.startswith("_")]
    settings = {name: value for name in names if not callable(value := getattr(rust.model, name))}
    return {**parse_object(bare.to_str(), ""), "model": settings}


def _effect(part: Parts, key: str) -> Any:
    """Return the effective value of a setting: strip_accents null means the value of lowercase."""
    return part["lowercase"] if key == "strip_accents" and part[key] is None else part.get(key)


def _parts(state: Parts, where: str) -> Parts:
    """Return a tokenizer's parts in the package's current spelling, without the vocabulary and ineffective keys."""
    small = {**_EMPTY, **{key: state.get(key) for key in ("normalizer", "pre_tokenizer")}}
    with readable(where):
        parts: Parts = parse_object(RustTokenizer.from_str(json.dumps(small)).to_str(), where)
    normalizer, pre = parts["normalizer"], parts["pre_tokenizer"]
    if '"WhitespaceSplit"' in json.dumps(pre) and isinstance(normalizer, dict) and "normalizers" in normalizer:
        normalizer["normalizers"] = [step for step in normalizer["normalizers"] if step != _ONE_SPACE]
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence" and len(normalizer["normalizers"]) == 1:
        (normalizer,) = normalizer["normalizers"]
    if isinstance(pre, dict):
        pre.pop("trim_offsets", None)
    model = state.get("model") or {}
    kept = {key: value for key, value in model.items() if key not in _IDLE and value not in (None, "", False)}
    if "merges" in model and BYTES.keys() <= model.get("vocab", {}).keys():  # a byte is never unknown
        kept.pop("unk_token", None)
    return {"normalizer": normalizer, "pre_tokenizer": pre, "model": kept}


def _shown(stored: Any, built: Any) -> tuple[str, str]:
    """Return two parts as text for a message; long ones start a little before the first difference."""
    texts = [json.dumps(part, ensure_ascii=False) for part in (stored, built)]
    same = next((index for index, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), 0)
    start = max(same - _BEFORE, 0) if max(map(len, texts)) > _SHOWN else 0
    first, second = (f"{'... ' * (start > 0)}{shorten(text[start:], _SHOWN)}" for text in texts)
    return first, second
