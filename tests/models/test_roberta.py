"""RoBERTa's own ways: positions behind the padding row, deaf to segments, a classifier of its own, byte-level text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

import bertie
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import Bundle, new
from bertie.items.question import Question
from bertie.items.words import Words
from bertie.models.roberta import ARCHITECTURE, RobertaConfig
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.tagging import Tagging
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import Tokenizer

SMALL = RobertaConfig(60, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32)
GOOD, BAD = "The old dog's house was very good, good!", "A bad, bad film; it never ran."


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Return a byte-level tokenizer of RoBERTa's kind."""
    trained = ByteLevelBPETokenizer()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator([GOOD, BAD] * 4, vocab_size=320, special_tokens=specials, show_progress=False)
    folder = tmp_path_factory.mktemp("bpe")
    trained.save_model(str(folder))
    return load_tokenizer(folder)


def bundle(task: Any, tokenizer: Tokenizer) -> Bundle:
    config = replace(SMALL, vocab_size=tokenizer.vocab_size, max_positions=64)
    return new(config, task, tokenizer, 1, architecture="roberta")


def test_the_base_size() -> None:
    with torch.device("meta"):
        encoder = RobertaConfig.sized("base", vocab_size=50265).build()
        parts = (encoder, encoder.pool("features"))
    assert sum(value.numel() for part in parts if part for value in part.parameters()) == 124_645_632


def test_positions_begin_behind_the_padding_row() -> None:
    foreign = SMALL.to_foreign()
    assert (foreign["max_position_embeddings"], foreign["pad_token_id"]) == (34, 1)
    encoder = SMALL.build().eval()
    encoder.initialize(0)
    batch = Batch.pack([7, 8, 9], [0, 0, 1], [0, 3])
    with torch.no_grad():
        before = encoder(batch)
        encoder.embeddings.position.weight[:2] = 9.0
        assert torch.equal(encoder(batch), before)
        encoder.embeddings.position.weight[2] = torch.arange(16.0)
        assert not torch.allclose(encoder(batch), before)
    with pytest.raises(ValueError, match="at most 32"):
        encoder(Batch.pack([7] * 33, [0] * 33, [0, 33]))
    with pytest.raises(SettingsError, match="more than the 2 unused rows"):
        RobertaConfig.from_foreign({**foreign, "max_position_embeddings": 2})


def test_segments_change_nothing() -> None:
    encoder = SMALL.build().eval()
    encoder.initialize(0)
    with torch.no_grad():
        one, two = (encoder(Batch.pack([7, 8, 9], segments, [0, 3])) for segments in ([0, 0, 0], [0, 1, 1]))
    assert torch.equal(one, two)


def test_a_classifier_has_names_of_its_own() -> None:
    encoder = SMALL.build()
    deep = {f"head.{name}" for name in Classification(labels=("a", "b")).head(encoder).state_dict()}
    plain = {f"head.{name}" for name in MultipleChoice().head(encoder).state_dict()}
    both = [ARCHITECTURE.to_foreign({name: torch.zeros(2, 2) for name in names}) for names in (deep, plain)]
    kinds = [{name.rpartition(".")[0] for name in names} for names in both]
    assert kinds == [{"classifier.dense", "classifier.out_proj"}, {"roberta.pooler.dense", "classifier"}]
    assert [set(ARCHITECTURE.from_foreign(names)) for names in both] == [deep, plain]
    assert ARCHITECTURE.names[0][1] == "classifier.out_proj"


def test_an_old_file_may_hold_the_unused_pooler_too(tokenizer: Tokenizer, tmp_path: Path) -> None:
    made = bundle(Classification(labels=("a", "b")), tokenizer)
    huggingface.write(made, tmp_path / "model")
    from safetensors.torch import load_file, save_file

    file = tmp_path / "model" / "model.safetensors"
    tensors = load_file(file)
    more = {f"roberta.pooler.dense.{kind}": torch.zeros(shape) for kind, shape in (("weight", (16, 16)), ("bias", 16))}
    save_file({**tensors, **more}, file)
    (tmp_path / "model" / "SHA256SUMS").unlink()
    again = huggingface.read(tmp_path / "model")
    assert again.task == made.task and "left out: head.pooler" in again.notes[0]


def test_masks_by_the_tokenizers_own_name(tokenizer: Tokenizer, tmp_path: Path) -> None:
    huggingface.write(bundle(MaskedLM(max_length=64), tokenizer), tmp_path / "model")
    model = bertie.load(tmp_path / "model")
    fills = model.predict("The old <mask> was good.")
    assert len(fills) == 5 and all(fill.token == tokenizer.shown[fill.token_id] for fill in fills)
    with pytest.raises(DataError, match="has no <mask> to fill"):
        model.predict("The old [MASK] was good.")


def test_fine_tuned_on_a_table(tokenizer: Tokenizer, tmp_path: Path) -> None:
    huggingface.write(bundle(MaskedLM(max_length=64), tokenizer), tmp_path / "pre")
    rows = [f"{GOOD[: 20 + place]}\tgood\n{BAD[: 15 + place]}\tbad\n" for place in range(8)]
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(rows), encoding="utf-8")
    run = bertie.finetune(
        str(tmp_path / "pre"),
        task="classification",
        train=tmp_path / "a.tsv",
        dev=tmp_path / "a.tsv",
        out=tmp_path / "out",
        length=32,
        epochs=12,
        batch_size=4,
        learning_rate=5e-3,
        threads=1,
    )
    assert run.scores["accuracy"] >= 0.9
    model = bertie.load(tmp_path / "out" / "model")
    assert [model.predict(text).label for text in (GOOD[:22], BAD[:17])] == ["good", "bad"]


def test_words_and_answers_keep_their_characters(tokenizer: Tokenizer) -> None:
    from bertie.inference.predictor import Predictor

    asked = [Question("What was good?", GOOD), Question("What was bad?", f"{GOOD} {BAD} {GOOD}")]
    task = QuestionAnswering(max_length=32, stride=6, max_query=8)
    for question, reply in zip(asked, Predictor(bundle(task, tokenizer)).predict(asked), strict=True):
        assert reply.text == question.context[reply.start : reply.end] == reply.text.strip() != ""
    words = Words(("The", "old", "dog", "'s", "house"))
    (tagged,) = Predictor(bundle(Tagging(labels=("O", "B-X"), max_length=32), tokenizer)).predict([words])
    assert len(tagged.tags) == 5


def test_padding_spelled_out_in_a_text_takes_no_position() -> None:
    theirs = transformers.RobertaModel(
        transformers.RobertaConfig(
            vocab_size=60,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=34,
            type_vocab_size=1,
            pad_token_id=1,
        ),
        add_pooling_layer=False,
    ).eval()
    encoder = RobertaConfig.from_foreign(theirs.config.to_dict()).build().eval()
    state = ARCHITECTURE.from_foreign({f"roberta.{name}": value for name, value in theirs.state_dict().items()})
    own = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    encoder.load_state_dict({name: own[name] for name in encoder.state_dict()})
    texts = [[5, 1, 7, 8, 1, 1, 9], [1, 6, 1, 5], [5, 6]]
    batch = Batch.pack([token for ids in texts for token in ids], [0] * 13, [0, 7, 11, 13])
    with torch.no_grad():
        found = encoder(batch).split([7, 4, 2])
        for ids, one in zip(texts, found, strict=True):
            whole = torch.tensor([ids])
            expected = theirs(whole, attention_mask=torch.ones_like(whole)).last_hidden_state[0]
            torch.testing.assert_close(one, expected, rtol=0, atol=1e-5)
