"""The Hugging Face folder, our own form on disk: config.json, model.safetensors, tokenizer files, README.md.

What is ours alone (task and its settings, golden ids, fingerprints) stands in one `bertie` object of config.json; in
folders that others wrote it is absent, and the task is inferred from `architectures`. Tensors come from safetensors
only, never from a pickle, and nothing a folder says is ever run.
"""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bertie.errors import DataError, SettingsError
from bertie.files.atomic import atomic_folder, write_text
from bertie.formats._causal import check_learned, decoder_only
from bertie.formats._config import architecture, encoder_config, read_config
from bertie.formats._objective import infer_task, make_task, stored_task
from bertie.formats._places import resolve as resolve
from bertie.formats._places import weight_files
from bertie.formats._sentence_transformers import is_layout, read_layout, write_layout
from bertie.formats._seq2seq import KIND as PAIR
from bertie.formats._seq2seq import naming, pair_config, with_decoder, write_generation
from bertie.formats.format import Bundle, initialize_head
from bertie.nn.search import Search
from bertie.tasks.embedding import Embedding
from bertie.tasks.generation import Generation
from bertie.tasks.task import Task, TaskModel, task_class, task_name
from bertie.tokenizer.tokenizer import Tokenizer

_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
HEAD = "head.safetensors"
"""The weights of a folder that `exported.py` wrote: its head's alone."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


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
        task: what to do with it; what it was made for when None.
        settings: fields of the task that override the stored ones.
        new_head: whether head parameters that the folder lacks may be drawn anew.
        seed: of what is drawn.

    Raises:
        SettingsError: no such folder, or a head that isn't in it.
        DataError: a broken file, a tensor missing, unused or of another shape, a vocabulary that doesn't fit.
    """
    folder = Path(path)
    values = read_config(folder)
    notes: list[str] = []
    kind = architecture(values, folder)
    config = pair_config(values, folder) if kind == PAIR else encoder_config(values, naming(kind, values), folder)
    module = naming(kind, values)
    state, foreign = _read_state(folder, module)
    tokenizer = read_tokenizer(folder, values, config.vocab_size)
    ours = values.get("bertie", {})
    name = task or stored_task(values, folder)
    name = name or (
        "embedding" if is_layout(folder) else infer_task(values, foreign, folder, getattr(module, "TASKS", {}))
    )
    if not new_head:
        check_learned(name, values, kind, folder)
    beside: dict[str, Any] = {}
    if issubclass(task_class(name), Embedding):
        beside, remarks = read_layout(folder, values, config, lowercase=tokenizer.lowercase)
        notes += remarks
    objective = make_task(name, values, state, config.max_positions, {**beside, **(settings or {})})
    if isinstance(objective, Generation):
        kind, config, state = with_decoder(kind, config, state, tokenizer, folder, new_head=new_head, task=objective)
    kind, config = decoder_only(kind, config, objective)
    model = _build(config, objective, state, folder)
    notes += _follow_segments(model, tokenizer)
    drawn = _fill(model, state, folder, new_head=new_head, seed=seed)
    if drawn:
        notes.append(f"{folder}: drawn anew from seed {seed}: {', '.join(drawn)}")
    own = model.state_dict()
    used = {id(value) for key, value in state.items() if key in own}  # by another of the names that it goes by
    unused = sorted(key for key, value in state.items() if key not in own and id(value) not in used)
    if any(name.startswith("encoder.") for name in unused):
        raise DataError(f"{folder}: the encoder has no place for {', '.join(unused)}")
    if unused:
        parts = sorted({".".join(name.split(".")[:2]) for name in unused})
        notes.append(f"{folder}: not needed for {name}, left out: {', '.join(parts)}")
    extra = {key: value for key, value in ours.items() if key not in ("task", "settings", "golden_ids")}
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return Bundle(model.eval(), objective, tokenizer, config, kind, text, extra, tuple(notes))


