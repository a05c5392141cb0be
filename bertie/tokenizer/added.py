"""Special and added tokens: which the files name, with which flags, and adding them as transformers does.

tokenizer_config.json comes first. Where it lists its added tokens (`added_tokens_decoder`), special_tokens_map.json,
added_tokens.json and, in a class that builds its own tokenizer, the list in tokenizer.json are left unread.
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
    "file": {},
}
_EXTRA = ("extra_special_tokens", "additional_special_tokens")
# Names of the roles where no file says them, tried one after another.
_GUESSES = (ROBERTA, SPECIALS, ALBERT)


@dataclass
class Added:
    """What the files say about special and added tokens."""

    decoder: dict[int, AddedToken] = field(default_factory=dict)
    """By the id that they claim."""
    named: dict[str, str | AddedToken] = field(default_factory=dict)
    """Special tokens with a role."""
    extra: list[str | AddedToken] = field(default_factory=list)
    """Special tokens without one."""


def named_tokens(sources: Sources) -> Added:
    """Gather the tokens that the files name.

    Raises:
        DataError: a token that is neither a text nor a description of one.
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
    """Name the special tokens in the order of `ROLES`, by the files or, where they say nothing, by what is usual.

    Args:
        sources: what the folder says.
        found: its special tokens.
        known: tells whether the vocabulary or the list of added tokens has a piece.

    Raises:
        DataError: a role without a token.
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
            f"{sources.file} lacks the special tokens {', '.join(map(repr, missing))}; if they have other names there, "
            f'write these into {sources.config.name} ("{role}": "...")'
        )
    said = ", ".join(f"{role} {name!r}" for role, name in named.items())
    raise DataError(
        f"{sources.file}: the vocabulary must have a special token for each of {', '.join(ROLES)}; "
        f"{sources.config.name} beside it names {said or 'none'}"
    )


def add(rust: RustTokenizer, sources: Sources, found: Added) -> None:
    """Add the tokens in the order of transformers, which gives those that are new the next free ids.

    Raises:
        DataError: a token that doesn't get the id that a file says.
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
    told = declared(sources)
    new = any(name not in sources.vocabulary for name in told)  # others can't take an id from a piece
    holders = Counter(rust.get_vocab(with_added_tokens=True).values()) if new else Counter()
    for name, number in told.items():
        own = rust.token_to_id(name)
        if own != number or holders[number] > 1:
            raise DataError(
                f"{sources.file.parent}: the added token {name!r} has the id {number} in its files, and by the order "
                f"of the vocabulary, which transformers counts on, {'another piece has it' if own == number else own}; "
                "make the vocabulary without gaps and words twice, or correct the id"
            )


def _is_token(key: str, value: Any) -> bool:
    return key.endswith("_token") and (isinstance(value, str) or (isinstance(value, dict) and "content" in value))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _token(value: Any, key: str, sources: Sources, *, special: bool | None) -> str | AddedToken:
    return value if isinstance(value, str) else _described(value, key, sources, special=special)


def _described(value: Any, key: str, sources: Sources, *, special: bool | None = None) -> AddedToken:
    """Make a token of its description.

    Raises:
        DataError: it has no content, or a flag that is none.
    """
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise DataError(f"{sources.file.parent}: {key} holds {value!r}, which describes no token")
    flags = {name: value[name] for name in FLAGS if name in value}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise DataError(f"{sources.file.parent}: {value['content']!r} in {key} has a flag that is not true or false")
    if special is not None:
        flags["special"] = special
    return AddedToken(value["content"], **flags)
