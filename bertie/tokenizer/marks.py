"""Count vowel signs: combining marks that are letters of their script, which stripping accents would drop.

Unicode puts the accent of é and the vowel u of Devanagari in the same category. A French word can still be read
without its accent; a word of Hindi, Tamil or Thai becomes another word without its vowels.
"""

import re
import unicodedata
from functools import cache

# Devanagari to Myanmar, Khmer, and the blocks that Unicode added later for South and Southeast Asia.
_RANGES = ((0x0900, 0x109F), (0x1700, 0x17FF), (0x1A00, 0x1AAF), (0x1B00, 0x1CFF), (0xA800, 0xAAFF), (0xABC0, 0xABFF))


@cache
def _pattern() -> re.Pattern[str]:
    signs = (chr(code) for first, last in _RANGES for code in range(first, last + 1))
    return re.compile(f"[{re.escape(''.join(sign for sign in signs if unicodedata.category(sign) == 'Mn'))}]")


@cache
def _every_mark() -> re.Pattern[str]:
    signs = (chr(code) for first, last in _RANGES for code in range(first, last + 1))
    return re.compile(f"[{re.escape(''.join(sign for sign in signs if unicodedata.category(sign)[0] == 'M'))}]")


def count_vowel_signs(text: str) -> int:
    """Count the vowel signs that stripping accents would drop."""
    return 0 if text.isascii() else len(_pattern().findall(text))


def count_script_marks(text: str) -> int:
    """Count all marks of these scripts that are parts of words, whether stripping accents drops them or not."""
    return 0 if text.isascii() else len(_every_mark().findall(text))
