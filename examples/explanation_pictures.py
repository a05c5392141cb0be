"""The pictures of docs/explanation, in English and Chinese.

    python -m examples.explanation_pictures                     draw all of them into docs/images
    python -m examples.explanation_pictures --model MODEL --out heads.svg      heads of your BERT, for any sentence

bertie computes the data of the masking picture, and examples/plain_transformer.py the positions. The attention weights
are those of a real encoder (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0) for one sentence. `attention_of`
computed them. They are stored in attention.json, so that the picture can be drawn without the encoder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples.architecture_pictures import heads, representation, stacks
from examples.drawing import BLUE, GREEN, INK, LINE, ORANGE, PALE, PLUM, SOFT, Drawing, grid, mix
from examples.learning_pictures import appearing, collapse, gain, leaving, microbert
from examples.plain_transformer import sinusoids

IMAGES = Path(__file__).parents[1] / "docs" / "images"
ATTENTION = Path(__file__).with_name("attention.json")
NEIGHBOURS = Path(__file__).with_name("neighbours.json")
SENTENCE = "my sister fed the dog because it was hungry"
HEADS = ("1.3", "2.9", "4.2", "4.12")  # layer and head, counted from 1
_SEQUENCES = (5, 9, 3, 7)  # tokens
_COLOURS = (BLUE, ORANGE, GREEN, PLUM)

Say = Callable[[str, str], str]
"""Returns either the English or the Chinese words."""


def attention(say: Say) -> Drawing:
    """Draw four heads of a real encoder on one sentence."""
    return attention_maps(json.loads(ATTENTION.read_text(encoding="utf-8")), say)


def neighbours(say: Say) -> Drawing:
    """Draw heads of a small BERT before and after a short pre-training."""
    return attention_maps(json.loads(NEIGHBOURS.read_text(encoding="utf-8")), say)


def attention_maps(weights: dict[str, Any], say: Say) -> Drawing:
    """Draw the weights from `attention_of`, one map per head."""
    names, size, left, top = weights["tokens"], 18, 66, 104
    room = size * len(names) + 14
    width = left + max(room * len(weights["heads"]) + 30, 620)
    sheet = Drawing(width, top + room + 40, say("Attention weights of some heads", "几个注意力头的权重"))
    for number, head in enumerate(weights["heads"]):
        x = left + number * room
        title = say(f"layer {head['layer']}, head {head['head']}", f"第 {head['layer']} 层，第 {head['head']} 头")
        sheet.text(x, 20, title, anchor="start", bold=True)
        sheet.text(x, 38, say(*head.get("remark", ("", ""))), anchor="start", size=12, colour=SOFT)
        fills = [[mix(BLUE, 0.06 + 0.94 * share / 100) for share in row] for row in head["percent"]]
        grid(sheet, x, top, size, fills, rows=names if number == 0 else (), columns=names)
    below = top + size * len(names) + 26
    caption = say(
        "Each row is a token and adds up to 1; dark is a large weight. Heads without a target often look at [CLS].",
        "每一行是一个词元，权重之和为 1；颜色越深，看得越多。许多头在没有目标时就停在 [CLS] 上。",
    )
    sheet.text(left, below, caption, anchor="start", size=12, colour=SOFT)
    return sheet


def masks(say: Say) -> Drawing:
    """Draw which token sees which: in the encoder, in the decoder, and from the decoder to the source."""
    source, target = ["the", "cat", "fell", "asleep"], ["[CLS]", "小", "猫", "睡", "着", "了"]
    size, top = 26, 88
    sheet = Drawing(760, 302, say("Which token sees which, in the three kinds of attention", "三种注意力里谁看得见谁"))
    seen, hidden = mix(BLUE, 0.75), PALE
    causal = np.tril(np.ones((len(target), len(target)), bool))
    panels = [
        (90, source, source, np.ones((4, 4), bool), say("encoder: both sides", "编码器：左右都看")),
        (330, target, target, causal, say("decoder: only the past", "解码器：只看过去")),
        (600, target, source, np.ones((6, 4), bool), say("decoder to encoder", "解码器看编码器")),
    ]
    for x, rows, columns, visible, title in panels:
        sheet.text(x, 24, title, anchor="start", bold=True)
        fills = [[seen if cell else hidden for cell in row] for row in visible]
        grid(sheet, x, top, size, fills, rows=rows, columns=columns)
    sheet.cells([(90, 268)], 14, seen)
    sheet.text(
        110, 280, say("the row's token sees the column's", "该行的词元看得见该列的词元"), anchor="start", size=12
    )
    sheet.cells([(330, 268)], 14, hidden)
    sheet.text(350, 280, say("weight 0: the future", "权重为 0：属于未来"), anchor="start", size=12)
    return sheet


def positions(say: Say) -> Drawing:
    """Draw the sinusoids as a table of colours, with a row per position and a column per dimension."""
    count, size, left, top = 32, 10, 74, 62
    half = 16 + count * size  # distance from the sines to the cosines
    sheet = Drawing(left + 2 * half + 8, top + count * size + 74, say("Sinusoidal positions", "正弦位置编码"))
    levels = np.round(6 * sinusoids(count, 2 * count)).astype(int)  # -6 to 6: few colours make a small file
    shades = [mix(BLUE if level < 0 else ORANGE, 0.04 + abs(level) / 6.5) for level in range(-6, 7)]
    for number, name in enumerate((say("sine, 2i", "正弦，2i"), say("cosine, 2i+1", "余弦，2i+1"))):
        x = left + number * half
        sheet.text(x, 22, name, anchor="start", bold=True)
        sheet.text(x, 46, f"i = 0 … {count - 1} →", anchor="start", size=12, colour=SOFT)
        grid(sheet, x, top, size, [[shades[level + 6] for level in row] for row in levels[:, number::2].tolist()])
    for position in range(0, count, 8):
        sheet.text(left - 8, top + position * size + 9, str(position), anchor="end", size=11, colour=SOFT)
    sheet.text(22, top + 40, say("position →", "位置 →"), size=12, colour=SOFT, turned=90.0)
    below = top + count * size + 14
    for step, shade in enumerate(shades):
        sheet.cells([(left + 26 + 14 * step, below)], 14, shade)
    sheet.text(left + 20, below + 12, "−1", size=12, anchor="end")
    sheet.text(left + 214, below + 12, "+1", size=12, anchor="start")
    caption = say(
        "Columns on the left change fast, those on the right slowly; together they make every position unique.",
        "左边的列变化快，右边的列变化慢；合在一起，每个位置都与众不同。",
    )
    sheet.text(left, below + 42, caption, anchor="start", size=12, colour=SOFT)
    return sheet


def packing(say: Say) -> Drawing:
    """Draw a padded batch, the same batch packed, and which tokens see which."""
    size, longest, total = 20, max(_SEQUENCES), sum(_SEQUENCES)
    padded = longest * len(_SEQUENCES)
    sheet = Drawing(780, 382, say("A padded and a packed batch", "填充与打包"))
    sheet.text(24, 26, say("padded", "填充"), anchor="start", bold=True)
    caption = say(f"{padded} cells, {padded - total} of them padding", f"{padded} 个位置，{padded - total} 个是空的")
    sheet.text(24, 44, caption, anchor="start", size=12, colour=SOFT)
    for row, length in enumerate(_SEQUENCES):
        cells = [(24 + size * column, 58 + size * row) for column in range(longest)]
        sheet.cells(cells[:length], size - 1, mix(_COLOURS[row], 0.75))
        for across, down in cells[length:]:
            sheet.box(across + 0.5, down + 0.5, size - 2, size - 2, fill="white", edge=LINE, round_by=0, dashed=True)
    sheet.text(24, 186, say("packed", "打包"), anchor="start", bold=True)
    caption = say(f"{total} tokens in one row, and offsets", f"{total} 个词元排成一行，另有偏移量")
    sheet.text(24, 204, caption, anchor="start", size=12, colour=SOFT)
    small, offset, x = 13, 0, 24.0
    for row, length in enumerate(_SEQUENCES):
        sheet.cells([(x + small * column, 240) for column in range(length)], small - 1, mix(_COLOURS[row], 0.75))
        sheet.line([(x, 234), (x, 258)], colour=INK, arrow=False)
        sheet.text(x, 228, str(offset), size=11)
        x, offset = x + small * length, offset + length
    sheet.line([(x, 234), (x, 258)], colour=INK, arrow=False)
    sheet.text(x, 228, str(offset), size=11)
    sheet.text(24, 284, "offsets = [0, 5, 14, 17, 24]", anchor="start", size=12)
    owner = np.repeat(np.arange(len(_SEQUENCES)), _SEQUENCES).tolist()
    fills = [[mix(_COLOURS[a], 0.75) if a == b else PALE for b in owner] for a in owner]
    sheet.text(430, 26, say("attention", "注意力"), anchor="start", bold=True)
    caption = say("each sequence sees only itself", "每个序列只看自己")
    sheet.text(430, 44, caption, anchor="start", size=12, colour=SOFT)
    grid(sheet, 430, 58, 12.5, fills)
    return sheet


def masking(say: Say) -> Drawing:
    """Draw how the masked-LM task corrupts a sentence, and the shares of [MASK], random and unchanged tokens."""
    pieces, shown, chosen = corrupted()
    columns, gap, left = 11, 62, 124
    title = say("Masked language model: 80, 10, 10", "掩码语言模型：80、10、10")
    sheet = Drawing(left + columns * gap + 20, 344, title)
    fates = {"mask": ORANGE, "random": PLUM, "same": GREEN}
    for start in range(0, len(pieces), columns):
        top = 16 + 112 * (start // columns)
        for row, words in enumerate(
            (say("text", "原文"), say("the model sees", "模型看到"), say("it predicts", "要猜的"))
        ):
            sheet.text(left - 12, top + 32 * row + 17, words, anchor="end", size=12, colour=SOFT)
        for column, index in enumerate(range(start, min(start + columns, len(pieces)))):
            at, is_chosen = left + column * gap, index in chosen
            fate = "mask" if shown[index] == "[MASK]" else "random" if shown[index] != pieces[index] else "same"
            colour = fates[fate] if is_chosen else LINE
            fill = mix(colour, 0.16) if is_chosen else "white"
            sheet.box(at, top, gap - 6, 26, pieces[index], size=12)
            sheet.box(at, top + 32, gap - 6, 26, shown[index], size=12, fill=fill, edge=colour, bold=is_chosen)
            if is_chosen:
                sheet.box(at, top + 64, gap - 6, 26, pieces[index], size=12, fill=fill, edge=colour)
    top, width, x = 268, columns * gap - 6, float(left)
    counted = say("in 200,000 draws", "二十万次抽取")
    sheet.text(left - 12, top + 18, counted, anchor="end", size=12, colour=SOFT)
    names = {"mask": "[MASK]", "random": say("random", "随机词"), "same": say("unchanged", "不变")}
    for fate, share in fates_of_many().items():
        sheet.box(x, top, width * share, 28, f"{share:.0%}", fill=mix(fates[fate], 0.75), edge="white", colour="white")
        sheet.text(x + width * share / 2, top + 46, names[fate], size=12)
        x += width * share
    return sheet


def corrupted() -> tuple[list[str], list[str], set[int]]:
    """Return the pieces of a text, those that the task shows the model, and the chosen positions; always the same."""
    from bertie.items.text import Text
    from bertie.sampling.random import stream
    from bertie.tasks.masked_lm import MaskedLM
    from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

    text = "the old ferry crosses the river twice a day and carries bread , letters and a dog"
    words = sorted({*text.split(), "moon", "green", "seven", "school"})
    tokenizer = Tokenizer.build([*SPECIALS, *words], lowercase=True)
    task = MaskedLM(mask_rate=0.25)  # more than 15 %, so that one sentence shows all three cases
    batch = task.encode([Text(text)], tokenizer)
    pieces = [tokenizer.tokens[token] for token in batch.tokens.tolist()]
    for seed in range(1000):  # the first with all three cases, in which the random piece is not in the text
        batch = task.encode([Text(text)], tokenizer, stream(seed, 0))
        shown = [tokenizer.tokens[token] for token in batch.tokens.tolist()]
        chosen = set(batch.targets["slot.position"].tolist())
        same, masked = sum(shown[index] == pieces[index] for index in chosen), shown.count("[MASK]")
        if same == 1 and len(chosen) - same - masked == 1 and len({*shown} - {*pieces}) == 2:
            return pieces, shown, chosen
    raise AssertionError("no seed shows all three cases")


def fates_of_many() -> dict[str, float]:
    """Return the shares of [MASK], random and unchanged tokens among 200,000 chosen tokens."""
    from bertie.sampling.masking import choose_masked
    from bertie.sampling.random import stream

    tokens = np.full(200_000, 7)
    offsets = np.arange(0, len(tokens) + 1, 100, dtype=np.int32)
    keys, specials = stream(0, np.arange(len(offsets) - 1)), (0, 1, 2, 3, 4)
    positions, original, shown = choose_masked(
        tokens, offsets, keys, rate=1.0, cap=None, special_ids=specials, vocab_size=30522, mask_id=4
    )
    masked, same = (shown[positions] == 4).mean(), (shown[positions] == original).mean()
    return {"mask": float(masked), "random": float(1.0 - masked - same), "same": float(same)}


def attention_of(folder: str, sentence: str, heads: Sequence[str]) -> dict[str, Any]:
    """Compute the attention weights of some heads for a sentence, in percent.

    Args:
        folder: model folder of a BERT.
        sentence: a sentence in the BERT's language.
        heads: each as LAYER.HEAD, counted from 1.

    Raises:
        SystemExit: the model has no such head.
    """
    import torch

    from bertie.batch import Batch
    from bertie.formats.huggingface import read
    from bertie.ops.attention.attend import Layout, attention_weights

    bundle = read(Path(folder))
    encoder: Any = bundle.model.encoder.eval()
    tokenizer = bundle.tokenizer
    pieces = tokenizer.pack([sentence], max_length=64)
    batch = Batch.pack(pieces.tokens, pieces.segments, pieces.offsets)
    num_layers, num_heads = encoder.config.num_layers, encoder.config.num_heads
    maps = []
    for name in heads:
        layer, _, head = (int(part) if part.isdigit() else 0 for part in name.partition("."))
        if not (1 <= layer <= num_layers and 1 <= head <= num_heads):
            sys.exit(f"no head {name}: write LAYER.HEAD, from 1.1 to {num_layers}.{num_heads}")
        with torch.no_grad():
            hidden = encoder(batch, blocks=slice(0, layer - 1))  # the input of this layer
            query, key, _ = encoder.blocks[layer - 1].attention.project(hidden)
            (weights,) = attention_weights(query, key, Layout.of(batch))
        maps.append({"layer": layer, "head": head, "percent": (100 * weights[head - 1]).round().int().tolist()})
    return {"tokens": [tokenizer.tokens[token] for token in pieces.tokens], "heads": maps}


PICTURES: dict[str, Callable[[Say], Drawing]] = {
    "attention": attention,
    "neighbours": neighbours,
    "masks": masks,
    "positions": positions,
    "packing": packing,
    "masking": masking,
    "stacks": stacks,
    "representation": representation,
    "heads": heads,
    "leaving": leaving,
    "appearing": appearing,
    "collapse": collapse,
    "gain": gain,
    "microbert": microbert,
}


def drawn() -> dict[str, str]:
    """Return every picture in both languages: file name -> SVG."""
    languages: dict[str, Say] = {"": lambda english, _: english, ".zh": lambda _, chinese: chinese}
    return {
        f"explanation-{name}{ending}.svg": picture(say).svg()
        for name, picture in PICTURES.items()
        for ending, say in languages.items()
    }


def main(words: Sequence[str] | None = None) -> None:
    """Draw all pictures into docs/images, or with --model the heads of a model into --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model folder of the BERT whose attention to draw")
    parser.add_argument("--sentence", default=SENTENCE, help="sentence that it reads (%(default)s)")
    parser.add_argument("--heads", nargs="+", default=HEADS, help="heads to draw, each as LAYER.HEAD, counted from 1")
    parser.add_argument("--out", type=Path, default=Path("heads.svg"), help="file for its picture (%(default)s)")
    options = parser.parse_args(words)
    if options.model:
        weights = attention_of(options.model, options.sentence, options.heads)
        options.out.write_text(attention_maps(weights, lambda english, _: english).svg(), encoding="utf-8")
        print(options.out)
        return
    for name, svg in drawn().items():
        (IMAGES / name).write_text(svg, encoding="utf-8")
        print(f"{name}: {len(svg) // 1024 + 1} KB")


if __name__ == "__main__":
    main()
