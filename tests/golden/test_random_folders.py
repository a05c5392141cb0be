"""Folders drawn at random by transformers: the same ids and outputs here, written back without loss, or refused.

`BERTIE_RANDOM_FOLDERS` sets how many (a dozen otherwise), `BERTIE_RANDOM_SEED` where to begin. What is refused must be
refused in words; a difference without a word is a failure. The counts are printed.
"""

from __future__ import annotations

import json
import os
import random
import string
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as RustTokenizer

from bertie import progress
from bertie.batch import Batch
from bertie.errors import BertieError
from bertie.formats import huggingface
from bertie.inference.predictor import Predictor
from bertie.readers.choices import Choice

COUNT = int(os.environ.get("BERTIE_RANDOM_FOLDERS", "12"))
FIRST = int(os.environ.get("BERTIE_RANDOM_SEED", "0"))
TEXTS = int(os.environ.get("BERTIE_RANDOM_TEXTS", "400"))
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
ADDED = ("covid", "New York", "[ent]", "<x>", "ß", "北京", "ünder", "##y", "don't", "E", "MASK", "  ", "a b", "İ")
CORPUS = [
    "The old dog ran in the city, and the cat saw it. Paris is in France; it's a café!",
    "北京的猫在2024年吃了三条鱼，很好。 Straße naïve Über İstanbul ÉTÉ covid New York don't stop",
    string.ascii_letters + " " + " ".join(string.ascii_letters) + " " + " ".join(string.punctuation + string.digits),
]
RANGES = (
    *((0x00, 0x20), (0x20, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x900, 0x97F), (0x2000, 0x206F)),
    *((0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFF00, 0xFFFD), (0x1F300, 0x1FAFF)),
)
HEADS = ("Model", "MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")


def texts(seed: int, count: int) -> list[str]:
    draw, words = random.Random(seed), " ".join(CORPUS).split(" ")
    found = ["", " ", "\n", "[MASK] [mask] <mask> <s></s>[SEP]"]
    while len(found) < count:
        parts = []
        for _ in range(draw.randint(1, 9)):
            kind = draw.random()
            if kind < 0.45:
                parts.append(draw.choice(words))
            elif kind < 0.7:
                parts.append(draw.choice([*ADDED, *BERT, *ROBERTA, *(word.upper() for word in ADDED)]))
            else:
                low, high = draw.choice(RANGES)
                parts.append("".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, 6))))
            parts.append(draw.choice(["", " ", " ", "  "]))
        found.append("".join(parts))
    return found


def wordpiece(draw: random.Random) -> Any:
    options = {
        "do_lower_case": draw.random() < 0.6,
        "strip_accents": draw.choice([None, None, True, False]),
        "tokenize_chinese_chars": draw.random() < 0.8,
    }
    learned = transformers.BertTokenizer(**options)
    learned = learned.train_new_from_iterator(CORPUS * 3, draw.choice([150, 200, 261]), show_progress=False)
    if draw.random() < 0.3:
        learned.model_max_length = 64
    return learned


def byte_level(draw: random.Random) -> Any:
    learned = transformers.RobertaTokenizer(add_prefix_space=draw.random() < 0.4, trim_offsets=draw.random() < 0.7)
    return learned.train_new_from_iterator(CORPUS * 3, draw.choice([280, 330]), show_progress=False)


def unigram(draw: random.Random) -> Any:
    pieces = sorted({letter for text in CORPUS for letter in text if letter != " "})
    pieces = [*("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"), "\u2581", *pieces, "\u2581the", "\u2581cat", "ing"]
    options = {"do_lower_case": draw.random() < 0.6, "keep_accents": draw.random() < 0.4}
    return transformers.AlbertTokenizer(vocab=[(piece, -1.0 - place) for place, piece in enumerate(pieces)], **options)


