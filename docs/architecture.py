"""Draw the floors of the package and its rooms, from the imports and from pyproject.toml.

    python docs/architecture.py        docs/images/architecture.svg and the table of docs/reference/architecture.md

A floor is a line of `tool.importlinter`'s layers: a file imports only from floors below its own. A line of the picture
is an import of one room by another; its width grows with the number of files that have it. Imports of the lowest floors
(`_GROUND`), which every room uses, are not drawn.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from pathlib import Path

from benchmarks.page import filled

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bertie"
PAGE, IMAGE = ROOT / "docs" / "reference" / "architecture.md", ROOT / "docs" / "images" / "architecture.svg"
SCRIPT = "docs/architecture.py"
_WIDTH, _FLOOR, _BOX, _HEIGHT = 860, 58, 104, 30
_GROUND = 3  # floors from the lowest whose imports are not drawn
_SHIFTS = (0, 170, -170)  # of the rooms of one floor after another, so that lines don't run through other rooms
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2933; text-anchor: middle; }
.size { font-size: 9px; fill: #52606d; }
.floor { fill: #f5f7fa; }
rect.room { fill: #ffffff; stroke: #3e4c59; }
path { fill: none; stroke: #2680c2; opacity: 0.28; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb; } .size { fill: #9aa5b1; } .floor { fill: #1f2933; }
  rect.room { fill: #323f4b; stroke: #9aa5b1; } path { stroke: #63b3ed; }
}
"""


def floors() -> list[list[str]]:
    """Return the rooms of each floor, from the highest down, as pyproject.toml has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    named = ([part.strip().strip("()") for part in layer.split("|")] for layer in layers)
    return [[name.removeprefix("bertie.") for name in names if exists(name)] for names in named]


def exists(name: str) -> bool:
    """Return whether a module of the package is there; layers may name future ones."""
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


def files_of(room: str) -> list[Path]:
    """Return the Python files of a room: a folder, or one file."""
    folder = PACKAGE / room
    return sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imports(rooms: list[str]) -> Counter[tuple[str, str]]:
    """Count the files of each room that import from each other room."""
    arrows: Counter[tuple[str, str]] = Counter()
    for room in rooms:
        for file in files_of(room):
            targets = {name for name in _imported(file) if name in rooms and name != room}
            arrows.update((room, target) for target in targets)
    return arrows


def _imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bertie":
            parts = (node.module or "").split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("bertie.")}
    return names


def picture() -> str:
    """Draw the floors, the rooms on them and the imports between them, as SVG."""
    rows = [row for row in floors() if row]
    places = {
        room: (
            _WIDTH * (number + 1) / (len(row) + 1) + (_SHIFTS[floor % 3] if len(row) < 3 else 0),
            20 + floor * _FLOOR,
        )
        for floor, row in enumerate(rows)
        for number, room in enumerate(row)
    }
    drawn_rooms = {room for row in rows[:-_GROUND] for room in row}
    parts = [
        f'<rect class="floor" x="0" y="{16 + n * _FLOOR}" width="{_WIDTH}" height="40"/>' for n in range(len(rows))
    ]
    for (source, target), count in sorted(imports(list(places)).items()):
        if target not in drawn_rooms:
            continue
        (x, y), (to_x, to_y) = places[source], places[target]
        start, end = y + _HEIGHT, to_y
        bend = (end - start) / 2
        curve = f"M{x:.0f},{start} C{x:.0f},{start + bend:.0f} {to_x:.0f},{end - bend:.0f} {to_x:.0f},{end}"
        parts.append(f'<path d="{curve}" stroke-width="{0.6 + 0.35 * count**0.7:.1f}"/>')
    for room, (x, y) in places.items():
        count = len(files_of(room))
        size = f"{count} files" if count > 1 else "1 file"
        parts.append(f'<rect class="room" x="{x - _BOX / 2:.0f}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="5"/>')
        parts.append(f'<text x="{x:.0f}" y="{y + 14}">{room}</text>')
        parts.append(f'<text class="size" x="{x:.0f}" y="{y + 25}">{size}</text>')
    height = 16 + len(rows) * _FLOOR
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Rooms of bertie by floor">\n<style>{_STYLE}</style>\n{body}\n</svg>\n'
    )


def table() -> str:
    """Describe every room by the first line of its docstring, from the highest floor down."""
    lines = ["| floor | room | what is in it |", "| ---: | --- | --- |"]
    rows = [row for row in floors() if row]
    for number, row in enumerate(rows):
        for room in row:
            folder = PACKAGE / room
            source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            first = (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "").partition("\n")[0]
            name = f"[`{room}`](../../bertie/{room}{'' if folder.is_dir() else '.py'})"
            lines.append(f"| {len(rows) - number} | {name} | {first.replace('``', '`')} |")
    return "\n".join(lines)


def drawn() -> str:
    """Return the page with the table as it is now."""
    return filled(PAGE.read_text(encoding="utf-8"), table(), SCRIPT, PAGE.name)


if __name__ == "__main__":
    PAGE.write_text(drawn(), encoding="utf-8")
    IMAGE.write_text(picture(), encoding="utf-8")
