"""Where every BERT tokenizer cuts a text, whatever its vocabulary: at spaces, ASCII punctuation, Chinese characters.

A tokenizer also cuts at other characters, and may change or drop some. It handles each part between two cuts alone.
"""

import re
import string

MARKS = re.escape(string.punctuation)
CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"
WORDS = re.compile(f"[{MARKS}{CJK}]|[^ {MARKS}{CJK}]+")
"""Matches the words of a text; no tokenizer looks beyond a word to cut it."""
