"""Text from files, made fit for a terminal: what would move the cursor, change colours or turn text around is spelled.

Applied once, where lines are printed, so that whoever makes a message need not think of it.
"""

import re

# Control characters but for line ends and tabs, separators of lines, and what turns the direction of text; lone
# surrogates, which no encoding has.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def fit(text: str) -> str:
    r"""Return text with every unfit character spelled: ``\x1b``, ``\u202e``.

    Args:
        text: of one or more lines; line ends and tabs stay.
    """
    return text if text.isascii() and text.isprintable() else _UNFIT.sub(_spelled, text)


def fit_json(text: str) -> str:
    r"""Return JSON with every unfit character as an escape of JSON, so that it is the same JSON.

    Args:
        text: JSON, in which such characters stand inside strings only.
    """
    return text if text.isascii() and text.isprintable() else _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _spelled(found: "re.Match[str]") -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
