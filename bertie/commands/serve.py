"""Serve models over HTTP: predictions in the forms of Hugging Face, OpenAI and other servers, in batches."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertie import progress
from bertie.commands._use import UseSettings, with_use_settings
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError
from bertie.serving.limits import Limits
from bertie.untrusted import read_text

if TYPE_CHECKING:
    from bertie.serving.hub import Served

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY = re.compile(r"[\x21-\x7e]{8,500}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+")
_LOCAL = ("127.0.0.1", "localhost", "::1")


@with_use_settings
def serve(
    models: Positional[tuple[str, ...]],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    allowed_host: tuple[str, ...] = (),
    allow_origin: tuple[str, ...] = (),
    keys: Path | None = None,
    insecure: bool = False,
    limits: Limits = Limits(),
    use: UseSettings,
) -> Report:
    """Serve models over HTTP: predictions in the forms of Hugging Face, OpenAI and other servers, in batches.

    The server runs until Ctrl-C or SIGTERM. Then it answers the requests that wait, and stops. GET /docs lists its
    routes, and GET /metrics has its figures for Prometheus.

    Args:
        models: model folders or hub ids, each as FOLDER or NAME=FOLDER; NAME stands in the URL, by default the folder's
            name, or that of the folder around it if it is called model.
        host: address to listen on; another one than this machine's own needs --keys or --insecure.
        port: port to listen on; 0 takes a free one.
        allowed_host: further names by which clients may ask for the server, without port; * allows all.
        allow_origin: web pages that may ask from a browser, such as https://example.org; by default none but its own.
        keys: file with a key in each line, one of which every client must send; the environment variable
            BERTIE_API_KEYS may hold keys too, separated by commas.
        insecure: listen on an address that other machines reach, without keys.
        limits: what one request, and all that wait, may hold.
        use: settings that all commands share which use a model.

    Returns:
        The number of requests that were answered and refused.
    """
    from bertie.serving.guard import LOCAL_HOSTS, Rules
    from bertie.serving.hub import Hub, Served
    from bertie.serving.run import listen, run

    if not models:
        raise SettingsError("no model: give the folder of at least one, such as bertie serve out/films/model")
    known_keys = read_keys(keys)
    if host not in _LOCAL and not known_keys and not insecure:
        raise SettingsError(
            f"--host {host} is open to other machines; give --keys FILE (a key in each line), or --insecure"
        )
    for origin in allow_origin:
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(f"--allow-origin {origin!r} is no origin; it has the form https://example.org")
    folders = named(models)
    limits, use = _with_one_batch(limits, use)
    socket = listen(host, port)
    try:
        served = [Served(name, use.load(folder, task=None), limits) for name, folder in folders.items()]
        hub = Hub(served, limits)
        own = () if host in ("0.0.0.0", "::") else (host.lower(),)
        hosts = tuple(dict.fromkeys((*LOCAL_HOSTS, *own, *(name.lower() for name in allowed_host))))
        rules = Rules(known_keys, hosts, tuple(allow_origin), limits.body, limits.deadline)
        address = _address(*socket.getsockname()[:2])
        _say(served, address, with_key=bool(known_keys))
        figures = run(hub, rules, socket)
    finally:
        socket.close()
    return Report(title=f"served {', '.join(folders)} at {address}", values=figures)


def named(models: Sequence[str]) -> dict[str, str]:
    """Return the folder of each model by its name in URLs.

    Raises:
        SettingsError: a name has characters that don't suit a URL, or two models have the same.
    """
    folders: dict[str, str] = {}
    for word in models:
        name, equals, folder = word.partition("=")
        if not equals:
            path = Path(word)
            named_path = path.absolute().parent if path.name in ("model", "") and path.exists() else path
            name, folder = named_path.name, word
        if not _NAME.fullmatch(name) or not folder:
            raise SettingsError(f"{word!r} gives no name for URLs; write NAME=FOLDER, with letters, digits, - _ and .")
        if name in folders:
            raise SettingsError(f"two models have the name {name!r}; give one another by NAME=FOLDER")
        folders[name] = folder
    return folders


def read_keys(file: Path | None) -> tuple[str, ...]:
    """Return the keys of a file and of the environment variable BERTIE_API_KEYS.

    Raises:
        SettingsError: the file can't be read, holds no key, or a key is too short or has other than ASCII characters.
    """
    lines = [] if file is None else [line.strip() for line in read_text(file, limit=2**20).splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if file is not None and not found:
        raise SettingsError(f"{file} holds no key; write one in each line")
    found += [key.strip() for key in os.environ.get("BERTIE_API_KEYS", "").split(",") if key.strip()]
    for number, key in enumerate(found, 1):
        if not _KEY.fullmatch(key):
            raise SettingsError(f"key {number} must have at least 8 characters, all of them visible ASCII characters")
    return tuple(found)


def _with_one_batch(limits: Limits, use: UseSettings) -> tuple[Limits, UseSettings]:
    """Return both with the same number of tokens in a batch: what the queue hands out is what the model computes."""
    asked = {limits.batch, use.batch_tokens} - {Limits.batch}
    if len(asked) > 1:
        raise SettingsError(
            f"--limits.batch {limits.batch} and --batch-tokens {use.batch_tokens} mean the same here; give one of them"
        )
    tokens = next(iter(asked), Limits.batch)
    return replace(limits, batch=tokens), replace(use, batch_tokens=tokens)


def _address(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _say(models: "Sequence[Served]", address: str, *, with_key: bool) -> None:
    """Print the address of each model, and a command that asks the first one."""
    for model in models:
        progress.note(f"{model.name}: {model.task} at {address}/models/{model.name}")
    first = models[0]
    inputs = '"a short text"'
    if first.task == "question_answering":
        inputs = '{"question": "Who slept?", "context": "Ann slept."}'
    elif first.predictor.task.fills_masks:
        tokenizer = first.predictor.tokenizer
        inputs = f'"a {tokenizer.tokens[tokenizer.mask]} text"'
    key = ' -H "Authorization: Bearer KEY"' if with_key else ""
    body = f"-H 'Content-Type: application/json'{key} -d '{{\"inputs\": {inputs}}}'"
    progress.note(f"try: curl {address}/models/{first.name} {body}")
