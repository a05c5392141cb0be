"""A strict reader of pages: every tag closed in order, nothing that loads or runs, every number of a drawing finite."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest

VOID = {"meta", "br", "hr"}
LOADING = {
    *("script", "link", "img", "iframe", "object", "embed", "audio", "video", "source", "track", "base", "form"),
    *("use", "image", "foreignobject", "animate", "set", "frame", "portal", "input", "template", "noscript"),
}
LOADING_ATTRIBUTES = {"src", "srcset", "srcdoc", "xlink:href", "action", "formaction", "background", "poster", "data"}
COORDINATES = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy"}
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass
class Element:
    """A tag with what is in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: list["Element"] = field(default_factory=list)

    def all(self, tag: str, kind: str = "") -> list["Element"]:
        """Return the elements below, of a tag and a class."""
        found = []
        for element in self.inside:
            if element.tag == tag and (not kind or kind in element.attributes.get("class", "").split()):
                found.append(element)
            found += element.all(tag, kind)
        return found

    def words(self) -> str:
        """Return the text here and below, in pieces joined by spaces."""
        return " ".join([self.text, *(element.words() for element in self.inside)])


class Reader(HTMLParser):
    """Builds the tree and stops at whatever a browser would have to repair."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {})
        self.stack = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        _is_harmless(element)
        self.stack[-1].inside.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert any(element.tag == "svg" for element in self.stack), f"<{tag}/> closes itself in HTML"
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack[-1].tag == tag, f"</{tag}> closes <{self.stack[-1].tag}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.stack[-1].text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")


def _is_harmless(element: Element) -> None:
    assert element.tag not in LOADING, f"<{element.tag}> loads or runs something"
    for name, value in element.attributes.items():
        assert name not in LOADING_ATTRIBUTES and not name.startswith("on"), f"{element.tag} has {name}={value}"
        assert name != "href" or value.startswith("#"), f"a link to {value}"
        assert name != "style" or re.fullmatch(r"(width|--share):[0-9.]+%?", value), f"a style: {value}"


def _drawing_is_finite(svg: Element) -> None:
    """Hold every number of a drawing to its frame."""
    left, top, width, height = map(float, svg.attributes["viewbox"].split())
    limit = max(width, height)
    assert (left, top) == (0, 0) and svg.attributes["role"] == "img" and svg.attributes["aria-label"]
    for tag in ("path", "rect", "circle", "text"):
        for element in svg.all(tag):
            for name, value in element.attributes.items():
                if name in COORDINATES | {"r", "rx", "width", "height"}:
                    assert math.isfinite(float(value)), f"{tag} {name}={value}"
                    assert -1 <= float(value) <= limit + 1, f"{tag} {name}={value} is outside of the frame"
                if name == "d":
                    assert not re.search(r"[^MLHVv0-9. -]", value), f"a path: {value}"
                    assert all(-1 <= float(number) <= limit + 1 for number in NUMBER.findall(value)), value


def read(html: str) -> Element:
    """Read a page or a part of one, and stop at anything that isn't sound."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.stack == [reader.root], f"left open: {[element.tag for element in reader.stack[1:]]}"
    for style in reader.root.all("style"):
        assert not re.search(r"url\(|@import|https?:|expression|</", style.text)
        assert style.text.count("{") == style.text.count("}")
    for svg in reader.root.all("svg"):
        _drawing_is_finite(svg)
    places = [element.attributes["id"] for element in reader.root.all("section")]
    assert len(places) == len(set(places))
    assert {link.attributes["href"] for link in reader.root.all("a")} <= {f"#{place}" for place in places}
    return reader.root


@pytest.fixture(scope="session")
def read_page() -> Callable[[str], Element]:
    """Return the strict reader."""
    return read
