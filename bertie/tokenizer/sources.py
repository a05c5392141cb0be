"""Read the tokenizer files of a folder, and find the class by which transformers would read them.

A folder may hold tokenizer.json, vocab.txt, vocab.json with merges.txt, or a sentencepiece model; and also
tokenizer_config.json, special_tokens_map.json, added_tokens.json, and the model's config.json. The class decides which
of them are used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bertie import untrusted
from bertie.errors import DataError, SettingsError
from bertie.tokenizer import sentencepiece, vocabulary

Family = Literal["bert", "roberta", "albert", "deberta-v2", "xlm-roberta", "file"]
"""How a class builds its tokenizer: around the vocabulary; or `file`, which follows tokenizer.json."""
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", *sentencepiece.NAMES)
_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"), "bert"),
    **dict.fromkeys(("SqueezeBertTokenizer", "LayoutLMTokenizer", "LxmertTokenizer", "ConvBertTokenizer"), "bert"),
    **dict.fromkeys(("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"), "roberta"),
    "AlbertTokenizer": "albert",
    **dict.fromkeys(("PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"), "file"),
}
_OF_PIECES: dict[str, Family] = {
    **dict.fromkeys(("AlbertTokenizer", "albert"), "albert"),
    **dict.fromkeys(("DebertaV2Tokenizer", "deberta-v2"), "deberta-v2"),
    **dict.fromkeys(("XLMRobertaTokenizer", "xlm-roberta"), "xlm-roberta"),
}
"""The classes and the types of models whose sentencepiece model bertie reads."""
FOLLOWED = ("MPNetTokenizer", "XLMRobertaTokenizer", "DebertaV2Tokenizer")
"""Classes whose tokenizer.json bertie follows as it is, as transformers 4 does."""
_OF_MODELS: dict[str, Family] = {
    **dict.fromkeys(("bert", "distilbert", "electra"), "bert"),
    "roberta": "roberta",
    "albert": "albert",
    "modernbert": "file",
}
_ROFORMER = "RoFormerTokenizer"
"""The default class of transformers for a roformer; it cuts Chinese words by jieba's dictionary, which bertie lacks."""
_OF_FILES: dict[str, Family] = {"tokenizer.json": "file", "vocab.txt": "bert", "vocab.json": "roberta"}
NEEDS: dict[Family, tuple[str, ...]] = {
    "bert": ("tokenizer.json", "vocab.txt"),
    "roberta": ("tokenizer.json", "vocab.json"),
    "albert": ("tokenizer.json", "spiece.model"),
    "deberta-v2": ("spm.model",),
    "xlm-roberta": ("sentencepiece.bpe.model",),
    "file": ("tokenizer.json",),
}
FAST = '"tokenizer_class": "PreTrainedTokenizerFast"'
"""The entry of tokenizer_config.json that makes bertie and transformers follow tokenizer.json in everything."""


