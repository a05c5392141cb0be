"""A real S3 server: moto, through s3fs; also through a network that breaks, and with processes that are killed.

pip install s3fs 'moto[server]'
"""

import contextlib
import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

LACKING = [name for name in ("s3fs", "moto", "flask") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"{', '.join(LACKING)} not installed: pip install s3fs 'moto[server]'"),
]
STORY = "The cat sat. The dog ran. The cat ran. " * 10
SHAPE = ["--batch-tokens", "256", "--threads", "1", "--model.size", "1/32", "--model.num-heads", "2"]
UPLOAD = """
import sys
from pathlib import Path
from bertie.storage.outputs import Output
output = Output(sys.argv[2])
output.open(folder=True)
Path(sys.argv[1]).rename(output.path)
output.push(complete=True)
"""
FETCH = """
import sys
from bertie.files.atomic import sha256_file
from bertie.storage.inputs import fetch
copy = fetch(sys.argv[1])
print(*(sha256_file(file) for file in sorted(copy.rglob("*")) if file.is_file()))
"""
BUCKET = "import fsspec; fsspec.filesystem('s3').mkdir('bucket')"
LIST = "import fsspec; print(*sorted(fsspec.filesystem('s3').find('bucket')), sep='\\n')"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Client:
    """Runs programs on machines that know the server."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    def begin(self, *words: str, port: int | None = None, cache: str = "cache") -> "subprocess.Popen[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "hidden-key",
            "AWS_DEFAULT_REGION": "us-east-1",
            "BERTIE_CACHE": str(self.folder / cache),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        command = [sys.executable, *words]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str, code: int = 0, port: int | None = None, cache: str = "cache") -> str:
        process = self.begin(*words, port=port, cache=cache)
        output, errors = process.communicate(timeout=200)
        assert process.returncode == code, output + errors
        assert "hidden-key" not in output + errors
        return output + errors

    def bertie(self, *words: str, code: int = 0) -> str:
        return self.run("-m", "bertie", *words, code=code)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    log = (tmp_path_factory.mktemp("moto") / "log").open("w")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.1)
    Client(tmp_path_factory.mktemp("first"), port).run("-c", BUCKET)
    yield port
    process.terminate()
    process.wait()
    log.close()


@pytest.fixture
def client(server: int, tmp_path: Path) -> Client:
    return Client(tmp_path, server)


class Breaking:
    """A network in front of a server: some connections break in the middle of a message, and all may be slow."""

    def __init__(self, port: int, *, share: float = 0.0, pause: float = 0.0) -> None:
        self._target, self._share, self._pause, self._draw = port, share, pause, random.Random(0)
        self.broken = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                there = socket.create_connection(("127.0.0.1", self._target))
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                time.sleep(self._pause)
                if self._draw.random() < self._share:
                    self.broken += 1
                    target.sendall(content[: len(content) // 2])
                    break
                target.sendall(content)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        self._listening.close()


def fill(folder: Path, **sizes: int) -> str:
    """Write files of random bytes; return their checksums."""
    from bertie.files.atomic import sha256_file

    folder.mkdir()
    for name, size in sizes.items():
        (folder / name).write_bytes(random.Random(name).randbytes(size))
    return " ".join(sha256_file(file) for file in sorted(folder.iterdir()))


def test_every_step(client: Client, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n\n".join([STORY] * 10))
    copy = "import fsspec, sys; fsspec.filesystem('s3').put_file(sys.argv[1], 'bucket/text/a.txt')"
    client.run("-c", copy, str(tmp_path / "text.txt"))
    client.bertie("train-tokenizer", "s3://bucket/text/*.txt", "--out", "s3://bucket/tok", "--vocab-size", "60")
    client.bertie("prepare-corpus", "s3://bucket/text", "--tokenizer", "s3://bucket/tok", "--out", "s3://bucket/corpus")
    words = ["pretrain", "--corpus", "s3://bucket/corpus", "--steps", "4", "--training.save-every", "2", *SHAPE]
    client.bertie(*words, "--out", "s3://bucket/run")
    assert "is already finished" in client.bertie(*words, "--out", "s3://bucket/run", "--resume")
    client.bertie(*words, "--out", str(tmp_path / "run"))
    client.run("-c", FETCH, "s3://bucket/run/model")
    shown = client.bertie("predict", "s3://bucket/run/model", "the [MASK] sat.", "--json")
    assert "token" in shown
    record = client.run("-c", "import fsspec; print(fsspec.filesystem('s3').cat('bucket/run/run.json').decode())")
    assert "s3://bucket/corpus" in record and str(tmp_path / "cache") not in record
    assert "exists already" in client.bertie(*words, "--out", "s3://bucket/run", code=2)
    assert "no such object or bucket" in client.bertie(*words, "--out", "s3://other/run", code=2)
    assert "s3://bucket/none: no such object" in client.bertie("show", "s3://bucket/none", code=2)


def test_a_network_that_breaks(client: Client, tmp_path: Path) -> None:
    sums = fill(tmp_path / "corpus", **{f"part-{number}": 2_000_000 for number in range(10)}, manifest=100)
    network = Breaking(client.port, share=0.004)
    client.run("-c", UPLOAD, str(tmp_path / "corpus"), "s3://bucket/broken", port=network.port)
    assert client.run("-c", FETCH, "s3://bucket/broken", port=network.port, cache="other").startswith(sums)
    assert network.broken > 2
    network.close()


def test_two_processes_fetch_at_once(client: Client, tmp_path: Path) -> None:
    sums = fill(tmp_path / "corpus", **{f"part-{number}": 1_000_000 for number in range(10)})
    client.run("-c", UPLOAD, str(tmp_path / "corpus"), "s3://bucket/both")
    both = [client.begin("-c", FETCH, "s3://bucket/both", cache="both") for _ in range(2)]
    outputs = [process.communicate(timeout=200) for process in both]
    assert [output.strip() for output, _ in outputs] == [sums] * 2, outputs
    objects = [file for file in (tmp_path / "both" / "objects").rglob("*") if file.is_file() and not file.suffix]
    assert len(objects) == 10


def test_killed_in_an_upload(client: Client, tmp_path: Path) -> None:
    sizes = {"small": 1000, "tokens": 20_000_000, "manifest.json": 100}
    sums = fill(tmp_path / "corpus", **sizes)
    network = Breaking(client.port, pause=0.05)
    words = ("-c", UPLOAD, str(tmp_path / "corpus"), "s3://bucket/killed")
    process = client.begin(*words, port=network.port, cache="killed")
    until = time.monotonic() + 100
    while "bucket/killed/small" not in client.run("-c", LIST):
        assert time.monotonic() < until
    process.send_signal(signal.SIGKILL)
    process.communicate()
    network.close()
    shown = client.run("-c", FETCH, "s3://bucket/killed", code=1)
    assert "is incomplete: its upload began but didn't end; missing are manifest.json, tokens" in shown
    fill(tmp_path / "again", **sizes)
    client.run("-c", UPLOAD, str(tmp_path / "again"), "s3://bucket/killed")
    assert client.run("-c", FETCH, "s3://bucket/killed").startswith(sums)


def test_a_server_that_is_gone(client: Client) -> None:
    shown = client.run("-c", FETCH, "s3://bucket/x", port=free_port(), code=1)
    assert "s3://bucket/x: the store can't be reached" in shown and "AWS_ENDPOINT_URL" in shown
