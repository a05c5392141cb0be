"""Describe models for `show`: model folders of any program, exported models, and Google's checkpoints.

It reads config.json and the headers of weight files, and loads no model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.commands._integrity import model_files
from bertie.commands._shown import (
    DAMAGED,
    Description,
    bytes_of,
    count,
    integrity,
    quoted,
    scores_in_words,
    size,
    some,
    tensors_of,
)
from bertie.commands.command import Report
from bertie.errors import BertieError, DataError, SettingsError
from bertie.formats._classes import task_of
from bertie.formats._places import weight_files
from bertie.readers.reading import learned
from bertie.untrusted import read_json, read_object

_MODULES = "modules.json"
_FLOATS = ("F", "BF")
_EXAMPLES = {
    "question_answering": '"Who slept?" --pair "Ann slept."',
    "multiple_choice": '"It rained, so she" --pair "took an umbrella." "ate a stone."',
    "next_sentence": '"It rained." --pair "She took an umbrella."',
}


def describe_model(folder: Path) -> Report:
    """Describe a model folder."""
    inner = _encoder_folder(folder)
    settings = read_object(inner / "config.json")
    ours = settings.get("bertie")
    ours = ours if isinstance(ours, dict) else {}
    export = ours.get("export") if isinstance(ours.get("export"), dict) else None
    files = [*sorted(inner.glob("*.safetensors"))]
    weight_files(inner, "model.safetensors")  # an index that names a file that isn't there is refused
    tensors = [tensor for file in files for tensor in tensors_of(file).values()]
    labels = settings.get("id2label")
    steps = _sentence_steps(folder)
    stored_task = ours.get("task") if isinstance(ours.get("task"), str) else None
    task = stored_task or ("embedding" if steps else _task_of(settings))
    numbers = sum(number for number, kind in tensors if kind.startswith(_FLOATS))
    values: dict[str, Any] = {
        "kind": "exported model" if export else "model",
        "path": str(folder),
        "architectures": settings.get("architectures"),
        "model_type": settings.get("model_type"),
        "task": task,
        "layers": settings.get("num_hidden_layers", settings.get("n_layers")),  # the second is DistilBERT's name
        "hidden_size": settings.get("hidden_size", settings.get("dim")),
        "attention_heads": settings.get("num_attention_heads", settings.get("n_heads")),
        "vocab_size": settings.get("vocab_size"),
        "max_positions": settings.get("max_position_embeddings"),
        "labels": list(labels.values()) if isinstance(labels, dict) else None,
        "num_parameters": numbers if tensors and not export else None,
        "types": sorted({kind for _, kind in tensors}),
        "bytes": bytes_of(folder),
        **({"export": export} if export else {}),
        **({"sentence_transformers": steps} if steps else {}),
        "made_by": _maker(folder, settings, ours),
        "bertie": ours,
    }
    values["files"], is_whole = model_files(folder)
    command, problem = _next(folder, values, is_whole=is_whole, has_weights=bool(files or export))
    return Description(
        title=f"{folder}: {_title(values)}",
        values=values,
        facts=_facts(values, ours, problem),
        next_command=command,
        exit_code=0 if is_whole else DAMAGED,
    )


def _title(values: Mapping[str, Any]) -> str:
    """Return a line such as "a BERT model for classification, exported for onnx"."""
    classes = values["architectures"]
    kind = str(values["model_type"] or (classes[0] if isinstance(classes, list) and classes else "bert"))
    name = {"bert": "BERT", "roberta": "RoBERTa", "distilbert": "DistilBERT", "electra": "ELECTRA", "albert": "ALBERT"}
    task = str(values["task"] or "").replace("_", " ")
    purpose = f" for {task}" if task and task != "features" else " that gives vectors of tokens" if task else ""
    export = f", exported for {values['export'].get('backend')}" if "export" in values else ""
    return f"a {name.get(kind, kind)} model{purpose}{export}"


def _facts(values: Mapping[str, Any], ours: Mapping[str, Any], problem: str) -> dict[str, Any]:
    labels = values["labels"] if values["task"] in ("classification", "tagging", "span_classification") else None
    own = ours.get("settings") if isinstance(ours.get("settings"), dict) else {}
    assert isinstance(own, dict)
    labels = own["labels"] if isinstance(own.get("labels"), list) else labels
    heads = values["attention_heads"]
    parts = (
        f"{values['layers']} layers" if values["layers"] else "",
        f"width {values['hidden_size']}" if values["hidden_size"] else "",
        f"{heads} heads" if heads else "",
        f"{count(values['num_parameters'])} parameters" if values["num_parameters"] else "",
    )
    reading = learned(ours) if "reading" in ours else None
    export = values.get("export", {})
    scores = ours.get("scores")
    kinds = f" ({some(values['types'])})" if values["types"] else ""
    return {
        "network": ", ".join(filter(None, parts)),
        "labels": f"{len(labels)}: {some(labels, 12)}" if labels else None,
        "vocabulary": values["vocab_size"],
        "longest text": f"{own['max_length']:,} tokens"
        if isinstance(own.get("max_length"), int)
        else _positions(values),
        "exported": f"for {export.get('backend')}, precision {export.get('precision')}" if export else None,
        "vectors by": ", ".join(values.get("sentence_transformers", ())),
        "made by": values["made_by"],
        "trained on": "" if reading is None else reading.line(),
        "scores": scores_in_words(scores) if isinstance(scores, dict) else "",
        "size": f"{size(values['bytes'])}{kinds}",
        "files": integrity(values["files"]),
        "missing": problem,
    }


def _positions(values: Mapping[str, Any]) -> str:
    return f"{values['max_positions']:,} tokens" if isinstance(values["max_positions"], int) else ""


def _next(folder: Path, values: Mapping[str, Any], *, is_whole: bool, has_weights: bool) -> tuple[str | None, str]:
    """Return the command to type next, and what the folder lacks."""
    if not is_whole:
        return f"bertie show {quoted(folder)} --accept-changes", ""
    if not has_weights:
        from bertie.formats._folder import weights_of

        try:
            weights_of(_encoder_folder(folder))
        except (SettingsError, DataError) as error:
            return None, str(error)
    task = values["task"]
    if task in ("features", None):
        return f"bertie finetune {quoted(folder)} --task classification --train TABLE --dev TABLE --out OUT", ""
    masked = '"A text with a [MASK]."' if task in ("masked_lm", "pretraining", "hybrid") else '"a text"'
    if task == "embedding":
        return f'bertie search {quoted(folder)} FILE "a query"', ""
    return f"bertie predict {quoted(folder)} {_EXAMPLES.get(task, masked)}", ""


def _maker(folder: Path, settings: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return who made a model, as far as its folder and the run around it say."""
    record = folder.absolute().parent / "run.json"
    if ours and folder.absolute().name == "model" and record.is_file():
        try:
            run = read_object(record)
        except BertieError:
            run = {}
        began = run.get("settings", {}) if isinstance(run.get("settings"), dict) else {}
        source = next((f", from {began[name]}" for name in ("model", "from") if isinstance(began.get(name), str)), "")
        seed = f", seed {began['seed']}" if "seed" in began else ""
        place = folder.parent if folder.name else record.parent
        return f"bertie {run.get('command', '')}{source}{seed}; the run is {place}"
    if ours:
        steps, tokens = ours.get("steps"), ours.get("tokens")
        amount = f", {count(tokens)} tokens of training" if isinstance(tokens, int) else ""
        return f"bertie{f', {steps:,} steps' if isinstance(steps, int) else ''}{amount}"
    version = settings.get("transformers_version")
    return f"transformers {version}" if isinstance(version, str) else "another program"


