"""The lines of `bertie doctor` about what must be right when several machines or processes work together."""

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from bertie.commands._diagnosis import Line
from bertie.inference.network import has_torch
from bertie.version import VERSION

PORT = 29400
"""The port where torchrun's processes meet by default."""
_SHARED_MEMORY = Path("/dev/shm")
_LITTLE_SHARED_MEMORY = 1e9
_FEW_FILES = 4096
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def cluster_lines() -> Iterator[Line]:
    """Yield the lines: versions to compare, network address, port, shared memory, open files, and GPU peer access."""
    yield _versions()
    yield address_line(socket.gethostname())
    yield from interface_lines()
    yield port_line(os.environ.get("MASTER_PORT", str(PORT)))
    if _SHARED_MEMORY.is_dir():
        yield shared_memory_line(shutil.disk_usage(_SHARED_MEMORY).total)
    yield from open_files_lines()
    yield from _peers()


def _versions() -> Line:
    parts = [f"bertie {VERSION}"]
    if has_torch():
        import torch

        parts.append(f"torch {torch.__version__}")
        if torch.version.cuda:
            parts.append(f"CUDA {torch.version.cuda}")
            if torch.cuda.is_available():
                version: tuple[int, ...] = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
                parts.append(f"NCCL {'.'.join(map(str, version))}")
    return Line("cluster", "ok", f"must be the same on every machine: {', '.join(parts)}")


def address_line(host: str) -> Line:
    """Return whether the address of this machine's name is one that other machines can reach.

    Args:
        host: the name; gloo listens at its address.
    """
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    remedy = f"for several machines, set GLOO_SOCKET_IFNAME to a network interface ({', '.join(others) or 'none here'})"
    try:
        found = {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        return Line("cluster", "note", f"this machine's name {host} has no address: {error}", remedy)
    addresses = ", ".join(sorted(found))
    if all(ip_address(one).is_loopback for one in found):
        if os.environ.get("GLOO_SOCKET_IFNAME"):
            return Line("cluster", "ok", f"{host} has the loopback address {addresses}; GLOO_SOCKET_IFNAME replaces it")
        what = f"{host} has the loopback address {addresses}, which other machines can't reach"
        return Line("cluster", "note", what, remedy)
    return Line("cluster", "ok", f"{host} has the address {addresses}")


def interface_lines() -> Iterator[Line]:
    """Yield a line for each variable that names a network interface which this machine doesn't have."""
    known = [name for _, name in socket.if_nameindex()]
    for variable in _INTERFACES:
        value = os.environ.get(variable, "")
        exact = value.startswith("=")
        # NCCL takes beginnings of names and exceptions (^); gloo takes whole names.
        if not value or value.startswith("^"):
            continue
        for name in value.removeprefix("=").split(","):
            is_prefix = variable.startswith("NCCL") and not exact
            if not any(one == name or (is_prefix and one.startswith(name)) for one in known):
                what = f"{variable} names {name!r}, which this machine doesn't have"
                yield Line("cluster", "problem", what, f"set it to one of {', '.join(known)}, or unset it")


def port_line(text: str) -> Line:
    """Return whether the processes of a run can meet at a port of this machine.

    Args:
        text: the port, of MASTER_PORT or the default.
    """
    remedy = "choose another: --rdzv-endpoint HOST:PORT of torchrun, --port of bertie launch, or MASTER_PORT"
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 65535):
        return Line("cluster", "problem", f"MASTER_PORT is {text!r:.40}, which is no port", remedy)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(text)))
        except OSError as error:
            return Line("cluster", "note", f"port {text} can't be opened: {error.strerror or error}", remedy)
    return Line("cluster", "ok", f"port {text} is free")


def shared_memory_line(size: int) -> Line:
    """Return whether /dev/shm is large enough for NCCL and for data that processes share.

    Args:
        size: its size in bytes.
    """
    what = f"/dev/shm has {size / 1e9:.1f} GB"
    if size < _LITTLE_SHARED_MEMORY:
        remedy = "give the container more: docker run --shm-size 8g, or --kubernetes.shared-memory of bertie launch"
        return Line("cluster", "note", f"{what}, which is little for several processes", remedy)
    return Line("cluster", "ok", what)


def open_files_lines() -> Iterator[Line]:
    """Yield a line with the limit of open files, where the system has one."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _FEW_FILES:
        most = f"; at most {hard}" if 0 <= hard < _FEW_FILES else ""
        remedy = f"ulimit -n {hard if most else 65536 if hard < 0 else min(hard, 65536)}"
        yield Line("cluster", "note", f"a process may open {soft} files, which is few{most}", remedy)
    else:
        yield Line("cluster", "ok", f"a process may open {'any number of' if soft < 0 else soft} files")


def _peers() -> Iterator[Line]:
    if not has_torch():
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    pairs = [(one, other) for one in range(count) for other in range(count) if one != other]
    if pairs:
        yield peer_line([pair for pair in pairs if not torch.cuda.can_device_access_peer(*pair)])


def peer_line(lacking: Sequence[tuple[int, int]]) -> Line:
    """Return whether GPUs can read each other's memory.

    Args:
        lacking: the pairs that can't.
    """
    if not lacking:
        return Line("cluster", "ok", "every GPU can read the memory of every other")
    pairs = ", ".join(f"{one} and {other}" for one, other in lacking[:4])
    remedy = "nothing to set: NCCL copies through the machine's memory; nvidia-smi topo --matrix shows the connections"
    return Line("cluster", "note", f"GPUs can't read each other's memory, which is slower: {pairs}", remedy)