def _read_state(folder: Path, module: Any) -> tuple[dict[str, Tensor], set[str]]:
    """Read all tensors under our names, and return the names the file had as well."""
    found: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a dictionary
                    if name in found:
                        raise DataError(f"{file}: tensor {name} is in two files")
                    found[name] = tensors.get_tensor(name).clone()
        except SafetensorError as error:
            raise DataError(f"{file} is damaged: {error}") from error
    modern: dict[str, Tensor] = {}
    for old, value in found.items():
        name = _modern(old, module)
        if name in modern:
            raise DataError(f"{folder}: {name} is there twice, once as {old}")
        modern[name] = value
    for name, twin in module.TIED.items():
        if name in modern and not torch.equal(modern[name], modern.setdefault(twin, modern[name])):
            raise DataError(f"{folder}: {name} differs from {twin}; an untied output layer is not supported")
    kept = {name: value for name, value in modern.items() if name not in module.TIED and name not in module.REDUNDANT}
    for name, value in kept.items():
        if value.dtype not in _TYPES:
            raise DataError(f"{folder}: tensor {name} is of type {value.dtype}; weights are floating point")
        kept[name] = value.float()
        if not torch.isfinite(kept[name]).all():
            raise DataError(f"{folder}: tensor {name} holds values that are not finite")
    try:
        return module.from_foreign(kept), set(found)
    except KeyError as error:
        raise DataError(f"{folder}: tensor {error.args[0]} is unknown to {module.MODEL_TYPE}") from error


def tensor_names(folder: str | Path) -> set[str]:
    """Return the names of a folder's tensors, as today's files spell them, without reading the tensors.

    Raises:
        SettingsError: no safetensors file there.
        DataError: it is damaged, or of an unknown kind of model.
    """
    place = Path(folder)
    values = read_config(place)
    module = naming(architecture(values, place), values)
    names: set[str] = set()
    for file in _weight_files(place):
        try:
            with safe_open(file, framework="pt") as tensors:
                names |= {_modern(name, module) for name in tensors.keys()}  # noqa: SIM118 - not a dictionary
        except SafetensorError as error:
            raise DataError(f"{file} is damaged: {error}") from error
    return names


def _modern(name: str, module: Any) -> str:
    """Write a tensor's name as today's files do: weight and bias for gamma and beta, the encoder's prefix in front."""
    for old, now in ((".gamma", ".weight"), (".beta", ".bias")):
        name = name.removesuffix(old) + now if name.endswith(old) else name
    bare = {theirs.split(".")[1] for _, theirs in module.NAMES if theirs.startswith(f"{module.PREFIX}.")}
    return f"{module.PREFIX}.{name}" if name.partition(".")[0] in bare else name


def _weight_files(folder: Path) -> list[Path]:
    if files := weight_files(folder, "model.safetensors"):
        return files
    if (folder / HEAD).is_file():
        raise SettingsError(
            f"{folder} is an exported model, which predict, evaluate and search use; for anything else take the folder "
            "it was exported from"
        )
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLES)
    if pickles:
        target = shlex.quote(f"{folder.resolve()}-safetensors")
        raise SettingsError(
            f"{folder} holds {pickles[0]}, a pickle, which could run code when read; type: "
            f"bertie convert {shlex.quote(str(folder))} {target}"
        )
    raise SettingsError(
        f"{folder} holds no model.safetensors; if the hub has the model as pytorch_model.bin only, type: "
        "bertie convert OWNER/MODEL FOLDER"
    )


def read_tokenizer(folder: Path, values: Mapping[str, Any], vocab_size: int) -> Tokenizer:
    """Read a folder's tokenizer, and refuse one that is not the one its config.json was written beside."""
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size > vocab_size:
        raise DataError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} pieces and the model only {vocab_size} embeddings"
        )
    golden = values.get("bertie", {}).get("golden_ids")
    if golden is not None and golden != tokenizer.golden_ids():
        raise DataError(
            f"{folder}: the tokenizer cuts the stored test text otherwise than when the model was written; its files "
            "were changed, or this version of the tokenizers package behaves otherwise"
        )
    return tokenizer


