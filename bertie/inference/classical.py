"""The classical method, without a network: logistic regression on hand-made features.

It is what a model has to be better than. Words get their tags from themselves, their neighbours and their affixes.
Texts get their labels from the TF-IDF weights of their words and pairs of words. Both look at lower-cased text, as an
uncased model does. The strength of the regularisation is chosen on a fifth of the training items. Needs scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice, pairwise
from typing import Any

from bertie.data.items import Text, Words
from bertie.data.spans import cut_words
from bertie.metrics.classification import accuracy
from bertie.metrics.entities import entity_scores
from bertie.tasks.classification import Verdict
from bertie.tasks.tagging import Tagged

_STRENGTHS = (1.0, 3.0, 10.0, 30.0)  # scikit-learn's C
_HELD_OUT = 5  # every fifth item decides between them
_FEWEST = 20  # items; of fewer a fifth decides nothing
_USUAL = 10.0
_ITERATIONS = 200
_LARGE = 3_000_000  # items x classes; more are fitted by averaged stochastic gradients, in a minute and not in twenty
_PASSES = 10
_MANY = 5000  # texts; words met once are then left out

Fitted = Callable[[Sequence[Any]], list[Any]]


def is_installed() -> bool:
    """Tell whether scikit-learn is there."""
    return find_spec("sklearn") is not None


def fit(items: Sequence[Any]) -> Fitted:
    """Learn from labelled items: `Words` with a tag a word, or `Text` with one label.

    Args:
        items: at least one.

    Returns:
        A function from items to predictions, as the task's models give them.
    """
    learn = _learn_tags if isinstance(items[0], Words) else _learn_labels
    if len(items) < _FEWEST:
        return learn(items, _USUAL)
    rest = [item for number, item in enumerate(items) if number % _HELD_OUT]
    measured = items[::_HELD_OUT]
    reached = [_score(learn(rest, strength)(measured), measured) for strength in _STRENGTHS]
    return learn(items, _STRENGTHS[reached.index(max(reached))])


def _score(guesses: Sequence[Any], items: Sequence[Any]) -> tuple[float, float]:
    """Rate guesses: of entities by their F1 first, of other tags and labels by the share of right ones."""
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
        features = [found for item in others for found in _features(item.words)]
        said = iter(predict(table.transform(features)) if features else [])
        return [Tagged(item.words, tuple(islice(said, len(item.words))), (), 1.0) for item in others]

    return tag


def _features(words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Describe each word of a sentence."""
    lower = ["<>", "<>", *(word.lower() for word in words), "<>", "<>"]
    for place in range(2, len(lower) - 2):
        word, before, after = lower[place], lower[place - 1], lower[place + 1]
        yield {
            "word": word,
            "before": before,
            "after": after,
            "two before": lower[place - 2],
            "two after": lower[place + 2],
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
        return [Verdict(said, 1.0, {}) for said in predict(table.transform(others))]

    return label


def _grams(item: Text) -> list[str]:
    """List the words of a text and the pairs of words side by side; those of a second text are told from the first's.

    Words are cut as BERT cuts them, so that Chinese has them too. A text without any is a word of its own.
    """
    found: list[str] = []
    for mark, text in (("", item.text), ("2:", item.pair or "")):
        words = [word for word in cut_words(text.lower()).words if any(letter.isalnum() for letter in word)]
        found += [f"{mark}{word}" for word in words]
        found += [f"{mark}{first} {second}" for first, second in pairwise(words)]
    return found or [""]


def _regress(rows: Any, labels: Sequence[str], strength: float) -> Callable[[Any], list[str]]:
    """Fit a logistic regression; where all labels are the same one, there is nothing to fit."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    if (classes := len(set(labels))) < 2:
        return lambda others: [labels[0]] * others.shape[0]
    if classes * len(labels) > _LARGE:
        rows = _narrow(rows)
        decay = 1.0 / (strength * len(labels))  # the same regularisation, in this class' terms
        quick = SGDClassifier(loss="log_loss", alpha=decay, max_iter=_PASSES, tol=None, average=True, random_state=0)
        quick.fit(rows, labels)
        return lambda others: [str(label) for label in quick.predict(_narrow(others))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is reached by then is what is measured
        model = LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(rows, labels)
    return lambda others: [str(label) for label in model.predict(others)]


def _narrow(rows: Any) -> Any:
    """Give a sparse matrix the 32-bit indices that stochastic gradients need."""
    rows.indices, rows.indptr = rows.indices.astype("int32"), rows.indptr.astype("int32")
    return rows
