"""Make the package's tokenizer from a folder's files as transformers' class does.

BertTokenizer, RobertaTokenizer and AlbertTokenizer take the vocabulary alone, from tokenizer.json too, and build
normalizer, pre-tokenizer and post-processor from tokenizer_config.json. Where tokenizer.json says something else
than what would be built, it is not clear which of the two the model was trained with: that is refused, unless
tokenizer_config.json says it in so many words.
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
        sources: of a family other than `file`.
        names: special tokens, in the order of `ROLES`.

    Raises:
        DataError: a vocabulary that is none, or a tokenizer.json that contradicts the class.
    """
    kind = _kind(sources)
    if kind != _KINDS[sources.family]:
        raise DataError(
            f"{sources.file} holds a {kind} vocabulary, and transformers 5 reads a {sources.shown} from a "
            f"{_KINDS[sources.family]} one. To follow tokenizer.json, write {FAST} into {sources.config.name}"
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
    """Tell the kind of a vocabulary from its form, as old files don't name it."""
    model = sources.state.get("model") if sources.state else None
    if not isinstance(model, dict):
        return _KINDS[sources.family]
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "BPE" if "merges" in model else "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def plain(
    vocabulary: dict[str, int], *, unknown: str, lowercase: bool, strip_accents: bool | None, cjk: bool
) -> RustTokenizer:
    """Build BERT's own pipeline around a vocabulary."""
    rust = RustTokenizer(models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=100))
    rust.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=cjk, strip_accents=strip_accents, lowercase=lowercase
    )
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece(prefix="##")
    return rust


def template(start: tuple[str, int], separator: tuple[str, int]) -> processors.TemplateProcessing:
    """Lay texts out as BERT does."""
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
            raise DataError(f"{sources.file} needs the merges.txt that belongs to it beside it")
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
    rust = RustTokenizer(models.Unigram([(piece, score) for piece, score in model.get("vocab", ())], 1, False))
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not flag(sources, "keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if flag(sources, "do_lower_case", True):
        steps.append(normalizers.Lowercase())
    told = sources.state.get("normalizer") or {}
    for step in told.get("normalizers", [told]):
        if step.get("type") == "Precompiled":
            own = RustTokenizer.from_str(json.dumps({**_EMPTY, "normalizer": step}))
            steps.append(own.normalizer)
            break
    rust.normalizer = normalizers.Sequence(steps)
    scheme = "always" if flag(sources, "add_prefix_space", True) else "never"
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
    )
    rust.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    start, separator = ((name, int(rust.token_to_id(name) or 0)) for name in ("[CLS]", "[SEP]"))
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
# Whatever a setting of the class decides: its name, where tokenizer.json says the same, and what the class takes it as.
_SETTINGS = {
    "bert": (
        ("do_lower_case", ("normalizer", "lowercase")),
        ("strip_accents", ("normalizer", "strip_accents")),
        ("tokenize_chinese_chars", ("normalizer", "handle_chinese_chars")),
    ),
    "roberta": (("add_prefix_space", ("pre_tokenizer", "add_prefix_space")),),
    "albert": (),
}
# What makes no difference to ids.
_IDLE = ("type", "vocab", "merges", "fuse_unk")
_ONE_SPACE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
"""How transformers 4 wrote an ALBERT tokenizer that it made of sentencepiece's file; WhitespaceSplit does it anyway."""
_SHOWN, _BEFORE = 200, 60


def _compare(sources: Sources, rust: RustTokenizer, names: Sequence[str]) -> None:
    """Compare what was built with what tokenizer.json says.

    Raises:
        DataError: they differ in what tokenizer_config.json doesn't say.
    """
    told, made = _parts(sources.state, str(sources.file)), _parts(_state(rust), "")
    for setting, (part, key) in _SETTINGS[sources.family]:
        ours, theirs = made[part], told[part]
        if not isinstance(theirs, dict) or theirs.get("type") != ours["type"] or theirs.get(key) == ours[key]:
            continue
        if not sources.says(setting) and _effect(theirs, key) != _effect(ours, key):
            raise DataError(
                f"{sources.file} has {key} {json.dumps(theirs[key])}, and {sources.config.name} doesn't say {setting}, "
                f"which transformers takes as {json.dumps(ours[key])} then; write "
                f'"{setting}": {json.dumps(theirs[key])} (or {json.dumps(ours[key])}) into it'
            )
        theirs[key] = ours[key]
    for part in _COMPARED:
        if told[part] != made[part]:
            theirs, ours = _shown(told[part], made[part])
            raise DataError(
                f"{sources.file} has the {part} {theirs}, and transformers 5 reads a {sources.shown} as "
                f"if it were {ours}. To follow tokenizer.json, as transformers 4 did, write {FAST} into "
                f"{sources.config.name}"
            )
    _compare_layout(sources, rust, names)


def _compare_layout(sources: Sources, rust: RustTokenizer, names: Sequence[str]) -> None:
    """Compare how texts and pairs are laid out; a file that says nothing is filled in by the class."""
    if sources.state.get("post_processor") is None:
        return
    with readable(f"{sources.file}: its post_processor"):
        own = RustTokenizer.from_str(
            json.dumps({**_EMPTY, "post_processor": sources.state["post_processor"]})
        ).post_processor
        first, second = (rust.encode(text, add_special_tokens=False) for text in ("a", "b"))
        usual = rust.post_processor or template(*((name, rust.token_to_id(name) or 0) for name in names[2:4]))
        for given in ((first,), (first, second)):
            one, other = own.process(*given), usual.process(*given)
            if (one.ids, one.type_ids) != (other.ids, other.type_ids):
                raise DataError(
                    f"{sources.file} lays texts out differently from transformers 5, which reads a {sources.shown} as "
                    f"{' '.join(other.tokens)}, not {' '.join(one.tokens)}. To follow tokenizer.json, as transformers "
                    f"4 did, write {FAST} into {sources.config.name}"
                )


def _state(rust: RustTokenizer) -> Parts:
    """Return a tokenizer as an object; a vocabulary that isn't compared is left out, as it would take longest."""
    if isinstance(rust.model, models.Unigram):  # tells its settings in no other way
        return parse_object(rust.to_str(), "")
    bare = RustTokenizer(models.WordLevel({}, unk_token=""))
    if rust.normalizer is not None:
        bare.normalizer = rust.normalizer
    bare.pre_tokenizer = rust.pre_tokenizer
    names = [name for name in dir(rust.model) if not name.startswith("_")]
    settings = {name: value for name in names if not callable(value := getattr(rust.model, name))}
    return {**parse_object(bare.to_str(), ""), "model": settings}


def _effect(part: Parts, key: str) -> Any:
    """Return what a value comes to: without a word about accents these go with lower-casing."""
    return part["lowercase"] if key == "strip_accents" and part[key] is None else part.get(key)


def _parts(state: Parts, where: str) -> Parts:
    """Spell a tokenizer's parts as the package does today, without its vocabulary and what has no effect."""
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


def _shown(told: Any, made: Any) -> tuple[str, str]:
    """Spell two parts for a message; of long ones, from a little before they differ."""
    texts = [json.dumps(part, ensure_ascii=False) for part in (told, made)]
    same = next((place for place, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), 0)
    start = max(same - _BEFORE, 0) if max(map(len, texts)) > _SHOWN else 0
    first, second = (f"{'... ' * (start > 0)}{shorten(text[start:], _SHOWN)}" for text in texts)
    return first, second
