"""How many sentences a second does a server turn into vectors for many clients, with 99 % answered within 250 ms?

Each request has one sentence and arrives at a random time (Poisson), whatever the server does: an open loop, so waiting
counts. The rate is raised and lowered until it is the highest at which every request is answered, 99 % of them within
250 ms. All servers get the same bytes, by OpenAI's route for vectors. sentence-transformers stands behind FastAPI as
people write it, once plain and once with a queue that forms batches. Peers live in environments of their own: give the
Python of each.

Usage: python -m benchmarks.serving [--model FOLDER] [--text FILE] [--plain PYTHON] [--infinity PYTHON] [--llama PYTHON]
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import arrivals, inputs, llama, rounds, servers
from benchmarks.contest import Case, Contestant, Ready, Work, mean_cosine

LIMIT = 250.0
"""Milliseconds in which 99 % of the requests must be answered."""
LEAST_COSINE = 0.9999
PROOF_SENTENCES, SENTENCES = 32, 2000
_STEPS = 6  # halvings of the interval in which the rate lies


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    inputs.arguments(parser)
    parser.add_argument("--step", type=float, default=15.0, help="seconds at each rate (%(default)s)")
    parser.add_argument("--plain", help="Python with sentence-transformers, fastapi and uvicorn")
    parser.add_argument("--infinity", help="Python with infinity-emb[server,torch]")
    parser.add_argument("--llama", help="Python with llama-cpp-python[server]; this one needs gguf")


def cases(options: Namespace) -> list[Case]:
    """Make the one case."""
    found = [
        Contestant("bertie", partial(ready, lambda work: servers.bertie("--precision", "exact"))),
        Contestant("bertie, as chosen", partial(ready, lambda work: servers.bertie()), may_differ=True),
    ]
    peers: list[tuple[str, str, str, Callable[[Work], servers.Server]]] = [
        ("sentence-transformers + FastAPI", "plain", "sentence-transformers", _plain("plain")),
        ("sentence-transformers + FastAPI + queue", "plain", "sentence-transformers", _plain("queue")),
        ("infinity", "infinity", "infinity-emb", lambda work: servers.infinity(work.options.infinity)),
        ("llama.cpp F16", "llama", "llama-cpp-python", _llama),
    ]
    for name, flag, package, server in peers:
        needs = () if getattr(options, flag) else (package,)
        found.append(Contestant(name, partial(ready, server), needs, may_differ=True))
    settings = {"p99_ms": LIMIT, "sentences_per_request": 1, "step_seconds": options.step}
    return [Case("sustained, open loop", "sentences/s", tuple(found), mean_cosine(LEAST_COSINE), settings=settings)]


def _plain(kind: str) -> Callable[[Work], servers.Server]:
    return lambda work: servers.plain(work.options.plain, kind)


def _llama(work: Work) -> servers.Server:
    return servers.llama(work.options.llama, llama.written("bf16", work))


def prepare(work: Work) -> dict[str, Any]:
    """Write the model folder and the requests, and describe the sentences."""
    inputs.model_folder(work.folder, work.options)
    texts = sentences(work.options)
    write_requests(work.folder, texts)
    return inputs.described(work.options.text, texts)


def sentences(options: Namespace) -> list[str]:
    """Return the sentences: short ones as in reviews, and long ones as in news, or those of the user's file."""
    if options.text:
        return inputs.sentences(PROOF_SENTENCES if options.smoke else SENTENCES, options.text)
    half = (PROOF_SENTENCES if options.smoke else SENTENCES) // 2
    return inputs.generated(half, inputs.SST2) + inputs.generated(half, inputs.MIXED, seed=1)


def write_requests(folder: Path, texts: list[str]) -> None:
    """Write the requests that the clients send."""
    bodies = [json.loads(servers.body(text)) for text in texts]
    arrivals.write_requests(folder / "requests.jsonl", servers.TARGET, bodies)


def ready(server: Callable[[Work], servers.Server], work: Work) -> Ready:
    """Prepare to measure one server; it runs during the proof and during each repeat."""
    folder = inputs.model_folder(work.folder, work.options)
    memory: list[float] = []

    def prove() -> Any:
        with servers.running(server(work), folder, work.options.threads) as running:
            vectors = np.asarray(running.vectors(sentences(work.options)[:PROOF_SENTENCES]))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def repeat() -> float:
        with servers.running(server(work), folder, work.options.threads) as running:
            rate = sustained(work.folder, running, 1.0 if work.options.smoke else work.options.step)
            memory.append(running.rss_mb())
        return rate

    return Ready(prove, repeat, warmups=0, peak_mb=lambda: max(memory))


def sustained(folder: Path, running: servers.Running, step: float, *, steps: int = _STEPS) -> float:
    """Return the highest rate, in answers a second, at which every request is answered, 99 % within the limit.

    Args:
        folder: holds the requests.
        running: the server.
        step: seconds at each rate.
        steps: halvings of the interval, which begins between nothing and 1.2 times what a closed loop reaches.
    """
    servers.sent(folder, running, seconds=step / 3, connections=32)  # warms up
    most = 1.2 * float(servers.sent(folder, running, seconds=step / 2, connections=64)["good_a_second"])
    low, high, best = 0.0, most, 0.0
    for number in range(steps):
        rate = (low + high) / 2
        found = servers.sent(folder, running, rate=rate, seconds=step, connections=1000, seed=number)
        if holds(found):
            low, best = rate, max(best, float(found["good_a_second"]))
        else:
            high = rate
    return best


def holds(found: dict[str, Any]) -> bool:
    """Tell whether all requests were answered, 99 % within the limit."""
    is_whole = set(found["answers"]) == {"200"} and not found["failures"]
    return is_whole and float(found["milliseconds"]["200"]["p99"]) <= LIMIT


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.serving", words, rounds=5, repeats=1)


if __name__ == "__main__":
    main()
