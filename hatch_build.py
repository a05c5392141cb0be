"""Compile the C++ kernels into the wheel, for several kinds of x86-64 processors; hatchling runs this.

`pip wheel .`, `pip install .` and `python -m build` end here; an editable installation builds its kernels at first use
instead. BERTIE_WHEEL_KERNELS names the highest level to compile (amx, avx512 or avx2), or is `off`. Without a compiler,
on other systems, or with `off`, the wheel is pure Python, and its manifest says why. Nothing here needs torch.
"""

import json
import os
import platform
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "BERTIE_WHEEL_KERNELS"
FLAGS = ("-mtune=generic", "-s")  # for no processor in particular; without the symbols that only debuggers read
PLACE = "bertie/ops/kernels/compiled"
# The newest versions of symbols, and the libraries, that PEP 600 allows a wheel for systems with glibc 2.27.
PLATFORM = "manylinux_2_27_x86_64"
NEWEST = {"GLIBC": (2, 27), "GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11), "GCC": (7, 0, 0)}
LIBRARIES = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "ld-linux-x86-64.so.2"}


class KernelsHook(BuildHookInterface[Any]):
    """Adds compiled kernels and their manifest to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is written.

        Raises:
            SettingsError: the switch has an unknown value.
        """
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from bertie.ops.kernels import prebuilt

        self._scratch = tempfile.TemporaryDirectory(prefix="bertie-wheel-")
        folder = Path(self._scratch.name)
        manifest = self._compile(folder)
        files = {name: folder / name for name in manifest["libraries"]}
        if files:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_of([path.read_bytes() for path in files.values()])}"
        else:
            self.app.display_warning(f"the wheel carries no compiled kernels: {manifest['reason']}")
        files[prebuilt.MANIFEST] = folder / prebuilt.MANIFEST
        files[prebuilt.MANIFEST].write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        build_data["force_include"].update({str(path): f"{PLACE}/{name}" for name, path in files.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the compiled files once the wheel contains them."""
        if version != "editable":
            self._scratch.cleanup()

    def _compile(self, folder: Path) -> dict[str, Any]:
        """Compile all libraries into a folder, and return the manifest."""
        from bertie import child
        from bertie.errors import SettingsError
        from bertie.ops.kernels import build, levels, prebuilt

        switch = os.environ.get(SWITCH, "").strip().lower() or levels.NAMES[0]
        if switch not in (*levels.NAMES, levels.OFF):
            raise SettingsError(f"{SWITCH} must be {', '.join(levels.NAMES)} or {levels.OFF}; got {switch!r}")
        if switch == levels.OFF:
            return without_libraries(f"it was built with {SWITCH}={levels.OFF}")
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            return without_libraries(f"it was built on {platform.system()} {platform.machine()}, not on Linux x86_64")
        if (command := build.compiler()) is None:
            return without_libraries("there was no C++ compiler when it was built")
        wanted = [one for one in levels.variants() if one.name in levels.NAMES[levels.NAMES.index(switch) :]]
        jobs = [(name, one) for name in build.NAMES for one in build.prebuilt_variants(name, wanted)]
        targets = [folder / prebuilt.file_name(*job) for job in jobs]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
            failures = list(
                workers.map(
                    lambda job, target: build.compile_source(job[0], command, (*job[1].flags, *FLAGS), target, ()),
                    jobs,
                    targets,
                )
            )
        for target, failure in zip(targets, failures, strict=True):
            if failure:
                self.app.display_warning(f"the wheel lacks {target.name}: {failure}")
        made = [target for target, failure in zip(targets, failures, strict=True) if failure is None]
        if not made:
            return without_libraries(f"when it was built, {failures[0]}")
        version = child.run([*command, "--version"], seconds=60).output.partition("\n")[0]
        hashes = {target.name: prebuilt.store.digest(target.read_bytes()) for target in sorted(made)}
        return {"reason": "", "compiler": version, "sources": prebuilt.sources_digest(), "libraries": hashes}


def without_libraries(reason: str) -> dict[str, Any]:
    """Return the manifest of a wheel that carries no libraries, because of a reason, which is a clause."""
    return {"reason": reason, "libraries": {}}


def platform_of(libraries: list[bytes]) -> str:
    """Return the platform of a wheel with these libraries.

    It is the one that PEP 600 defines for glibc 2.27 if they need nothing newer than that, else the building system's
    own. The names in an ELF file end with a zero byte.
    """
    for content in libraries:
        for family, version in re.findall(rb"(GLIBCXX|GLIBC|CXXABI|GCC)_([0-9.]+)\0", content):
            if tuple(map(int, version.split(b"."))) > NEWEST[family.decode()]:
                return "linux_x86_64"
        needed = {name.decode() for name in re.findall(rb"\0((?:lib|ld-)[\w.+-]*\.so[.\d]*)(?=\0)", content)}
        if not needed <= LIBRARIES:
            return "linux_x86_64"
    return PLATFORM
