"""Detect the language of a text with py3langid: naive Bayes over n-grams of bytes; the package holds its model."""

import importlib.util
from collections.abc import Iterable
from functools import cache
from typing import Any

from bertie.errors import SettingsError, missing_extra
from bertie.registry import did_you_mean

PACKAGE, EXTRA = "py3langid", "selection"
_READ_CHARACTERS = 2000  # at the beginning of a document; more text hardly changes the result
_LEAST_LETTERS = 20


def check_languages(languages: Iterable[str]) -> None:
    """Check the codes of languages.

    Raises:
        SettingsError: the detector isn't installed, or doesn't know a language.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise missing_extra(PACKAGE, EXTRA, "to detect languages")
    known = list(_identifier().labels)
    for language in languages:
        if language not in known:
            raise SettingsError(f"--only-languages {language!r} is unknown; {did_you_mean(language, known)}")


def language_of(text: str) -> str:
    """Return the two-letter code of a text's language; "" for a text with too few letters to tell."""
    start = text[:_READ_CHARACTERS]
    if sum(map(str.isalpha, start)) < _LEAST_LETTERS:
        return ""
    if sum(map(str.isupper, start)) > sum(map(str.islower, start)):
        start = start.lower()  # the detector knows few words in capitals
    language: str = _identifier().classify(start)[0]
    return language


@cache
def _identifier() -> Any:
    """Load the detector, in about a second, without the languages that it confuses with larger ones.

    It takes a quarter of the Chinese Wikipedia for Wu (wuu). All such languages have codes of three letters.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages([label for label in identifier.labels if len(label) == 2])
    return identifier