@dataclass(frozen=True)
class Sources:
    """The files of one tokenizer, as objects; a missing file is an empty object."""

    file: Path
    """tokenizer.json, vocab.txt, vocab.json or a sentencepiece model."""
    state: dict[str, Any] = field(default_factory=dict)
    """tokenizer.json."""
    settings: dict[str, Any] = field(default_factory=dict)
    """tokenizer_config.json."""
    specials: dict[str, Any] = field(default_factory=dict)
    """special_tokens_map.json."""
    added: dict[str, int] = field(default_factory=dict)
    """added_tokens.json."""
    model: dict[str, Any] = field(default_factory=dict)
    """config.json."""
    vocabulary: dict[str, int] = field(default_factory=dict)
    """Pieces and their ids, without added tokens; for a Unigram, the index in its list is the id."""
    proto: sentencepiece.Model | None = None
    """The sentencepiece model."""
    scored: list[tuple[str, float]] = field(default_factory=list)
    """Its pieces with their scores, in the order of the ids of the class."""

    @property
    def config(self) -> Path:
        """The path of tokenizer_config.json, whether it exists or not."""
        return self.file.with_name("tokenizer_config.json")

    @property
    def class_name(self) -> str | None:
        """The class that a file names, without the ending "Fast"."""
        name = self.settings.get("tokenizer_class") or self.model.get("tokenizer_class")
        return name.removesuffix("Fast") if isinstance(name, str) else None

    @property
    def shown(self) -> str:
        """The class or the model type that decides how the files are read, for messages."""
        return self.class_name or f"tokenizer of model type {self.model_type}"

    @property
    def model_type(self) -> str | None:
        """The model_type of config.json; for an encoder-decoder, that of the encoder."""
        kind, encoder = self.model.get("model_type"), self.model.get("encoder")
        if kind == "encoder-decoder" and isinstance(encoder, Mapping):
            kind = encoder.get("model_type")
        return kind if isinstance(kind, str) else None

    @property
    def family(self) -> Family:
        """How the tokenizer is built.

        Raises:
            DataError: bertie lacks the class.
        """
        if self.proto is not None:
            return self._family_of_pieces()
        name = self.class_name or (_ROFORMER if self.model_type == "roformer" else None)
        if self.model_type == "modernbert" and self.state:  # here transformers ignores the class that a file names
            return "file"
        if name in FOLLOWED and self.state:
            return "file"
        if name is not None:
            if name not in _FAMILIES:
                lack = f" with {self.file.name}" if name in _OF_PIECES else ""
                raise DataError(
                    f"{self.file.parent}: its tokenizer is a {name}, which bertie doesn't support{lack}. If "
                    f"tokenizer.json is complete, write {FAST} into {self.config.name}; otherwise tokenize with "
                    "transformers, and give bertie a folder with a BertTokenizer, RobertaTokenizer or AlbertTokenizer"
                )
            return _FAMILIES[name]
        if self.model_type in _OF_MODELS and (self.state or self.model_type != "modernbert"):
            return _OF_MODELS[self.model_type]
        return _OF_FILES[self.file.name if self.file.name in _OF_FILES else _usual(self.file)]

    def _family_of_pieces(self) -> Family:
        """Return the family of a sentencepiece model, which the file itself doesn't tell.

        Raises:
            DataError: the files name no class or model type, or one of another family.
        """
        name = self.class_name or self.model_type
        if name not in _OF_PIECES:
            classes = ", ".join(name for name in _OF_PIECES if name.endswith("Tokenizer"))
            found = f"its tokenizer is a {self.shown}" if name else "no file names its class"
            raise DataError(
                f"{self.file}: bertie reads the sentencepiece model of {classes}, but {found}. If it is one of them, "
                f"write its tokenizer_class into {self.config.name}"
            )
        return _OF_PIECES[name]

    def says(self, name: str) -> bool:
        """Tell whether tokenizer_config.json has a setting, even if it is null."""
        return name in self.settings


def _usual(file: Path) -> str:
    return "tokenizer.json" if file.suffix == ".json" else "vocab.txt"


def gather(path: str | Path) -> Sources:
    """Read the tokenizer files of a folder; `path` may be the folder or its tokenizer file.

    Raises:
        SettingsError: there is no such folder or file, or the folder has no tokenizer.
        DataError: a file can't be read, or asks for a feature that bertie lacks.
    """
    file = _in_folder(Path(path)) if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise SettingsError(f"{file}: no such tokenizer; give a folder with tokenizer.json or vocab.txt")
    is_proto = file.suffix == ".model"
    whole = file.suffix == ".json" and file.name != "vocab.json"
    folder = file.parent
    state = read_object(file) if whole else {}
    _check_forms(state, file)
    sources = Sources(
        file,
        state=state,
        settings=read_object(folder / "tokenizer_config.json"),
        specials=read_object(folder / "special_tokens_map.json"),
        added=_numbers(folder / "added_tokens.json"),
        model=read_object(folder / "config.json"),
        vocabulary={} if is_proto else _vocabulary(file, state),
        proto=sentencepiece.read(file) if is_proto else None,
    )
    _refuse_unknown(sources)
    if file.name in VOCABULARIES and file.name not in NEEDS[sources.family]:
        raise DataError(
            f"{folder} holds {file.name}, but its tokenizer is a {sources.shown}, which "
            f"needs {' or '.join(NEEDS[sources.family])}; write its tokenizer_class into {sources.config.name}"
        )
    if sources.proto is None:
        return sources
    fairseq = sources.family == "xlm-roberta"
    scored = sentencepiece.fairseq(sources.proto, str(file)) if fairseq else sources.proto.pieces
    return replace(sources, scored=scored, vocabulary={piece: number for number, (piece, _) in enumerate(scored)})


def _check_forms(state: dict[str, Any], file: Path) -> None:
    """Check the types of the parts of a tokenizer.json.

    Raises:
        DataError: a part has another type, such as a list in place of an object.
    """
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model", "truncation", "padding"):
        if not isinstance(state.get(name, {}), dict | None):
            raise DataError(f"{file}: {name} must be an object; got {state[name]!r:.60}")
    tokens = state.get("added_tokens") or []
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        raise DataError(f"{file}: added_tokens must be a list of objects; got {tokens!r:.60}")


