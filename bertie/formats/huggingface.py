"""The Hugging Face folder, bertie's format on disk: config.json, model.safetensors, tokenizer files, README.md.

bertie's own values (the task and its settings, golden ids, fingerprints) are in the `bertie` object of config.json.
Folders of other programs have none, so the task is inferred from `architectures`. Tensors are read from safetensors
only, never from a pickle. Code in a folder is never run.
"""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bertie.errors import DataError, SettingsError
from bertie.files.atomic import atomic_folder, write_text
from bertie.files.checksums import seal, verified
from bertie.formats._causal import check_learned, decoder_only
from bertie.formats._config import architecture_name, encoder_config, read_config
from bertie.formats._generation import read_generation, with_ids, write_generation
from bertie.formats._keys import unknown_keys
from bertie.formats._objective import check_labels, check_shape, doubts, infer_task, make_task, stored_task
from bertie.formats._pieces import read_tokenizer as read_tokenizer
from bertie.formats._places import resolve as resolve
from bertie.formats._rewritten import current
from bertie.formats._sentence_transformers import encoder_folder, is_layout, read_layout, write_layout
from bertie.formats._seq2seq import KIND as PAIR
from bertie.formats._seq2seq import pair_config, with_decoder
from bertie.formats._tensors import Stored, read_tensors, with_second_names
from bertie.formats._tensors import tensor_names as tensor_names
from bertie.formats.format import Bundle, initialize_head
from bertie.models.model import architecture
from bertie.tasks._lookup import task_class, task_name
from bertie.tasks.task import Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.writing import save_tokenizer
from bertie.untrusted import read_bytes

_HALVES = ("encoder", "decoder")


def read(
    path: str | Path,
    *,
    task: str | None = None,
    settings: Mapping[str, Any] | None = None,
    new_head: bool = False,
    seed: int = 0,
) -> Bundle:
    """Read a model folder.

    Args:
        path: the folder.
        task: the task to use; None for the one that the model was made for.
        settings: fields of the task that override the stored ones.
        new_head: whether head parameters that the folder lacks may be initialized at random.
        seed: of the random initialization.

    Raises:
        SettingsError: there is no such folder, or it has no head for the task.
        DataError: a file is broken or has changed since it was written, a tensor is missing, unused or of another
            shape, or the vocabulary doesn't fit.
    """
    layout = Path(path)
    with verified(layout):
        return _read(layout, task=task, settings=settings, new_head=new_head, seed=seed)


def _read(layout: Path, *, task: str | None, settings: Mapping[str, Any] | None, new_head: bool, seed: int) -> Bundle:
    folder = encoder_folder(layout)
    values = read_config(folder)
    kind = architecture_name(values, folder)
    values = with_ids(values, read_generation(folder, values, pair=True), folder) if kind == PAIR else values
    config: Any = pair_config(values, folder) if kind == PAIR else encoder_config(values, architecture(kind), folder)
    module = architecture(kind).of(values)
    values, remarks = current(values, folder, module.classes, settings or {})
    stored = read_tensors(folder, module, tied=_is_tied(config))
    state, notes = stored.state, [*remarks, *unknown_keys(values, module, folder), *stored.notes]
    config = _with_output(config, tied=not stored.own_matrix)
    tokenizer = read_tokenizer(folder, values, config.vocab_size)
    ours = values.get("bertie", {})
    name = task or stored_task(values, folder)
    name = name or ("embedding" if is_layout(layout) else infer_task(values, stored.names, folder, module.tasks))
    if not new_head:
        check_learned(name, values, kind, folder)
    may_leave_out = task is not None or new_head or task_class(name).takes_vectors
    if stored.strangers and not may_leave_out:
        raise SettingsError(
            f"{folder} holds tensors that belong to none of bertie's heads: {', '.join(stored.strangers[:5])}; to use "
            f"{name} without them, give --task {name}"
        )
    implied: dict[str, Any] = {}
    if task_class(name).pools_texts:
        implied, remarks = read_layout(layout, values, config, lowercase=tokenizer.lowercase)
        notes += remarks
    if task_class(name).searches and not new_head:
        generation = read_generation(folder, values, pair=kind == PAIR)
        implied = generation.settings
        notes += generation.notes
    objective = make_task(name, values, state, config.max_positions, {**implied, **(settings or {})})
    if not new_head:
        check_labels(objective, state, folder)
        check_shape(objective, values, folder)
    notes += doubts(name, objective, values, settings or {}, folder)
    if objective.needs_decoder:
        kind, config, state = with_decoder(kind, config, state, tokenizer, folder, new_head=new_head, task=objective)
    kind, config = decoder_only(kind, config, objective)
    model = _build(config, objective, state, folder)
    if tokenizer.is_bare and not new_head:
        _refuse_learned(state, folder)
    notes += _follow_segments(model, tokenizer)
    drawn = _fill(model, state, folder, new_head=new_head, seed=seed)
    if drawn:
        notes.append(f"{folder}: initialized at random from seed {seed}: {', '.join(drawn)}")
    notes += _left_out(model, state, stored, folder, name)
    extra = {key: value for key, value in ours.items() if key not in ("task", "settings", "golden_ids")}
    text = _card(folder, notes)
    return Bundle(model.eval(), objective, tokenizer, config, kind, text, extra, tuple(notes), tuple(drawn))


