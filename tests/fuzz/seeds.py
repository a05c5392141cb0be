"""Sound files of every kind that the fuzzing of commands damages: tables, models, a corpus, a run, settings."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

TEXTS = [
    *("A good film, really.", "It was bad. Very bad!", "The cat sat on the mat.", "Anna wrote it in Berlin."),
    *("No, thanks.", "What a day!", "Dr. Smith paid 3.50 for it.", "naïve café über", "今日は。はい！", "他说：你好。"),
]
CONTEXT = "Anna wrote it in Berlin. Bob wrote it in Paris."


def _lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _tables(folder: Path) -> None:
    labels = ["good", "bad"]
    pairs = [(text, labels[number % 2]) for number, text in enumerate(TEXTS * 2)]
    write = {
        "a.txt": "\n".join(TEXTS * 3) + "\n\n" + "\n".join(TEXTS) + "\n",
        "a.csv": "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in pairs),
        "a.tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in pairs),
        "pairs.tsv": "sentence1\tsentence2\tlabel\n" + "".join(f"{a}\t{a[::-1]}\t{b}\n" for a, b in pairs),
        "a.jsonl": _lines([{"id": number, "text": a, "label": b} for number, (a, b) in enumerate(pairs)]),
        "score.csv": "text,score\n" + "".join(f'"{a}",{n / 7:.3f}\n' for n, (a, _) in enumerate(pairs)),
        "score.jsonl": _lines([{"text": a, "label": n / 7} for n, (a, _) in enumerate(pairs)]),
        "a.conll": "Anna B-PER\nruns O\nin O\nNew B-LOC\nYork I-LOC\n. O\n\nBob B-PER\nsleeps O\n\n" * 5,
        "words.jsonl": _lines([{"tokens": ["Anna", "runs"], "tags": ["B-PER", "O"]}] * 8),
        "spans.jsonl": _lines([{"text": "Anna runs", "spans": [[0, 4, "PER"]]}] * 8),
        "squad.json": json.dumps(
            {
                "data": [
                    {
                        "title": "t",
                        "paragraphs": [
                            {
                                "context": CONTEXT,
                                "qas": [
                                    {"id": "1", "question": "Who?", "answers": [{"text": "Anna", "answer_start": 0}]},
                                    {"id": "2", "question": "Where?", "is_impossible": True, "answers": []},
                                ],
                            }
                        ],
                    }
                ]
            }
        ),
        "questions.jsonl": _lines(
            [
                {"id": n, "question": "Who?", "context": CONTEXT, "answers": {"text": ["Anna"], "answer_start": [0]}}
                for n in range(6)
            ]
        ),
        "choices.jsonl": _lines([{"text": "It rains", "choices": ["wet", "dry"], "label": n % 2} for n in range(8)]),
        "choices.csv": "sent1,ending0,ending1,label\n" + "It rains,wet,dry,0\nSun,hot,cold,1\n" * 4,
        "pairs.jsonl": _lines(
            [
                {"text_a": a, "text_b": a.lower(), "score": n % 2, "source": a, "target": b}
                for n, (a, b) in enumerate(pairs)
            ]
        ),
    }
    for name, content in write.items():
        (folder / name).write_text(content, encoding="utf-8")
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"text": [a for a, _ in pairs], "label": [b for _, b in pairs]})
    parquet.write_table(table, folder / "a.parquet")


def _bytes(folder: Path) -> None:
    """Write a small byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    rust = Tokenizer(models.BPE())
    rust.pre_tokenizer, rust.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    rust.train_from_iterator(TEXTS, trainer)
    rust.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    folder.mkdir()
    rust.save(str(folder / "tokenizer.json"))


def make_seeds(folder: Path) -> None:
    """Fill a new folder, by the commands themselves."""
    folder.mkdir(parents=True)
    _tables(folder)
    _bytes(folder / "bytes")
    whole = folder.resolve()  # a run remembers the names it was given
    small = "--steps 1 --length 16 --threads 1 --precision fp32"
    tune = f"--batch-size 4 {small}"
    commands = (
        "train-tokenizer a.txt --out tokenizer --vocab-size 200",
        "prepare-corpus a.txt --tokenizer tokenizer --out corpus --processes 1",
        f"pretrain --corpus corpus --model.size 1/32 --batch-tokens 64 --out pre {small}",
        f"finetune {whole}/pre/model --task classification --train {whole}/a.tsv --out run {tune}",
        f"finetune pre/model --task tagging --train a.conll --out tag {tune}",
        f"finetune pre/model --task question_answering --train questions.jsonl --out read {tune}",
        "export run/model --out exported --backend onnx",
    )
    environment = {**os.environ, "BERTIE_KERNELS": "off", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    for words in commands:
        command = [sys.executable, "-m", "bertie", *words.split()]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stderr}")
    for old, new in (("pre/model", "pretrained"), ("tag/model", "tagger"), ("read/model", "reader")):
        shutil.copytree(folder / old, folder / new)
    subprocess.run(["cp", "-r", "run/model", "classifier"], cwd=folder, check=True)
    data = folder / "a.tsv"
    (folder / "settings.toml").write_text(
        f"command = 'finetune'\nmodel = '{folder / 'pretrained'}'\ntask = 'classification'\ntrain = '{data}'\n"
        f"out = '{folder / 'never'}'\nsteps = 1\nbatch_size = 4\nlength = 16\nthreads = 1\nprecision = 'fp32'\n"
        "[training]\nsave_every = 5\n",
        encoding="utf-8",
    )
