"""`bertie serve` as a process: it says where it is, a request works, and SIGTERM loses no answer."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bertie.commands.serve import named, read_keys, serve
from bertie.errors import SettingsError
from bertie.serving.limits import Limits
from bertie.serving.run import listen


def ask(url: str, body: Any) -> Any:
    content = json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def _waiting(address: str) -> float:
    """Return the tokens that wait."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
        match = re.search(r'bertie_queue_tokens{model="films"} (\S+)', answer.read().decode())
    assert match is not None
    return float(match[1])


def test_a_process_serves_and_drains_on_sigterm(model_folders: dict[str, Path]) -> None:
    words = ["serve", f"films={model_folders['films']}", str(model_folders["cloze"]), "--port", "0", "--threads", "1"]
    command = [sys.executable, "-m", "bertie", *words, "--limits.window", "1", "--json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("try: "):
                break
        address = re.search(r"(http://127\.0\.0\.1:\d+)/models/films", "".join(lines))
        assert address is not None and "masked_lm at" in "".join(lines), lines
        curl = re.search(r"curl (\S+) .* -d '(.*)'", lines[-1])
        assert curl is not None
        assert {row["label"] for row in ask(curl[1], json.loads(curl[2]))[0]} == {"bad", "good"}
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda: answers.append(ask(f"{address[1]}/models/films", {"inputs": "a cat"})))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        while len(answers) + _waiting(address[1]) / 4 < 4:  # each has four tokens
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)
        out = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
    assert len(answers) == 4 and process.returncode == 0
    assert json.loads(out)["failures"] == 0 and json.loads(out)["requests"] > 5


def test_names_in_urls(tmp_path: Path) -> None:
    (tmp_path / "films" / "model").mkdir(parents=True)
    assert named([str(tmp_path / "films" / "model"), "b=x/y=z"]) == {
        "films": str(tmp_path / "films" / "model"),
        "b": "x/y=z",
    }
    assert named(["google-bert/bert-base-uncased"]) == {"bert-base-uncased": "google-bert/bert-base-uncased"}
    for words, message in (
        (["a=x", "a=y"], "two models"),
        (["a/b=x"], "no name"),
        (["a="], "no name"),
        (["ü=x"], "no name"),
    ):
        with pytest.raises(SettingsError, match=message):
            named(words)


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nfirst-key-1\n\n  second-key-2  \n", encoding="utf-8")
    monkeypatch.setenv("BERTIE_API_KEYS", "third-key-3, fourth-key-4,")
    assert read_keys(file) == ("first-key-1", "second-key-2", "third-key-3", "fourth-key-4")
    for content, message in (
        ("# none\n", "holds no key"),
        ("short\n", "at least 8"),
        ("a key with spaces\n", "visible"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(SettingsError, match=message):
            read_keys(file)


def test_answers_are_sent_at_once() -> None:
    """With Nagle's algorithm, the second part of an answer waits 40 ms for the client's acknowledgement."""

    async def accepted() -> int:
        found = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
            writer.close()
            return int(await found)

    # A browser's test may have left a loop in this thread.
    with listen("127.0.0.1", 0) as listening, ThreadPoolExecutor(1) as elsewhere:
        assert elsewhere.submit(lambda: asyncio.run(accepted())).result() != 0


def test_wrong_wishes_are_refused_before_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BERTIE_API_KEYS", raising=False)
    with listen("127.0.0.1", 0) as taken:
        wishes: list[tuple[dict[str, Any], str]] = [
            ({"host": "0.0.0.0"}, "--insecure"),
            ({"port": 70_000}, "--port"),
            ({"port": taken.getsockname()[1]}, "can't listen"),
            ({"host": "203.0.113.7", "insecure": True}, "can't listen"),
            ({"allow_origin": ("example.org",)}, "no origin"),
            ({"keys": Path("no-such-file")}, "no such file"),
            ({"limits": Limits(batch=100), "batch_tokens": 200}, "give one of them"),
        ]
        for wish, message in wishes:
            with pytest.raises(SettingsError, match=message):
                serve(("no/such/model",), **wish)
    with pytest.raises(SettingsError, match="at least one"):
        serve(())
