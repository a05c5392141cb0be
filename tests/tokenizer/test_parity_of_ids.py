"""The ids of transformers' BERT tokenizer, on real text and on strings made to hurt.

`BERTIE_PARITY_STRINGS` sets how many; the suite takes some thousands.
"""

import lzma
import os
import random
from pathlib import Path

import pytest

from bertie.tokenizer.reading import load_tokenizer

COUNT = int(os.environ.get("BERTIE_PARITY_STRINGS", "6000"))
_RANGES = (
    *((0x00, 0x20), (0x20, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F)),
    *((0xE00, 0xE7F), (0x1100, 0x11FF), (0x2000, 0x206F), (0x2100, 0x2BFF), (0x3000, 0x30FF), (0x3400, 0x4DBF)),
    *((0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFE0F), (0xFF00, 0xFFFD), (0x1F300, 0x1FAFF)),
    *((0x20000, 0x2A6DF), (0x2F800, 0x2FA1F), (0xE0000, 0xE007F)),
)
_PARTS = ("[MASK]", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "##ing", "##", "\u200d", "\ufffd", "\x00", "\u00ad", "x" * 150)


def hostile(draw: random.Random) -> str:
    parts = []
    for _ in range(draw.randint(1, 12)):
        if draw.random() < 0.25:
            parts.append(draw.choice(_PARTS))
        else:
            low, high = draw.choice(_RANGES)
            parts.append("".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, 10))))
        if draw.random() < 0.4:
            parts.append(" ")
    return "".join(parts)


def real(folder: Path, count: int) -> list[str]:
    lines: list[str] = []
    for name in ("enwiki/enwiki-valid.txt.xz", "zh/zhwiki/zhwiki-valid.txt.xz"):
        with lzma.open(folder / name, "rt", encoding="utf-8") as stream:
            lines += [line for _, line in zip(range(count // 2), stream, strict=False)]
    return lines


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("vocabulary", "lowercase"),
    [("bert-base-uncased", True), ("bert-base-cased", False), ("bert-base-chinese", True)],
)
def test_ids(test_data: Path, vocabulary: str, lowercase: bool) -> None:
    from transformers import BertTokenizerFast

    file = test_data / "vocab" / f"{vocabulary}-vocab.txt"
    draw = random.Random(1)
    strings = real(test_data, COUNT // 2)
    strings += [hostile(draw) for _ in range(COUNT - len(strings))]
    tokenizer = load_tokenizer(file)
    assert tokenizer.lowercase == lowercase  # guessed: the vocabulary has no capitals
    ours = tokenizer.encode_batch(strings)
    peer = BertTokenizerFast(vocab_file=str(file), do_lower_case=lowercase)
    if peer.vocab_size < 1000:  # some releases take the vocabulary under another name
        peer = BertTokenizerFast(vocab=str(file), do_lower_case=lowercase)
    theirs = peer(strings, add_special_tokens=False)["input_ids"]
    different = [text for text, a, b in zip(strings, ours, theirs, strict=True) if a != b]
    print(f"{vocabulary}: {len(strings)} strings, {len(different)} differ")
    assert different == []
