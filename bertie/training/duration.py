"""Durations as people write them."""

from __future__ import annotations

import re

from bertie.errors import SettingsError


def parse_duration(text: str) -> float:
    """Parse "20m", "90s", "1.5h", "2h30m" or plain seconds, and return seconds.

    Raises:
        SettingsError: the text has another form.
    """
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if parts is None or not any(parts.groups()):
        raise SettingsError(f"a duration is written like 20m, 90s or 1h30m; got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds
