"""Draw the pictures of the live page: python docs/live.py RUN, a run of a masked language model with kept checkpoints.

It needs playwright and chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bertie.commands.show import show

IMAGES = Path(__file__).parent / "images"


def draw(tab: Page, name: str, height: int) -> None:
    """Write a picture of the page."""
    width = tab.evaluate("innerWidth")
    tab.set_viewport_size({"width": width, "height": height})
    tab.wait_for_timeout(600)  # until the bars have moved
    tab.screenshot(path=IMAGES / name)
    print(f"{IMAGES / name}: {(IMAGES / name).stat().st_size:,} bytes")


def main(run: Path) -> None:
    """Draw the page of a run: guesses and how it learned, and the explanation of an attention weight on a phone."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "live.html"
        show(run, live=True, out=file)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, width, height, scheme in (("live-light", 1100, 1320, "light"), ("live-narrow", 360, 740, "dark")):
            tab = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
            tab.goto(file.as_uri())
            tab.wait_for_selector("#best .bar >> nth=0")
            if name == "live-narrow":
                tab.locator(".bipartite li .number").nth(5).click()
                tab.evaluate("document.activeElement.blur()")
            draw(tab, f"{name}.png", height)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