def _task_of(settings: Mapping[str, Any]) -> str | None:
    """Return the task of another program's model, by the name of its class."""
    names = settings.get("architectures")
    if not isinstance(names, list) or not names:
        return None
    kind = str(names[0])
    if kind.startswith(("Albert", "Electra")) and kind.endswith("ForPreTraining"):
        from bertie.models.model import architecture

        return architecture(str(settings.get("model_type"))).tasks.get("ForPreTraining")
    return task_of(kind) or None


def _sentence_steps(folder: Path) -> list[str]:
    """Return the steps of a sentence-transformers model, such as Transformer, Pooling (mean), Normalize."""
    if not (folder / _MODULES).is_file():
        return []
    names = []
    listed = read_json(folder / _MODULES)
    for step in listed if isinstance(listed, list) else [listed]:
        if not isinstance(step, dict) or not isinstance(step.get("type"), str):
            raise DataError(f"{folder / _MODULES} must list steps, each with a type and a path; got {step!r:.100}")
        name = step["type"].rpartition(".")[2]
        file = folder / Path(str(step.get("path", ""))).name / "config.json"
        if name == "Pooling" and file.is_file():
            chosen = [
                key for key, is_on in read_object(file).items() if key.startswith("pooling_mode_") and is_on is True
            ]
            short = some(
                key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for key in chosen
            )
            name += f" ({short})" if chosen else ""
        names.append(name)
    return names


def _encoder_folder(folder: Path) -> Path:
    """Return the folder with config.json; old sentence-transformers models have it in a subfolder."""
    inner = folder / "0_Transformer"
    return inner if not (folder / "config.json").is_file() and (inner / "config.json").is_file() else folder


def is_model(folder: Path) -> bool:
    """Tell whether a folder holds a model's config."""
    return (_encoder_folder(folder) / "config.json").is_file()


def is_google(folder: Path) -> bool:
    """Tell whether a folder holds a checkpoint of TensorFlow 1."""
    return any(folder.glob("*.index"))


def describe_google(folder: Path) -> Report:
    """Describe a checkpoint of TensorFlow 1, as Google released BERT."""
    from bertie.formats._tensor_bundle import Checkpoint

    index = sorted(folder.glob("*.index"))[0]
    entries = Checkpoint(index).entries
    kept = {name: entry for name, entry in entries.items() if not name.endswith(("adam_m", "adam_v", "global_step"))}
    parameters = 0
    for entry in kept.values():
        number = 1
        for length in entry.shape:
            number *= length
        parameters += number
    file = folder / "bert_config.json"
    settings = read_object(file) if file.is_file() else {}
    values: dict[str, Any] = {
        "kind": "TensorFlow 1 checkpoint",
        "path": str(folder),
        "checkpoint": index.name.removesuffix(".index"),
        "num_tensors": len(kept),
        "num_parameters": parameters,
        "of_the_optimizer": len(entries) - len(kept),
        "layers": settings.get("num_hidden_layers"),
        "hidden_size": settings.get("hidden_size"),
        "vocab_size": settings.get("vocab_size"),
        "bytes": bytes_of(folder),
        "missing": [name for name in ("bert_config.json", "vocab.txt") if not (folder / name).is_file()],
    }
    network = f"{values['layers']} layers, width {values['hidden_size']}, " if settings else ""
    return Description(
        title=f"{folder}: a checkpoint of TensorFlow 1 ({values['checkpoint']})",
        values=values,
        facts={
            "network": f"{network}{count(parameters)} parameters in {len(kept)} tensors",
            "of the optimizer": values["of_the_optimizer"] or None,
            "vocabulary": values["vocab_size"],
            "size": size(values["bytes"]),
            "missing": some(values["missing"]),
        },
        next_command=f"bertie convert {quoted(folder)} OUT",
    )