def hand_built(draw: random.Random) -> Any:
    """Build a pipeline as the pages of the tokenizers package do."""
    names = draw.choice([BERT, BERT, ROBERTA])
    kind = draw.choice(["WordPiece", "WordPiece", "WordLevel", "BPE", "Unigram"])
    unknown = {} if kind == "Unigram" else {"unk_token": names[1]}
    if kind == "WordPiece" and draw.random() < 0.3:
        unknown |= {"max_input_chars_per_word": 5}
    rust = RustTokenizer(getattr(models, kind)(**unknown))
    rust.normalizer = draw.choice(
        [
            None,
            normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]),
            normalizers.Sequence([normalizers.Replace("“", '"'), normalizers.BertNormalizer(lowercase=True)]),
            normalizers.BertNormalizer(lowercase=False),
            normalizers.NFKC(),
        ]
    )
    cut = [pre_tokenizers.Whitespace(), pre_tokenizers.BertPreTokenizer(), pre_tokenizers.WhitespaceSplit()]
    rust.pre_tokenizer = draw.choice(cut) if kind in ("WordPiece", "WordLevel") else pre_tokenizers.ByteLevel()
    if kind == "Unigram":
        rust.pre_tokenizer = pre_tokenizers.Metaspace()
    options: dict[str, Any] = {"special_tokens": list(names), "vocab_size": 300, "show_progress": False}
    if kind == "WordPiece" and draw.random() < 0.3:
        options["continuing_subword_prefix"] = "@@"
        rust.model.continuing_subword_prefix = "@@"
    if kind == "Unigram":
        options["unk_token"] = names[1]
    rust.train_from_iterator(CORPUS * 3, getattr(trainers, f"{kind.replace('BPE', 'Bpe')}Trainer")(**options))
    start, end = ((name, rust.token_to_id(name)) for name in (names[2], names[3]))
    layout = draw.random()
    if layout < 0.5:
        rust.post_processor = processors.TemplateProcessing(
            single=f"{start[0]} $A {end[0]}",
            pair=f"{start[0]} $A {end[0]} $B:1 {end[0]}:1" if layout < 0.3 else f"{start[0]} $A {end[0]} $B {end[0]}",
            special_tokens=[start, end],
        )
    elif layout < 0.6:
        rust.post_processor = processors.RobertaProcessing(end, start)
    elif layout < 0.7:
        rust.post_processor = processors.TemplateProcessing(single=f"{start[0]} $A", special_tokens=[start])
    if draw.random() < 0.3:
        rust.enable_truncation(4)
        rust.enable_padding(length=9)
    given = dict(zip(ROLES, names, strict=True)) if draw.random() < 0.9 else {}
    if draw.random() < 0.5:
        given["model_input_names"] = draw.choice(
            [["input_ids", "token_type_ids", "attention_mask"], ["input_ids", "attention_mask"]]
        )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=rust, **given)


TOKENIZERS = {"bert": wordpiece, "roberta": byte_level, "albert": unigram, "hand": hand_built}


def with_tokens(draw: random.Random, tokenizer: Any) -> None:
    """Add tokens with and without flags, special ones among them."""
    for _ in range(draw.choice([0, 0, 1, 2])):
        flags = {name: draw.random() < 0.3 for name in ("lstrip", "rstrip", "single_word", "normalized")}
        tokens = [AddedToken(name, **flags) for name in draw.sample(ADDED, draw.randint(1, 4))]
        if draw.random() < 0.4:
            tokenizer.add_special_tokens({"additional_special_tokens": [*tokens, "<special>"]})
        else:
            tokenizer.add_tokens(draw.choice([tokens, [token.content for token in tokens]]))
    if draw.random() < 0.1:
        tokenizer.add_special_tokens({"mask_token": AddedToken(tokenizer.mask_token or "[MASK]", lstrip=True)})


