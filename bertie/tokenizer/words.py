"""Where every BERT tokenizer cuts a text, whatever its vocabulary: at spaces, marks of ASCII and Chinese characters.

A tokenizer cuts at other characters as well, and may change or drop some; what stands between two cuts is for it alone.
"""

import re
import string

MARKS = re.escape(string.punctuation)
CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"
WORDS = re.compile(f"[{MARKS}{CJK}]|[^ {MARKS}{CJK}]+")
"""Finds the words of a text; no tokenizer looks beyond one of them to cut it."""
