"""The lines of `bertie doctor` about several machines: addresses, interfaces, ports, limits."""

import resource
import socket
from typing import Any

import pytest

from bertie.commands import _cluster
from bertie.commands._cluster import address_line, cluster_lines, interface_lines, peer_line, port_line


def resolved_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    found: list[Any] = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: found)


def test_a_name_with_a_loopback_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "ens5")])
    resolved_to(monkeypatch, "127.0.1.1", "::1")
    line = address_line("node7")
    assert line.state == "note"
    assert "127.0.1.1" in line.what
    assert "GLOO_SOCKET_IFNAME to a network interface (ens5)" in line.remedy
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ens5")
    assert address_line("node7").state == "ok"
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    resolved_to(monkeypatch, "10.0.0.7", "fe80::1%ens5")
    assert (address_line("node7").state, address_line("node7").remedy) == ("ok", "")


def test_a_name_without_an_address() -> None:
    assert address_line("localhost").state == "note"  # really resolved
    assert address_line("no-such-host.invalid").state == "note"
    assert address_line("x" * 300).state == "note"


def test_interfaces_that_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    for variable, value, is_wrong in (
        ("GLOO_SOCKET_IFNAME", "eth0", False),
        ("GLOO_SOCKET_IFNAME", "eth", True),
        ("GLOO_SOCKET_IFNAME", "lo,ib0", True),
        ("NCCL_SOCKET_IFNAME", "eth", False),
        ("NCCL_SOCKET_IFNAME", "=eth", True),
        ("NCCL_SOCKET_IFNAME", "^docker", False),
    ):
        with monkeypatch.context() as one:
            for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                one.delenv(name, raising=False)
            one.setenv(variable, value)
            states = [line.state for line in interface_lines()]
            assert states == (["problem"] if is_wrong else []), (variable, value)


def test_a_port_in_use_and_texts_that_are_no_port() -> None:
    with socket.socket() as busy:
        busy.bind(("", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        line = port_line(port)
        assert (line.state, f"port {port} can't be opened" in line.what) == ("note", True)
    assert port_line(port).state == "ok"
    for text in ("", "0", "65536", "http", "-1", "²", "9" * 5000):
        assert port_line(text).state == "problem", text


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _cluster.shared_memory_line(64 << 20).state == "note"
    assert _cluster.shared_memory_line(8 << 30).state == "ok"
    for soft, hard, state, remedy in (
        (1024, 1 << 20, "note", "ulimit -n 65536"),
        (1024, 2048, "note", "ulimit -n 2048"),
        (256, -1, "note", "ulimit -n 65536"),
        (65536, 65536, "ok", ""),
        (-1, -1, "ok", ""),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda what, pair=(soft, hard): pair)
        (line,) = _cluster.open_files_lines()
        assert (line.state, line.remedy) == (state, remedy)


def test_gpus_that_can_not_read_each_other() -> None:
    assert peer_line([]).state == "ok"
    assert "0 and 1" in peer_line([(0, 1), (1, 0)]).what


def test_the_lines_of_this_machine() -> None:
    lines = list(cluster_lines())
    assert {line.subject for line in lines} == {"cluster"}
    assert lines[0].what.startswith("must be the same on every machine: bertie ")
    assert all(line.remedy for line in lines if line.state != "ok")
