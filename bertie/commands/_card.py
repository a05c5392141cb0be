"""What the cards of pre-trained and fine-tuned models have in common: the run, and what its user said of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertie.training.runfolder import RunFolder


def about(folder: RunFolder) -> dict[str, Any]:
    """Return arguments of ``model_card``: name, command and settings of the run, data, licence and languages.

    Args:
        folder: the folder of a finished run.
    """
    return {
        "name": folder.path.name,
        "command": f"bertie run {folder.config}",
        "settings": folder.config.read_text(encoding="utf-8"),
        "data": folder.data,
        "license_id": folder.settings.get("card.license", ""),
        "languages": folder.settings.get("card.language", ()),
    }