def _in_folder(folder: Path) -> Path:
    files = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    if not files:
        models = sorted(file.name for file in folder.glob("*.model"))
        other = f" (only {models[0]}; if it is a sentencepiece model, give its name)" if models else ""
        raise SettingsError(
            f"{folder} holds neither tokenizer.json, nor vocab.txt, nor {' or '.join(sentencepiece.NAMES)}{other}"
        )
    return files[0]


def _vocabulary(file: Path, state: dict[str, Any]) -> dict[str, int]:
    """Read pieces and their ids.

    Raises:
        DataError: the file holds no vocabulary.
    """
    if file.suffix != ".json":
        return vocabulary.read(file)
    model = state.get("model") if state else {"vocab": read_object(file)}
    pieces = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(pieces, dict) and set(map(type, pieces.values())) <= {int}:
        return pieces
    if isinstance(pieces, list) and all(isinstance(pair, list) and pair for pair in pieces):
        return {str(pair[0]): number for number, pair in enumerate(pieces)}
    raise DataError(f"{file} holds no vocabulary; it is not a tokenizer file of Hugging Face")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; return an empty one if there is no such file.

    Raises:
        DataError: the file holds no JSON object.
    """
    return untrusted.read_object(path, limit=untrusted.LARGE_BYTES) if path.exists() else {}


def _numbers(path: Path) -> dict[str, int]:
    ids = read_object(path)
    for name, number in ids.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise DataError(f"{path}: {name!r} must have a number as its id; got {number!r}")
    return ids


def _refuse_unknown(sources: Sources) -> None:
    """Refuse settings that change pieces and that bertie lacks.

    Raises:
        DataError: the tokenizer is code in the folder, needs another tool to cut words, or has settings that
            transformers no longer follows.
    """
    settings, where = sources.settings, sources.config
    code = settings.get("auto_map")
    if (code.get("AutoTokenizer") if isinstance(code, dict) else code) and sources.model_type != "modernbert":
        raise DataError(
            f"{where}: auto_map says that the tokenizer is code in the folder, which bertie doesn't run. If "
            f"tokenizer.json is complete, remove auto_map and write {FAST}"
        )
    if sources.class_name == "BertJapaneseTokenizer":
        raise DataError(
            f"{where}: the tokenizer is a BertJapaneseTokenizer, which cuts words by "
            f"{settings.get('word_tokenizer_type', 'basic')} and pieces by "
            f"{settings.get('subword_tokenizer_type', 'wordpiece')}; bertie has no such tool. Use a model with a "
            "complete tokenizer.json"
        )
    if settings.get("do_basic_tokenize") is False and sources.family == "bert":
        raise DataError(
            f"{where}: do_basic_tokenize is false, so texts would be cut only at spaces. transformers 5 no longer "
            "supports this, and bertie doesn't either; remove the setting to cut texts at punctuation as well"
        )
    never = settings.get("never_split") or []
    if isinstance(never, list) and sources.family == "bert":
        named = [value for value in (*settings.values(), *sources.specials.values()) if isinstance(value, str)]
        known = {*declared(sources), *_SPECIALS, *named}
        for word in never:
            if word not in known:
                raise DataError(
                    f"{where}: never_split names {word!r}, which is not an added token. transformers 5 no longer "
                    "supports never_split, and bertie doesn't either; remove it, or give the word an id in "
                    "added_tokens.json"
                )
    if settings.get("split_special_tokens"):
        raise DataError(
            f"{where}: split_special_tokens is true, but bertie always reads special tokens in a text as special tokens"
        )


def declared(sources: Sources) -> dict[str, int]:
    """Return the added tokens that have an id in a file, with these ids.

    Raises:
        DataError: a token has two ids, or an entry is not a token with an id.
    """
    found: dict[str, tuple[int, str]] = {}
    entries: list[tuple[Any, Any, str]] = []
    for token in sources.state.get("added_tokens") or ():
        entry = (token.get("content"), token.get("id"), sources.file.name) if isinstance(token, dict) else _BROKEN
        entries.append(entry)
    decoder = sources.settings.get("added_tokens_decoder") or {}
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        known = isinstance(token, dict) and number.isdecimal()
        entries.append((token.get("content"), int(number), sources.config.name) if known else _BROKEN)
    entries += [(name, number, "added_tokens.json") for name, number in sources.added.items()]
    for name, number, where in entries:
        if not isinstance(name, str) or not isinstance(number, int):
            raise DataError(f"{sources.file.parent}: an added token has no content or no id in {where}")
        before, source = found.setdefault(name, (number, where))
        if before != number:
            raise DataError(
                f"{sources.file.parent}: {name!r} has the id {before} in {source} and {number} in {where}; "
                "correct the file that is wrong"
            )
    return {name: number for name, (number, _) in found.items()}


_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BROKEN = (None, None, "added_tokens")