def network(draw: random.Random, tokenizer: Any, head: str, arch: str) -> Any:
    kinds = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert", "albert": "Albert"}
    kind = {**kinds, "electra": "Electra", "modernbert": "ModernBert"}[arch]
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    size["max_position_embeddings"] = draw.choice([64, 80])
    if arch == "distilbert":
        size = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 64}
    if arch in ("bert", "albert", "electra"):
        size["type_vocab_size"] = 2
    if arch == "roberta":
        size |= {"type_vocab_size": 1, "max_position_embeddings": 66}
    rows = len(tokenizer) if draw.random() < 0.6 else -(-len(tokenizer) // 64) * 64
    pad = tokenizer.pad_token_id or 0
    ids = {"pad_token_id": pad if pad < min(rows, 60) else 0}
    labels = {"num_labels": draw.choice([1, 2, 3])} if head == "SequenceClassification" else {}
    config = getattr(transformers, f"{kind}Config")(vocab_size=rows, **size, **ids, **labels)
    torch.manual_seed(draw.randint(0, 999))
    model = getattr(transformers, f"{kind}{head if head == 'Model' else 'For' + head}")(config)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(2.0) if value.dim() > 1 else value.add_(torch.randn_like(value) * 0.1)
    return model.to(draw.choice([torch.float32, torch.float32, torch.float16, torch.bfloat16])).eval()


def change_files(draw: random.Random, folder: Path) -> str:
    """Bring a folder into the form of other years and hands; return what was done."""
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    done = draw.choice(["", "", "", "vocab", "vocab", "no class", "no config", "flip", "drop", "4"])
    whole = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if done == "vocab" and settings["tokenizer_class"] == "BertTokenizer":
        vocabulary = sorted(whole["model"]["vocab"], key=whole["model"]["vocab"].get)
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        (folder / "tokenizer.json").unlink()
        added = {token["content"]: token["id"] for token in whole["added_tokens"] if token["id"] >= len(vocabulary)}
        (folder / "added_tokens.json").write_text(json.dumps(added))
        names = {role: settings.pop(role) for role in ROLES if isinstance(settings.get(role), str)}
        (folder / "special_tokens_map.json").write_text(json.dumps(names))
        if draw.random() < 0.3:
            settings.pop("do_lower_case")
    elif done == "no class":
        settings.pop("tokenizer_class")
    elif done == "flip":
        for name in ("do_lower_case", "add_prefix_space", "tokenize_chinese_chars"):
            if name in settings:
                settings[name] = not settings[name]
    elif done == "drop":
        for name in ("do_lower_case", "add_prefix_space", "strip_accents", "keep_accents"):
            settings.pop(name, None)
    elif done == "4":
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "4.40.0"}))
    file.write_text(json.dumps(settings), encoding="utf-8")
    if done == "no config":
        file.unlink()
    return done


def make(seed: int, folder: Path) -> str:
    draw = random.Random(seed)
    arch = draw.choice(["bert", "bert", "roberta", "distilbert", "albert", "electra", "modernbert"])
    usual = {"roberta": "roberta", "albert": "albert"}.get(arch, "bert")
    kind = draw.choice([usual, usual, usual, "hand", "hand", *TOKENIZERS])
    tokenizer = TOKENIZERS[kind](draw)
    with_tokens(draw, tokenizer)
    head = draw.choice([one for one in HEADS if (arch, one) != ("modernbert", "MultipleChoice")])
    model = network(draw, tokenizer, head, arch)
    shards = draw.choice(["5GB", "5GB", "40KB"])
    model.save_pretrained(folder, max_shard_size=shards)
    tokenizer.save_pretrained(folder)
    done = change_files(draw, folder)
    return f"{seed}: {arch} {head} {kind} {model.dtype} {shards} {done}"


def theirs_of(folder: Path) -> tuple[Any, Any]:
    (name,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    model = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    return transformers.AutoTokenizer.from_pretrained(folder), model


def hidden(model: Any, tokenizer: Any, first: list[str], second: list[str] | None) -> list[torch.Tensor]:
    """Run transformers' encoder over texts one by one, as its pages say."""
    base, found = model.base_model, []
    for place, text in enumerate(first):
        given = tokenizer(text, *([] if second is None else [second[place]]), return_tensors="pt")
        if getattr(model.config, "type_vocab_size", 2) < 2 and given.get("token_type_ids", torch.zeros(1)).any():
            return []  # transformers stops here
        with torch.no_grad():
            found.append(base(**given).last_hidden_state[0])
    return found


def same(ours: Any, tokenizer: Any, model: Any, seed: int) -> str:
    """Name the first difference between our bundle and theirs; an empty string where there is none."""
    sample = texts(seed, TEXTS)
    tokenizer.model_max_length = 10**9
    theirs = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in sample]
    for text, one, other in zip(sample, ours.tokenizer.encode_batch(sample), theirs, strict=True):
        if one != other:
            return f"ids of {text!r}: {one} {other}"
    short = [text for text, ids in zip(sample, theirs, strict=True) if 0 < len(ids) < 25][:6]
    for second in (None, short[::-1]):
        pieces = ours.tokenizer.pack(short, second, max_length=64)
        batch = Batch.pack(pieces.tokens, pieces.segments, pieces.offsets)
        with torch.no_grad():
            found = ours.model.encoder(batch).split(pieces.lengths.tolist())
        for text, one, other in zip(short, found, hidden(model, tokenizer, short, second), strict=False):
            if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-4, atol=1e-4):
                return f"outputs of {text!r} {'alone' if second is None else 'in a pair'}: {one.shape} {other.shape}"
    return heads(ours, tokenizer, model, short)


