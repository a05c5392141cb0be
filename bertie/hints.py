"""Suggest the setting that a user meant by an unknown one, or nothing rather than a wrong guess.

Settings are dotted keys here (``training.save_every``). The caller decides how a message shows them, as flags or in
Python.
"""

import difflib
import re
from collections.abc import Callable, Collection

from bertie import synonyms

_MIN_SIMILARITY = 0.75
"""Similarity (difflib's ratio) from which on a word counts as a misspelling of another."""
_MIN_PREFIX = 4
"""Letters of the shortest prefix that is accepted for a word."""


def hint(word: str, known: Collection[str], spell: Callable[[str, str], str]) -> str:
    """Suggest a setting for an unknown word.

    Args:
        word: the word that was typed, with or without dashes.
        known: the dotted keys that the command takes.
        spell: returns a key and its value ("" for none) as the user would type them.

    Returns:
        The last clause of an error message, or "" if no key is near.
    """
    key = word.lstrip("-").replace("-", "_").lower()
    bare = key.rpartition(".")[2]
    for name in dict.fromkeys((key, bare)):
        if advice := _hint_from_synonyms(name, known, spell):
            return advice
    if near := _nearest_key(key, known):
        return f"did you mean {spell(near, '')}?"
    group = key.rpartition(".")[0]
    if members := [name for name in known if group and name.rpartition(".")[0] == group]:
        return f"there are {', '.join(spell(name, '') for name in members)}"
    return ""


def is_known(word: str, known: Collection[str]) -> bool:
    """Check whether a word is a key or another tool's word for one; similar spelling isn't enough.

    Args:
        word: the word that was typed, with or without dashes.
        known: the dotted keys that a command takes.
    """
    key = word.lstrip("-").replace("-", "_").lower()
    return key in known or any(
        key in words.split() and target.partition("=")[0] in known for words, target, _ in synonyms.ROWS
    )


def _hint_from_synonyms(word: str, known: Collection[str], spell: Callable[[str, str], str]) -> str:
    """Return the advice of the first row of synonyms that has the word and fits the command; "" without one."""
    for words, target, sentence in synonyms.ROWS:
        if word not in words.split():
            continue
        key, _, value = target.partition("=")
        needed = {named.partition("=")[0] for named in re.findall(r"<\??([a-z_0-9.]+(?:=[^>]*)?)>", sentence)}
        if {key, *needed} - {"", *known} or key == word:
            continue
        advice = re.sub(r"<\?[^>]*>", "", sentence)
        advice = re.sub(r"<([a-z_0-9.]+)=?([^>]*)>", lambda reference: spell(reference[1], reference[2]), advice)
        return advice if not key else f"did you mean {spell(key, value)}?{' ' if advice else ''}{advice}"
    return ""


def _nearest_key(key: str, known: Collection[str]) -> str:
    """Return the key with the same last name, the nearest spelling or, if there is only one, this prefix; else ""."""
    if key in known:
        return key  # the word differed in case, or in the number of dashes
    last = key.rpartition(".")[2]
    same_last_name = [name for name in known if name.rpartition(".")[2] == last]
    if same_last_name:
        # The right name in the wrong group: among several, take the most similar key.
        return max(same_last_name, key=lambda name: difflib.SequenceMatcher(None, key, name).ratio())
    if near := difflib.get_close_matches(key, sorted(known), n=1, cutoff=_MIN_SIMILARITY):
        return near[0]
    by_last_name = {name.rpartition(".")[2]: name for name in known}
    if near := difflib.get_close_matches(last, sorted(by_last_name), n=1, cutoff=_MIN_SIMILARITY):
        return by_last_name[near[0]]
    with_prefix = [name for name in known if len(last) >= _MIN_PREFIX and name.rpartition(".")[2].startswith(last)]
    return with_prefix[0] if len(with_prefix) == 1 else ""
