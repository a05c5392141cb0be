"""The lines of the page about running a server: commands that parse, a unit that systemd accepts."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bertie.serving.limits import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "serve.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_commands_of_container_and_service_are_bertie_serve() -> None:
    container = json.loads(re.search(r"^CMD (.*)$", block("dockerfile"), re.MULTILINE)[1])  # type: ignore[index]
    service = shlex.split(re.search(r"^ExecStart=(.*)$", block("ini"), re.MULTILINE)[1])  # type: ignore[index]
    assert Path(service[0]).name == container[0] == "bertie" and service[1] == container[1] == "serve"
    help_text = Path(__file__).parents[2] / "bertie" / "commands" / "serve.py"
    for flag in (word for word in (*container, *service) if word.startswith("--")):
        assert f"    {flag[2:].replace('-', '_')}: " in help_text.read_text(encoding="utf-8")


@pytest.mark.parametrize(("code", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_a_server(code: int, healthy: bool) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code if self.path == "/ready" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    line = re.search(r"^HEALTHCHECK CMD (.*)$", block("dockerfile"), re.MULTILINE)
    assert line is not None
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        command = line[1].replace("8000", str(server.server_port))
        assert (subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode == 0) is healthy


def test_there_is_time_to_drain() -> None:
    seconds = [int(found) for found in re.findall(r"(?:TimeoutStopSec=|--stop-timeout )(\d+)", PAGE)]
    assert len(seconds) == 2 and min(seconds) > Limits().deadline
    assert "USER bertie" in block("dockerfile") and ":ro " in PAGE and "DynamicUser=yes" in block("ini")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "bertie.service"
    program = shutil.which("true")
    unit.write_text(block("ini").replace("/opt/bertie/.venv/bin/bertie", str(program)), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "bertie.service" not in done.stderr, done.stderr
