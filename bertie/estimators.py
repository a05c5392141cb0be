"""Estimators of scikit-learn, thin covers of bertie's functions: `BertClassifier`, `BertRegressor`, `BertEmbedder`.

They work in a Pipeline, in `cross_val_score` and in GridSearchCV. X is a list, an array or a Series of texts, or of
pairs of texts: tuples, or an array or a table of two columns. An estimator pickles its model as a model folder, so a
pickle has the same content as what `save` writes.

scikit-learn's `check_estimator` skips most of its checks for estimators of text, as it does for TfidfVectorizer: they
fit arrays of numbers. tests/test_estimators.py runs those that apply: construction, parameters, cloning, tags and
use before `fit`. What doesn't apply: numbers in X (NaN, sparse and Fortran arrays, `n_features_in_`, types of numbers).
What isn't supported: `sample_weight` (`settings={"class_weights": "balanced"}` weighs classes), several outputs, and a
classifier with a single class.
"""

from __future__ import annotations

import reprlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.commands._python import python_function
from bertie.errors import DataError, SettingsError, missing_extra
from bertie.items.text import Text
from bertie.readers.frames import as_texts

try:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        RegressorMixin,
        TransformerMixin,
    )
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d
except ImportError as error:
    raise missing_extra("scikit-learn", "eval", "for bertie's estimators") from error


