"""The strict reader itself: it refuses what a browser would repair, load or run."""

from collections.abc import Callable
from typing import Any

import pytest

Read = Callable[[str], Any]


@pytest.mark.parametrize(
    "broken",
    [
        "<p><b>x</p></b>",
        "<p>x",
        "<div/>",
        '<p class="a" class="b">x</p>',
        "<script>1</script>",
        '<a href="https://example.org">x</a>',
        '<p onclick="x()">x</p>',
        '<p style="background:url(x)">x</p>',
        "<style>@import 'x';</style>",
        "<!-- x -->",
        '<svg viewBox="0 0 10 10" role="img" aria-label="x"><circle cx="nan" cy="1"/></svg>',
        '<svg viewBox="0 0 10 10" role="img" aria-label="x"><path d="M1 1Linf 3"/></svg>',
        '<svg viewBox="0 0 10 10" role="img" aria-label="x"><path d="M1 1L400 3"/></svg>',
    ],
)
def test_refuses(broken: str, read_page: Read) -> None:
    with pytest.raises((AssertionError, ValueError)):
        read_page(broken)


def test_accepts_what_is_sound(read_page: Read) -> None:
    page = read_page('<p class="a b">1 &lt; 2 <b>x</b></p><svg viewBox="0 0 9 9" role="img" aria-label="x"></svg>')
    assert page.all("p", "b")[0].text.strip() == "1 < 2"
    assert page.all("b")[0].words() == "x"
