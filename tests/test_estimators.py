"""The estimators of scikit-learn: fit, predict, pickle, clone, Pipeline, cross-validation and grid search."""

import builtins
import importlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import bertie
from bertie import estimators, progress
from bertie.errors import BertieError, DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.features import FeaturesTask

WORDS = ("cat", "dog", "bird", "fish", "house", "river")
TEXTS = [f"the {word} was {kind}" for word in WORDS for kind in ("good", "bad")]
KINDS = ["good", "bad"] * len(WORDS)
APPLYING = (
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_mixin_order",
    "check_get_params_invariance",
    "check_set_params",
    "check_parameters_default_constructible",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimators_unfitted",
)


@pytest.fixture(scope="module")
def model(build_model: Any, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network, folder = build_model(FeaturesTask()), tmp_path_factory.mktemp("estimators") / "model"
    write(Bundle(network, FeaturesTask(), tiny_tokenizer, network.encoder.config), folder)
    return folder


@pytest.fixture(scope="module")
def classifier(model: Path) -> Callable[..., Any]:
    def make(**settings: Any) -> Any:
        given = {"epochs": 15, "learning_rate": 1e-2, "max_length": 16, "threads": 1, **settings}
        return bertie.BertClassifier(model, **given)

    return make


def pickled(estimator: Any) -> Any:
    return pickle.loads(pickle.dumps(estimator))  # noqa: S301  # its own


def test_a_classifier_learns(classifier: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    fitted = classifier().fit(TEXTS, KINDS)
    assert capfd.readouterr() == ("", "")
    probabilities = fitted.predict_proba(TEXTS)
    assert fitted.classes_.tolist() == ["bad", "good"]
    assert probabilities.shape == (12, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1.0, rtol=0, atol=1e-12)
    assert fitted.score(TEXTS, KINDS) == 1.0
    assert fitted.predict(np.array(TEXTS[:2])).tolist() == ["good", "bad"]
    assert fitted.predict_proba([]).shape == (0, 2)
    assert (clone(fitted).fit(TEXTS, KINDS).predict_proba(TEXTS) == probabilities).all()
    again = pickled(fitted)
    assert (again.predict_proba(TEXTS) == probabilities).all()
    assert again.get_params() == fitted.get_params()


def test_what_is_saved_is_a_model_folder(classifier: Callable[..., Any], tmp_path: Path) -> None:
    fitted = classifier(epochs=1).fit(TEXTS, [3 if kind == "good" else -1 for kind in KINDS])
    fitted.save(tmp_path / "model")
    prediction = bertie.load(tmp_path / "model").predict(TEXTS[0])
    assert list(prediction.scores) == ["-1", "3"]
    assert prediction.label == str(fitted.predict(TEXTS[:1])[0])
    with pytest.raises(SettingsError, match="exists already"):
        fitted.save(tmp_path / "model")


@pytest.mark.parametrize("labels", [("", "-"), ("a,b", "[0, 1]"), (True, False), (10, 9)])
def test_labels_keep_their_type_and_meaning(classifier: Callable[..., Any], labels: tuple[Any, Any]) -> None:
    fitted = classifier().fit(TEXTS, list(labels) * len(WORDS))
    assert fitted.predict(TEXTS).tolist() == list(labels) * len(WORDS)
    assert pickled(fitted).predict(TEXTS[:2]).tolist() == list(labels)


def test_a_regressor_learns_pairs(model: Path) -> None:
    pairs = [(f"the {word}", f"it was {kind}") for word in WORDS for kind in ("good", "bad")]
    values = [9.0, 1.0] * len(WORDS)
    settings = {"epochs": 20, "learning_rate": 1e-2, "max_length": 16, "threads": 1}
    fitted = bertie.BertRegressor(model, **settings).fit(pairs, values)
    assert fitted.score(pairs, values) > 0.5
    assert (pickled(fitted).predict(np.array(pairs)) == fitted.predict(pairs)).all()


def test_an_embedder_before_another_estimator(model: Path) -> None:
    embedder = bertie.BertEmbedder(model, max_length=16, threads=1)
    vectors = embedder.fit_transform(TEXTS)
    assert vectors.shape == (12, 32) and vectors.dtype == np.float32
    assert embedder.get_feature_names_out()[31] == "bertembedder31"
    assert (pickled(embedder).transform(TEXTS) == vectors).all()
    pipeline = make_pipeline(clone(embedder), LogisticRegression())
    assert pipeline.fit(TEXTS, KINDS).predict(TEXTS[:2]).tolist() == ["good", "bad"]


def test_cross_validation_and_grid_search(classifier: Callable[..., Any]) -> None:
    scores = cross_val_score(classifier(epochs=1), TEXTS, KINDS, cv=2, error_score="raise")
    assert scores.shape == (2,)
    search = GridSearchCV(classifier(), {"epochs": [1, 2]}, cv=2, error_score="raise").fit(TEXTS, KINDS)
    assert search.best_params_["epochs"] in (1, 2)
    assert search.best_estimator_.predict(TEXTS).shape == (12,)


def test_nothing_stays_on_disk(classifier: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fitted = classifier(epochs=1).fit(TEXTS, KINDS)
    pickled(fitted).predict(TEXTS)
    assert list(tmp_path.iterdir()) == []


def test_options_reach_finetune(classifier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def stop(model: str, **settings: Any) -> None:
        asked.update(settings)
        raise DataError("enough")

    monkeypatch.setattr(estimators, "python_function", lambda name: stop)
    with pytest.raises(DataError, match="enough"):
        classifier(options={"lora": {"rank": 2}}, settings={"label_smoothing": 0.1}).fit(TEXTS, KINDS)
    assert (asked["lora"], asked["settings"], asked["length"]) == ({"rank": 2}, {"label_smoothing": 0.1}, 16)
    assert json.dumps(asked["train"][0]) == '{"text": "the cat was good", "label": "c1"}'
    assert "truncation" not in asked
    with pytest.raises(SettingsError, match="'seed' is set by the estimator"):
        classifier(options={"seed": 1}).fit(TEXTS, KINDS)


def test_verbose_speaks_and_restores(classifier: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    classifier(epochs=1, verbose=True).fit(TEXTS, KINDS)
    assert "Training" in capfd.readouterr().err
    with progress.silence():
        progress.note("unheard")
    progress.note("heard")
    assert capfd.readouterr().err == "heard\n"


@pytest.mark.parametrize(
    ("texts", "labels", "error", "words"),
    [
        ("a text", ["a"], BertieError, "a single text"),
        ([1.0, 2.0], ["a", "b"], DataError, "row 1 of X is 1.0"),
        (["a", None], ["a", "b"], DataError, "row 2 of X is None"),
        ([("a", "b", "c"), "d"], ["a", "b"], DataError, "row 1 of X"),
        (np.array([["a"] * 3] * 2), ["a", "b"], DataError, "X has 3 columns"),
        (["a", "b"], ["a", "a"], DataError, "at least two different labels; y has 1"),
        (["a", "b"], ["a"], ValueError, "inconsistent numbers of samples"),
        (["a", "b"], [0.5, 0.25], ValueError, "Unknown label type"),
    ],
)
def test_what_a_classifier_refuses(
    classifier: Callable[..., Any], texts: Any, labels: Any, error: type[Exception], words: str
) -> None:
    labels = list(texts) if isinstance(texts, str) else labels
    with pytest.raises(error, match=words):
        classifier().fit(texts, labels)


def test_what_the_others_refuse(model: Path) -> None:
    with pytest.raises(DataError, match="infinite or missing"):
        bertie.BertRegressor(model).fit(["a", "b"], [1.0, float("nan")])
    with pytest.raises(DataError, match="takes texts and no pairs"):
        bertie.BertEmbedder(model).fit().transform([("a", "b")])
    for unfitted in (bertie.BertClassifier(model), bertie.BertRegressor(model)):
        with pytest.raises(NotFittedError):
            unfitted.predict(["a"])
    with pytest.raises(NotFittedError):
        bertie.BertEmbedder(model).transform(["a"])


@pytest.mark.parametrize("name", ["BertClassifier", "BertRegressor", "BertEmbedder"])
def test_checks_of_sklearn_that_apply_to_text(model: Path, name: str) -> None:
    for check in APPLYING:
        getattr(estimator_checks, check)(name, getattr(bertie, name)(str(model)))
    with pytest.warns(SkipTestWarning, match="Can't test estimator"):  # its checks of arrays of numbers
        results = estimator_checks.check_estimator(getattr(bertie, name)(str(model)), on_skip=None)
    assert {result["status"] for result in results} == {"passed"}
    assert name in dir(bertie)


@pytest.mark.parametrize(("name", "method"), [("Classifier", "predict_proba"), ("Regressor", "predict")])
def test_checks_of_sklearn_on_texts_in_place_of_numbers(model: Path, name: str, method: str) -> None:
    labels = [float(kind == "good") for kind in KINDS] if name == "Regressor" else KINDS
    texts, before = [*TEXTS], [*TEXTS]
    new = getattr(bertie, f"Bert{name}")(model, epochs=2, max_length=16, threads=1)
    parameters = {**new.get_params()}
    fitted = new.fit(texts, labels)
    assert fitted is new and new.get_params() == parameters and texts == before
    attributes = {**vars(fitted)}
    answers = getattr(fitted, method)(texts)
    assert vars(fitted) == attributes
    one_by_one = np.concatenate([getattr(fitted, method)([text]) for text in texts])
    np.testing.assert_allclose(one_by_one, answers, rtol=0, atol=1e-5)
    np.testing.assert_allclose(getattr(fitted, method)(texts[::-1])[::-1], answers, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(getattr(fitted.fit(texts, labels), method)(texts), answers)


def test_scikit_learn_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "bertie.estimators")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SettingsError, match=r"pip install 'bertie\[eval\]'"):
        importlib.import_module("bertie.estimators")
