"""Read the special and added tokens that a folder's files name, with their flags, and add them as transformers does.

tokenizer_config.json has priority. If it lists its added tokens (`added_tokens_decoder`), three other lists are
ignored: special_tokens_map.json, added_tokens.json and, for a class that builds its own tokenizer, tokenizer.json's.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError
from bertie.tokenizer.rebuild import ALBERT, ROBERTA, ROLES, SPECIALS
from bertie.tokenizer.rust import readable
from bertie.tokenizer.sources import Sources, declared

FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_DEFAULTS: dict[str, dict[str, str]] = {
    "bert": dict(zip(ROLES, SPECIALS, strict=True)),
    "roberta": {"bos_token": "<s>", "eos_token": "</s>", **dict(zip(ROLES, ROBERTA, strict=True))},
    "albert": {"bos_token": "[CLS]", "eos_token": "[SEP]", **dict(zip(ROLES, ALBERT, strict=True))},
    "deberta-v2": {"bos_token": "[CLS]", "eos_token": "[SEP]", **dict(zip(ROLES, SPECIALS, strict=True))},
    "xlm-roberta": {"bos_token": "<s>", "eos_token": "</s>", **dict(zip(ROLES, ROBERTA, strict=True))},
    "file": {},
}
_EXTRA = ("extra_special_tokens", "additional_special_tokens")
# Names of the special tokens if no file names them, tried in this order.
_GUESSES = (ROBERTA, SPECIALS, ALBERT)


@dataclass
class Added:
    """The special and added tokens of a folder."""

    decoder: dict[int, AddedToken] = field(default_factory=dict)
    """Added tokens by the id that a file gives them."""
    named: dict[str, str | AddedToken] = field(default_factory=dict)
    """Special tokens by their role, such as cls_token."""
    extra: list[str | AddedToken] = field(default_factory=list)
    """Special tokens without a role."""


def named_tokens(sources: Sources) -> Added:
    """Collect the tokens that the files name.

    Raises:
        DataError: a token is neither a string nor a description of one.
    """
    settings = {
        key: _token(value, key, sources, special=None)
        for key, value in sources.settings.items()
        if _is_token(key, value)
    }
    lists = [sources.settings[key] for key in _EXTRA if key in sources.settings]
    extra: Any = next((value for value in lists if value), [])
    late: Any = []
    found = Added()
    given = sources.settings.get("added_tokens_decoder")
    if isinstance(given, dict):
        for number, token in given.items():
            found.decoder[int(number)] = _described(token, "added_tokens_decoder", sources)
    else:
        for key, value in sources.specials.items():
            if _is_token(key, value):
                settings[key] = _token(value, key, sources, special=True)
        more = sources.specials.get("extra_special_tokens")
        extra = more if isinstance(more, dict) and not extra else [*_listed(extra), *_listed(more)] if more else extra
        late = [] if lists or more else sources.specials.get("additional_special_tokens")
    if isinstance(extra, dict):
        settings.update({key: _token(value, key, sources, special=None) for key, value in extra.items()})
        extra = []
    found.extra = [_token(token, "extra_special_tokens", sources, special=True) for token in _listed(extra)]
    if not isinstance(given, dict):
        special = {str(value) for key, value in settings.items() if key in _NAMED} | {str(one) for one in found.extra}
        for name, number in sources.added.items():
            found.decoder[number] = AddedToken(name, normalized=name not in special, special=name in special)
        for token in sources.state.get("added_tokens") or ():
            found.decoder[token["id"]] = _described(token, "added_tokens", sources)
    found.extra += [_token(token, "additional_special_tokens", sources, special=True) for token in _listed(late)]
    by_name = {str(token): token for token in found.decoder.values()}
    settings = {**_DEFAULTS[sources.family], **settings}
    order = [*(key for key in _NAMED if key in settings), *(key for key in settings if key not in _NAMED)]
    found.named = {key: by_name.get(str(settings[key]), settings[key]) for key in order}
    return found


def roles(sources: Sources, found: Added, known: Any) -> tuple[str, ...]:
    """Return the names of the special tokens in the order of `ROLES`: those in the files, else the usual ones.

    Args:
        sources: the folder's files.
        found: its special tokens.
        known: tells whether the vocabulary or the list of added tokens has a token.

    Raises:
        DataError: a role has no token.
    """
    named = {role: str(found.named[role]) for role in ROLES if role in found.named}
    for guess in _GUESSES:
        names = [named.get(role, usual) for role, usual in zip(ROLES, guess, strict=True)]
        if all(map(known, names)):
            return tuple(names)
    missing = [name for name in named.values() if not known(name)]
    if missing and len(named) == len(ROLES):
        role = next(role for role in ROLES if named[role] in missing)
        raise DataError(
            f"{sources.file} lacks the special tokens {', '.join(map(repr, missing))}; if it has them by other names, "
            f'write those into {sources.config.name} ("{role}": "...")'
        )
    listed = ", ".join(f"{role} {name!r}" for role, name in named.items())
    raise DataError(
        f"{sources.file}: the vocabulary must have a special token for each of {', '.join(ROLES)}; "
        f"{sources.config.name} names {listed or 'none'}"
    )


def add(rust: RustTokenizer, sources: Sources, found: Added) -> None:
    """Add the tokens in the order of transformers; new tokens get the next free ids.

    Raises:
        DataError: a token's id is not the one that a file gives it.
    """
    with readable(f"{sources.file}: its added tokens"):
        present = {repr(token) for token in rust.get_added_tokens_decoder().values()}
        wanted = [token for _, token in sorted(found.decoder.items()) if repr(token) not in present]
        seen = {token.content for token in rust.get_added_tokens_decoder().values()} | {str(token) for token in wanted}
        names = {str(token) for token in found.named.values()}
        for token in [*found.named.values(), *found.extra]:
            if str(token) not in seen:
                wanted.append(token if isinstance(token, AddedToken) else AddedToken(token, special=True))
                seen.add(str(token))
        for token in wanted:
            token.special = token.special or str(token) in names
        rust.add_tokens(wanted)
    ids = declared(sources)
    new = any(name not in sources.vocabulary for name in ids)  # only a new token can take the id of a piece
    holders = Counter(rust.get_vocab(with_added_tokens=True).values()) if new else Counter()
    for name, number in ids.items():
        actual = rust.token_to_id(name)
        if actual != number or holders[number] > 1:
            conflict = "another piece has that id" if actual == number else f"its id is {actual}"
            raise DataError(
                f"{sources.file.parent}: the added token {name!r} has the id {number} in its files, but by the order "
                f"of the vocabulary, which transformers uses, {conflict}; remove gaps and repeated pieces from the "
                "vocabulary, or correct the id"
            )


def _is_token(key: str, value: Any) -> bool:
    return key.endswith("_token") and (isinstance(value, str) or (isinstance(value, dict) and "content" in value))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _token(value: Any, key: str, sources: Sources, *, special: bool | None) -> str | AddedToken:
    return value if isinstance(value, str) else _described(value, key, sources, special=special)


def _described(value: Any, key: str, sources: Sources, *, special: bool | None = None) -> AddedToken:
    """Build a token from its description.

    Raises:
        DataError: it has no content, or a flag is not true or false.
    """
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise DataError(f"{sources.file.parent}: {key} holds {value!r}, which is not a description of a token")
    flags = {name: value[name] for name in FLAGS if name in value}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise DataError(f"{sources.file.parent}: {value['content']!r} in {key} has a flag that is not true or false")
    if special is not None:
        flags["special"] = special
    return AddedToken(value["content"], **flags)
