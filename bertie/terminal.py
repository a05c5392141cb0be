"""Escape control characters in text for a terminal: they could move the cursor, change colours or reverse text.

Lines are escaped once, when they are printed, so that code that builds a message need not do it.
"""

import re

# Control characters except line ends and tabs, line and paragraph separators, characters that change the direction of
# text, and lone surrogates, which no encoding can write.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def fit(text: str) -> str:
    r"""Return text with every unsafe character escaped, such as ``\x1b`` or ``\u202e``.

    Args:
        text: one or more lines; line ends and tabs are kept.

    >>> print(fit("red\x1b[31m"))
    red\x1b[31m
    """
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def fit_json(text: str) -> str:
    r"""Return JSON with every unsafe character as a JSON escape; its meaning is unchanged.

    Args:
        text: JSON; such characters occur only inside its strings.
    """
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: "re.Match[str]") -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
