"""Draw boxes, words, arrows and grids as SVG, with one decimal per coordinate and the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

INK, SOFT, LINE, PALE = "#141c2b", "#586274", "#c9d0da", "#eef1f5"
BLUE, ORANGE, GREEN, PLUM = "#0a6ab8", "#d4570a", "#15a06f", "#741562"
_FONT = "ui-sans-serif,'Segoe UI',Roboto,'Noto Sans','PingFang SC','Microsoft YaHei','Noto Sans CJK SC',sans-serif"


def mix(colour: str, share: float) -> str:
    """Mix a colour with white: share 1 is the colour, share 0 is white.

    >>> mix("#0a6ab8", 0.5)
    '#84b4dc'
    """
    parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * min(1.0, max(0.0, share))):02x}" for part in parts)


def number(value: float) -> str:
    """Format a coordinate."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


class Drawing:
    """A white sheet that collects SVG elements; `svg` returns the whole file.

    Args:
        width: in pixels.
        height: in pixels.
        about: the title, for readers who can't see the picture.
    """

    def __init__(self, width: float, height: float, about: str) -> None:
        self.width, self.height, self.about = width, height, about
        self._parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 13,
        anchor: str = "middle",
        colour: str = INK,
        bold: bool = False,
        turned: float = 0.0,
    ) -> None:
        """Write words with their baseline at y, turned clockwise by `turned` degrees."""
        more = ' font-weight="600"' if bold else ""
        if turned:
            more += f' transform="rotate({number(turned)} {number(x)} {number(y)})"'
        attributes = f'x="{number(x)}" y="{number(y)}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
        self._parts.append(f"<text {attributes}{more}>{escape(words)}</text>")

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: str = "",
        *,
        fill: str = "white",
        edge: str = LINE,
        colour: str = INK,
        size: int = 13,
        bold: bool = False,
        round_by: float = 4.0,
        dashed: bool = False,
    ) -> None:
        """Draw a box with words in its centre."""
        shape = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        more = ' stroke-dasharray="3 3"' if dashed else ""
        self._parts.append(f'<rect {shape} rx="{number(round_by)}" fill="{fill}" stroke="{edge}"{more}/>')
        if words:
            self.text(x + width / 2, y + height / 2 + 0.36 * size, words, size=size, colour=colour, bold=bold)

    def line(self, points: Sequence[tuple[float, float]], *, colour: str = SOFT, arrow: bool = True) -> None:
        """Draw a line through points, with an arrowhead at its end."""
        path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
        head = ' marker-end="url(#head)"' if arrow else ""
        self._parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.4"{head}/>')

    def cells(self, places: Sequence[tuple[float, float]], size: float, fill: str) -> None:
        """Draw many squares of one colour as a single path."""
        side = number(size)
        path = "".join(f"M{number(x)} {number(y)}h{side}v{side}h-{side}z" for x, y in places)
        self._parts.append(f'<path d="{path}" fill="{fill}"/>')

    def svg(self) -> str:
        """Return the text of the SVG file."""
        size = f'width="{number(self.width)}" height="{number(self.height)}"'
        view = f'viewBox="0 0 {number(self.width)} {number(self.height)}"'
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0.5L8 4L0 7.5z" fill="{SOFT}"/></marker></defs>'
        )
        opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} role="img" font-family="{_FONT}">'
        sheet = f'<rect {size} fill="white"/>'
        return "\n".join([opening, f"<title>{escape(self.about)}</title>", head, sheet, *self._parts, "</svg>", ""])


def grid(
    sheet: Drawing,
    x: float,
    y: float,
    size: float,
    fills: Sequence[Sequence[str]],
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    slanted: bool = True,
) -> None:
    """Draw a table of coloured squares, with names to its left and above it.

    Args:
        sheet: the sheet to draw on.
        x: left edge of the first square.
        y: top edge of the first square.
        size: side of a square.
        fills: colours, row by row.
        rows: names of the rows.
        columns: names of the columns.
        slanted: whether the names of the columns are slanted.
    """
    for colour in dict.fromkeys(fill for row in fills for fill in row):
        places = [
            (x + column * size, y + number * size)
            for number, row in enumerate(fills)
            for column, fill in enumerate(row)
            if fill == colour
        ]
        sheet.cells(places, size - 1, colour)
    for row_number, name in enumerate(rows):
        sheet.text(x - 6, y + (row_number + 0.5) * size + 4, name, size=11, anchor="end")
    for column, name in enumerate(columns):
        middle = x + (column + 0.5) * size
        if slanted:
            sheet.text(middle + 1, y - 6, name, size=11, anchor="start", turned=-55.0)
        else:
            sheet.text(middle, y - 6, name, size=11)
