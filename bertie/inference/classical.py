"""A yardstick without a network: logistic regression on hand-written features.

A fine-tuned model should score higher. Tags are predicted from a word, its neighbours and its affixes. Labels are
predicted from the TF-IDF weights of words and pairs of words. Both use lower-cased text, as an uncased model does. The
strength of the regularisation is chosen on a fifth of the training items. Needs scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice, pairwise
from typing import Any

from bertie.items.text import Text
from bertie.items.words import Words
from bertie.metrics.classification import accuracy
from bertie.metrics.entities import entity_scores
from bertie.readers.spans import cut_words
from bertie.tasks.classification import Verdict
from bertie.tasks.tagging import Tagged

_STRENGTHS = (1.0, 3.0, 10.0, 30.0)  # tried values of scikit-learn's C
_HELD_OUT = 5  # every fifth item is held out to choose the strength
_FEWEST = 20  # with fewer items a fifth is too few to choose, and the strength is _USUAL
_USUAL = 10.0
_ITERATIONS = 200
_LARGE = 3_000_000  # above so many items x classes, averaged SGD takes a minute instead of twenty
_PASSES = 10
_MANY = 5000  # from so many texts on, words that occur once are left out

Fitted = Callable[[Sequence[Any]], list[Any]]


def is_installed() -> bool:
    """Tell whether scikit-learn is installed."""
    return find_spec("sklearn") is not None


def fit(items: Sequence[Any]) -> Fitted:
    """Fit to labelled items: `Words` with one tag for each word, or `Text` with one label.

    Args:
        items: at least one.

    Returns:
        A function from items to predictions, in the form of the task's own predictions.
    """
    learn = _learn_tags if isinstance(items[0], Words) else _learn_labels
    if len(items) < _FEWEST:
        return learn(items, _USUAL)
    rest = [item for number, item in enumerate(items) if number % _HELD_OUT]
    held_out = items[::_HELD_OUT]
    scores = [_score(learn(rest, strength)(held_out), held_out) for strength in _STRENGTHS]
    return learn(items, _STRENGTHS[scores.index(max(scores))])


def _score(guesses: Sequence[Any], items: Sequence[Any]) -> tuple[float, float]:
    """Return (F1 of entities, accuracy) for tags, and (accuracy, 0) for labels."""
    if isinstance(items[0], Words):
        scores = entity_scores([item.label for item in items], [guess.tags for guess in guesses])
        return scores["f1"], scores["accuracy"]
    return accuracy([item.label for item in items], [guess.label for guess in guesses]), 0.0


def _learn_tags(items: Sequence[Words], strength: float) -> Fitted:
    from sklearn.feature_extraction import DictVectorizer

    table = DictVectorizer()
    rows = table.fit_transform(features for item in items for features in _features(item.words))
    predict = _regress(rows, [tag for item in items for tag in item.label or ()], strength)

    def tag(others: Sequence[Words]) -> list[Tagged]:
        rows = [features for item in others for features in _features(item.words)]
        tags = iter(predict(table.transform(rows)) if rows else [])
        return [Tagged(item.words, tuple(islice(tags, len(item.words))), (), 1.0) for item in others]

    return tag


def _features(words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the features of each word of a sentence."""
    lower = ["<>", "<>", *(word.lower() for word in words), "<>", "<>"]
    for index in range(2, len(lower) - 2):
        word, before, after = lower[index], lower[index - 1], lower[index + 1]
        yield {
            "word": word,
            "before": before,
            "after": after,
            "two before": lower[index - 2],
            "two after": lower[index + 2],
            "with before": f"{before} {word}",
            "with after": f"{word} {after}",
            "ends": word[-3:],
            "ends in": word[-2:],
            "begins": word[:3],
            "has a digit": any(letter.isdigit() for letter in word),
        }


def _learn_labels(items: Sequence[Text], strength: float) -> Fitted:
    from sklearn.feature_extraction.text import TfidfVectorizer

    table = TfidfVectorizer(analyzer=_grams, sublinear_tf=True, min_df=2 if len(items) >= _MANY else 1)
    predict = _regress(table.fit_transform(items), [str(item.label) for item in items], strength)

    def label(others: Sequence[Text]) -> list[Verdict]:
        return [Verdict(label, 1.0, {}) for label in predict(table.transform(others))]

    return label


def _grams(item: Text) -> list[str]:
    """Return the words of a text and its pairs of neighbouring words. Those of a second text have a mark.

    Words are cut as BERT cuts them, so that Chinese text has words too. A text without words counts as an empty word.

    >>> _grams(Text("Good film!", "No."))
    ['good', 'film', 'good film', '2:no']
    """
    grams: list[str] = []
    for mark, text in (("", item.text), ("2:", item.pair or "")):
        words = [word for word in cut_words(text.lower()).words if any(letter.isalnum() for letter in word)]
        grams += [f"{mark}{word}" for word in words]
        grams += [f"{mark}{first} {second}" for first, second in pairwise(words)]
    return grams or [""]


def _regress(rows: Any, labels: Sequence[str], strength: float) -> Callable[[Any], list[str]]:
    """Fit a logistic regression, and return its prediction function. If all labels are equal, it returns that label."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    if (classes := len(set(labels))) < 2:
        return lambda others: [labels[0]] * others.shape[0]
    if classes * len(labels) > _LARGE:
        rows = _narrow(rows)
        decay = 1.0 / (strength * len(labels))  # the same regularisation as C
        quick = SGDClassifier(loss="log_loss", alpha=decay, max_iter=_PASSES, tol=None, average=True, random_state=0)
        quick.fit(rows, labels)
        return lambda others: [str(label) for label in quick.predict(_narrow(others))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping at _ITERATIONS is intended
        model = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(rows, labels)
    return lambda others: [str(label) for label in model.predict(others)]


def _narrow(rows: Any) -> Any:
    """Convert the indices of a sparse matrix to 32 bits, which SGDClassifier needs."""
    rows.indices, rows.indptr = rows.indices.astype("int32"), rows.indptr.astype("int32")
    return rows
