"""Each hard thing is known to one place: who else names it has to go through that place."""

import ast
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bertie"

# Subject: (what naming it looks like, the files that may).
KNOWN = {
    "torch.distributed": (r"^torch\.distributed\b", ["training/parallel.py"]),
    "autocast": (r"(^|\.)autocast$", ["training/precision.py"]),
    "attention kernels": (
        r"^torch\.nn\.attention\b|(^|\.)(scaled_dot_product_attention|varlen_attn)$",
        ["ops/attention/attend.py", "ops/attention/*.py"],
    ),
    "safetensors": (r"^safetensors\b", ["formats/*.py", "training/checkpoint.py"]),
    "schemas": (r"^pydantic(_core)?\b", ["config.py", "serving/protocols/_payload.py"]),
    "JSON and TOML": (r"^(tomllib|json\.(loads?|JSONDecoder))\b", ["untrusted.py"]),
    "flags": (r"^tyro\b", ["flags.py"]),
    "argv": (r"^sys\.argv$", ["cli.py"]),
    "onnx": (r"^onnx\b", ["backends/_graph.py"]),
    "onnxruntime": (r"^onnxruntime\b", ["backends/_onnxruntime.py"]),
    "openvino": (r"^openvino\b", ["backends/openvino.py", "backends/_openvino.py"]),
    "the Rust tokenizers": (r"^tokenizers\b", ["tokenizer/*.py"]),
    "sentence rules": (r"^sentencex\b", ["corpus/sentences.py"]),
    "Chinese words": (r"^rjieba\b", ["corpus/segmentation.py"]),
    "object stores": (r"^(fsspec|s3fs|gcsfs)\b", ["storage/store.py"]),
    "the hub": (r"^huggingface_hub\b", ["formats/*.py"]),
    "files of torch's own": (r"^torch\.(load|save)$", ["formats/*.py"]),
    "pickle": (r"^(pickle|marshal|shelve|dill|cloudpickle|joblib)\b", []),
    "foreign frameworks": (r"^(transformers|tensorflow|jax)\b", []),
}
# What a bare GPU image has; other packages are imported inside the function that needs them, if at all.
BARE_ROOMS = ("nn", "batch.py", "models", "tasks", "items", "readers", "sampling", "checks", "training")
BARE_ROOMS += ("ops", "metrics", "optimizers", "schedules")
BARE_PACKAGES = {"torch", "numpy", "tokenizers", "safetensors", "typing_extensions", "bertie"}


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` for a chain of attributes on a name, and nothing for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def names_in(source: str) -> set[str]:
    """Return every dotted name a source imports or reads."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
        elif isinstance(node, ast.Attribute):
            names.add(dotted(node))
    return names


def packages_at_import(source: str) -> set[str]:
    """Return the packages from elsewhere that importing a source imports."""
    tree = ast.parse(source)
    inside = {
        node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    guarded = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and dotted(test.test).endswith("TYPE_CHECKING")
        for node in ast.walk(test)
    }
    packages: set[str] = set()
    for node in set(ast.walk(tree)) - inside - guarded:
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages.add((node.module or "").partition(".")[0])
    return packages - set(sys.stdlib_module_names)


def test_the_measure_itself() -> None:
    names = names_in("import torch.distributed as d\nfrom torch import nn\nF.scaled_dot_product_attention(x.y)")
    assert {"torch.distributed", "torch.nn", "F.scaled_dot_product_attention", "x.y"} <= names
    source = (
        "import torch\ndef f():\n    import rich\nif TYPE_CHECKING:\n    import tyro\nimport pydantic.main\nimport os"
    )
    assert packages_at_import(source) == {"torch", "pydantic"}


@pytest.mark.parametrize("subject", KNOWN)
def test_one_place_knows(subject: str) -> None:
    pattern, allowed = KNOWN[subject]
    knowing = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        found = sorted(name for name in names_in(path.read_text(encoding="utf-8")) if re.search(pattern, name))
        if found and not any(fnmatch(file, choice) for choice in allowed):
            knowing[file] = found
    assert knowing == {}, f"{subject}: only {allowed or 'nobody'} may know it"


def test_bare_rooms_need_few_packages() -> None:
    foreign = {}
    for room in BARE_ROOMS:
        place = PACKAGE / room
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if path.exists() and (more := packages_at_import(path.read_text(encoding="utf-8")) - BARE_PACKAGES):
                foreign[path.relative_to(PACKAGE).as_posix()] = sorted(more)
    assert foreign == {}


def test_the_files_of_the_table_exist() -> None:
    named = {pattern for _, files in KNOWN.values() for pattern in files}
    assert [pattern for pattern in sorted(named) if not list(PACKAGE.glob(pattern))] == []
