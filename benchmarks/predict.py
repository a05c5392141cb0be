"""How many sentences a second become vectors, tokenization included, and how long does one request take?

Sentences of mixed lengths arrive in random order. There are three precisions, by how closely the vectors must agree
with those of bertie in fp32: exact (1e-4), bf16 (mean cosine 0.9999) and int8 (0.995). In each, bertie runs with the
backend that it chooses itself, and with every other backend that supports the precision. A peer that misses the limit
is left out and listed. Peers sort by length and fill batches of 4,096 padded tokens, which is their best setting. "In
order of arrival" is a plain loop over batches of 32; "as called" is the peer's own call for many texts. Single requests
have 8, 32 and 128 tokens.

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
"""A contestant's name, its `make` without the case, and further fields."""


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    inputs.arguments(parser)
    parser.add_argument("--sentences", type=int, default=5000, help="number of sentences (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make, for each precision, a case for many sentences and one for single requests of each length."""
    found = []
    for kind, limit in CLASSES.items():
        agreement = largest_difference(limit) if kind == "exact" else mean_cosine(limit)
        bulk = tuple(Contestant(name, partial(make, bulk_of), **more) for name, make, more in contestants(kind))
        settings = {"sentences": count(options), "max_length": LENGTH}
        found.append(Case(f"{kind}, many", "sentences/s", bulk, agreement, settings=settings))
        # Batching makes no difference to a single request, so each runtime appears once.
        single = [entry for entry in contestants(kind) if "arrival" not in entry[0]]
        for length in REQUESTS:
            one = tuple(
                Contestant(name, partial(make, partial(single_of, length)), **more) for name, make, more in single
            )
            repeats = 5 if options.smoke else REPEATED_REQUESTS
            found.append(Case(f"{kind}, one of {length} tokens", "ms", one, agreement, "lower", repeats=repeats))
    return found


def contestants(kind: str) -> list[Entry]:
    """List the contestants for a precision."""
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
    """List bertie's contestants: the exact reference, the backend that bertie chooses, and each backend by name."""
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
    """Return the number of sentences."""
    return PROOF_SENTENCES if options.smoke else int(options.sentences)


def prepare(work: Work) -> dict[str, Any]:
    """Write the model folder, and describe the sentences."""
    inputs.model_folder(work.folder, work.options)
    texts = inputs.sentences(count(work.options), work.options.text)
    return inputs.described(work.options.text, texts)


def request(length: int, work: Work) -> str:
    """Return a text of exactly `length` tokens, including special tokens."""
    from bertie.tokenizer.reading import load_tokenizer

    tokenizer = load_tokenizer(inputs.model_folder(work.folder, work.options))
    words = " ".join(inputs.sentences(PROOF_SENTENCES, work.options.text)).split()
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + length) + 1):
            text = " ".join(words[start:end])
            tokens = len(tokenizer.encode_batch([text])[0]) + 2
            if tokens >= length:
                break
        if tokens == length:
            return text
    raise SystemExit(f"no part of the text has exactly {length} tokens; give a larger --text")


def bulk_of(work: Work, embed: Encode) -> Ready:
    """Prepare to measure all sentences at once."""
    texts = inputs.sentences(count(work.options), work.options.text)

    def repeat() -> float:
        started = time.perf_counter()
        embed(texts)
        return len(texts) / (time.perf_counter() - started)

    embed(texts[:WARMING_SENTENCES])  # warms up as well as all of them, in a tenth of the time
    return Ready(lambda: unit(embed(texts[:PROOF_SENTENCES])), repeat, warmups=0)


def single_of(length: int, work: Work, embed: Encode) -> Ready:
    """Prepare to measure one text at a time, in milliseconds."""
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
    """Prepare `bertie.load(model, task="embedding").predict`."""
    from bertie.inference.predictor import load

    folder = inputs.model_folder(work.folder, work.options)
    running: dict[str, Any] = {"precision": precision, "backend": backend, "threads": work.options.threads}
    model = load(folder, task="embedding", device="cpu", max_length=LENGTH, **running)
    return measure(work, lambda texts: [found.vector for found in model.predict(list(texts))])


def ready_padded(
    runtime: Callable[[Work], Run], measure: Callable[[Work, Encode], Ready], work: Work, *, by_length: bool = True
) -> Ready:
    """Prepare a runtime for padded batches: tokenize, sort, pad, run, restore the order."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    run = runtime(work)
    tokenizer = inputs.rust_tokenizer(inputs.model_folder(work.folder, work.options))
    tokenizer.enable_truncation(LENGTH)

    def embed(texts: Sequence[str]) -> Vectors:
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        vectors: list[Any] = [None] * len(rows)
        for indices in batches([len(row) for row in rows], by_length=by_length):
            width = max(len(rows[index]) for index in indices)
            ids = np.zeros((len(indices), width), np.int64)
            mask = np.zeros_like(ids)
            for line, index in enumerate(indices):
                ids[line, : len(rows[index])] = rows[index]
                mask[line, : len(rows[index])] = 1
            for index, vector in zip(indices, run(ids, mask), strict=True):
                vectors[index] = vector
        return np.stack(vectors)

    return measure(work, embed)


def batches(lengths: Sequence[int], *, by_length: bool) -> list[list[int]]:
    """Group indices into batches: sorted by length with at most `PLACES` padded tokens, or in order, `ROWS` each."""
    if not by_length:
        return [list(range(start, min(start + ROWS, len(lengths)))) for start in range(0, len(lengths), ROWS)]
    groups: list[list[int]] = [[]]
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if groups[-1] and (len(groups[-1]) + 1) * lengths[index] > PLACES:
            groups.append([])
        groups[-1].append(index)
    return groups


def ready_sentence_transformers(kind: str, measure: Callable[[Work, Encode], Ready], work: Work) -> Ready:
    """Prepare `SentenceTransformer(model).encode`."""
    import torch
    from sentence_transformers import SentenceTransformer

    folder = str(inputs.model_folder(work.folder, work.options))
    kwargs = {"dtype": torch.float32 if kind == "exact" else torch.bfloat16}
    model: Any = SentenceTransformer(folder, device="cpu", model_kwargs=kwargs)
    model.max_seq_length = LENGTH
    return measure(work, lambda texts: np.asarray(model.encode(list(texts), show_progress_bar=False), np.float32))


def ready_llama(kind: str, measure: Callable[[Work, Encode], Ready], work: Work) -> Ready:
    """Prepare llama.cpp's own call."""
    return measure(work, llama.encode(kind, work, LENGTH))


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.predict", words, rounds=5, repeats=1)


if __name__ == "__main__":
    main()
