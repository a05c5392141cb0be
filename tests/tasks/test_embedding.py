"""Embeddings: vectors of texts in windows, both objectives, what tables may hold, scores with and without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from bertie.errors import DataError, SettingsError
from bertie.inference.evaluate import evaluate
from bertie.tasks.embedding import Embedding, Similarity, Vector
from bertie.tasks.task import Text
from bertie.tokenizer.windows import lay_out

LONG = "the old dog ran in the city , and the cat saw it . the bird never sat in the new house by the river"
PAIRS = [Text("a cat", "the cat"), Text("good film", "great film"), Text("old dog", LONG), Text("fish", "red fish")]
HARD = [Text("a cat", "the cat", negatives=("a dog", "the house")), Text("good", "great", negatives=("bad",))]
Build = Callable[..., Any]


def predict(task: Embedding, items: list[Any], build_model: Build, tokenizer: Any, **settings: Any) -> list[Any]:
    batch = task.encode(items, tokenizer)
    with torch.inference_mode():
        return task.decode(build_model(task, **settings).eval()(batch), batch, items, tokenizer)


def test_texts_are_vectors_and_pairs_are_alike(build_model: Build, tiny_tokenizer: Any) -> None:
    items = ["a cat", ("a cat", "the cat"), "the cat", ("the cat", "the cat")]
    text, pair, other, same = predict(Embedding(), items, build_model, tiny_tokenizer, deviation=0.5)
    assert isinstance(text, Vector) and isinstance(pair, Similarity) and pair.value is None
    assert text.vector.shape == (32,) and np.linalg.norm(text.vector) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(pair.vectors, [text.vector, other.vector], atol=1e-6)
    assert pair.similarity == pytest.approx(float(text.vector @ other.vector), abs=1e-6) and pair.similarity < 0.99
    assert same.similarity == pytest.approx(1.0, abs=1e-6)
    bare = predict(Embedding(normalize=False), items, build_model, tiny_tokenizer, deviation=0.5)
    assert np.linalg.norm(bare[0].vector) > 2.0 and bare[1].similarity == pytest.approx(pair.similarity, abs=1e-6)


def test_windows_of_a_text_are_pooled_as_one(build_model: Build, tiny_tokenizer: Any) -> None:
    """Each piece counts once, by the window where it has most context; [CLS] and [SEP] once a text."""
    task = Embedding(max_length=12, truncation="window", stride=4, normalize=False)
    model = build_model(task, deviation=0.5).eval()
    batch = task.encode(["a cat", (LONG, "not bad")], tiny_tokenizer)
    assert batch.num_items == 2 and len(batch) > 5
    with torch.inference_mode():
        hidden = model.encoder(batch)
        found = task.decode(model(batch), batch, ["a cat", (LONG, "not bad")], tiny_tokenizer)
    laid = lay_out(
        tiny_tokenizer.encode_batch([LONG]), [None], tiny_tokenizer, max_length=12, truncation="window", stride=4
    )
    first = 1  # sequence of the long text's first window
    start, windows = int(batch.offsets[first]), len(laid.rows)
    shown = torch.from_numpy(laid.shown[laid.owned()]) + start
    ends = [int(batch.offsets[first + number]) for number in range(windows + 1)]
    specials = hidden[ends[:-1]].sum(0) / windows + hidden[[end - 1 for end in ends[1:]]].sum(0) / windows
    expected = (hidden[shown].sum(0) + specials) / (len(shown) + 2)
    assert len(shown) == len(tiny_tokenizer.encode_batch([LONG])[0])
    np.testing.assert_allclose(found[1].vectors[0], expected, atol=1e-5)
    whole = predict(Embedding(max_length=12, normalize=False), ["not bad"], build_model, tiny_tokenizer, deviation=0.5)
    np.testing.assert_allclose(found[1].vectors[1], whole[0].vector, atol=1e-5)


def test_truncation(tiny_tokenizer: Any) -> None:
    cut = Embedding(max_length=8).encode([("a cat", LONG), "a dog", (LONG, LONG)], tiny_tokenizer)
    length = len(tiny_tokenizer.encode_batch([LONG])[0])
    assert cut.targets["sequence.cut"].tolist() == [length - 6, 0, 0, 2 * (length - 6), 0]
    with pytest.raises(DataError, match=f"text 2 has {length + 2} tokens, more than 8"):
        Embedding(max_length=8, truncation="error").encode([("a", "b"), ("a", LONG)], tiny_tokenizer)
    with pytest.raises(DataError, match="text 2 holds a lone surrogate"):
        Embedding().encode([("a", "b"), Text("a", "b", negatives=("c", "\ud800"))], tiny_tokenizer)


def test_negatives_stand_behind_their_pair(tiny_tokenizer: Any) -> None:
    batch = Embedding().encode(HARD, tiny_tokenizer)
    assert batch.rows.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert batch.targets["sequence.side"].tolist() == [0, 1, 2, 3, 0, 1, 2]
    alone = Embedding().encode([Text("a cat", negatives=("a dog",))], tiny_tokenizer)
    assert len(alone) == 1  # nothing to tell it from


@pytest.mark.parametrize("symmetric", [False, True])
def test_hard_negatives_count_for_every_text(build_model: Build, tiny_tokenizer: Any, symmetric: bool) -> None:
    task = Embedding(objective="contrastive", symmetric=symmetric, scale=3.0)
    batch = task.encode(HARD, tiny_tokenizer)
    vectors = build_model(task, deviation=0.5).eval()(batch)
    scores = 3.0 * cosine_similarity(vectors[[0, 4]][:, None], vectors[[1, 5, 2, 3, 6]][None], dim=2)
    expected = -scores.log_softmax(1).diagonal().sum()
    if symmetric:
        expected = (expected - scores[:, :2].t().log_softmax(1).diagonal().sum()) / 2
    loss = task.loss(vectors, batch)
    torch.testing.assert_close(loss.terms["embedding"].sum, expected)
    assert task.counts(batch) == {"embedding": 2.0} and loss.figures["accuracy"][1] == 2.0


def test_equal_texts_of_a_batch_are_no_negatives(build_model: Build, tiny_tokenizer: Any) -> None:
    task = Embedding(objective="contrastive")
    twice = [Text("a cat", "the cat"), Text("a cat", "the cat"), Text("a cat", "two cats")]
    batch = task.encode(twice, tiny_tokenizer)
    loss = task.loss(build_model(task, deviation=0.5)(batch), batch)
    assert float(loss.terms["embedding"].sum.detach()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_pairs_are_learned_by_telling_them_apart(build_model: Build, tiny_tokenizer: Any, pooling: Any) -> None:
    task = Embedding(objective="contrastive", pooling=pooling, max_length=16, truncation="window", pooler=True)
    items = [*PAIRS, *HARD[1:]]
    model, batch = build_model(task, dropout=0.05), task.encode(items, tiny_tokenizer)
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=3e-3)
    before = evaluate(model, task, items, tiny_tokenizer)
    torch.manual_seed(0)
    for _ in range(25):
        task.loss(model(batch), batch).total(task.counts(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = evaluate(model, task, items, tiny_tokenizer)
    assert after.loss is not None and before.loss is not None and after.loss < 0.5 * before.loss
    assert after.scores == {"accuracy_at_1": 1.0, "mean_reciprocal_rank": 1.0}
    assert model.head.pooler.dense.weight.grad is None  # BERT's own only comes along


def test_numbers_are_learned_by_the_cosine(build_model: Build, tiny_tokenizer: Any) -> None:
    task = Embedding(objective="cosine", label_range=(1.0, 5.0))
    items = [Text(item.text, item.pair, str(label)) for item, label in zip(PAIRS, (5, 1, 3, 2), strict=True)]
    batch = task.encode(items, tiny_tokenizer)
    assert batch.targets["item.value"].tolist() == [1.0, 0.0, 0.5, 0.25]
    vectors = build_model(task).eval()(batch)
    cosines = cosine_similarity(vectors[0::2], vectors[1::2])
    expected = (cosines - torch.tensor([1.0, 0.0, 0.5, 0.25])).square().sum()
    torch.testing.assert_close(task.loss(vectors, batch).terms["embedding"].sum, expected)
    found = evaluate(build_model(task, deviation=0.5), task, items, tiny_tokenizer)
    assert set(found.scores) == {"pearson", "spearman"} and found.loss is not None
    one = found.predictions[0]
    assert one.value == pytest.approx(1.0 + 4.0 * one.similarity) and len(found.worst) == 4
    assert not task.compares_items and task.criterion == "spearman"
    assert Embedding(objective="contrastive").compares_items
    assert Embedding(objective="contrastive").criterion == "mean_reciprocal_rank"


def test_numbers_without_a_known_range_are_scored_and_have_no_loss(build_model: Build, tiny_tokenizer: Any) -> None:
    items = [Text("a cat", "the cat", "4"), Text("a cat", LONG, "0.5")]
    for objective in ("auto", "contrastive"):  # a label of 0 must not be taken for a pair that belongs together
        task = Embedding(objective=objective)
        found = evaluate(build_model(task, deviation=0.5), task, items, tiny_tokenizer)
        assert found.loss is None and set(found.scores) == {"pearson", "spearman"} and found.worst == []


def test_single_texts_cannot_be_measured(build_model: Build, tiny_tokenizer: Any) -> None:
    task = Embedding()
    with pytest.raises(DataError, match="evaluating embedding needs items with labels"):
        evaluate(build_model(task), task, ["a cat", "a dog"], tiny_tokenizer)
    with pytest.raises(DataError, match="text 2 has no label, but others have"):
        evaluate(build_model(task), task, [("a cat", "the cat"), "a dog"], tiny_tokenizer)


def test_what_a_table_decides() -> None:
    numbers = [Text("a", "b", label, line) for line, label in enumerate(("0.5", "5", "2"), 2)]
    assert Embedding.learn(numbers, {}) == {"objective": "cosine", "label_range": (0.5, 5.0)}
    assert Embedding.learn(numbers, {"label_range": (0.0, 5.0)})["label_range"] == (0.0, 5.0)
    assert Embedding.learn(PAIRS, {"objective": "contrastive"}) == {"objective": "contrastive"}
    for objective, items, said in (
        ("contrastive", numbers, "leave the labels out"),
        ("cosine", PAIRS, "no column holds labels"),
    ):
        with pytest.raises(SettingsError, match=said):
            Embedding.learn(items, {"objective": objective})
    for label, said in (
        ("entailment", "line 5 has label 'entailment'"),
        ("nan", "'nan'"),
        (None, "line 5 has no label"),
    ):
        with pytest.raises(DataError, match=said):
            Embedding.learn([*numbers, Text("a", "b", label, 5)], {})
    with pytest.raises(DataError, match="every row has the label 2"):
        Embedding.learn([numbers[2]] * 2, {})
    with pytest.raises(DataError, match=r"a\.tsv: line 3 has no second text"):
        Embedding().check_items([numbers[0], Text("a", None, "3", 3)], Path("a.tsv"))


def test_tables(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("anchor\tpositive\tnegative\tnegative_1\na cat\tthe cat\ta dog\t\nx\ty\tz\tw\n", encoding="utf-8")
    items = Embedding.read(file, labelled=True).items
    assert [item.negatives for item in items] == [("a dog",), ("z", "w")] and items[0].label is None
    rows = '{"query": "a cat", "positive": "the cat", "negative": "a dog"}\n'
    (tmp_path / "a.jsonl").write_text(rows, encoding="utf-8")
    assert Embedding.read(tmp_path / "a.jsonl", labelled=True).items == [
        Text("a cat", "the cat", None, 1, negatives=("a dog",))
    ]
    named = {"text": "0", "pair": "1", "negative": "3"}
    (tmp_path / "b.tsv").write_text("a cat\tthe cat\t7\ta dog\nx y\tz w\t8\tv u\n", encoding="utf-8")
    assert Embedding.read(tmp_path / "b.tsv", columns=named, labelled=True).items[0].negatives == ("a dog",)
    (tmp_path / "c.txt").write_text("a cat\n", encoding="utf-8")
    assert Embedding.read(tmp_path / "c.txt").items == [Text("a cat", line=1)]
    with pytest.raises(DataError, match="no column holds the second texts"):
        Embedding.read(tmp_path / "c.txt", labelled=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pooling": "sum"}, "pooling must be one of mean, cls, max"),
        ({"objective": "triplet"}, "objective must be one of"),
        ({"scale": 0.0}, "scale must be above 0"),
        ({"label_range": (3.0, 3.0)}, "label_range must be two numbers, the smaller first"),
    ],
)
def test_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Embedding(**settings)
