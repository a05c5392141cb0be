"""The cases that fuzzing the commands draws: which command, on which sound files, and which of them are damaged how."""

import random
from pathlib import Path

from damage import copy, damage_file, files_of, forget_checksums

TASKS = {
    "classification": ("a.csv", "a.tsv", "a.jsonl", "a.parquet", "pairs.tsv"),
    "regression": ("score.csv", "score.jsonl"),
    "span_classification": ("spans.jsonl", "words.jsonl"),
    "tagging": ("a.conll", "words.jsonl", "spans.jsonl"),
    "question_answering": ("squad.json", "questions.jsonl"),
    "multiple_choice": ("choices.jsonl", "choices.csv"),
    "embedding": ("pairs.jsonl",),
    "generation": ("pairs.jsonl",),
}
ANY_TABLE = sorted({file for files in TASKS.values() for file in files} | {"a.txt"})
ON_TABLES = ("check", "check", "check", "predict", "evaluate", "search", "prepare", "vocabulary", "finetune")
KINDS = (*ON_TABLES, "model", "model", "model", "show", "corpus", "settings", "tokenizer", "export", "run")
MODELS = ("classifier", "tagger", "reader", "pretrained")
ALONE = ["--processes", "1"]
USUAL = ["--steps", "1", "--length", "16", "--threads", "1", "--precision", "fp32"]
SMALL = ["--batch-size", "4", *USUAL]
Drawn = tuple[str, list[str]]
"""What is damaged, and the words of the command."""


def case(number: int, seed: int, seeds: Path, place: Path) -> tuple[str, list[str], str]:
    """Lay out one case below a folder; return its kind, its command line and what was damaged."""
    draw = random.Random(f"{seed}/{number}")
    given, out = place / "in", str(place / "out" / "new")
    kind = draw.choice(KINDS)
    if kind in ON_TABLES:
        hit, words = _on_table(kind, draw, seeds, given, out)
    elif kind == "model":
        hit, words = _on_model(draw, seeds, given, out)
    elif kind == "run" and draw.random() < 0.5:  # the run's own folder is its --out
        given = place / "out"
        hit, words = "run", ["run", str(given / "run"), "--resume", "--out", str(given / "run")]
    else:
        hit, words = _on_others(kind, draw, seeds, given, out)
    copy(seeds / hit, given / hit)
    if draw.random() < 0.7:
        forget_checksums(given / hit)
    files = files_of(given / hit) if (given / hit).is_dir() else [given / hit]
    done = []
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        file = draw.choice(files)
        if file.is_file() and not file.is_symlink() and file.stat().st_size < 2**26:
            done.append(f"{file.relative_to(given)} {damage_file(file, draw)}")
    if draw.random() < 0.15:
        words.append("--json")
    return kind, words, "; ".join(done)


def _on_table(kind: str, draw: random.Random, seeds: Path, given: Path, out: str) -> Drawn:
    task = draw.choice(sorted(TASKS))
    table = draw.choice(TASKS[task] if draw.random() < 0.7 else ANY_TABLE)
    file, own, known = str(given / table), str(seeds / draw.choice(MODELS)), str(seeds / "pretrained")
    words = {
        "check": ["check", file, *(["--task", task] if draw.random() < 0.8 else [])],
        "predict": ["predict", own, "--file", file],
        "evaluate": ["evaluate", own, file],
        "search": ["search", known, file, "what is it"],
        "prepare": ["prepare-corpus", file, "--tokenizer", str(seeds / "tokenizer"), "--out", out, *ALONE],
        "vocabulary": ["train-tokenizer", file, "--out", out, "--vocab-size", "200"],
        "finetune": ["finetune", known, "--task", task, "--train", file, "--out", out, *SMALL],
    }
    return table, words[kind]


def _on_model(draw: random.Random, seeds: Path, given: Path, out: str) -> Drawn:
    hit = draw.choice((*MODELS, "exported"))
    folder, data, texts = str(given / hit), str(seeds / "a.tsv"), str(seeds / "a.txt")
    words = (
        ["predict", folder, "some text", "--pair", "other"],
        ["predict", folder, "a [MASK] text"],
        ["predict", folder, "--file", texts],
        ["evaluate", folder, data],
        ["show", folder],
        ["convert", folder, out],
        ["search", folder, texts, "what"],
        ["check", data, "--model", folder],
        ["finetune", folder, "--task", "classification", "--train", data, "--out", out, *SMALL],
    )
    return hit, draw.choice(words)


def _on_others(kind: str, draw: random.Random, seeds: Path, given: Path, out: str) -> Drawn:
    texts = str(seeds / "a.txt")
    if kind == "export":
        hit = draw.choice(MODELS)
        return hit, ["export", str(given / hit), "--out", out, "--backend", draw.choice(("onnx", "openvino"))]
    if kind == "tokenizer":
        hit = draw.choice(("tokenizer", "bytes"))
        folder = str(given / hit)
        words = (
            ["show", folder],
            ["prepare-corpus", texts, "--tokenizer", folder, "--out", out, *ALONE],
            ["check", str(seeds / "a.csv"), "--task", "classification", "--model", folder],
        )
        return hit, draw.choice(words)
    if kind == "corpus":
        learn = ["pretrain", "--corpus", str(given / kind), "--out", out, "--batch-tokens", "64", *USUAL]
        begin = draw.choice((["--model.size", "1/32"], ["--from", str(seeds / "pretrained")]))
        return kind, draw.choice(([*learn, *begin], ["show", str(given / kind)]))
    if kind == "settings":
        return "settings.toml", ["run", str(given / "settings.toml"), "--out", out]
    if kind == "run":
        return kind, ["run", str(given / kind / "config.toml"), "--out", out]
    hit = draw.choice(("corpus", "run", "tokenizer", "exported", *MODELS))
    return hit, ["show", str(given / hit)]
