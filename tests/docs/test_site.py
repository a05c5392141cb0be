"""The site of the documentation: complete, without dead links, without other hosts, and searchable from disk."""

from __future__ import annotations

import html.parser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from bertie import config, registry
from bertie.errors import SettingsError
from docs.website import commands, menu, staging

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("sphinx", "furo", "myst_parser", "latex2mathml") if find_spec(name) is None]
LOADS = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
"""Elements that make a browser load a file, and their attribute."""
SEARCHES = {
    "no answer threshold": "tasks.html#question-answering",
    "掩码": "explanation/pretraining.zh.html#",
    "整词掩码": "chinese.zh.html#",
    "plateau": "explanation/plateau.html#",
    "--freeze-cache": "reference/commands/finetune.html#cmdoption-bertie-finetune-freeze-cache",
    "BertClassifier": "reference/python.html#bertie.BertClassifier",
}
"""What is searched for, and the beginning of a result's address: the page, and the section or name on it."""


class Page(html.parser.HTMLParser):
    """The links of a page, what it loads, and the identifiers in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.identifiers: set[str] = set()
        self.language = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.identifiers |= {values[name] for name in ("id", "name") if name in values}
        if tag == "html":
            self.language = values.get("lang", "")
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADS and LOADS[tag] in values and values.get("rel") not in ("next", "prev", "search", "index"):
            self.loads.append(values[LOADS[tag]])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    if MISSING:
        pytest.skip(f"the site is built with {', '.join(MISSING)}: pip install 'bertie[docs]'")
    out = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "docs.website", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site by its path."""
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


