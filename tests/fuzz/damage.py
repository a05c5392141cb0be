"""Ways to damage files and folders: bytes, JSON, tables, weights, and what lies under a name."""

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOSTILE_TEXTS = (
    "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    "\x9b31m",
    "\u202eevil\u2066",
    "\x00",
    "\r",
    "\ufeff",
    "\u2028",
    "",
    " ",
    "9" * 5000,
    "x" * 70_000,
    "👩\u200d👧 e\u0301\u0300",
    "../../../etc/passwd",
    "=cmd()",
    "[1, 2",
    "{'a': 1}",
    "nan",
    "None",
    "-1",
    "1e999",
    "\\ud800",
    "[MASK]",
)
HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**250, 0.5, -0.0, 1e308, 1e-320),
    *([], {}, [[]], [None], {"": {}}, [1, "a", None], {"type": "Sequence"}, [[1, 2], [3]], ["a", "a"]),
    *HOSTILE_TEXTS,
)
RAW_VALUES = ("9" * 5000, "1" * 400, "NaN", "-Infinity", "1e999", "[" * 100_000, '{"a":' * 5000, "[" * 150 + "]" * 150)
RAW_BYTES = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\x1b[2J", b"\xed\xa0\x80", b"\xc3", b"\xf4\x90\x80\x80"),
    *(
        b'"',
        b"'",
        b"\t",
        b",",
        b";",
        b"\n\n\n",
        b"{",
        b"}",
        b"[",
        b"\\",
        b"\\u0000",
        b"\\ud83d",
        b"\x1a",
        b"\xe2\x80\xae",
    ),
)


def damage_file(file: Path, draw: random.Random) -> str:
    """Damage one file in a way that suits it; return what was done."""
    ways: list[Callable[[Path, random.Random], str]] = [in_bytes, in_bytes, in_bytes, in_kind]
    if file.suffix in (".json", ".jsonl"):
        ways = [in_json] * 5 + ways
    if file.suffix in (".csv", ".tsv", ".conll", ".txt"):
        ways = [in_table] * 4 + ways
    if file.suffix == ".toml":
        ways = [in_toml] * 4 + ways
    if file.suffix == ".safetensors":
        ways = [in_weights] * 5 + ways
    if file.suffix == ".bin":
        ways = [in_numbers] * 4 + ways
    way = draw.choice(ways)
    try:
        return f"{way.__name__}:{way(file, draw)}"
    except (ValueError, UnicodeError, KeyError, IndexError, RecursionError, struct.error):
        return f"in_bytes:{in_bytes(file, draw)}"


def in_bytes(file: Path, draw: random.Random) -> str:
    """Flip, cut, double, insert; or another encoding."""
    data = bytearray(file.read_bytes())
    place = draw.randrange(len(data) + 1)
    span = draw.choice((1, 4, 30, 500))
    what = draw.choice(("flip", "cut", "double", "drop", "insert", "utf-16", "latin-1", "crlf", "bom", "empty", "zero"))
    if what == "flip":
        for _ in range(draw.choice((1, 1, 3, 20))):
            if data:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif what == "cut":
        del data[place:]
    elif what == "double":
        data[place:place] = data[place : place + span] * draw.choice((1, 2, 50))
    elif what == "drop":
        del data[place : place + span]
    elif what == "insert":
        data[place:place] = draw.choice(RAW_BYTES) * draw.choice((1, 1, 3, 2000))
    elif what in ("utf-16", "latin-1"):
        data = bytearray(data.decode(errors="replace").encode(what, errors="replace"))
    elif what == "crlf":
        data = data.replace(b"\n", draw.choice((b"\r\n", b"\r", b"\x85", b"\n\n")))
    elif what == "bom":
        data[:0] = draw.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00" * 10))
    else:
        data = bytearray(span if what == "zero" else 0)
    file.write_bytes(data)
    return what


def in_kind(file: Path, draw: random.Random) -> str:
    """Put something else under the name."""
    what = draw.choice(("pipe", "folder", "missing", "self", "link", "dangling", "sparse", "mode", "device"))
    if what == "link":
        moved = file.with_name(f"{file.name}.moved")
        file.rename(moved)
        file.symlink_to(moved.name)
        return what
    if what == "mode":
        file.chmod(0)
        return what
    file.unlink()
    if what == "pipe":
        os.mkfifo(file)
    elif what == "folder":
        file.mkdir()
    elif what == "self":
        file.symlink_to(file.name)
    elif what == "dangling":
        file.symlink_to("nowhere")
    elif what == "device":
        file.symlink_to("/dev/zero")
    elif what == "sparse":
        with file.open("wb") as stream:
            stream.truncate(5 * 2**30)
    return what


def in_json(file: Path, draw: random.Random) -> str:
    """Change a value, a key or a line of JSON."""
    text = file.read_text(encoding="utf-8")
    lines = text.split("\n") if file.suffix == ".jsonl" else [text]
    place = draw.randrange(max(1, len(lines) - 1))
    value = json.loads(lines[place])
    holder, key = _somewhere(value, draw)
    what = draw.choice(("value", "value", "value", "raw", "raw", "drop", "key", "twice"))
    mark = "@MARK@"
    if holder is None:
        value = draw.choice(HOSTILE_VALUES)
    elif what == "value":
        holder[key] = draw.choice(HOSTILE_VALUES)
    elif what == "raw":
        holder[key] = mark
    elif what == "drop":
        del holder[key]
    elif isinstance(holder, dict):
        holder[draw.choice(HOSTILE_TEXTS)] = holder.pop(key) if what == "key" else holder[key]
    else:
        holder.insert(key, holder[key])
    lines[place] = json.dumps(value, ensure_ascii=draw.random() < 0.5).replace(f'"{mark}"', draw.choice(RAW_VALUES))
    file.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    return what


