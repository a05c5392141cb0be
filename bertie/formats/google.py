"""Google's BERT folder of TensorFlow 1: bert_config.json, vocab.txt and a checkpoint such as bert_model.ckpt.*.

The tensors have other names than in Hugging Face folders, and the matrices of dense layers are transposed. What the
optimizer left in a checkpoint (adam_m, adam_v, global_step) is not read. The program bert_model.ckpt.meta is neither
read nor written: bertie needs none, and Google's scripts build their own. The format has no word for lower-casing, so
tokenizer_config.json says it; without that file the capitals of the vocabulary decide.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from bertie.errors import BertieError, DataError, SettingsError
from bertie.files.atomic import atomic_folder, write_text
from bertie.formats import _tensor_bundle as checkpoint
from bertie.formats import huggingface
from bertie.formats.format import Bundle
from bertie.models.model import architecture
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.writing import save_tokenizer
from bertie.untrusted import LARGE_BYTES, read_object, read_text

_CONFIG, _TOKENIZER = "bert_config.json", ("vocab.txt", "tokenizer_config.json")
_PREFIX = "bert_model.ckpt"
_SLOTS = re.compile(r"(.*/)?(adam_m|adam_v|global_step)")
_EPSILON = 1e-12  # of Google's layer normalisation; bert_config.json has no entry for it
_LAYER, _LAYER_THERE = "bert/encoder/layer_{}", "bert.encoder.layer.{}"
_DENSE = {
    **{
        f"{_LAYER}/attention/self/{part}": f"{_LAYER_THERE}.attention.self.{part}" for part in ("query", "key", "value")
    },
    **{
        f"{_LAYER}/{part}": f"{_LAYER_THERE}.{part.replace('/', '.')}"
        for part in ("attention/output/dense", "intermediate/dense", "output/dense")
    },
    "bert/pooler/dense": "bert.pooler.dense",
    "cls/predictions/transform/dense": "cls.predictions.transform.dense",
}
_NORMS = {
    "bert/embeddings/LayerNorm": "bert.embeddings.LayerNorm",
    f"{_LAYER}/attention/output/LayerNorm": f"{_LAYER_THERE}.attention.output.LayerNorm",
    f"{_LAYER}/output/LayerNorm": f"{_LAYER_THERE}.output.LayerNorm",
    "cls/predictions/transform/LayerNorm": "cls.predictions.transform.LayerNorm",
}
_HEADS = {"cls/seq_relationship": "cls.seq_relationship", "cls/squad": "qa_outputs"}
_ENDS = (
    (_DENSE, "kernel", "weight"),
    (_DENSE, "bias", "bias"),
    (_NORMS, "gamma", "weight"),
    (_NORMS, "beta", "bias"),
    (_HEADS, "output_weights", "weight"),
    (_HEADS, "output_bias", "bias"),
)
NAMES: dict[str, str] = {
    **{f"{old}/{end}": f"{new}.{now}" for group, end, now in _ENDS for old, new in group.items()},
    **{
        f"bert/embeddings/{part}_embeddings": f"bert.embeddings.{part}_embeddings.weight"
        for part in ("word", "position", "token_type")
    },
    "cls/predictions/output_bias": "cls.predictions.bias",
    "output_weights": "classifier.weight",
    "output_bias": "classifier.bias",
}
"""Google's names of tensors, and those of Hugging Face; {} is the number of a layer."""
_CLASSES = {
    "ForSequenceClassification": {"classifier.weight"},
    "ForQuestionAnswering": {"qa_outputs.weight"},
    "ForPreTraining": {"cls.predictions.bias", "cls.seq_relationship.weight"},
    "ForMaskedLM": {"cls.predictions.bias"},
    "ForNextSentencePrediction": {"cls.seq_relationship.weight"},
}
"""Classes of transformers, and the tensors of their heads; the first that fits is that of a checkpoint."""


