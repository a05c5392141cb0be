"""Parameter names here and in Hugging Face folders: a table of rows (ours, theirs) and the renaming by it.

{} stands for a layer's number; .weight and .bias follow by themselves. The three parts of a fused product are spelled
q, k, v. Where several of our names share one of theirs (heads of which a network has only one), a tensor of theirs goes
to each of them. It is no choice among the models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Row = tuple[str, str]
_PARTS = ("q", "k", "v")
_OUTPUT = "head.token_logits.embedding"
"""The masked-LM head's matrix; it is written only where it is not tied to the word embeddings."""
DEEP_CLASSIFIER = ("head.classifier", "classifier.out_proj")
"""Row of a last layer that stands on a dense layer of the classifier's own; where there is none it is left out."""


def unknown_names(names: Iterable[str], table: tuple[Row, ...]) -> list[str]:
    """List those of a Hugging Face folder's names that the table doesn't know; names of our heads are all known."""
    backwards = tuple((theirs, ours) for ours, theirs in table)
    return [name for name in names if not _rename(name, backwards)]


def encoder_rows(prefix: str) -> tuple[Row, ...]:
    """Return the rows of an encoder that is spelled as BERT's under another prefix."""
    embeddings, layer = f"{prefix}.embeddings", f"{prefix}.encoder.layer.{{}}"
    return (
        ("encoder.embeddings.word.weight", f"{embeddings}.word_embeddings.weight"),
        ("encoder.embeddings.position.weight", f"{embeddings}.position_embeddings.weight"),
        ("encoder.embeddings.segment.weight", f"{embeddings}.token_type_embeddings.weight"),
        ("encoder.embeddings.norm", f"{embeddings}.LayerNorm"),
        ("encoder.blocks.{}.attention.q", f"{layer}.attention.self.query"),
        ("encoder.blocks.{}.attention.k", f"{layer}.attention.self.key"),
        ("encoder.blocks.{}.attention.v", f"{layer}.attention.self.value"),
        ("encoder.blocks.{}.attention.output", f"{layer}.attention.output.dense"),
        ("encoder.blocks.{}.attention_norm", f"{layer}.attention.output.LayerNorm"),
        ("encoder.blocks.{}.feedforward.up", f"{layer}.intermediate.dense"),
        ("encoder.blocks.{}.feedforward.down", f"{layer}.output.dense"),
        ("encoder.blocks.{}.feedforward_norm", f"{layer}.output.LayerNorm"),
    )


def renamed_rows(prefix: str, parts: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of an encoder whose layers name some parts otherwise than BERT's.

    Args:
        prefix: of the encoder.
        parts: end of BERT's name, end of the name there.
    """
    rows = encoder_rows(prefix)
    ends = {f"{prefix}.encoder.layer.{{}}.{old}": f"{prefix}.encoder.layer.{{}}.{new}" for old, new in parts.items()}
    return tuple((ours, ends.get(theirs, theirs)) for ours, theirs in rows)


def rename_to_foreign(state: Mapping[str, Tensor], table: tuple[Row, ...]) -> dict[str, Tensor]:
    """Rename a network's parameters as Hugging Face has them: the fused product is cut in three, tied ones go.

    A product that is fused on the other side too has a row of its own and stays whole.

    Raises:
        KeyError: a parameter that the table doesn't know.
    """
    if not any(name.startswith("head.pooler.transform.") for name in state):
        table = tuple(row for row in table if row != DEEP_CLASSIFIER)
    fused = any(ours.endswith(".attention.qkv") for ours, _ in table)
    renamed: dict[str, Tensor] = {}
    words = state.get("encoder.embeddings.word.weight")
    for name, value in state.items():
        if name == _OUTPUT and words is not None and value.data_ptr() == words.data_ptr():
            continue  # tied: the word embeddings themselves
        if ".attention.qkv." in name and not fused:
            for part, piece in zip(_PARTS, value.chunk(3), strict=True):
                renamed[_known(name.replace(".qkv.", f".{part}."), table)[0]] = piece
        else:
            renamed[_known(name, table)[0]] = value
    return renamed


def rename_from_foreign(state: Mapping[str, Tensor], table: tuple[Row, ...]) -> dict[str, Tensor]:
    """Undo `rename_to_foreign`.

    Raises:
        KeyError: a name that the table doesn't know, or a part of a fused product without the others.
    """
    backwards = tuple((theirs, ours) for ours, theirs in table)
    renamed = {ours: value for name, value in state.items() for ours in _known(name, backwards)}
    for name in [name for name in renamed if ".attention.q." in name]:
        pieces = [renamed.pop(name.replace(".attention.q.", f".attention.{part}.")) for part in _PARTS]
        renamed[name.replace(".attention.q.", ".attention.qkv.")] = torch.cat(pieces)
    return renamed


def _known(name: str, table: tuple[Row, ...]) -> list[str]:
    """Return every name that the table gives to a name, one at least.

    Raises:
        KeyError: the table gives it none.
    """
    if names := _rename(name, table):
        return names
    raise KeyError(name)


def _rename(name: str, table: tuple[Row, ...]) -> list[str]:
    """Return every name that the table gives to a name."""
    names = []
    for before, after in table:
        pattern = re.escape(before).replace(r"\{\}", r"(?P<layer>\d+)")
        if match := re.fullmatch(rf"{pattern}(?P<suffix>\.weight|\.bias|)", name):
            found = match.groupdict()
            names.append(after.format(found.get("layer")) + found["suffix"])
    if not names and name.startswith("head."):
        return [name]  # of a third party's head, which no other program knows
    return names