class _Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What the estimators share: their model, and its pickle."""

    predictor_: Any

    def save(self, path: str | Path) -> None:
        """Write the model as a model folder, which every command of bertie and `bertie.load` read.

        Args:
            path: folder to write; must not exist.

        Raises:
            NotFittedError: `fit` wasn't called yet.
            SettingsError: the folder exists.
        """
        from bertie.formats.huggingface import write

        check_is_fitted(self, "predictor_")
        if Path(path).exists():
            raise SettingsError(f"{path} exists already; remove it or choose another name")
        write(self.predictor_.bundle, path)

    def _open(self, folder: str | Path, **more: Any) -> Any:
        """Return a predictor for a model folder or hub id, which doesn't need the folder any more."""
        from bertie.formats.huggingface import read, resolve
        from bertie.inference.predictor import Predictor
        from bertie.nn.device import set_threads
        from bertie.storage.inputs import local

        with _spoken(self.verbose):
            set_threads(self.threads)
            return Predictor(read(resolve(local(folder)), **more), device=self.device, max_tokens=self.batch_tokens)

    def _predict(self, texts: Any) -> list[Any]:
        """Return a prediction for each text."""
        check_is_fitted(self, "predictor_")
        with _spoken(self.verbose):
            return list(self.predictor_.stream(_items(texts)))

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters, and the files of the model folder in place of the model."""
        state: dict[str, Any] = {**super().__getstate__()}
        if "predictor_" in state:
            del state["predictor_"]
            with tempfile.TemporaryDirectory(prefix="bertie-pickle-") as scratch:
                folder = Path(scratch) / "model"
                self.save(folder)
                files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
                state["model_files_"] = {str(file.relative_to(folder)): file.read_bytes() for file in files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the parameters, and open the model from its files."""
        files = state.pop("model_files_", None)
        super().__setstate__(state)
        if files is not None:
            with tempfile.TemporaryDirectory(prefix="bertie-pickle-") as folder:
                for name, content in files.items():
                    file = Path(folder) / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(content)
                self.predictor_ = self._open(folder)

    def __sklearn_tags__(self) -> Any:
        """Say that X holds texts and no numbers, as scikit-learn's own vectorizers of text do."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array = True, True, False
        return tags


class _Finetuned(_Estimator):
    """What the estimators share that learn from labels."""

    def __init__(
        self,
        model: str | Path,
        *,
        epochs: int | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        truncation: str | None = None,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        precision: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        batch_tokens: int = 4096,
        verbose: bool = False,
    ) -> None:
        """Keep the parameters; `fit` reads them.

        Args:
            model: folder or hub id of a pre-trained model.
            epochs: passes over the data; chosen by their number when None.
            learning_rate: peak of the learning rate; chosen by the model and the data when None.
            batch_size: texts of one update; chosen by their number when None.
            max_length: largest number of tokens in a text; the task's default (128) when None.
            truncation: what to do with longer texts: truncate, error or window; truncate when None.
            seed: seed of the new head, the order of texts and dropout.
            settings: further settings of the task, such as ``{"label_smoothing": 0.1}``.
            options: further parameters of ``bertie.finetune``, such as ``{"lora": {"rank": 4}}``.
            precision: fp32, bf16, or auto: bf16 if the processor has it. Predictions are exact in any case.
            device: auto, cpu, cuda.
            threads: CPU threads; all cores when None.
            batch_tokens: largest number of tokens in a batch of `predict`.
            verbose: whether progress and notes are shown. Warnings always are.
        """
        self.model, self.epochs, self.learning_rate, self.batch_size = model, epochs, learning_rate, batch_size
        self.max_length, self.truncation, self.seed, self.settings = max_length, truncation, seed, settings
        self.options, self.precision, self.device, self.threads = options, precision, device, threads
        self.batch_tokens, self.verbose = batch_tokens, verbose

    def _finetune(self, task: str, texts: Any, labels: Sequence[str | float]) -> Any:
        """Fine-tune on texts and their labels, in a run folder that is removed afterwards, and return a predictor."""
        items = _items(texts)
        paired = {"pair": "pair"} if any(item.pair is not None for item in items) else {}
        rows = [{**item.row(), "label": label} for item, label in zip(items, labels, strict=True)]
        options = dict(self.options or {})
        if taken := sorted(options.keys() & {"model", "train", "task", "out", "columns", "length", *_SAME}):
            raise SettingsError(f"options: {taken[0]!r} is set by the estimator; leave it out")
        values = {"length": self.max_length, **{name: getattr(self, name) for name in _SAME}}
        given = {name: value for name, value in values.items() if value is not None}
        with tempfile.TemporaryDirectory(prefix="bertie-fit-") as scratch, _spoken(self.verbose):
            run = Path(scratch) / "run"
            columns = {"text": "text", **paired, "label": "label"}
            python_function("finetune")(
                str(self.model), train=rows, task=task, out=run, columns=columns, **given, **options
            )
            return self._open(run / "model")


_SAME = ("epochs", "learning_rate", "batch_size", "truncation", "seed", "settings", "precision", "device", "threads")
"""Parameters that have the same name in `bertie.finetune`."""


class BertClassifier(ClassifierMixin, _Finetuned):  # type: ignore[misc]
    """A BERT that is fine-tuned to give each text, or pair of texts, one of several labels.

    After `fit`, `classes_` has the labels, sorted, and `predictor_` is what `bertie.load` returns for the model.
    """

    def fit(self, X: Any, y: Any) -> BertClassifier:  # noqa: N803  # the name in scikit-learn
        """Fine-tune on texts and their labels.

        Args:
            X: texts, or pairs of texts.
            y: a label for each of them: strings, whole numbers or booleans.

        Raises:
            ValueError: X and y differ in length, or y has no classes.
            DataError: X has something else than texts, or y has fewer than two different labels.
        """
        check_consistent_length(X, y)
        check_classification_targets(y)
        classes, numbers = np.unique(column_or_1d(y), return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"a classifier needs at least two different labels; y has {len(classes)}")
        # Words such as "-" have a meaning in files, so the run learns labels that have none.
        predictor = self._finetune("classification", X, [f"c{number}" for number in numbers.tolist()])
        names = tuple(str(classes[int(code[1:])]) for code in predictor.task.labels)
        predictor.task = replace(predictor.task, labels=names)
        predictor.bundle = replace(predictor.bundle, task=predictor.task, extra={})
        self.classes_, self.predictor_ = classes, predictor
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of each label of `classes_`, one row for each text."""
        predictions = self._predict(X)
        names = [str(label) for label in self.classes_]
        rows = np.array([[one.scores[name] for name in names] for one in predictions], np.float64)
        rows = rows.reshape(len(predictions), len(names))
        return rows / rows.sum(1, keepdims=True)  # type: ignore[no-any-return]

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the most probable label of each text."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]  # type: ignore[no-any-return]


