"""What the files of a folder say about its tokenizer, and which of transformers' classes reads them there.

A folder may hold tokenizer.json, vocab.txt, or vocab.json and merges.txt; beside it tokenizer_config.json,
special_tokens_map.json and added_tokens.json, and the model's config.json. The class decides what of them counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bertie import untrusted
from bertie.errors import DataError, SettingsError
from bertie.tokenizer import vocabulary

Family = Literal["bert", "roberta", "albert", "file"]
"""How a class makes its tokenizer: three build it around the vocabulary; `file` follows tokenizer.json."""
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"), "bert"),
    **dict.fromkeys(("SqueezeBertTokenizer", "LayoutLMTokenizer", "LxmertTokenizer", "ConvBertTokenizer"), "bert"),
    **dict.fromkeys(("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"), "roberta"),
    "AlbertTokenizer": "albert",
    **dict.fromkeys(("PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"), "file"),
}
_OF_MODELS: dict[str, Family] = {
    **dict.fromkeys(("bert", "distilbert", "electra"), "bert"),
    "roberta": "roberta",
    "albert": "albert",
    "modernbert": "file",
}
_CUT_BY_JIEBA = "RoFormerTokenizer"
"""What transformers takes for a roformer where no class is named: Chinese words by a dictionary that isn't here."""
_OF_FILES: dict[str, Family] = {"tokenizer.json": "file", "vocab.txt": "bert", "vocab.json": "roberta"}
NEEDS: dict[Family, tuple[str, ...]] = {
    "bert": ("tokenizer.json", "vocab.txt"),
    "roberta": ("tokenizer.json", "vocab.json"),
    "albert": ("tokenizer.json",),
    "file": ("tokenizer.json",),
}
FAST = '"tokenizer_class": "PreTrainedTokenizerFast"'
"""What one writes into tokenizer_config.json to have tokenizer.json followed in everything."""


@dataclass(frozen=True)
class Sources:
    """The files of one tokenizer, as objects; empty where a file is not there."""

    file: Path
    """tokenizer.json, vocab.txt or vocab.json."""
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
    """Pieces and their ids, without added tokens; of a Unigram their places."""

    @property
    def config(self) -> Path:
        """Where the tokenizer's settings stand or would stand."""
        return self.file.with_name("tokenizer_config.json")

    @property
    def class_name(self) -> str | None:
        """The class that a file names, without the ending that says that it is a fast one."""
        name = self.settings.get("tokenizer_class") or self.model.get("tokenizer_class")
        return name.removesuffix("Fast") if isinstance(name, str) else None

    @property
    def shown(self) -> str:
        """What decides about how it is read, for messages."""
        return self.class_name or f"tokenizer of a {self.model_type} model"

    @property
    def model_type(self) -> str | None:
        """What kind of model config.json is of; of an encoder with a decoder, the encoder's kind."""
        kind, encoder = self.model.get("model_type"), self.model.get("encoder")
        if kind == "encoder-decoder" and isinstance(encoder, Mapping):
            kind = encoder.get("model_type")
        return kind if isinstance(kind, str) else None

    @property
    def family(self) -> Family:
        """How the tokenizer is made.

        Raises:
            DataError: by a class that isn't known here.
        """
        name = self.class_name or (_CUT_BY_JIEBA if self.model_type == "roformer" else None)
        if self.model_type == "modernbert" and self.state:  # transformers takes no class's word for it there
            return "file"
        if name is not None:
            if name not in _FAMILIES:
                raise DataError(
                    f"{self.file.parent}: its tokenizer is a {name}, which bertie doesn't have. If tokenizer.json is "
                    f"complete, write {FAST} into {self.config.name}; otherwise tokenize by transformers and "
                    "give bertie a folder with a BertTokenizer, RobertaTokenizer or AlbertTokenizer"
                )
            return _FAMILIES[name]
        if self.model_type in _OF_MODELS and (self.state or self.model_type != "modernbert"):
            return _OF_MODELS[self.model_type]
        return _OF_FILES[self.file.name if self.file.name in _OF_FILES else _usual(self.file)]

    def says(self, name: str) -> bool:
        """Tell whether tokenizer_config.json has a setting, be it null."""
        return name in self.settings


def _usual(file: Path) -> str:
    return "tokenizer.json" if file.suffix == ".json" else "vocab.txt"


def gather(path: str | Path) -> Sources:
    """Read what a folder, or one file of it, says about its tokenizer.

    Raises:
        SettingsError: no such folder or file, or nothing of a tokenizer in it.
        DataError: a file that can't be read, or one that asks for what isn't here.
    """
    place = Path(path)
    file = _in_folder(place) if place.is_dir() else place
    if not file.is_file():
        raise SettingsError(f"{file}: no such tokenizer; give a folder with tokenizer.json or vocab.txt")
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
        vocabulary=_vocabulary(file, state),
    )
    _refuse_unknown(sources)
    if file.name in _VOCABULARIES and file.name not in NEEDS[sources.family]:
        raise DataError(
            f"{folder} holds {file.name}, and its tokenizer is a {sources.shown}, which "
            f"needs {' or '.join(NEEDS[sources.family])}; write the class it is of into {sources.config.name}"
        )
    return sources