def heads(ours: Any, tokenizer: Any, model: Any, short: list[str]) -> str:
    """Compare what the heads say."""
    task, predictor = ours.task.name, Predictor(ours, device="cpu")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = ours.tokenizer.tokens[ours.tokenizer.pad]
    if task in ("classification", "regression"):
        for text, said in zip(short, predictor.predict(short), strict=True):
            with torch.no_grad():
                row = model(**tokenizer(text, return_tensors="pt")).logits[0]
            wanted = row.tolist() if task == "regression" else row.softmax(0).tolist()
            found = [said.value] if task == "regression" else list(said.scores.values())
            if max(abs(a - b) for a, b in zip(found, wanted, strict=True)) > 1e-4:
                return f"{task} of {text!r}: {found} {wanted}"
    if task == "multiple_choice":
        items = [Choice(text, (short[0], short[1], "the cat")) for text in short]
        for item, said in zip(items, predictor.predict(items), strict=True):
            given = tokenizer([item.text] * 3, list(item.choices), return_tensors="pt", padding=True)
            with torch.no_grad():
                wanted = model(**{name: value[None] for name, value in given.items()}).logits[0].softmax(0).tolist()
            if max(abs(a - b) for a, b in zip(said.scores, wanted, strict=True)) > 1e-4:
                return f"{task} of {item}: {said.scores} {wanted}"
    if task == "masked_lm":
        for text in short:
            holed = f"{tokenizer.mask_token}{text.replace(tokenizer.mask_token, '')}"
            given = tokenizer(holed, return_tensors="pt")
            slots = (given["input_ids"][0] == tokenizer.mask_token_id).nonzero().flatten()
            with torch.no_grad():
                shares = model(**given).logits[0, slots[:1]].softmax(1)[:, : ours.tokenizer.vocab_size]
            wanted = shares.max(1).values.tolist()  # rows without a piece are never said here
            (said,) = predictor.predict([holed])
            best = (said[0] if isinstance(said[0], list) else said)[0]
            if abs(best.score - wanted[0]) > 1e-4:
                return f"{task} of {holed!r}: {best} {wanted}"
    return ""


def judged(seed: int, folder: Path) -> tuple[str, str]:
    """Draw a folder and judge it: what became of it, and the words for it."""
    drawn = make(seed, folder)
    try:
        with progress.collected() as warned:
            ours = huggingface.read(folder)
            huggingface.write(ours, folder.with_name("again"))
    except BertieError as error:
        return "refused", f"{drawn}: {error}"
    said = " ".join([*warned, *ours.notes]).replace(str(folder), "")
    try:
        tokenizer, model = theirs_of(folder)
    except Exception as error:  # whatever it is, transformers doesn't read the folder
        return "read here alone", f"{drawn}: {error!r} ({said})"
    if differs := same(ours, tokenizer, model, seed):
        return "told" if "transformers" in said or "adds no" in said else "DIFFERS", f"{drawn}: {differs} ({said})"
    if differs := same(ours, *theirs_of(folder.with_name("again")), seed):
        return "DIFFERS WRITTEN", f"{drawn}: {differs}"
    if differs := same(huggingface.read(folder.with_name("again")), tokenizer, model, seed):
        return "DIFFERS READ AGAIN", f"{drawn}: {differs}"
    return "read", drawn


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    transformers.logging.set_verbosity_error()
    counts: Counter[str] = Counter()
    wrong = []
    for seed in range(FIRST, FIRST + COUNT):
        kind, words = judged(seed, tmp_path_factory.mktemp("drawn") / "model")
        counts[kind] += 1
        print(f"{kind}: {words}")
        if "DIFFERS" in kind:
            wrong.append(words)
    print(dict(counts))
    assert not wrong
