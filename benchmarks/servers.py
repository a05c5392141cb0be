"""Servers for `benchmarks.serving` and `benchmarks.serving_load`: start one as a process, ask it, and watch it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import arrivals

TARGET = "/v1/embeddings"
"""OpenAI's route for vectors, which every server has."""
NAME = "model"
_STARTING = 300.0  # seconds in which a server must answer
_PLAIN = Path(__file__).with_name("plain_server.py")


@dataclass(frozen=True)
class Server:
    """A server that answers `TARGET`."""

    python: str
    """The Python that has its packages."""
    words: tuple[str, ...]
    """Its command line after the Python; {port} and {model} stand for the port and the model's folder."""


def bertie(*flags: str) -> Server:
    """Return bertie's own server."""
    return Server(sys.executable, ("-m", "bertie", "serve", f"{NAME}={{model}}", "--port", "{port}", "--quiet", *flags))


def plain(python: str, kind: str) -> Server:
    """Return sentence-transformers behind FastAPI; kind is plain or queue."""
    return Server(python, (str(_PLAIN), "{model}", "{port}", kind))


def infinity(python: str) -> Server:
    """Return infinity-emb."""
    start = "from infinity_emb.cli import cli; cli()"  # its modules have no main
    words = ("-c", start, "v2", "--model-id", "{model}", "--served-model-name", NAME)
    more = ("--device", "cpu", "--engine", "torch", "--no-bettertransformer", "--no-model-warmup", "--dtype", "float32")
    return Server(python, (*words, *more, "--url-prefix", "/v1", "--port", "{port}", "--log-level", "error"))


def llama(python: str, gguf: Path) -> Server:
    """Return llama.cpp's server of the package llama-cpp-python."""
    words = ("-m", "llama_cpp.server", "--model", str(gguf), "--model_alias", NAME, "--embedding", "true")
    return Server(python, (*words, "--port", "{port}", "--verbose", "false"))


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@dataclass
class Running:
    """A server that answers."""

    process: subprocess.Popen[bytes]
    port: int

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Ask for each text by itself, as the clients of the benchmark do."""
        found = []
        for text in texts:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}{TARGET}", body(text).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                found.append(json.loads(answer.read())["data"][0]["embedding"])
        return found

    def rss_mb(self) -> float:
        """Return the memory of the process now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024.0
        raise RuntimeError("the server has ended")

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        parts = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def files(self) -> int:
        """Return the number of its open files and connections."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextmanager
def running(server: Server, model: Path, threads: int) -> Iterator[Running]:
    """Start a server, wait until it answers, and stop it at the end.

    Raises:
        RuntimeError: it ends, or doesn't answer in time.
    """
    port = free_port()
    command = [server.python, *(word.format(port=port, model=model) for word in server.words)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = Running(process, port)
    try:
        end = time.monotonic() + _STARTING
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {process.returncode}: {' '.join(command)}")
            with suppress(OSError):
                found.vectors(["a text"])
                break
            if time.monotonic() > end:
                raise RuntimeError(f"no answer in {_STARTING:g} seconds: {' '.join(command)}")
            time.sleep(0.2)
        yield found
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


def body(text: str) -> str:
    """Return the body of a request for one text."""
    return json.dumps({"input": text, "model": NAME})


def sent(folder: Path, server: Running, **order: Any) -> dict[str, Any]:
    """Send requests by a process of its own, and return its figures.

    Args:
        folder: holds requests.jsonl, of `arrivals.write_requests`.
        server: the server.
        **order: fields of `arrivals.Order`.
    """
    return json.loads(sending(folder, server, **order).communicate()[0])  # type: ignore[no-any-return]


def sending(folder: Path, server: Running, **order: Any) -> "subprocess.Popen[bytes]":
    """Start to send requests; the process prints its figures at the end."""
    full = arrivals.Order(port=server.port, requests=str(folder / "requests.jsonl"), **order)
    path = arrivals.order_file(folder / f"order-{os.getpid()}-{time.monotonic_ns()}.json", full)
    command = [sys.executable, str(Path(arrivals.__file__)), str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)
