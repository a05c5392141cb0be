"""How many sentences a second become vectors, tokenization included, and how long does one request take?

Mixed sentences in the order of their arrival; three classes by how near the vectors must come to fp32's: exact
(1e-4), bf16 (mean cosine 0.9999) and int8 (0.995). bertie stands in each class with what its own rule chooses, with
every backend that has the class; the exact path's vectors are what all are compared with. A peer that misses its class
is left out, and said to be. Peers sort by length and fill batches of 4,096 places, which is their best; "in order of
arrival" in batches of 32 is what a plain loop does, "as called" the peer's own call. Single requests have 8, 32 and 128
tokens.

Usage: python -m benchmarks.predict [--model FOLDER] [--text FILE] [--sentences 5000]
"""

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import inputs, llama, rounds, runtimes
from benchmarks.contest import Case, Contestant, Ready, Work, largest_difference, mean_cosine

LENGTH, PLACES, ROWS = 128, 4096, 32
CLASSES = {"exact": 1e-4, "bf16": 0.9999, "int8": 0.995}
REQUESTS = (8, 32, 128)
PROOF_SENTENCES, WARMING_SENTENCES, REPEATED_REQUESTS = 64, 512, 200
Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Any]
Run = Callable[[Any, Any], Vectors]
"""(ids (B, S), mask (B, S)) -> (B, H)."""


Entry = tuple[str, Callable[..., Ready], dict[str, Any]]
"""A contestant's name, what makes it, and what it needs."""


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    inputs.arguments(parser)
    parser.add_argument("--sentences", type=int, default=5000, help="for the bulk (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make a case a class for many sentences, and one a class and length for single requests."""
    found = []
    for kind, limit in CLASSES.items():
        agreement = largest_difference(limit) if kind == "exact" else mean_cosine(limit)
        bulk = tuple(Contestant(name, partial(make, bulk_of), **more) for name, make, more in contestants(kind))
        settings = {"sentences": count(options), "max_length": LENGTH}
        found.append(Case(f"{kind}, many", "sentences/s", bulk, agreement, settings=settings))
        # Batching makes no difference to a single request, so that each runtime stands there once.
        single = [entry for entry in contestants(kind) if "arrival" not in entry[0]]
        for length in REQUESTS:
            one = tuple(
                Contestant(name, partial(make, partial(single_of, length)), **more) for name, make, more in single
            )
            repeats = 5 if options.smoke else REPEATED_REQUESTS
            found.append(Case(f"{kind}, one of {length} tokens", "ms", one, agreement, "lower", repeats=repeats))
    return found


def contestants(kind: str) -> list[Entry]:
    """List the contestants of a class."""
    peer: dict[str, Any] = {"may_differ": kind != "exact"}

    def runtime(name: str, *needs: str) -> Entry:
        make = {
            "onnxruntime": runtimes.onnx_runtime,
            "openvino": runtimes.openvino,
            "ctranslate2": runtimes.ctranslate2,
            "zentorch": runtimes.zentorch,
        }
        return f"{name} {kind}", partial(ready_padded, partial(make[name], kind)), {"needs": needs, **peer}

    onnx, openvino = ("onnx", "onnxruntime", "transformers"), ("onnx", "openvino", "transformers")
    translate = runtime("ctranslate2", "ctranslate2", "transformers")
    ours = contestants_of_ours(kind)
    own_call: list[Entry] = []
    if kind in llama.FORMATS:
        needs = {"needs": ("gguf", "llama-cpp-python"), **peer}
        own_call = [(f"llama.cpp {llama.FORMATS[kind]}, as called", partial(ready_llama, kind), needs)]
    if kind == "int8":
        return [*ours, runtime("onnxruntime", *onnx), runtime("openvino", *openvino, "nncf"), translate, *own_call]
    torch = partial(runtimes.transformers, kind)
    shared: list[Entry] = [
        (f"transformers {kind}", partial(ready_padded, torch), {"needs": ("transformers",), **peer}),
        (
            f"transformers {kind}, in order of arrival",
            partial(ready_padded, torch, by_length=False),
            {"needs": ("transformers",), **peer},
        ),
        (
            f"sentence-transformers {kind}, as called",
            partial(ready_sentence_transformers, kind),
            {"needs": ("sentence-transformers",), **peer},
        ),
        runtime("openvino", *openvino),
        runtime("zentorch", "transformers", "zentorch"),
        *own_call,
    ]
    return [*ours, *shared, *([runtime("onnxruntime", *onnx), translate] if kind == "exact" else [])]


def contestants_of_ours(kind: str) -> list[Entry]:
    """List bertie's own: the exact path where it is another one, the rule's choice, and every backend by name."""
    reference: list[Entry] = [] if kind == "exact" else [("bertie (exact)", ready_ours, {"timed": False})]
    chosen: Entry = ("bertie" if kind == "exact" else f"bertie {kind}", partial(ready_ours, precision=kind), {})
    packages = {"eager": (), "onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
    named: list[Entry] = [
        (
            f"bertie {kind} by {name}",
            partial(ready_ours, precision=kind, backend=name),
            {"needs": needs, "may_differ": True},
        )
        for name, needs in packages.items()
        if (name, kind) not in {("onnx", "bf16"), ("openvino", "int8")}
    ]
    return [*reference, chosen, *named]


def count(options: Namespace) -> int:
    """Return how many sentences there are."""
    return PROOF_SENTENCES if options.smoke else int(options.sentences)


def prepare(work: Work) -> dict[str, Any]:
    """Write the model folder, and describe the sentences."""
    inputs.model_folder(work.folder, work.options)
    texts = inputs.sentences(count(work.options), work.options.text)
    return inputs.described(work.options.text, texts)


def request(length: int, work: Work) -> str:
    """Return a text of exactly that many tokens, special ones counted."""
    from bertie.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(inputs.model_folder(work.folder, work.options))
    words = " ".join(inputs.sentences(PROOF_SENTENCES, work.options.text)).split()
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + length) + 1):
            text = " ".join(words[start:end])
            found = len(tokenizer.encode_batch([text])[0]) + 2
            if found >= length:
                break
        if found == length:
            return text
    raise SystemExit(f"no run of words has {length} tokens; give a larger --text")


