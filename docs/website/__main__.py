"""Build the site: python -m docs.website [--out FOLDER]. Needs `pip install 'bertie[docs]'`, which `make docs` does."""

import argparse
import shutil
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.website import sources
from docs.website.staging import ROOT, stage

HERE = Path(__file__).parent


def build(out: Path) -> int:
    """Build the site. Any warning stops the build: a dead link, a page that no menu names, broken markup.

    Args:
        out: folder for the site; its parts that are no longer made are removed.

    Returns:
        The exit code of Sphinx.
    """
    pages, doctrees = out.parent / f"{out.name}-pages", out.parent / f"{out.name}-doctrees"
    shutil.rmtree(out, ignore_errors=True)
    shown = stage(pages)
    words = ["-b", "html", "-c", str(HERE), "-d", str(doctrees), "--quiet", "--fail-on-warning", "--nitpicky"]
    code = build_main([*words, str(pages), str(out)])
    for path in sorted(shown):
        sources.write(out, path)
    (out / ".buildinfo").unlink(missing_ok=True)
    return code


def main() -> int:
    """Build the site in the folder that is given, and say how to open it."""
    parser = argparse.ArgumentParser(prog="python -m docs.website", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "docs", help="folder for the site")
    out = parser.parse_args().out.resolve()
    code = build(out)
    if code == 0:
        print(f"Open {out / 'index.html'} in a browser. It needs no server, and its search neither.")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