@pytest.fixture
def window(site: Path) -> Iterator[Any]:
    """A page of Chromium, which reports what it loads in `requests`."""
    program = shutil.which("chromium")
    if program is None or find_spec("playwright") is None:
        if os.environ.get("BERTIE_REQUIRE_BROWSER") == "1":
            pytest.fail("BERTIE_REQUIRE_BROWSER=1, but there is no chromium or no playwright")
        pytest.skip("there is no chromium or no playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": 360, "height": 800})
        page.requests, page.faults = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        yield page
        browser.close()


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as they are given to Sphinx; this needs no Sphinx."""
    folder = tmp_path_factory.mktemp("staged")
    staging.stage(folder)
    return folder


def test_every_command_and_flag_is_in_the_reference(staged: Path) -> None:
    for name, function in commands.functions().items():
        text = (staged / "reference" / "commands" / f"{name}.md").read_text(encoding="utf-8")
        described = set(re.findall(r"^```\{option\} (?:--(?:no-)?)?([\w.-]+)", text, re.MULTILINE))
        keys = {
            key.replace("_", "-") for key, kind in config.known_keys(function).items() if not config.group_type(kind)
        }
        arguments = {each.key.upper() for each in commands.parameters(function)} & described
        assert keys <= described | {each.lower().replace("_", "-") for each in arguments}, name
        assert {"config", "json", "quiet"} <= described


def test_every_setting_and_word_is_in_the_reference(staged: Path) -> None:
    text = (staged / "reference" / "settings.md").read_text(encoding="utf-8")
    for function in commands.functions().values():
        for name, group in commands.groups(function).items():
            section = text.partition(f"## `[{name}]`")[2].partition("\n## ")[0]
            assert all(f"| `{field.key}` |" in section for field in commands.group_fields("", group)), name
    assert all(f"### {name}\n" in text for name in registry.choices("tasks"))
    assert "| `null_threshold` |" in text
    words = (staged / "reference" / "words.md").read_text(encoding="utf-8")
    folders = ("tasks", "models", "starts", "optimizers", "schedules", "backends", "trackers", "tables")
    assert [word for folder in folders for word in registry.choices(folder) if f"| `{word}` |" not in words] == []


def test_every_name_of_the_package_is_in_the_reference(staged: Path) -> None:
    import bertie

    text = (staged / "reference" / "python.md").read_text(encoding="utf-8")
    public = {name for name in dir(bertie) if not name.startswith("_")} & {
        *registry.choices("commands"),
        "load",
        "encoder",
        *bertie._ITEMS,
        *bertie._ESTIMATORS,
        "Task",
        "Tracker",
    }
    assert len(public) > 25
    assert [name for name in public if not re.search(rf"\}} bertie\.{name}\b", text)] == []


def test_every_page_is_in_the_menu(staged: Path) -> None:
    names = {path.relative_to(staged).with_suffix("").as_posix() for path in staged.rglob("*.md")} - {"index"}
    listed = [name for section in menu.sections(names).values() for name in section]
    assert len(listed) == len(set(listed))
    assert {name for name in names - set(listed) if not name.startswith("reference/commands/")} == set()


def test_a_new_page_is_put_into_the_section_of_its_folder() -> None:
    sections = menu.sections(["tutorial", "explanation/new", "new", "explanation/new.zh"])
    assert sections["Explanation"] == ["explanation/new"] and sections["How-to"] == ["new"]
    assert sections["中文"] == ["explanation/new.zh"]


def test_a_dead_link_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = staging.ROOT / "docs" / "page.md"
    monkeypatch.setattr(Path, "read_text", lambda self, **_: "see [there](nowhere.md#part)\n")
    with pytest.raises(SystemExit, match=r"docs/page\.md: the link to nowhere\.md leads nowhere"):
        list(staging._linked(page, "page.md", set(), set()))


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed")
    from docs.website.__main__ import build

    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="has other files than a site"):
        build(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_warning_leaves_no_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} not installed")
    from docs.website import __main__ as website

    def stage(folder: Path) -> set[str]:
        folder.mkdir()
        (folder / "index.md").write_text("# Title\n\n[there](nowhere.md)\n")
        return set()

    monkeypatch.setattr(website, "stage", stage)
    with pytest.raises(SettingsError, match="no site was written"):
        website.build(tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


def test_links_are_alive_and_nothing_comes_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    dead, loaded = [], []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("http", "https", "mailto"), link
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            known = pages[target].identifiers | {""} if target in pages else {unquote(parts.fragment)}
            if not target.is_file() or unquote(parts.fragment) not in known:
                dead.append((path.name, link))
        loaded += [(path, place) for place in page.loads if not place.startswith("data:")]
    assert dead == []
    assert len(loaded) > 100
    assert [(path.name, place) for path, place in loaded if urlsplit(place).scheme or urlsplit(place).netloc] == []
    assert [place for path, place in loaded if not (path.parent / unquote(urlsplit(place).path)).is_file()] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style
    assert pages[site / "explanation" / "pretraining.zh.html"].language == "zh-CN"
    assert pages[site / "explanation" / "pretraining.html"].language == "en"
    formula = (site / "explanation" / "attention.html").read_text(encoding="utf-8")
    assert "<math" in formula and "\\frac" not in formula


def test_search_finds_words_of_both_languages_from_disk(site: Path, pages: dict[Path, Page], window: Any) -> None:
    for words, page in SEARCHES.items():
        window.goto((site / "index.html").as_uri())
        window.goto(f"{(site / 'search.html').as_uri()}?q={words}")
        window.wait_for_function("/found \\d+ page/.test(document.querySelector('#search-results').innerText)")
        window.wait_for_function(
            "document.querySelectorAll('li.kind-text').length === document.querySelectorAll('.kind-text p').length"
        )
        found = window.eval_on_selector_all("ul.search a", "all => all.map(a => a.href)")
        places = [unquote(link).removeprefix(f"{site.as_uri()}/") for link in found]
        assert [place for place in places if place.startswith(page)], (words, places)
        addresses = [urlsplit(place) for place in places]
        assert [place for place in addresses if place.fragment not in pages[site / place.path].identifiers | {""}] == []
        quoted = window.eval_on_selector_all("ul.search p.context", "all => all.map(p => p.innerText)")
        assert any(words.split()[-1] in text for text in quoted), (words, quoted)
    assert window.faults == []
    assert [place for place in window.requests if not place.startswith(("file:", "data:"))] == []


def test_pages_fit_a_narrow_window(site: Path, window: Any) -> None:
    for name in ("index", "index.zh", "tasks", "reference/commands/finetune", "reference/python", "reference/files"):
        window.goto((site / f"{name}.html").as_uri())
        assert window.evaluate("document.documentElement.scrollWidth") <= 360, name
    assert window.faults == []
