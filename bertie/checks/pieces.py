"""Check how items fit a tokenizer and a length: their lengths, unknown pieces and casing; and show examples.

Without a tokenizer, lengths are counted in words, where each Chinese character is a word.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.findings import Finding, Severity, places
from bertie.items.item import Item, name_of, names
from bertie.items.question import Question
from bertie.items.text import Text, texts_of, unlabelled
from bertie.items.words import Words
from bertie.tokenizer.tokenizer import Tokenizer

Values = dict[str, Any]
_WORD = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\\s\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_ITEMS_AT_ONCE = 256
_QUANTILES = (0.5, 0.9, 0.99)
_MANY_CUT = 0.01
_MANY_UNKNOWN = 0.005
_MANY_PIECES_PER_WORD = 2.5
_SAMPLE_CHARACTERS = 1_000_000
_NO_CAPITALS, _MOSTLY_CAPITALS = 0.001, 0.6
_LEAST_LETTERS = 1_000
_SHOWN, _SHOWN_PIECES, _SHOWN_SEQUENCES = 5, 12, 4
_EXAMPLES = 10
_MAX_POSITIONS = 512  # of nearly every BERT
_FATES = {"truncate": "they are cut", "error": "they are refused", "window": "they are read in windows"}
_SEVERITIES: dict[str, Severity] = {"error": "error", "window": "note"}
_OFFERS = {"truncate": "--truncation truncate cuts them", "window": "--truncation window reads them to the end"}


def survey_lengths(
    items: Sequence[Any],
    path: Path,
    *,
    tokenizer: Tokenizer | None,
    limit: int,
    apart: bool = False,
    truncation: str = "truncate",
    choices: Sequence[str] = ("truncate", "error", "window"),
    max_query: int | None = None,
) -> tuple[Values, list[Finding]]:
    """Measure items in pieces with [CLS] and [SEP], or in words without a tokenizer.

    Args:
        items: items of any class.
        path: path of the table, for findings.
        tokenizer: the model's tokenizer.
        limit: tokens of the longest sequence.
        apart: whether the texts of a pair are separate sequences, as for embeddings.
        truncation: treatment of longer items: truncate, error or window.
        choices: treatments that the task allows.
        max_query: pieces of the longest question, for questions about contexts; None: as many as fit.
    """
    findings: list[Finding] = []
    if tokenizer is None:
        counts = ([len(_WORD.findall(part)) for part in texts_of(item)] for item in items)
        sequences = (_sequences(item, words, apart) for item, words in zip(items, counts, strict=True))
        lengths = np.array([max(map(sum, every)) for every in sequences])
        unit, values = "words", Values()
    else:
        lengths, firsts, values, findings = _pieces(items, path, tokenizer, apart=apart)
        unit = "pieces"
        if isinstance(items[0], Question):
            room = (limit - 2 - tokenizer.num_between) // 2  # half of what a window holds, as in data/windows
            findings += _long_questions(items, path, firsts, room if max_query is None else min(room, max_query))
    over = np.flatnonzero(lengths > limit).tolist()
    spread = _spread(lengths, unit, limit)
    values = {"lengths": spread, **values}
    if over:
        enough = spread["99%"] if spread["99%"] > limit else spread["longest"]
        offers = [] if truncation == "window" else [_OFFERS[way] for way in choices if way not in (truncation, "error")]
        remedies = [_FATES[truncation], *offers]
        if unit == "pieces" and (length := _rounded(enough)) <= _MAX_POSITIONS:
            remedies.append(f"--length {length} holds {'all' if enough == spread['longest'] else '99 %'}")
        severity = _SEVERITIES.get(truncation)
        findings.append(_long(items, path, over, "items", f"{limit} {unit}", "; ".join(remedies), severity))
    return values, findings


def survey_targets(
    items: Sequence[Any], path: Path, *, tokenizer: Tokenizer | None, limit: int
) -> tuple[Values, list[Finding]]:
    """Measure target texts in pieces with the end token, or in words without a tokenizer.

    Args:
        items: texts whose labels are other texts.
        path: path of the table, for findings.
        tokenizer: the model's tokenizer.
        limit: length of the longest target in training.
    """
    targets = [str(item.label or "").strip() for item in items]
    findings, empty = [], [number for number, target in enumerate(targets) if not target]
    if empty:
        what = f"{len(empty):,} of {len(items):,} targets are empty"
        findings.append(Finding("error", what, places(path, names(items, empty)), "complete or remove these rows"))
    counts = map(len, map(_WORD.findall, targets) if tokenizer is None else tokenizer.encode_batch(targets))
    unit, end = ("words", 0) if tokenizer is None else ("pieces", 1)
    lengths = np.array(list(counts)) + end
    over = np.flatnonzero(lengths > limit).tolist()
    if over:
        most = int(lengths.max())
        remedy = f"they are cut; --settings max_target={most},max_new_tokens={most} holds all"
        findings.append(_long(items, path, over, "targets", f"{limit} {unit}", remedy))
    return {"targets": _spread(lengths, unit, limit)}, findings


def _long(
    items: Sequence[Any],
    path: Path,
    over: Sequence[int],
    kind: str,
    limit: str,
    remedy: str,
    severity: Severity | None = None,
) -> Finding:
    """Report which items or targets are longer than the limit; without a `severity` they are cut."""
    what = f"{len(over):,} of {len(items):,} {kind} ({len(over) / len(items):.1%}) have more than {limit}"
    cut: Severity = "warning" if len(over) > _MANY_CUT * len(items) else "note"
    return Finding(severity or cut, what, places(path, names(items, over)), remedy)


def _spread(lengths: NDArray[np.int64], unit: str, limit: int) -> Values:
    quantiles = {f"{share:.0%}": int(np.quantile(lengths, share, method="higher")) for share in _QUANTILES}
    return {"in": unit, **quantiles, "longest": int(lengths.max()), f"over {limit}": int((lengths > limit).sum())}


def _sequences(item: Any, lengths: Sequence[int], apart: bool) -> list[list[int]]:
    """Return the lengths of the parts of each sequence that a model reads for an item."""
    if apart:
        return [[length] for length in lengths]
    return item.sequences(lengths) if isinstance(item, Item) else [list(lengths)]


def _pieces(
    items: Sequence[Any], path: Path, tokenizer: Tokenizer, *, apart: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], Values, list[Finding]]:
    """Return the length of each item and of its first part, figures, and findings about unknown pieces."""
    lengths, firsts, strange = [], [], []
    num_pieces = num_unknown = num_words = 0
    unknown: Counter[str] = Counter()
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        chunk = [texts_of(item) for item in items[start : start + _ITEMS_AT_ONCE]]
        flat = [part for every in chunk for part in every]
        num_words += sum(len(_WORD.findall(part)) for part in flat)
        ids = iter(tokenizer.encode_batch(flat))
        for number, every in enumerate(chunk, start):
            rows = [next(ids) for _ in every]
            sequences = _sequences(items[number], [len(row) for row in rows], apart)
            lengths.append(max(sum(part) + len(part) + 1 for part in sequences))
            firsts.append(len(rows[0]))
            num_pieces += sum(map(len, rows))
            if count := sum(row.count(tokenizer.unknown) for row in rows):
                num_unknown += count
                strange.append(number)
                if len(unknown) < _ITEMS_AT_ONCE:
                    unknown.update(_unknown_words(every, tokenizer))
    values: Values = {
        "pieces_per_word": num_pieces / max(1, num_words),
        "unknown_share": num_unknown / max(1, num_pieces),
    }
    findings = []
    if num_unknown:
        named = ", ".join(repr(word) for word, _ in unknown.most_common(_SHOWN))
        what = f"{num_unknown:,} pieces ({values['unknown_share']:.2%}) are [UNK], such as {named}"
        severe = values["unknown_share"] > _MANY_UNKNOWN
        remedy = "does the vocabulary fit this language and casing?" if severe else ""
        findings.append(Finding("warning" if severe else "note", what, places(path, names(items, strange)), remedy))
    if values["pieces_per_word"] > _MANY_PIECES_PER_WORD:
        what = f"a word is {values['pieces_per_word']:.1f} pieces on average: the vocabulary was made from other text"
        findings.append(Finding("warning", what, str(path), "choose a model for this language and subject"))
    return np.array(lengths), np.array(firsts), values, findings


def _unknown_words(every: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    aligned = tokenizer.encode_batch_aligned(every)
    return [
        text[begin:end]
        for text, (ids, edges) in zip(every, aligned, strict=True)
        for piece, (begin, end) in zip(ids, edges, strict=True)
        if piece == tokenizer.unknown
    ]


def _long_questions(items: Sequence[Question], path: Path, firsts: NDArray[np.int64], room: int) -> list[Finding]:
    numbers = np.flatnonzero(firsts > room).tolist()
    if not numbers:
        return []
    what = (
        f"{len(numbers):,} questions have more than {room} pieces and are cut to that, or leave no room for a context"
    )
    return [
        Finding("warning", what, places(path, names(items, numbers)), "shorten them, or raise --length and max_query")
    ]


def _rounded(length: int) -> int:
    return -(-length // 8) * 8


def survey_casing(items: Sequence[Any], path: Path, tokenizer: Tokenizer) -> tuple[Values, list[Finding]]:
    """Compare the text's share of capitals with the casing of the vocabulary."""
    upper = lower = num_characters = 0
    for sample in (part[:_SAMPLE_CHARACTERS] for item in items for part in texts_of(item)):
        upper += sum(map(str.isupper, sample))
        lower += sum(map(str.islower, sample))
        num_characters += len(sample)
        if num_characters >= _SAMPLE_CHARACTERS:
            break
    letters = upper + lower
    share = upper / max(1, letters)
    capitals = sum(piece != piece.lower() for piece in tokenizer.tokens if not piece.startswith("["))
    kind = "uncased" if tokenizer.lowercase else "cased"
    values = {"vocabulary": f"{kind}, {tokenizer.vocab_size:,} pieces", "capitals_share": share}
    findings = []
    if letters >= _LEAST_LETTERS and not tokenizer.lowercase:
        if not capitals and share > _NO_CAPITALS:
            what = "the tokenizer keeps capitals, but no piece of its vocabulary has one: such words become [UNK]"
            findings.append(
                Finding("warning", what, tokenizer.source, 'set "do_lower_case": true in tokenizer_config.json')
            )
        elif share < _NO_CAPITALS and capitals:
            what = "the text has no capitals, but the vocabulary is cased: names and sentence starts look unusual to it"
            findings.append(Finding("warning", what, str(path), "an uncased model suits this text"))
        elif share > _MOSTLY_CAPITALS:
            what = (
                f"{share:.0%} of the letters are capitals, but the vocabulary is cased: it cuts such words into letters"
            )
            findings.append(Finding("warning", what, str(path), "an uncased model suits this text, or change its case"))
    if tokenizer.lowercase and share > _NO_CAPITALS and items and isinstance(items[0], Words):
        what = "the vocabulary is uncased, so the capitals that mark names are lost"
        findings.append(Finding("note", what, str(path), "a cased model finds names better"))
    return values, findings