def _check_forms(state: dict[str, Any], file: Path) -> None:
    """Refuse a tokenizer.json whose parts aren't of the kind they must be.

    Raises:
        DataError: a list in place of an object, or the like.
    """
    for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model", "truncation", "padding"):
        if not isinstance(state.get(name, {}), dict | None):
            raise DataError(f"{file}: {name} must be an object; got {state[name]!r:.60}")
    tokens = state.get("added_tokens") or []
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        raise DataError(f"{file}: added_tokens must be a list of objects; got {tokens!r:.60}")


def _in_folder(place: Path) -> Path:
    found = [place / name for name in _VOCABULARIES if (place / name).is_file()]
    if not found:
        pieces = sorted(file.name for file in place.glob("*.model"))
        other = f" (only {pieces[0]}, a sentencepiece model, which bertie doesn't read)" if pieces else ""
        raise SettingsError(f"{place} holds neither tokenizer.json nor vocab.txt{other}")
    return found[0]


def _vocabulary(file: Path, state: dict[str, Any]) -> dict[str, int]:
    """Read pieces and their ids.

    Raises:
        DataError: a tokenizer.json without a vocabulary, or a vocab.txt that is none.
    """
    if file.suffix != ".json":
        return vocabulary.read(file)
    model = state.get("model") if state else {"vocab": read_object(file)}
    pieces = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(pieces, dict) and set(map(type, pieces.values())) <= {int}:
        return pieces
    if isinstance(pieces, list) and all(isinstance(pair, list) and pair for pair in pieces):
        return {str(pair[0]): number for number, pair in enumerate(pieces)}
    raise DataError(f"{file} holds no vocabulary; it is no tokenizer of Hugging Face's form")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one if there is no such file.

    Raises:
        DataError: a file that holds no JSON object.
    """
    return untrusted.read_object(path, limit=untrusted.LARGE_BYTES) if path.exists() else {}


def _numbers(path: Path) -> dict[str, int]:
    found = read_object(path)
    for name, number in found.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise DataError(f"{path}: {name!r} must have a number as its id; got {number!r}")
    return found


def _refuse_unknown(sources: Sources) -> None:
    """Refuse what decides about pieces and isn't here.

    Raises:
        DataError: own code, another tool that cuts words, settings that transformers follows no more.
    """
    settings, where = sources.settings, sources.config
    own = settings.get("auto_map")
    if (own.get("AutoTokenizer") if isinstance(own, dict) else own) and sources.model_type != "modernbert":
        raise DataError(
            f"{where}: auto_map says that the tokenizer is code of its own, which bertie doesn't run. If tokenizer."
            f"json is complete, take auto_map out and write {FAST}"
        )
    if sources.class_name == "BertJapaneseTokenizer":
        raise DataError(
            f"{where}: the tokenizer is a BertJapaneseTokenizer, which cuts words by "
            f"{settings.get('word_tokenizer_type', 'basic')} and pieces by "
            f"{settings.get('subword_tokenizer_type', 'wordpiece')}; bertie has no such tool. Take a model that has "
            "a tokenizer.json of its own"
        )
    if settings.get("do_basic_tokenize") is False and sources.family == "bert":
        raise DataError(
            f"{where}: do_basic_tokenize is false, so texts would be cut at spaces alone. transformers 5 doesn't "
            "follow that any more, and bertie neither; take it out to have texts cut at punctuation as well"
        )
    never = settings.get("never_split") or []
    if isinstance(never, list) and sources.family == "bert":
        named = [value for value in (*settings.values(), *sources.specials.values()) if isinstance(value, str)]
        known = {*declared(sources), *_SPECIALS, *named}
        for word in never:
            if word not in known:
                raise DataError(
                    f"{where}: never_split names {word!r}, which is no added token. transformers 5 doesn't follow "
                    "never_split any more, and bertie neither; take it out, or give the word an id in added_tokens.json"
                )
    if settings.get("split_special_tokens"):
        raise DataError(f"{where}: split_special_tokens is true, and bertie takes special tokens in a text as such")


def declared(sources: Sources) -> dict[str, int]:
    """Return the added tokens that the files give an id to.

    Raises:
        DataError: two ids for one token, or something else than a token and its id.
    """
    found: dict[str, tuple[int, str]] = {}
    told: list[tuple[Any, Any, str]] = []
    for token in sources.state.get("added_tokens") or ():
        told.append((token.get("content"), token.get("id"), sources.file.name) if isinstance(token, dict) else _BROKEN)
    decoder = sources.settings.get("added_tokens_decoder") or {}
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        known = isinstance(token, dict) and number.isdecimal()
        told.append((token.get("content"), int(number), sources.config.name) if known else _BROKEN)
    told += [(name, number, "added_tokens.json") for name, number in sources.added.items()]
    for name, number, where in told:
        if not isinstance(name, str) or not isinstance(number, int):
            raise DataError(f"{sources.file.parent}: an added token has no content or no id in {where}")
        before, there = found.setdefault(name, (number, where))
        if before != number:
            raise DataError(
                f"{sources.file.parent}: {name!r} has the id {before} in {there} and {number} in {where}; "
                "correct the file that is wrong"
            )
    return {name: number for name, (number, _) in found.items()}


_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BROKEN = (None, None, "added_tokens")
