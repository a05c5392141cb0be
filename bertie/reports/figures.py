"""Format figures for readers: names, units, and numbers with few digits. Nothing here is HTML."""

import math
from typing import Any

_WORDS = {"mlm": "MLM", "nsp": "NSP", "f1": "F1", "mcc": "MCC", "auc": "AUC", "id": "ID"}
_SHARES = {"accuracy", "share", "f1", "precision", "recall", "rate", "match"}
_NAMES = {
    "mask_loss": "Loss, [MASK] alone",
    "mask_loss_before": "Loss, [MASK] alone, before",
    "mask_loss_after": "Loss, [MASK] alone, after",
    "mask_accuracy": "Accuracy, [MASK] alone",
    "mask_cosine": "Cosine between masks",
    "masked_loss": "Loss of masked batches",
    "masked_accuracy": "Accuracy of masked batches",
    "causal_loss": "Loss of causal batches",
    "causal_accuracy": "Accuracy of causal batches",
    "tokens_per_second": "Tokens per second",
    "random_next_share": "Random next sentences",
    "tokens_trained_on": "Tokens trained on",
    "tokens_in_corpus": "Tokens in the corpus",
    "accuracy_pretrained": "Accuracy, pre-trained",
    "accuracy_random": "Accuracy, random weights",
    "accuracy_classical": "Accuracy, classical method",
    "f1_pretrained": "F1, pre-trained",
    "f1_random": "F1, random weights",
    "f1_classical": "F1, classical method",
    "dev_items": "Dev items",
    "dev_items_cut": "Dev items cut",
    "seconds": "Time",
    "minutes": "Time",
}
_SIZES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def name_of(name: str) -> str:
    """Turn a figure's key into a heading.

    >>> name_of("mlm_loss"), name_of("dev_macro_f1")
    ('MLM loss', 'Macro F1, dev')
    """
    if name in _NAMES:
        return _NAMES[name]
    for kind in ("dev", "train"):
        if name.startswith(f"{kind}_") and len(name) > len(kind) + 1:
            return f"{name_of(name[len(kind) + 1 :])}, {kind}"
    words = " ".join(_WORDS.get(word, word) for word in name.split("_") if word)
    return words[:1].upper() + words[1:]


def is_share(name: str) -> bool:
    """Return whether a figure of this name is a share of one, shown in percent; a learning rate is not."""
    words = [word for word in name.split("_") if word not in ("dev", "train")]
    return bool(words) and not _SHARES.isdisjoint(words) and "learning" not in words


def shown(name: str, value: Any) -> str:
    """Format the value of a figure with its unit."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if name in ("seconds", "minutes"):
        return duration(value * (60 if name == "minutes" else 1))
    if is_share(name) and isinstance(value, float) and 0 <= value <= 1:
        return percent(value)
    if abs(value) >= 1e7:
        return compact(value)
    return number(value)


def number(value: float) -> str:
    """Format a number with about four significant digits and thousands separators; very small ones as 5e-5."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        digits, _, power = f"{value:.3g}".partition("e")
        return f"{digits}e{int(power)}" if power else digits
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"
    return f"{value:.4g}"


def compact(value: float) -> str:
    """Format a number with three significant digits and a unit prefix: 12000 as 12k, 3400000 as 3.4M."""
    for size, letter in _SIZES:
        if size * 0.9995 <= abs(value) < 1e15:  # 999,600 is 1M, not 1000k
            return f"{value / size:.3g}{letter}"
    return number(value)


def percent(value: float) -> str:
    """Format a share in percent, with one decimal."""
    if value in (0, 1):
        return f"{value:.0%}"
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def percent_tick(value: float) -> str:
    """Format a round share in percent, without trailing zeros."""
    return f"{100 * value:.4g}%"


def duration(seconds: float) -> str:
    """Format seconds in the two largest units: 4 min 51 s."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
