"""Diagrams of docs/explanation: the two stacks, what BERT reads, and one encoder under several heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from examples.drawing import BLUE, GREEN, LINE, ORANGE, PALE, PLUM, SOFT, Drawing, mix

Say = Callable[[str, str], str]


def stacks(say: Say) -> Drawing:
    """Draw the encoder and the decoder, block by block."""
    sheet = Drawing(720, 520, say("The Transformer: encoder and decoder", "Transformer：编码器与解码器"))
    norm = say("add, LayerNorm", "残差相加，LayerNorm")
    forward = say("feed-forward", "前馈网络")
    encoder = [(say("self-attention", "自注意力"), BLUE), (norm, ""), (forward, GREEN), (norm, "")]
    decoder = [
        (say("masked self-attention", "带掩码的自注意力"), ORANGE),
        (norm, ""),
        (say("attention to the source", "对源序列的注意力"), PLUM),
        (norm, ""),
        (forward, GREEN),
        (norm, ""),
    ]
    tops = [_block(sheet, 60, 400, encoder, say), _block(sheet, 420, 400, decoder, say)]
    for x, words in (
        (60, say("source + positions", "源文本 + 位置")),
        (420, say("target so far + positions", "已写出的目标 + 位置")),
    ):
        sheet.box(x, 440, 240, 34, words, fill=PALE)
        sheet.line([(x + 120, 440), (x + 120, 410)])
    sheet.text(180, 500, say("encoder: BERT is this half", "编码器：BERT 就是这一半"), bold=True)
    sheet.text(540, 500, say("decoder", "解码器"), bold=True)
    sheet.box(420, 20, 240, 34, say("what comes next: softmax over V", "下一个词元：V 上的 softmax"), fill=PALE)
    sheet.line([(540, tops[1]), (540, 56)])
    # From the top of the last encoder block into every decoder block's second sublayer.
    sheet.line([(180, tops[0]), (180, 120), (360, 120), (360, 285), (436, 285)], colour=PLUM)
    sheet.text(270, 108, say("keys and values", "键与值"), size=12, colour=PLUM)
    return sheet


def _block(sheet: Drawing, x: float, bottom: float, parts: Sequence[tuple[str, str]], say: Say) -> float:
    """Draw one block from bottom to top, and return the y of its top."""
    gap, height = 46, 32
    top = bottom - gap * len(parts) - 8
    sheet.box(x, top, 240, bottom - top + 8, fill="#fbfcfd", edge=SOFT, round_by=10)
    sheet.text(x + 258, bottom - 4, "× L", size=14, colour=SOFT)
    for number, (words, colour) in enumerate(parts):
        y = bottom - gap * (number + 1) + 8
        fill = mix(colour, 0.16) if colour else "white"
        sheet.box(x + 20, y, 200, height, words, fill=fill, edge=colour or LINE, size=12)
        if number:
            sheet.line([(x + 120, y + gap), (x + 120, y + height)], arrow=False)
    return top


def representation(say: Say) -> Drawing:
    """Draw the three embeddings of a pair of texts."""
    first = say("the dog is hungry", "小 狗 饿 了").split()
    second = say("it wants bread", "它 想 吃 面 包").split()
    pieces = ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
    segments = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    left, gap = 104, 58
    sheet = Drawing(left + gap * len(pieces) + 20, 250, say("What BERT reads", "BERT 的输入表示"))
    rows = [
        (say("pieces", "词元"), pieces, [PALE] * len(pieces)),
        (say("word", "词向量"), [f"W({piece})" for piece in pieces], [mix(BLUE, 0.14)] * len(pieces)),
        (say("+ position", "+ 位置"), [f"P{index}" for index in range(len(pieces))], [mix(GREEN, 0.16)] * len(pieces)),
        (
            say("+ segment", "+ 段"),
            [f"S{part}" for part in segments],
            [mix((ORANGE, PLUM)[part], 0.16) for part in segments],
        ),
        (
            say("= LayerNorm", "= LayerNorm"),
            ["h" + _low(index) for index in range(len(pieces))],
            ["white"] * len(pieces),
        ),
    ]
    for row, (name, words, fills) in enumerate(rows):
        y = 18 + 44 * row
        sheet.text(left - 12, y + 21, name, anchor="end", size=12, colour=SOFT)
        for column, (word, fill) in enumerate(zip(words, fills, strict=True)):
            sheet.box(left + column * gap, y, gap - 6, 32, word, size=10 if row == 1 else 12, fill=fill)
    return sheet


def _low(value: int) -> str:
    """Return a number in subscript digits."""
    return "".join(chr(0x2080 + int(digit)) for digit in str(value))


def heads(say: Say) -> Drawing:
    """Draw one encoder with the heads of four tasks."""
    panels = [
        (say("classification", "分类"), [0], say("label of the text", "整段文本的标签"), BLUE),
        (say("tagging", "序列标注"), [1, 2, 3, 4], say("a tag a word", "每个词一个标签"), GREEN),
        (say("question answering", "阅读理解"), [2, 4], say("first and last token", "答案的首尾词元"), PLUM),
        (say("masked LM", "掩码语言模型"), [3], say("the hidden piece", "被遮住的词"), ORANGE),
    ]
    width, gap = 210, 16
    sheet = Drawing(
        24 + len(panels) * (width + gap), 232, say("One encoder, one head a task", "一个编码器，每个任务一个头")
    )
    for number, (title, used, answer, colour) in enumerate(panels):
        x = 20 + number * (width + gap)
        sheet.text(x + width / 2, 24, title, bold=True)
        sheet.box(x + 20, 42, width - 40, 30, answer, size=12, fill=mix(colour, 0.16), edge=colour)
        for token in range(6):
            middle = x + 19 + token * 34.5
            is_used = token in used
            sheet.box(
                middle - 13, 104, 26, 26, "h" + _low(token), size=12, fill=mix(colour, 0.3) if is_used else "white"
            )
            if is_used:
                sheet.line([(middle, 104), (middle, 76)], colour=colour)
            sheet.line([(middle, 146), (middle, 132)], colour=LINE, arrow=False)
            sheet.line([(middle, 196), (middle, 186)], colour=LINE, arrow=False)
        sheet.box(x, 146, width, 40, say("the same encoder", "同一个编码器"), fill=PALE, size=12)
        for token, piece in enumerate(("[CLS]", "x₁", "x₂", "[MASK]" if number == 3 else "x₃", "x₄", "[SEP]")):
            sheet.text(x + 19 + token * 34.5, 214, piece, size=10)
    return sheet
