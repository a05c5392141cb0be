"""Generation: what the decoder reads and is to say, the loss over target tokens only, searching, scores, commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import bertie
from bertie.commands.predict import predict
from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.bert import BertConfig
from bertie.tasks.generation import Generated, Generation
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Text

ITEMS = [
    Text("the cat sat in the city .", label="a cat"),
    Text("two birds", pair="a red fish", label=""),
    Text("it was a very good story", label="the story was very good !"),
]


def test_the_decoder_reads_the_text_and_says_what_follows(tiny_tokenizer: Any) -> None:
    task = Generation(max_length=20, max_target=6)
    batch = task.encode(ITEMS, tiny_tokenizer)
    assert batch.target is not None and len(batch.target) == 3
    start, end = tiny_tokenizer.start, tiny_tokenizer.separator
    offsets = batch.target.offsets.tolist()
    for number, text in enumerate(["a cat", "", "the story was very good !"]):
        own = slice(offsets[number], offsets[number + 1])
        pieces = tiny_tokenizer.encode_batch([text])[0]
        whole = [start, *pieces, end][:7]  # six are read, the last is only said
        assert batch.target.tokens[own].tolist() == whole[:-1]
        assert batch.target.targets["token.next"][own].tolist() == whole[1:]
    assert batch.targets["sequence.cut"].tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="text 3 has a target of 7 tokens, more than 6"):
        Generation(max_length=20, max_target=6, truncation="error").encode(ITEMS, tiny_tokenizer)


def test_without_all_labels_there_is_no_target(tiny_tokenizer: Any) -> None:
    assert Generation().encode(["a cat", ("a dog", "a bird")], tiny_tokenizer).target is None
    assert Generation().encode([ITEMS[0], Text("a dog")], tiny_tokenizer).target is None
    with pytest.raises(DataError, match="text 1 has the target"):
        Generation().encode([Text("a", label=("b", "c"))], tiny_tokenizer)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_that_of_target_tokens(
    build_model: Callable[..., Any], tiny_tokenizer: Any, smoothing: float
) -> None:
    task = Generation(max_length=20, label_smoothing=smoothing, max_target=20, max_new_tokens=5)
    model, batch = build_model(task), task.encode(ITEMS, tiny_tokenizer)
    outputs = model(batch)
    loss = task.loss(outputs, batch)
    said = batch.target.targets["token.next"]  # type: ignore[union-attr]
    logits = outputs.logits.materialise()
    expected = cross_entropy(logits, said, reduction="sum", label_smoothing=smoothing)
    term = loss.terms["generation"]
    assert term.count == len(said) == batch.target.num_tokens  # type: ignore[union-attr]
    torch.testing.assert_close(term.sum, expected)
    parameters = list(model.head.parameters())
    found = torch.autograd.grad(term.sum, parameters, retain_graph=True)
    for one, other in zip(found, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_searching_obeys_the_settings(build_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    def texts(**settings: Any) -> list[Generated]:
        task = Generation(max_length=20, max_target=20, max_new_tokens=6, **settings)
        model = build_model(task, deviation=0.3).eval()
        batch = task.encode([item.text for item in ITEMS], tiny_tokenizer)
        with torch.inference_mode():
            return task.decode(model(batch), batch, ITEMS, tiny_tokenizer)

    greedy, beams = texts(), texts(num_beams=4, num_texts=3)
    assert [len(one.others) for one in beams] == [2, 2, 2] and all(one.others == () for one in greedy)
    assert all(0.0 < one.score <= 1.0 and isinstance(one.target, str) for one in [*greedy, *beams])
    assert texts(sample=True, seed=1) == texts(sample=True, seed=1) != texts(sample=True, seed=2)
    with pytest.raises(SettingsError, match="as many beams"):
        Generation(num_texts=2)


def test_scores(tiny_tokenizer: Any) -> None:
    task = Generation()
    said = [Generated("a cat", 0.9, True), Generated("no", 0.4, True), Generated("The story was very good!", 0.8, True)]
    scores = task.score(said, ITEMS)
    assert scores["exact_match"] == pytest.approx(2 / 3) and 0.5 < scores["chrf"] < 1.0
    wrong, right = task.judge(said[1], ITEMS[1]), task.judge(said[2], ITEMS[2])
    assert (wrong.credit, right.credit, wrong.gold, wrong.guess) == (0.0, 1.0, "", "no")


@pytest.fixture(scope="module")
def run(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Fine-tune a tiny encoder to say each text's last word; return the run."""
    room = tmp_path_factory.mktemp("generation")
    config = BertConfig(
        tiny_tokenizer.vocab_size,
        hidden_size=48,
        num_layers=1,
        num_heads=2,
        intermediate_size=96,
        max_positions=32,
        dropout=0.0,
        attention_dropout=0.0,
    )
    huggingface.write(new(config, MaskedLM(max_length=32), tiny_tokenizer, 0), room / "encoder")
    words = ("cat", "dog", "bird", "fish", "house", "river", "city", "story")
    rows = [{"source": f"the {one} saw the {two}", "target": f"the {two} ."} for one in words for two in words]
    lines = [json.dumps(row) + "\n" for row in rows]
    (room / "train.jsonl").write_text("".join(lines[place] for place in range(64) if place % 5), encoding="utf-8")
    (room / "dev.jsonl").write_text("".join(lines[::5]), encoding="utf-8")
    found = bertie.finetune(
        str(room / "encoder"),
        task="generation",
        train=room / "train.jsonl",
        dev=room / "dev.jsonl",
        out=room / "run",
        length=16,
        epochs=25,
        batch_size=16,
        learning_rate=4e-3,
        settings={"max_target": 8, "max_new_tokens": 8, "num_beams": 2},
        device="cpu",
    )
    return room, found


def test_finetune_learns_to_write(run: Any) -> None:
    room, found = run
    assert found.scores["exact_match"] >= 0.75 and found.scores["chrf"] > 0.75
    model = bertie.load(room / "run" / "model")
    assert (model.task.name, model.task.num_beams, model.task.max_new_tokens) == ("generation", 2, 8)


def test_predict_writes_texts(run: Any) -> None:
    room, _ = run
    found = predict(str(room / "run" / "model"), ("the bird saw the river", "the cat saw the story"), device="cpu")
    assert [one.target for one in found.predictions] == ["the river.", "the story."]
    assert "  the river.\n" in found.as_text(80) and "  the story." in found.as_text(80)
    first = found.as_dict()["predictions"][0]
    assert (first["text"], first["target"]) == ("the bird saw the river", "the river.")
