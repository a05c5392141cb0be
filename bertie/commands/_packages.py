"""The lines of `bertie doctor` about packages: versions, what is missing, and what doesn't start.

The requirements are those of bertie's own metadata, so this file names no version.
"""

import platform
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from bertie import child
from bertie.commands._diagnosis import Line
from bertie.version import VERSION

PURPOSES = {
    "data": "read .parquet and .zst files",
    "eval": "compare models, correlate scores, and use bertie's estimators in scikit-learn",
    "fast": "tokenize faster while a corpus is prepared",
    "generation": "score generated texts by BLEU and ROUGE",
    "hub": "read data sets of the Hugging Face hub",
    "export": "export models for ONNX Runtime",
    "onnx": "use models that were exported for ONNX Runtime",
    "openvino": "run models in OpenVINO",
    "selection": "drop near duplicates and other languages from a corpus",
    "s3": "use s3:// addresses",
    "gcs": "use gs:// addresses",
    "ray": "prepare corpora and predict on a Ray cluster",
    "serve": "answer requests over HTTP",
    "mlflow": "let MLflow show the figures of runs",
    "tensorboard": "let TensorBoard show the figures of runs",
    "torch": "train models, and use models that were not exported",
    "wandb": "let Weights & Biases show the figures of runs",
    "zh": "mask whole words of Chinese text",
}
"""What each extra is for, as a clause after "to"."""
MODULES = {"scikit-learn": "sklearn", "mlflow-skinny": "mlflow"}
"""The modules of packages whose name differs in more than its dashes."""
_SECONDS = 120.0
_NOT_FOR_USE = {"dev", "docs"}
_IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    print("begin", name, flush=True)
    try:
        importlib.import_module(name)
        print("passed", name, flush=True)
    except BaseException as error:
        print("failed", name, type(error).__name__, *str(error).split(), flush=True)
"""


@dataclass(frozen=True)
class Requirement:
    """A package that bertie needs or can use."""

    package: str
    bounds: tuple[tuple[str, str], ...]
    """Pairs such as (">=", "2.11")."""
    extra: str = ""
    """The extra that installs it; empty for a package that bertie always needs."""

    @property
    def module(self) -> str:
        """The name to import."""
        return MODULES.get(self.package, self.package.replace("-", "_"))

    def fits(self, version: str) -> bool:
        """Return whether a version is within the bounds."""
        found = release(version)
        for sign, bound in self.bounds:
            wanted = release(bound)
            if (sign == ">=" and found < wanted) or (sign == "<" and found >= wanted):
                return False
        return True

    def __str__(self) -> str:
        return self.package + ",".join(f"{sign}{bound}" for sign, bound in self.bounds)


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version without zeros at the end.

    >>> release("2.11.0+cpu"), release("2025.3rc1")
    ((2, 11), (2025, 3))
    """
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(word) for word in found[0].split(".")] if found else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def requirements(texts: Sequence[str]) -> list[Requirement]:
    """Parse the requirements of a package's metadata, such as ``pyarrow>=21; extra == 'data'``."""
    found = []
    for text in texts:
        head, _, condition = text.partition(";")
        name = re.match(r"[A-Za-z0-9._-]+", head)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", condition)
        if name and (extra is None or extra[1] not in _NOT_FOR_USE):
            bounds = tuple(sorted(re.findall(r"(>=|<)\s*([\w.]+)", head), reverse=True))
            found.append(Requirement(name[0], bounds, extra[1] if extra else ""))
    return found


def package_lines() -> list[Line]:
    """Return the versions of bertie, Python and the packages, and what is missing or doesn't start."""
    lines = [Line("versions", "ok", f"bertie {VERSION}, Python {platform.python_version()}")]
    try:
        wanted = requirements(metadata.requires("bertie") or [])
    except metadata.PackageNotFoundError:
        remedy = "pip install . in the folder of the source"
        return [*lines, Line("versions", "note", "bertie is not installed, only imported from its source", remedy)]
    by_extra: dict[str, list[Requirement]] = defaultdict(list)
    for one in wanted:
        by_extra[one.extra].append(one)
    broken = failures(sorted({one.module for one in wanted if find_spec(one.module) is not None}))
    lines += _needed(by_extra.pop("", []), broken)
    for extra, members in sorted(by_extra.items()):
        lines += _extra(extra, members, broken)
    return lines


def _needed(members: Sequence[Requirement], broken: dict[str, str]) -> Iterator[Line]:
    """Yield a line with the versions of the packages that bertie always needs, and one for each that is unusable."""
    good = []
    for one in members:
        remedy = f"pip install '{one}'"
        version = _version(one.package)
        if version is None:
            yield Line("versions", "problem", f"{one.package} is missing", remedy)
        elif one.module in broken:
            remedy = f"pip install --force-reinstall '{one}'"
            yield Line("versions", "problem", f"{one.package} {version} doesn't start: {broken[one.module]}", remedy)
        elif not one.fits(version):
            yield Line("versions", "problem", f"{one.package} {version} doesn't suit bertie, which needs {one}", remedy)
        else:
            good.append(f"{one.package} {version}")
    if good:
        yield Line("versions", "ok", ", ".join(good))


def _extra(extra: str, members: Sequence[Requirement], broken: dict[str, str]) -> Iterator[Line]:
    """Yield a line with the versions of an extra's packages, or a line for each of them that is unusable."""
    purpose, remedy = PURPOSES.get(extra, f"use the extra {extra}"), f"pip install 'bertie[{extra}]'"
    versions = {one: _version(one.package) for one in members}
    missing = [one.package for one, version in versions.items() if version is None]
    if missing:
        yield Line("extras", "note", f"{extra}: to {purpose}, {' and '.join(missing)} must be installed", remedy)
    faults = 0
    for one, version in versions.items():
        if version is not None and one.module in broken:
            faults += 1
            again = f"pip install --force-reinstall '{one}'"
            yield Line(
                "extras", "problem", f"{extra}: {one.package} {version} doesn't start: {broken[one.module]}", again
            )
        elif version is not None and not one.fits(version):
            faults += 1
            yield Line("extras", "note", f"{extra}: {one.package} {version} is not {one}", remedy)
    if not missing and not faults:
        listed = ", ".join(f"{one.package} {version}" for one, version in versions.items())
        yield Line("extras", "ok", f"{extra}: {listed}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def failures(modules: Sequence[str], run: Callable[..., child.Done] = child.python) -> dict[str, str]:
    """Import modules in a child process, where a crash ends the child alone; return why some of them can't be."""
    found: dict[str, str] = {}
    remaining = list(modules)
    while remaining:
        done = run(["-c", _IMPORTS, *remaining], seconds=_SECONDS, environment={"ORT_DISABLE_TELEMETRY": "1"})
        begun = ""
        for line in done.output.splitlines():
            word, name, why = [*line.split(" ", 2), "", ""][:3]
            if word == "begin" and name in remaining:
                begun = name
            elif word in ("passed", "failed") and name == begun:
                if word == "failed":
                    found[name] = why[:300]
                remaining.remove(name)
                begun = ""
        if begun:
            ending = (
                f"no answer in {_SECONDS:.0f} seconds" if done.code is None else f"it ends Python (code {done.code})"
            )
            found[begun] = ending
            remaining.remove(begun)
        elif remaining:
            return found | dict.fromkeys(remaining, f"the process that imports it ended with {done.code}")
    return found
