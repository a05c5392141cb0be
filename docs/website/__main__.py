"""Build the site: python -m docs.website [--out FOLDER]. `make docs` also installs what that needs."""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

try:
    from sphinx.cmd.build import build_main
except ModuleNotFoundError:
    raise SystemExit("docs.website: Sphinx is missing; type: make docs, or pip install '.[docs,torch]'") from None

from bertie.errors import BertieError, SettingsError
from docs.website import sources
from docs.website.staging import ROOT, stage

HERE = Path(__file__).parent


def build(out: Path) -> None:
    """Build the site. It appears as a whole, in place of an older one, or not at all.

    Args:
        out: folder for the site; if it exists, it must be empty or have a site.

    Raises:
        SettingsError: the folder has other files, or Sphinx warned: of a dead link, or of broken markup.
    """
    if out.exists() and not (out / "searchindex.js").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"--out {out} has other files than a site; choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Not files.atomic, which waits until each of hundreds of files is on the disk: a site can be built again.
    with TemporaryDirectory(prefix=".docs-", dir=out.parent) as scratch:
        pages, site = Path(scratch) / "pages", Path(scratch) / "site"
        shown = stage(pages)
        places = ["-c", str(HERE), "-d", f"{scratch}/doctrees", str(pages), str(site)]
        if code := build_main(["-b", "html", "--quiet", "--fail-on-warning", "--nitpicky", *places]):
            raise SettingsError(f"Sphinx ended with {code}; correct what it names above, no site was written")
        for path in sorted(shown):
            sources.write(site, path)
        (site / ".buildinfo").unlink(missing_ok=True)
        if out.exists():
            shutil.rmtree(out)
        site.rename(out)


def main() -> int:
    """Build the site in the folder that is given, and say how to open it."""
    parser = argparse.ArgumentParser(prog="python -m docs.website", description="Build the documentation as a site.")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "docs", help="folder for the site (out/docs)")
    out = parser.parse_args().out.resolve()
    try:
        build(out)
    except BertieError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"Open {out / 'index.html'} in a browser. It needs no server, and its search neither.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
