"""Private helper: rename parameters between the names here and those of Hugging Face folders, by a table of rows.

A row is (our name, their name). `{}` is the number of a block. Rows may omit the endings .weight and .bias. The three
parts of the fused product of queries, keys and values are q, k and v. Several of our names may share one of theirs, as
with heads of which a network has only one; their tensor then goes to each of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Row = tuple[str, str]
_PARTS = ("q", "k", "v")
_OUTPUT = "head.token_logits.embedding"
"""The output matrix of the masked-LM head; it is written only if it is not tied to the word embeddings."""
DEEP_CLASSIFIER = ("head.classifier", "classifier.out_proj")
"""Row of the last layer of a classifier that also has a dense layer; it is ignored for other classifiers."""


def unknown_names(names: Iterable[str], table: tuple[Row, ...]) -> list[str]:
    """Return the names of a Hugging Face folder that are not in the table; `head.` names count as known."""
    backwards = tuple((theirs, ours) for ours, theirs in table)
    return [name for name in names if not _rename(name, backwards)]


def encoder_rows(prefix: str) -> tuple[Row, ...]:
    """Return the rows of an encoder with BERT's names under another prefix."""
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
    """Return the rows of an encoder whose layers have other names for some parts than BERT's.

    Args:
        prefix: of the encoder.
        parts: end of BERT's name, end of the name there.
    """
    rows = encoder_rows(prefix)
    ends = {f"{prefix}.encoder.layer.{{}}.{old}": f"{prefix}.encoder.layer.{{}}.{new}" for old, new in parts.items()}
    return tuple((ours, ends.get(theirs, theirs)) for ours, theirs in rows)


def rename_to_foreign(state: Mapping[str, Tensor], table: tuple[Row, ...]) -> dict[str, Tensor]:
    """Return a network's parameters under Hugging Face's names, without tied ones.

    The fused product of queries, keys and values is cut in three, unless the table has a row for it.

    Raises:
        KeyError: a parameter is not in the table.
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
        KeyError: a name is not in the table, or a part of the fused product is missing.
    """
    backwards = tuple((theirs, ours) for ours, theirs in table)
    renamed = {ours: value for name, value in state.items() for ours in _known(name, backwards)}
    for name in [name for name in renamed if ".attention.q." in name]:
        pieces = [renamed.pop(name.replace(".attention.q.", f".attention.{part}.")) for part in _PARTS]
        renamed[name.replace(".attention.q.", ".attention.qkv.")] = torch.cat(pieces)
    return renamed


def _known(name: str, table: tuple[Row, ...]) -> list[str]:
    """Return all new names of a name, at least one.

    Raises:
        KeyError: it has none.
    """
    if names := _rename(name, table):
        return names
    raise KeyError(name)


def _rename(name: str, table: tuple[Row, ...]) -> list[str]:
    """Return all new names of a name by the table."""
    names = []
    for before, after in table:
        pattern = re.escape(before).replace(r"\{\}", r"(?P<layer>\d+)")
        if match := re.fullmatch(rf"{pattern}(?P<suffix>\.weight|\.bias|)", name):
            parts = match.groupdict()
            names.append(after.format(parts.get("layer")) + parts["suffix"])
    if not names and name.startswith("head."):
        return [name]  # a third party's head keeps its names: transformers has none for it
    return names