def bulk_of(work: Work, embed: Encode) -> Ready:
    """Measure all sentences at once."""
    texts = inputs.sentences(count(work.options), work.options.text)

    def repeat() -> float:
        started = time.perf_counter()
        embed(texts)
        return len(texts) / (time.perf_counter() - started)

    embed(texts[:WARMING_SENTENCES])  # warms as well as all of them, in a tenth of the time
    return Ready(lambda: unit(embed(texts[:PROOF_SENTENCES])), repeat, warmups=0)


def single_of(length: int, work: Work, embed: Encode) -> Ready:
    """Measure one text at a time, in milliseconds."""
    texts = [request(length, work)]

    def repeat() -> float:
        started = time.perf_counter()
        embed(texts)
        return 1000 * (time.perf_counter() - started)

    return Ready(lambda: unit(embed(texts)), repeat, warmups=10)


def unit(vectors: Any) -> Vectors:
    """Scale vectors to length 1."""
    found = np.asarray(vectors, np.float32)
    scaled: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
    return scaled


def ready_ours(
    measure: Callable[[Work, Encode], Ready], work: Work, *, precision: Any = "exact", backend: str = "auto"
) -> Ready:
    """Get `bertie.load(model, task="embedding").predict` ready."""
    from bertie.inference.predictor import load

    folder = inputs.model_folder(work.folder, work.options)
    running: dict[str, Any] = {"precision": precision, "backend": backend, "threads": work.options.threads}
    model = load(folder, task="embedding", device="cpu", max_length=LENGTH, **running)
    return measure(work, lambda texts: [found.vector for found in model.predict(list(texts))])


def ready_padded(
    runtime: Callable[[Work], Run], measure: Callable[[Work, Encode], Ready], work: Work, *, by_length: bool = True
) -> Ready:
    """Get a runtime that takes padded batches ready: tokenize, sort, pad, run, put back into order."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    run = runtime(work)
    tokenizer = inputs.rust_tokenizer(inputs.model_folder(work.folder, work.options))
    tokenizer.enable_truncation(LENGTH)

    def embed(texts: Sequence[str]) -> Vectors:
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        found: list[Any] = [None] * len(rows)
        for places in batches([len(row) for row in rows], by_length=by_length):
            width = max(len(rows[place]) for place in places)
            ids = np.zeros((len(places), width), np.int64)
            mask = np.zeros_like(ids)
            for line, place in enumerate(places):
                ids[line, : len(rows[place])] = rows[place]
                mask[line, : len(rows[place])] = 1
            for place, vector in zip(places, run(ids, mask), strict=True):
                found[place] = vector
        return np.stack(found)

    return measure(work, embed)


def batches(lengths: Sequence[int], *, by_length: bool) -> list[list[int]]:
    """Part places into batches: of at most `PLACES` padded tokens by length, or of `ROWS` in their order."""
    if not by_length:
        return [list(range(start, min(start + ROWS, len(lengths)))) for start in range(0, len(lengths), ROWS)]
    found: list[list[int]] = [[]]
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if found[-1] and (len(found[-1]) + 1) * lengths[place] > PLACES:
            found.append([])
        found[-1].append(place)
    return found


def ready_sentence_transformers(kind: str, measure: Callable[[Work, Encode], Ready], work: Work) -> Ready:
    """Get `SentenceTransformer(model).encode` ready."""
    import torch
    from sentence_transformers import SentenceTransformer

    folder = str(inputs.model_folder(work.folder, work.options))
    kwargs = {"dtype": torch.float32 if kind == "exact" else torch.bfloat16}
    model: Any = SentenceTransformer(folder, device="cpu", model_kwargs=kwargs)
    model.max_seq_length = LENGTH
    return measure(work, lambda texts: np.asarray(model.encode(list(texts), show_progress_bar=False), np.float32))


def ready_llama(kind: str, measure: Callable[[Work, Encode], Ready], work: Work) -> Ready:
    """Get llama.cpp's own call ready."""
    return measure(work, llama.encode(kind, work, LENGTH))


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.predict", words, rounds=5, repeats=1)


if __name__ == "__main__":
    main()
