"""The errors a user may see, each with the exit code of the program.

BertieError
├── SettingsError      2  the user must change a flag, a file name or a setting
├── DataError          3  a text, table, corpus or model file has unusable content
├── ResourceError      4  memory, disk or a missing device
└── Interrupted        5  stopped by a signal; ``--resume`` continues the run

A message states what is wrong with which values, where (dotted key, ``file:line``, offset), and what to do.
Any other exception is a bug in bertie (exit code 1).
"""


class BertieError(Exception):
    """Stop with a message for the user."""

    exit_code = 2


class SettingsError(BertieError):
    """A flag, a setting or a path that the user must change."""

    exit_code = 2


class DataError(BertieError):
    """Content that can't be used: a broken file, an unknown column, a model that doesn't fit."""

    exit_code = 3


class ResourceError(BertieError):
    """Not enough memory or disk, or a missing device."""

    exit_code = 4


class Interrupted(BertieError):
    """Stopped by a signal after saving a checkpoint; ``--resume`` continues from it."""

    exit_code = 5


def missing_extra(package: str, extra: str, purpose: str) -> SettingsError:
    """Return the error for an optional package that isn't installed.

    Args:
        package: the import name that failed.
        extra: the extra of bertie that installs it.
        purpose: the user's aim, as a clause ("to read .parquet files").
    """
    return SettingsError(f"{package} is needed {purpose}; install it with: pip install 'bertie[{extra}]'")


def torch_error(error: BaseException) -> SettingsError | None:
    """Return the error for an import of torch where it isn't installed; None for any other exception."""
    if not isinstance(error, ModuleNotFoundError) or error.name != "torch":
        return None
    return SettingsError(
        "this needs torch, which isn't installed; install it with: pip install 'bertie[torch]'. Without torch, bertie "
        "uses exported models and prepares text"
    )
