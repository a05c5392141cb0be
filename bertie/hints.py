"""What to say of a setting that a command doesn't have: the one that was meant, or nothing rather than a wrong guess.

Settings are keys here (``training.save_every``); the caller says how its users write them, as flags or in Python.
"""

import difflib
import re
from collections.abc import Callable, Collection

from bertie import synonyms

_LIKE = 0.75
"""How alike two words must be for one to be taken for a slip of the other."""
_SHORTEST = 4
"""Letters of the shortest beginning of a word that stands for the word."""


def hint(word: str, known: Collection[str], spell: Callable[[str, str], str]) -> str:
    """Say which setting was meant by a word that is none.

    Args:
        word: what was typed, with or without dashes.
        known: the dotted keys that the command takes.
        spell: writes a key, and a value for it or "", as the user would type it.

    Returns:
        A clause to end an error message with, or "" where nothing comes near.
    """
    key = word.lstrip("-").replace("-", "_").lower()
    bare = key.rpartition(".")[2]
    for name in dict.fromkeys((key, bare)):
        if said := _synonym(name, known, spell):
            return said
    if near := _near(key, known):
        return f"did you mean {spell(near, '')}?"
    group = key.rpartition(".")[0]
    if members := [name for name in known if group and name.rpartition(".")[0] == group]:
        return f"there are {', '.join(spell(name, '') for name in members)}"
    return ""


def is_known(word: str, known: Collection[str]) -> bool:
    """Tell whether a word is a key or another tool's word for one; what merely looks like a key doesn't count.

    Args:
        word: what was typed, with or without dashes.
        known: the dotted keys that a command takes.
    """
    key = word.lstrip("-").replace("-", "_").lower()
    return key in known or any(
        key in words.split() and target.partition("=")[0] in known for words, target, _ in synonyms.ROWS
    )


def _synonym(word: str, known: Collection[str], spell: Callable[[str, str], str]) -> str:
    """Return what the table of other tools' words says, if one of its rows fits the command."""
    for words, target, how in synonyms.ROWS:
        if word not in words.split():
            continue
        key, _, value = target.partition("=")
        needed = {named.partition("=")[0] for named in re.findall(r"<\??([a-z_0-9.]+(?:=[^>]*)?)>", how)}
        if {key, *needed} - {"", *known} or key == word:
            continue
        said = re.sub(r"<\?[^>]*>", "", how)
        said = re.sub(r"<([a-z_0-9.]+)=?([^>]*)>", lambda found: spell(found[1], found[2]), said)
        return said if not key else f"did you mean {spell(key, value)}?{' ' if said else ''}{said}"
    return ""


def _near(key: str, known: Collection[str]) -> str:
    """Return the key that has the same last name, is misspelt the least, or is begun; "" where none or several are."""
    if key in known:
        return key  # in other letters, or with one dash
    last = key.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    if same:
        # A right name at the wrong depth; a group's name says which of several.
        return max(same, key=lambda name: difflib.SequenceMatcher(None, key, name).ratio())
    if near := difflib.get_close_matches(key, sorted(known), n=1, cutoff=_LIKE):
        return near[0]
    lasts = {name.rpartition(".")[2]: name for name in known}
    if near := difflib.get_close_matches(last, sorted(lasts), n=1, cutoff=_LIKE):
        return lasts[near[0]]
    begun = [name for name in known if len(last) >= _SHORTEST and name.rpartition(".")[2].startswith(last)]
    return begun[0] if len(begun) == 1 else ""
