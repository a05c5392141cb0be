"""Regular expressions that a tokenizer.json brings: tried in a child process before a text of the user's meets them.

Some expressions need time that grows without end with the text (`(a+)+$`, `a*a*a*b`), which no reading of them tells
for certain. So each file's expressions meet long runs of the characters they name, in a process whose CPU time is
limited. Those that tokenizers commonly have are known, and cost nothing.
"""

import json
import sys
from typing import Any

from tokenizers import Tokenizer, models

from bertie import child
from bertie.errors import DataError
from bertie.untrusted import parse_json, parse_object

KNOWN = frozenset(
    {
        " ",
        " {2,}",
        r"\s+",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    }
)
_CPU_SECONDS, _SECONDS = 5, 60.0
_LENGTH = 2000
_MOST_CHARACTERS = 40


def check_patterns(text: str, place: str) -> None:
    """Try the regular expressions of a tokenizer.json.

    Args:
        text: of the file.
        place: the file, for messages.

    Raises:
        DataError: an expression fails, or takes too long, on a text of 2,000 characters.
    """
    if '"Regex"' not in text:
        return
    state = parse_object(text, place)
    parts = {name: state.get(name) for name in ("normalizer", "pre_tokenizer")}
    own = [pattern for pattern in _patterns(parts) if pattern not in KNOWN]
    if not own:
        return
    done = child.python(["-m", "bertie.tokenizer.patterns"], text=json.dumps([parts, own]), seconds=_SECONDS)
    if done.code != 0:
        raise DataError(
            f"{place}: its regular expression {own[0]!r:.100} fails, or takes more than {_CPU_SECONDS} seconds, on a "
            f"text of {_LENGTH:,} characters; a text could stop the program, so this tokenizer is not used"
        )


def _patterns(value: Any) -> list[str]:
    """Collect what stands under the key Regex, however deep."""
    if isinstance(value, dict):
        own = [value["Regex"]] if isinstance(value.get("Regex"), str) else []
        return own + [found for part in value.values() for found in _patterns(part)]
    return [found for part in value for found in _patterns(part)] if isinstance(value, list) else []


def _main() -> int:
    """Do the child's work: encode long runs of what the expressions name, with the parts that stdin brings."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    except (ImportError, OSError, ValueError):
        pass  # a system without such limits; the parent's clock stops us
    parts, patterns = parse_json(sys.stdin.read(), "standard input", data=True)
    rust = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    state = parse_object(rust.to_str(), "")
    rust = Tokenizer.from_str(json.dumps({**state, **parts}))
    named = dict.fromkeys(letter for pattern in patterns for letter in pattern)
    for letter in [*named, *" aA0.-_\n'中"][:_MOST_CHARACTERS]:
        rust.encode(letter * _LENGTH + "!")
        rust.encode(letter * _LENGTH + "!" + "".join(named))  # what must follow is there, in the wrong place
        rust.encode((letter + "a") * (_LENGTH // 2) + "!")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
