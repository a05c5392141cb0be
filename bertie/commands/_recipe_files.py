"""The recipes of the package: settings files of published data sets and models, by name, for `bertie run`.

They are in `bertie/recipes`, in one folder for each command that they name. The first line of a file, a comment, says
what it is.
"""

import difflib
import re
from pathlib import Path

from bertie import progress
from bertie.errors import SettingsError
from bertie.storage.inputs import local

FOLDER = Path(__file__).parents[1] / "recipes"


def recipes() -> dict[str, Path]:
    """Return the files of all recipes by name, grouped by their command, pre-training first."""
    return {
        file.stem: file for file in sorted(FOLDER.glob("*/*.toml"), key=lambda file: (-len(file.parent.name), file))
    }


def summary(file: Path) -> str:
    """Return what a recipe is: the first line of its file, up to the first semicolon.

    >>> summary(recipes()["rte"])
    'RTE (GLUE): does the second sentence follow from the first? 2 classes'
    """
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").partition(";")[0].rstrip(".,: ")


def settings_file(word: str | Path) -> Path:
    """Return the settings file for a word: that of a path, or else the recipe of this name.

    Args:
        word: a settings file, a folder with a config.toml, an address of one, or the name of a recipe.

    Raises:
        SettingsError: there is neither.
    """
    path, known = local(Path(word)), recipes()
    recipe = known.get(str(word))
    if path.is_file() or (path / "config.toml").is_file():
        if recipe is not None:
            progress.note(f"{word} is read from the current directory; the recipe of this name is {recipe}")
        return path
    if recipe is not None:
        if path.exists():
            progress.note(f"{word} is the recipe; the folder {word} in the current directory has no config.toml")
        if recipe.parent.name == "finetune" and not Path("data").is_dir():
            progress.note(f"{word} reads the folder data in the current directory; --train and --dev give other tables")
        return recipe
    if path.exists():
        return path  # the reader says what is wrong with it
    name = re.sub(r"\.toml$", "", path.name)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    advice = f"did you mean bertie run {near[0]}?" if near else "bertie run lists the recipes"
    raise SettingsError(f"{word}: no such file, and no recipe has this name; {advice}")