def is_google(folder: Path) -> bool:
    """Tell whether a folder has a TensorFlow checkpoint and no weights of another format."""
    others = (*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin"))
    return bool(_indices(folder)) and not others


def read(path: str | Path, *, task: str | None = None, settings: Mapping[str, Any] | None = None) -> Bundle:
    """Read a folder of Google's.

    Args:
        path: the folder.
        task: the task to use; None for that of the heads in the checkpoint.
        settings: fields of the task that override the defaults.

    Raises:
        SettingsError: a file is missing, or there are several checkpoints.
        DataError: a file is damaged, or a tensor is missing, of another shape or unknown.
    """
    folder = Path(path)
    stored = _open(folder)
    state, slots = {}, 0
    for name in stored.entries:
        if _SLOTS.fullmatch(name):
            slots += 1
        else:
            state[_renamed(name)] = _turned(name, stored.tensor(name)).contiguous()
    with tempfile.TemporaryDirectory(prefix="bertie-google-") as name:
        scratch = Path(name)
        save_file(state, scratch / "model.safetensors", metadata={"format": "pt"})
        write_text(scratch / "config.json", json.dumps(_config(folder, state)))
        notes = _copy_tokenizer(folder, scratch)
        try:
            bundle = huggingface.read(scratch, task=task, settings=settings)
        except BertieError as error:
            raise type(error)(str(error).replace(str(scratch), str(folder))) from error
    notes += [note.replace(name, str(folder)) for note in bundle.notes]
    if slots:
        notes.append(f"{folder}: left out {slots:,} tensors of the optimizer (adam_m, adam_v, global_step)")
    return Bundle(bundle.model, bundle.task, bundle.tokenizer, bundle.config, notes=tuple(notes))


def tensor_names(folder: Path) -> set[str]:
    """Return the names of a checkpoint's tensors as in a Hugging Face folder, without those of the optimizer."""
    return {_renamed(name) for name in _open(folder).entries if not _SLOTS.fullmatch(name)}


def write(bundle: Bundle, path: str | Path) -> None:
    """Write a folder of Google's, whole or not at all; it must not exist.

    Raises:
        SettingsError: the folder exists.
        DataError: the model isn't one that this format can hold.
    """
    if bundle.architecture != "bert":
        raise DataError(f"Google's format holds BERT only; this model is a {bundle.architecture}")
    config: Any = bundle.config
    if config.layer_norm_eps != _EPSILON:
        raise DataError(
            f"Google's format has layer_norm_eps {_EPSILON:g} only; this model has {config.layer_norm_eps:g}"
        )
    state = architecture("bert").to_foreign(bundle.model.state_dict())
    tensors = {_google_name(name): value.float() for name, value in state.items()}
    tensors = {name: _turned(name, value) for name, value in tensors.items()}
    with atomic_folder(path) as folder:
        checkpoint.write(tensors, folder / _PREFIX)
        values = {**config.to_foreign(), **bundle.task.foreign()}
        if labels := getattr(bundle.task, "labels", ()):
            values["id2label"] = {str(number): label for number, label in enumerate(labels)}
        write_text(folder / _CONFIG, json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        save_tokenizer(bundle.tokenizer, folder)
        for file in folder.iterdir():
            if file.name not in (*_TOKENIZER, _CONFIG) and not file.name.startswith(_PREFIX):
                file.unlink()
        if not (folder / "vocab.txt").is_file() or load_tokenizer(folder).golden_ids() != bundle.tokenizer.golden_ids():
            raise DataError("Google's format holds the tokenizer of BERT only (vocab.txt); this model has another one")


def _indices(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.index") if file.is_file())


def _open(folder: Path) -> checkpoint.Checkpoint:
    """Open the only checkpoint of a folder.

    Raises:
        SettingsError: there is none, or more than one.
    """
    found = _indices(folder)
    if len(found) != 1:
        listed = ", ".join(file.name for file in found) or "none"
        raise SettingsError(f"{folder} must have one TensorFlow checkpoint (*.index); it has {listed}")
    return checkpoint.Checkpoint(found[0])


def _copy_tokenizer(folder: Path, scratch: Path) -> list[str]:
    """Copy vocab.txt and tokenizer_config.json; without the latter, decide whether texts are lower-cased.

    Returns:
        A note if they keep their capitals. A vocabulary for lower-cased texts has no capital letters of ASCII.

    Raises:
        SettingsError: there is no vocab.txt.
    """
    vocabulary, settings = (folder / file for file in _TOKENIZER)
    if not vocabulary.is_file():
        raise SettingsError(f"{folder} has no {vocabulary.name}; add it")
    shutil.copyfile(vocabulary, scratch / vocabulary.name)
    if settings.is_file():
        shutil.copyfile(settings, scratch / settings.name)
        return []
    pieces = read_text(vocabulary, limit=LARGE_BYTES).split("\n")
    capitals = [piece for piece in pieces if piece.isalpha() and re.search("[A-Z]", piece)]
    write_text(scratch / settings.name, json.dumps({"do_lower_case": not capitals}))
    if not capitals:
        return []
    return [
        f'{vocabulary} has pieces with capitals ({capitals[0]}, ...), so texts keep theirs ("do_lower_case": false)'
    ]


def _config(folder: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the config.json of a Hugging Face folder with the same network.

    Raises:
        SettingsError: there is no bert_config.json.
        DataError: it is no JSON object.
    """
    file = folder / _CONFIG if (folder / _CONFIG).is_file() else folder / "config.json"
    if not file.is_file():
        raise SettingsError(f"{folder} has no {_CONFIG}, which says the sizes of the network; add it")
    kind = next((kind for kind, names in _CLASSES.items() if names <= state.keys()), "Model")
    return {"model_type": "bert", "architectures": [f"Bert{kind}"], **read_object(file)}


def _renamed(name: str) -> str:
    """Return the name of a tensor in a Hugging Face folder; an unknown one keeps its name, with dots."""
    layer = re.search(r"(?<=/layer_)\d+(?=/)", name)
    known = NAMES.get(name if layer is None else name.replace(f"layer_{layer[0]}/", "layer_{}/", 1))
    return name.replace("/", ".") if known is None else known.format("" if layer is None else layer[0])


def _google_name(name: str) -> str:
    """Return Google's name of a tensor.

    Raises:
        DataError: it has none.
    """
    layer = re.search(r"(?<=\.layer\.)\d+(?=\.)", name)
    wanted = name if layer is None else name.replace(f"layer.{layer[0]}.", "layer.{}.", 1)
    for google, there in NAMES.items():
        if there == wanted:
            return google.format("" if layer is None else layer[0])
    raise DataError(f"Google's format has no place for the tensor {name}")


def _turned(name: str, value: Tensor) -> Tensor:
    """Transpose the matrix of a dense layer, which is (inputs, outputs) there and (outputs, inputs) here."""
    return value.t() if name.endswith("/kernel") and value.dim() == 2 else value