class BertRegressor(RegressorMixin, _Finetuned):  # type: ignore[misc]
    """A BERT that is fine-tuned to give each text, or pair of texts, a number.

    After `fit`, `predictor_` is what `bertie.load` returns for the model.
    """

    def fit(self, X: Any, y: Any) -> BertRegressor:  # noqa: N803
        """Fine-tune on texts and their numbers.

        Args:
            X: texts, or pairs of texts.
            y: a number for each of them.

        Raises:
            ValueError: X and y differ in length.
            DataError: X has something else than texts, or y something else than finite numbers, or all are equal.
        """
        check_consistent_length(X, y)
        values = np.asarray(column_or_1d(y), np.float64)
        if not np.isfinite(values).all():
            raise DataError("y has numbers that are infinite or missing; drop such rows")
        self.predictor_ = self._finetune("regression", X, values.tolist())
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return a number for each text."""
        return np.array([one.value for one in self._predict(X)], np.float64)


class BertEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Estimator):  # type: ignore[misc]
    """Turns each text into a vector, by a sentence encoder or the mean hidden vector of any other model.

    It learns nothing from the data: `fit` opens the model.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        max_length: int | None = None,
        truncation: str = "truncate",
        device: str = "auto",
        threads: int | None = None,
        batch_tokens: int = 4096,
        verbose: bool = False,
    ) -> None:
        """Keep the parameters; `fit` reads them.

        Args:
            model: folder or hub id of a model.
            max_length: largest number of tokens in a text; that of the model when None.
            truncation: what to do with longer texts: truncate, or error.
            device: auto, cpu, cuda.
            threads: CPU threads; all cores when None.
            batch_tokens: largest number of tokens in a batch.
            verbose: whether progress and notes are shown. Warnings always are.
        """
        self.model, self.max_length, self.truncation, self.device = model, max_length, truncation, device
        self.threads, self.batch_tokens, self.verbose = threads, batch_tokens, verbose

    def fit(self, X: Any = None, y: Any = None) -> BertEmbedder:  # noqa: N803
        """Open the model.

        Args:
            X: not used.
            y: not used.
        """
        settings = {"max_length": self.max_length, "truncation": self.truncation}
        given = {name: value for name, value in settings.items() if value is not None}
        self.predictor_ = self._open(str(self.model), task="embedding", settings=given)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return a vector for each text, (N, H).

        Raises:
            DataError: X has something else than texts, such as pairs of texts.
        """
        check_is_fitted(self, "predictor_")
        items = _items(X)
        if any(item.pair is not None for item in items):
            raise DataError("BertEmbedder takes texts and no pairs of texts; embed the two columns one after the other")
        vectors = np.empty((len(items), self._n_features_out), np.float32)
        for number, one in enumerate(self._predict(items)):
            vectors[number] = one.vector
        return vectors

    @property
    def _n_features_out(self) -> int:
        return int(self.predictor_.bundle.config.hidden_size)


def _items(texts: Any) -> list[Text]:
    """Return the items of X: texts, pairs of texts, or an array or a table with one or two columns of texts.

    Raises:
        DataError: it is a single text, or something in it is no text.
    """
    if isinstance(texts, str | bytes):
        raise DataError("X is a single text; give a list of texts")
    if getattr(texts, "ndim", 1) == 2:
        rows = np.asarray(texts, object)
        if rows.shape[1] not in (1, 2):
            raise DataError(f"X has {rows.shape[1]} columns; texts are one column, pairs of texts are two")
        texts = [tuple(row) if len(row) == 2 else row[0] for row in rows.tolist()]
    items = []
    for number, text in enumerate(as_texts(texts), 1):
        parts = tuple(text) if isinstance(text, list | tuple) else (text,)
        if isinstance(text, Text):
            items.append(Text(text.text, text.pair))
        elif len(parts) in (1, 2) and all(isinstance(part, str) for part in parts):
            items.append(Text(*parts))
        else:
            raise DataError(f"row {number} of X is {reprlib.repr(text)}; give a text, or a tuple of two texts")
    return items


@contextmanager
def _spoken(verbose: bool) -> Iterator[None]:
    """Show progress and notes while the context lasts, or only warnings."""
    with nullcontext() if verbose else progress.silence():
        yield
