"""The menu of the site: which page is in which section. A new page of docs/ appears in the section of its folder."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch

_CHINESE = "中文"
_EXPLANATION = [
    *(f"explanation/{name}" for name in ("README", "attention", "encoder", "decoder", "pretraining", "finetuning")),
    *(f"explanation/{name}" for name in ("packing", "plateau", "learning", "microbert", "performance")),
]
_SECTIONS = {
    "Start": ["overview", "installation", "tutorial", "README"],
    _CHINESE: ["index.zh", "overview.zh", "chinese.zh", *(f"{name}.zh" for name in _EXPLANATION)],
    "How-to": [
        "tasks",
        "custom_head",
        "chinese",
        "show",
        "export",
        "serving",
        "serving_protocols",
        "howto/*",
        "extending",
    ],
    "Reference": [
        "reference/commands/index",
        "reference/settings",
        "reference/words",
        "reference/python",
        "reference/files",
        "reference/glossary",
        "reference/architecture",
    ],
    "Explanation": _EXPLANATION,
    "Measurements": ["measured/README", "measured/results", "measured/benchmarks", "measured/studies"],
    "Project": ["project/*"],
}
_FOLDERS = {
    "": "How-to",
    "howto": "How-to",
    "reference": "Reference",
    "explanation": "Explanation",
    "measured": "Measurements",
    "project": "Project",
}
"""Folder of a page that no section names -> its section."""


def sections(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the pages of each section: those that the section names, in its order, then the others of its folder.

    Args:
        names: pages without suffix. Pages below another page of the menu, such as a command's, are left out.
    """
    left = [name for name in sorted(names) if not name.startswith("reference/commands/") or name.endswith("/index")]
    menu: dict[str, list[str]] = {}
    for section, patterns in _SECTIONS.items():
        menu[section] = list(dict.fromkeys(name for pattern in patterns for name in left if fnmatch(name, pattern)))
    named = {name for pages in menu.values() for name in pages}
    for name in left:
        if name not in named:
            folder = name.partition("/")[0] if "/" in name else ""
            menu[_CHINESE if name.endswith(".zh") else _FOLDERS[folder]].append(name)
    return menu


def tables(page: str, written: Mapping[str, str]) -> str:
    """Return the menu as MyST's toctrees, for the front page; nothing for other pages."""
    if page != "index.md":
        return ""
    names = {name.removesuffix(".md") for name in written} | {"index.zh"}
    blocks = [
        f"```{{toctree}}\n:hidden:\n:caption: {section}\n\n" + "\n".join(pages) + "\n```"
        for section, pages in sections(names).items()
    ]
    return "\n\n".join(blocks)