def objective(path: Path) -> str:
    """Return the task for continued pre-training: the task of the model's own pre-training, or its architecture's.

    Args:
        path: a model folder.

    Raises:
        SettingsError: the folder doesn't exist, or was made for a task outside bertie.
        DataError: config.json is broken.
    """
    folder = encoder_folder(path)
    values = read_config(folder)
    kind = architecture_name(values, folder)
    name = stored_task(values, folder) or ("embedding" if is_layout(path) else None)
    if name is None:
        names = set() if values.get("architectures") else tensor_names(folder)
        with suppress(SettingsError):  # made for a task that bertie lacks
            name = infer_task(values, names, folder, architecture(kind).of(values).tasks)
    usual: str = getattr(architecture(kind).config, "OBJECTIVE", "masked_lm")
    return name if name is not None and task_class(name).plan else usual


def _card(folder: Path, notes: list[str]) -> str:
    """Read the model card, unless it is a link out of the folder: a trained model copies its text.

    A link into the hub's cache is allowed.
    """
    card = folder / "README.md"
    if not card.exists():
        return ""
    target, home = card.resolve(), folder.resolve()
    cache = home.parent.parent / "blobs"  # the hub's cache links from snapshots/REVISION to ../../blobs
    if not target.is_relative_to(home) and not (home.parent.name == "snapshots" and target.parent == cache):
        notes.append(f"{card} is a link to {target}, outside the model's folder; it is left out")
        return ""
    return read_bytes(card).decode("utf-8", "replace")


def _is_tied(config: Any) -> bool:
    """Tell whether the config ties the output matrix of the token logits to the word embeddings."""
    return bool(getattr(getattr(config, "decoder", config), "tied", True))


def _with_output(config: Any, *, tied: bool) -> Any:
    """Return the config with its output matrix tied to the word embeddings, or not."""
    halves = {side: _with_output(getattr(config, side), tied=tied) for side in _HALVES if hasattr(config, side)}
    own = {"tied": tied} if hasattr(config, "tied") else {}
    return dataclasses.replace(config, **halves, **own) if halves or own else config


def _left_out(model: TaskModel, state: Mapping[str, Tensor], stored: Stored, folder: Path, task: str) -> list[str]:
    """Return a note on the tensors of a folder that the network doesn't use.

    Raises:
        DataError: the encoder doesn't use one of its own tensors.
    """
    own = model.state_dict()
    used = {id(value) for key, value in state.items() if key in own}  # a tied tensor may be used by another name
    unused = sorted(key for key, value in state.items() if key not in own and id(value) not in used)
    if any(name.startswith("encoder.") for name in unused):
        raise DataError(f"{folder}: the encoder has no parameter for {', '.join(unused)}")
    parts = sorted({".".join(name.split(".")[:2]) for name in unused}) + sorted(stored.strangers)
    return [f"{folder}: not needed for {task}, left out: {', '.join(parts)}"] if parts else []