def _follow_segments(model: TaskModel, tokenizer: Tokenizer) -> list[str]:
    """Have the encoder tell the two texts of a pair apart only where its tokenizer does; return what is to be said."""
    told = [module for module in model.encoder.modules() if _tells_segments(module)]
    for module in told if not tokenizer.tells_segments else ():
        setattr(module, "tells_segments", False)  # noqa: B010 - torch's types know no other attributes
    return [*tokenizer.remarks, *(tokenizer.doubt if told else ())]


def _tells_segments(module: Any) -> bool:
    return bool(getattr(module, "tells_segments", False)) and module.segment is not None


def _build(config: Any, task: Task, state: Mapping[str, Tensor], folder: Path) -> TaskModel:
    """Make the network, but only after one without memory has shown that the file's encoder fits the config."""
    if max(config.num_layers, getattr(config, "num_decoder_layers", 0)) > len(state):
        raise DataError(f"{folder}: config.json's num_hidden_layers {config.num_layers} is more than the file has")
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
    """Copy tensors into the network; return the names of head parameters that were drawn."""
    own = model.state_dict()
    for name, value in state.items():
        if name in own and value.shape != own[name].shape:
            if name.startswith("head.") and new_head:
                continue
            raise DataError(f"{folder}: {name} is {tuple(value.shape)}, config.json says {tuple(own[name].shape)}")
    fitting = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
    given = {own[name].data_ptr() for name in fitting}  # of a tied tensor any name will do
    missing = sorted(name for name, value in own.items() if name not in fitting and value.data_ptr() not in given)
    if missing and not new_head:
        raise SettingsError(
            f"{folder} has no {', '.join(missing)}, so it can't be used for this task as it is; fine-tune it first, or "
            "load it with another task"
        )
    model.load_state_dict(fitting, strict=False)
    names = {name.removeprefix("head.") for name in missing}
    return initialize_head(model.head, model.encoder, seed=seed, names=names) if missing else []


def write(bundle: Bundle, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a model folder, whole or not at all; it must not exist unless `overwrite`, which removes the old one.

    What is written is loaded by transformers' class of the task's `architecture`, with no key missing or unexpected.
    """
    module = naming(bundle.architecture, bundle.config.to_foreign())
    state = module.to_foreign(bundle.model.state_dict())
    tensors = {name: value.detach().cpu().float().contiguous().clone() for name, value in state.items()}
    with atomic_folder(path, replace=overwrite) as folder:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        write_beside(bundle, folder)


def write_beside(bundle: Bundle, folder: Path) -> None:
    """Write what stands beside the weights: config, tokenizer, card, and what other programs look for."""
    module = naming(bundle.architecture, bundle.config.to_foreign())
    kind = getattr(module, "NAME", type(bundle.config).__name__.removesuffix("Config"))
    settings = {field.name: getattr(bundle.task, field.name) for field in dataclasses.fields(bundle.task)}  # type: ignore[arg-type]
    name = bundle.task.architecture.format(kind)
    special = getattr(module, "SPECIAL_IDS", {}).items()
    values = {
        "architectures": [getattr(module, "CLASSES", {}).get(name, name)],
        **bundle.config.to_foreign(),
        **{theirs: getattr(bundle.tokenizer, ours) for theirs, ours in special},
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
    bundle.tokenizer.save(folder, segments=any(map(_tells_segments, bundle.model.modules())))
    if isinstance(bundle.task, Embedding):
        write_layout(folder, bundle.task, bundle.config.hidden_size)
    if isinstance(bundle.task, Search):
        write_generation(folder, bundle.task, bundle.tokenizer)
    if bundle.card:
        write_text(folder / "README.md", bundle.card)
