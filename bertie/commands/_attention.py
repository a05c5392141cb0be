"""Write the attention explorer of a model for one text, as one HTML file, for `show`."""

from pathlib import Path

from bertie import progress
from bertie.commands.command import Report
from bertie.errors import SettingsError

_DEFAULT = Path("attention.html")
_START_BYTES = 2000


def attention_page(model: Path, text: str, pair: str | None, out: Path | None) -> Report:
    """Write how a model reads a text: its pieces, and for every head of every layer where each token looks.

    Args:
        model: a model folder, the folder of the run that made it, or a hub id.
        text: the text.
        pair: the second text of a pair.
        out: the file; attention.html in the working folder when None. A page of an earlier call is replaced.

    Raises:
        SettingsError: a text is empty, `out` holds something else, or the model is exported.
    """
    for flag, value in (("--attention", text), ("--attention-pair", pair)):
        if value is not None and not value.strip():
            raise SettingsError(f'{flag} has no text; give one, such as {flag} "The cat sat on the mat."')
    file = _DEFAULT if out is None else out
    check_free(file)
    from bertie.files.atomic import write_text
    from bertie.inference.predictor import load
    from bertie.serving.standalone import explore, page

    folder, name = model_of(model)
    explored = explore(load(folder), name, text, pair)
    shown, (layers, heads) = explored.shown, explored.weights.shape[:2]
    if shown.cut:
        progress.warn(f"the page shows {len(shown.tokens)} tokens; {shown.cut:,} pieces of the text are left out")
    content = page(explored)
    write_text(file, content)
    return Report(
        title=f"{file}: how {name} reads {len(shown.tokens)} tokens",
        values={
            "kind": "attention page",
            "path": str(folder),
            "out": str(file),
            "tokens": len(shown.tokens),
            "pieces_left_out": shown.cut,
            "layers": layers,
            "heads": heads,
            "bytes": len(content.encode()),
            "open_in_a_browser": file.absolute().as_uri(),
        },
    )


def model_of(path: Path) -> tuple[Path, str]:
    """Return a model folder and its name for readers; a run stands for the model that it made."""
    from bertie.formats.huggingface import resolve

    is_run = (path / "model" / "config.json").is_file() and not (path / "config.json").is_file()
    folder = resolve(path / "model" if is_run else path)
    return folder, folder.absolute().parent.name if folder.name in ("model", "") else folder.name


def check_free(file: Path) -> None:
    """Check that a file may be written: there is none, or it is a page of an earlier call.

    Raises:
        SettingsError: it is something else, or its folder doesn't exist.
    """
    from bertie.serving.standalone import is_page

    if file.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--out {file}: the page is an .html file; name it {file.name}.html")
    if not file.absolute().parent.is_dir():
        raise SettingsError(f"--out {file}: the folder {file.parent} doesn't exist; make it first")
    if file.exists() or file.is_symlink():
        is_ours = False
        if file.is_file():
            with file.open("rb") as stream:
                is_ours = is_page(stream.read(_START_BYTES).decode("utf-8", "replace"))
        if not is_ours:
            raise SettingsError(
                f"{file} exists already and is no page of bertie show; remove it, or name another by --out"
            )