def examples(
    items: Sequence[Any], encode: Callable[[Sequence[Any]], Batch] | None, tokenizer: Tokenizer | None
) -> list[Values]:
    """Show ten items, evenly spread over the file, as the model will read them.

    Args:
        items: items of any class.
        encode: the task's function that encodes items without label; None: show texts instead of pieces.
        tokenizer: tokenizer that names the pieces.
    """
    shown = []
    for number in sorted({part * len(items) // _EXAMPLES for part in range(_EXAMPLES)}):
        item = items[number]
        row: Values = {"line": name_of(item, number), "label": _label(item)}
        if encode is None or tokenizer is None:
            shown.append({**row, "text": "  |  ".join(texts_of(item))})
            continue
        batch = encode([unlabelled(item)])
        cut = batch.targets.get("sequence.cut")
        row |= {"cut": 0 if cut is None else int(cut[0]), "sequences": len(batch)}
        pieces, edges = [tokenizer.tokens[piece] for piece in batch.tokens.tolist()], batch.offsets.tolist()
        row["pieces"] = [" ".join(pieces[begin:end]) for begin, end in pairwise(edges[: _SHOWN_SEQUENCES + 1])]
        if row["cut"] and len(batch) == 1 and isinstance(item, Text):
            row["lost"] = _lost(item, batch, tokenizer)
        shown.append(row)
    return shown


def _lost(item: Text, batch: Batch, tokenizer: Tokenizer) -> str:
    """Return the beginning of the pieces that were cut off a text and its pair."""
    tails = []
    for segment, ids in enumerate(tokenizer.encode_batch([item.text, *([] if item.pair is None else [item.pair])])):
        num_special = 2 if segment == 0 else 1
        kept = int((batch.segments == segment).sum()) - num_special
        if kept < len(ids):
            tails.append(tokenizer.decode(ids[kept : kept + _SHOWN_PIECES]))
    return "  |  ".join(tails)


def _label(item: Any) -> str:
    """Return an item's label as text."""
    if getattr(item, "label", None) is None:
        return "-"
    return item.label_text() if isinstance(item, Item) else str(item.label)