def _somewhere(value: Any, draw: random.Random) -> tuple[Any, Any]:
    """Return a random holder and key or place inside a value."""
    holder: Any = None
    key: Any = None
    while isinstance(value, dict | list) and value:
        holder = value
        key = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
        value = value[key]
        if draw.random() < 0.25:
            break
    return holder, key


def in_table(file: Path, draw: random.Random) -> str:
    """Change cells, rows and the header."""
    lines = file.read_text(encoding="utf-8").split("\n")
    mark = draw.choice((",", "\t", ";", " ", "|"))
    own = "\t" if file.suffix == ".tsv" else "," if file.suffix == ".csv" else " "
    place = draw.randrange(len(lines))
    what = draw.choice(("cell", "cell", "header", "ragged", "quote", "shuffle", "delimiter", "repeat", "blank", "long"))
    fields = lines[place].split(own)
    if what == "cell":
        fields[draw.randrange(len(fields))] = draw.choice(HOSTILE_TEXTS)
        lines[place] = own.join(fields)
    elif what == "header":
        lines[0] = own.join(draw.choice(("text", "label", "id", "score", *HOSTILE_TEXTS[:8])) for _ in fields)
    elif what == "ragged":
        lines[place] = own.join(fields * draw.choice((2, 5)))
    elif what == "quote":
        lines[place] = draw.choice("\"'") + lines[place]
    elif what == "shuffle":
        draw.shuffle(lines)
    elif what == "delimiter":
        lines = [line.replace(own, mark) for line in lines]
    elif what == "repeat":
        lines *= draw.choice((2, 30))
    elif what == "blank":
        lines[place:place] = [""] * draw.choice((1, 100))
    else:
        lines[place] = lines[place] * 3000
    file.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass", newline="")
    return what


def in_toml(file: Path, draw: random.Random) -> str:
    """Change or add lines of settings."""
    lines = file.read_text(encoding="utf-8").split("\n")
    place = draw.randrange(len(lines))
    value = draw.choice(
        ("-1", "0", "nan", "inf", "1e999", "''", "[]", "{}", "true", "'\\u001b[2J'", "9" * 5000, "[" * 9000)
    )
    what = draw.choice(("value", "value", "value", "line", "drop", "table"))
    if what == "value" and "=" in lines[place]:
        lines[place] = f"{lines[place].partition('=')[0]}= {value}"
    elif what == "drop":
        del lines[place]
    elif what == "table":
        lines[place:place] = [f"[{draw.choice(('model', 'training', 'optimizer', 'a.b.c'))}]"]
    else:
        lines[place:place] = [f"{draw.choice(('steps', 'command', 'x', 'a.' * 3000 + 'a', 'text'))} = {value}"]
    file.write_text("\n".join(lines), encoding="utf-8")
    return what


def in_weights(file: Path, draw: random.Random) -> str:
    """Change the header of a safetensors file, or its numbers."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    name = draw.choice(sorted(header))
    what = draw.choice(("entry", "entry", "rename", "drop", "nan", "huge", "raw", "length", "type"))
    if what == "nan" and rest:
        place = draw.randrange(len(rest) // 4) * 4
        rest[place : place + 4] = struct.pack("<f", draw.choice((float("nan"), float("inf"), -float("inf"))))
    elif what == "huge":
        for place in range(0, len(rest) - 3, 4):
            rest[place : place + 4] = struct.pack("<f", 3e38)
    elif what == "rename":
        header[draw.choice((*HOSTILE_TEXTS, f"module.{name}", "encoder.x"))] = header.pop(name)
    elif what == "drop":
        del header[name]
    elif what == "entry" and isinstance(header[name], dict) and header[name]:
        header[name][draw.choice(sorted(header[name]))] = draw.choice(HOSTILE_VALUES)
    elif what == "type" and "dtype" in header[name]:
        header[name]["dtype"] = draw.choice(("F16", "BF16", "I64", "U8", "F64", "BOOL", "F8_E4M3", "X"))
    text = json.dumps(header)
    if what == "raw":
        text = text.replace(json.dumps(header[name]), draw.choice(RAW_VALUES), 1)
    size = len(text.encode()) if what != "length" else draw.choice((0, 1, 2**20, 2**40, 2**63, 2**64 - 1))
    file.write_bytes(struct.pack("<Q", size) + text.encode() + bytes(rest))
    return what


def in_numbers(file: Path, draw: random.Random) -> str:
    """Change 8 bytes, as in files of offsets and ids."""
    data = bytearray(file.read_bytes())
    place = draw.randrange(max(1, len(data) // 8)) * 8
    data[place : place + 8] = struct.pack("<q", draw.choice((0, -1, 1, 2**62, -(2**62), 3, 255, 65_535)))
    file.write_bytes(data)
    return "number"


def files_of(folder: Path) -> list[Path]:
    """List the regular files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def forget_checksums(folder: Path) -> None:
    """Remove the checksums of a folder, so that what lies behind their comparison is reached."""
    for path in [*folder.rglob("SHA256SUMS")]:
        path.unlink()


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
