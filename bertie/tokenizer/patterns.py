"""Test the regular expressions of a tokenizer.json in a child process, before they run on a user's text.

The time that some expressions need explodes with the length of the text (`(a+)+$`, `a*a*a*b`), and no analysis finds
all of them. So a child process with limited CPU time runs the file's expressions on long runs of the characters that
they name. Expressions of common tokenizers are known and skip the test.
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
    """Test the regular expressions of a tokenizer.json.

    Args:
        text: the file's text.
        place: the file's path, for messages.

    Raises:
        DataError: an expression fails or takes too long on a text of 2,000 characters.
    """
    if '"Regex"' not in text:
        return
    state = parse_object(text, place)
    parts = {name: state.get(name) for name in ("normalizer", "pre_tokenizer")}
    unknown = [pattern for pattern in _patterns(parts) if pattern not in KNOWN]
    if not unknown:
        return
    done = child.python(["-m", "bertie.tokenizer.patterns"], text=json.dumps([parts, unknown]), seconds=_SECONDS)
    if done.code != 0:
        raise DataError(
            f"{place}: its regular expression {unknown[0]!r:.100} fails, or takes more than {_CPU_SECONDS} seconds, on "
            f"a text of {_LENGTH:,} characters; bertie refuses the tokenizer, because a text could stop the program"
        )


def _patterns(value: Any) -> list[str]:
    """Collect the values of all Regex keys, at any depth."""
    if isinstance(value, dict):
        own = [value["Regex"]] if isinstance(value.get("Regex"), str) else []
        return own + [pattern for part in value.values() for pattern in _patterns(part)]
    return [pattern for part in value for pattern in _patterns(part)] if isinstance(value, list) else []


def _main() -> int:
    """Run the child: encode long runs of the characters in the expressions, with the parts read from stdin."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    except (ImportError, OSError, ValueError):
        pass  # a system without such limits; the parent's time limit stops the child
    parts, patterns = parse_json(sys.stdin.read(), "standard input", data=True)
    rust = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    state = parse_object(rust.to_str(), "")
    rust = Tokenizer.from_str(json.dumps({**state, **parts}))
    named = dict.fromkeys(letter for pattern in patterns for letter in pattern)
    for letter in [*named, *" aA0.-_\n'中"][:_MOST_CHARACTERS]:
        rust.encode(letter * _LENGTH + "!")
        rust.encode(letter * _LENGTH + "!" + "".join(named))  # a required next character exists, but too late
        rust.encode((letter + "a") * (_LENGTH // 2) + "!")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