def _refuse_learned(state: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse a head that was trained without special tokens, because bertie always adds them."""
    if any(name.startswith("head.") and "pooler" not in name for name in state):
        raise DataError(
            f"{folder}: tokenizer.json adds no special tokens, so the head was trained without them, but bertie always "
            "adds them. Fine-tune the model with bertie; or, if it was trained with special tokens, add the "
            "post_processor that tokenizer.json lacks"
        )


def _follow_segments(model: TaskModel, tokenizer: Tokenizer) -> list[str]:
    """Let the encoder use segment ids only if its tokenizer does; return notes for the user."""
    embeddings = [module for module in model.encoder.modules() if _tells_segments(module)]
    for module in embeddings if not tokenizer.tells_segments else ():
        setattr(module, "tells_segments", False)  # noqa: B010 - torch's types know no other attributes
    return [*tokenizer.remarks, *(tokenizer.doubt if embeddings else ())]


def _tells_segments(module: Any) -> bool:
    return bool(getattr(module, "tells_segments", False)) and module.segment is not None


def _build(config: Any, task: Task, state: Mapping[str, Tensor], folder: Path) -> TaskModel:
    """Build the network, after a copy without memory has shown that the file's encoder fits the config."""
    if max(config.num_layers, getattr(config, "num_decoder_layers", 0)) > len(state):
        raise DataError(f"{folder}: config.json's num_hidden_layers {config.num_layers} is more than the file holds")
    try:
        with torch.device("meta"):
            shapes = {f"encoder.{name}": value.shape for name, value in config.build().state_dict().items()}
    except (RuntimeError, OverflowError) as error:
        raise DataError(f"{folder}/config.json asks for an impossible network: {error}") from error
    if lost := sorted(set(shapes) - set(state)):
        raise DataError(f"{folder}: the file lacks {', '.join(lost[:3])}{' ...' if len(lost) > 3 else ''}")
    for name, shape in shapes.items():
        if state[name].shape != shape:
            raise DataError(f"{folder}: {name} is {tuple(state[name].shape)}, config.json says {tuple(shape)}")
    encoder = config.build()
    return TaskModel(encoder, task.head(encoder))


def _fill(model: TaskModel, state: Mapping[str, Tensor], folder: Path, *, new_head: bool, seed: int) -> list[str]:
    """Copy tensors into the network; return the names of head parameters that were initialized at random."""
    own = model.state_dict()
    for name, value in state.items():
        if name in own and value.shape != own[name].shape:
            if name.startswith("head.") and new_head:
                continue
            raise DataError(f"{folder}: {name} is {tuple(value.shape)}, config.json says {tuple(own[name].shape)}")
    fitting = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
    filled = {own[name].data_ptr() for name in fitting}  # any of its names fills a tied tensor
    missing = sorted(name for name, value in own.items() if name not in fitting and value.data_ptr() not in filled)
    if missing and not new_head:
        raise SettingsError(
            f"{folder} has no {', '.join(missing)}, which this task needs; fine-tune the model first, or "
            "load it with another task"
        )
    model.load_state_dict(fitting, strict=False)
    names = {name.removeprefix("head.") for name in missing}
    return initialize_head(model.head, model.encoder, seed=seed, names=names) if missing else []


def write(bundle: Bundle, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a model folder, whole or not at all; it must not exist unless `overwrite`, which removes the old one.

    The transformers class of the task's `architecture` loads it, with no key missing or unexpected.
    """
    module = architecture(bundle.architecture).of(bundle.config.to_foreign())
    state = module.to_foreign(bundle.model.state_dict())
    state = state if _is_tied(bundle.config) else with_second_names(state, module)
    tensors = {name: value.detach().cpu().float().contiguous().clone() for name, value in state.items()}
    with atomic_folder(path, replace=overwrite) as folder:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        write_beside(bundle, folder)
        seal(folder)


def write_beside(bundle: Bundle, folder: Path) -> None:
    """Write everything but the weights: config, tokenizer, card, and files that other programs need."""
    module = architecture(bundle.architecture).of(bundle.config.to_foreign())
    settings = {field.name: getattr(bundle.task, field.name) for field in dataclasses.fields(bundle.task)}  # type: ignore[arg-type]
    values = {
        "architectures": [module.class_of(bundle.task.architecture)],
        **bundle.config.to_foreign(),
        **{theirs: getattr(bundle.tokenizer, ours) for theirs, ours in module.special_ids.items()},
        **bundle.task.foreign(),
        "bertie": {
            **bundle.extra,
            "task": task_name(bundle.task),
            "settings": settings,
            "golden_ids": bundle.tokenizer.golden_ids(),
        },
    }
    if "labels" in settings:
        values["id2label"] = {str(number): label for number, label in enumerate(settings["labels"])}
        values["label2id"] = {label: number for number, label in enumerate(settings["labels"])}
    write_text(folder / "config.json", json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    save_tokenizer(bundle.tokenizer, folder, segments=any(map(_tells_segments, bundle.model.modules())))
    if bundle.task.pools_texts:
        write_layout(folder, settings, bundle.config.hidden_size)
    if bundle.task.searches:
        write_generation(folder, bundle.task, bundle.tokenizer)
    if bundle.card:
        write_text(folder / "README.md", bundle.card)
