"""A peer of `benchmarks.serving`: sentence-transformers behind FastAPI, as people write it, without bertie.

Usage: python plain_server.py MODEL PORT {plain,queue}. `plain` encodes each request by itself, in FastAPI's threads.
`queue` collects the requests of a few milliseconds, as micro-batching servers do.
"""

import asyncio
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app, model = FastAPI(), SentenceTransformer(sys.argv[1], device="cpu")
waiting: asyncio.Queue[tuple[str, asyncio.Future[Any]]] = asyncio.Queue()


class Request(BaseModel):
    """The body of OpenAI's route, with one text."""

    input: str
    model: str


def encode(texts: list[str]) -> list[list[float]]:
    """Return the vectors."""
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False).tolist()  # type: ignore[no-any-return]


async def work() -> None:
    """Encode what waits, at most 64 texts at a time."""
    while True:
        batch = [await waiting.get()]
        await asyncio.sleep(0.004)
        while len(batch) < 64 and not waiting.empty():
            batch.append(waiting.get_nowait())
        vectors = await asyncio.to_thread(encode, [text for text, _ in batch])
        for (_, future), vector in zip(batch, vectors, strict=True):
            future.set_result(vector)


def plain(request: Request) -> dict[str, Any]:
    """Encode one request by itself."""
    return {"data": [{"index": 0, "embedding": encode([request.input])[0]}], "model": request.model}


async def queued(request: Request) -> dict[str, Any]:
    """Wait for a place in a batch."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    await waiting.put((request.input, future))
    return {"data": [{"index": 0, "embedding": await future}], "model": request.model}


async def start() -> None:
    """Start the one task that encodes."""
    app.state.worker = asyncio.create_task(work())


if __name__ == "__main__":
    app.post("/v1/embeddings")(queued if sys.argv[3] == "queue" else plain)
    if sys.argv[3] == "queue":
        app.router.on_startup.append(start)
    uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="warning")
