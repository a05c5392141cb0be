"""A vocabulary padded to a round number, and ids without a piece: they share the probability, and are never said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import WordPiece

from bertie.errors import DataError
from bertie.formats import huggingface
from bertie.formats.format import Bundle, new
from bertie.inference.cloze import Cloze, guess
from bertie.inference.filling import fill_jointly
from bertie.inference.likelihood import pseudo_log_likelihood
from bertie.inference.predictor import Predictor
from bertie.models.bert import BertConfig
from bertie.tasks._rows import rule_out
from bertie.tasks.causal_lm import CausalLM
from bertie.tasks.classification import Classification
from bertie.tasks.features import FeaturesTask
from bertie.tasks.generation import Generation
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
PADDED = 64
CONFIG = BertConfig(PADDED, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24, max_positions=32)


def bundle(task: Any) -> Bundle:
    """Make a model that would rather say the padding than any piece."""
    made = new(CONFIG, task, TOKENIZER, 3)
    head: Any = made.model.head
    logits = head.decoder.token_logits if isinstance(task, Generation) else head.token_logits
    with torch.no_grad():
        logits.bias[TOKENIZER.vocab_size :] = 5.0
    return made


def predictor(task: Any) -> Predictor:
    return Predictor(bundle(task), device="cpu", backend="eager")


def test_masks_are_filled_with_pieces() -> None:
    model = predictor(MaskedLM(max_length=16, top_k=60))
    fills = model.predict("piece1 [MASK] piece2")
    assert len(fills) == TOKENIZER.vocab_size == len({fill.token for fill in fills})
    batch = model.task.encode(["piece1 [MASK] piece2"], TOKENIZER)
    with torch.inference_mode():
        shares = model.model(batch).materialise().softmax(-1)[0]
    assert 0 < sum(fill.score for fill in fills) < 0.1  # the padding has the rest, as in other programs
    assert fills[0].score == pytest.approx(float(shares[fills[0].token_id]))


def test_all_ways_of_filling_and_scoring() -> None:
    model = predictor(MaskedLM(max_length=16))
    (ways,) = fill_jointly(model, ["piece1 [MASK] [MASK]"], top_k=5)
    assert all(way.token_ids < (TOKENIZER.vocab_size,) * 2 for way in ways)
    (likely,) = pseudo_log_likelihood(model, ["piece1 piece2"])
    assert len(likely.scores) == 2 and np.isfinite(likely.sum)
    holes = [Cloze((TOKENIZER.mask, 7), 0, 6)]
    (guesses,) = guess(model.model, holes, TOKENIZER, device=torch.device("cpu"), top_k=60)
    assert len(guesses) == TOKENIZER.vocab_size


@pytest.mark.parametrize("settings", [{}, {"num_beams": 4, "num_texts": 2}, {"sample": True, "num_texts": 3}])
@pytest.mark.parametrize("kind", [Generation, CausalLM])
def test_texts_are_written_in_pieces(kind: Any, settings: dict[str, Any]) -> None:
    room = {"max_target": 24} if kind is Generation else {}
    (found,) = predictor(kind(max_length=24, max_new_tokens=6, **room, **settings)).predict(["piece1 piece2"])
    texts = [found.target, *(other.target for other in found.others)]
    assert all(word in TOKENIZER.tokens for text in texts for word in text.split())
    assert any(texts) and found.score < 0.5


def test_gaps_between_ids() -> None:
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, "a", "b"])} | {"c": 9}
    rust = RustTokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    rust.add_special_tokens(list(SPECIALS))
    tokenizer = Tokenizer(rust)
    assert tokenizer.gaps == (7, 8) and tokenizer.vocab_size == 10
    scores = torch.arange(12.0).repeat(2, 1)
    assert rule_out(scores, tokenizer, -1.0) == 8
    assert scores[0].tolist() == [0, 1, 2, 3, 4, 5, 6, -1, -1, 9, -1, -1]


def test_a_model_with_one_kind_of_segment_refuses_pairs() -> None:
    one = BertConfig(45, hidden_size=16, num_layers=1, num_heads=2, max_positions=32, num_segments=1)
    model = Predictor(new(one, Classification(("a", "b"), max_length=16), TOKENIZER, 1), device="cpu")
    assert model.predict("piece1").label in ("a", "b")
    with pytest.raises(DataError, match=r"a single segment id \(type_vocab_size 1\), .* join each pair into one text"):
        model.predict([("piece1", "piece2")])


def test_ids_and_segments_beyond_the_tables() -> None:
    from bertie.batch import Batch

    encoder: Any = new(CONFIG, FeaturesTask(max_length=16), TOKENIZER, 1).model.encoder
    tokens = torch.tensor([2, 70, 3])
    with pytest.raises(DataError, match=r"the model has no token ids \[70\]; its ids are 0 to 63"):
        encoder(Batch.pack(tokens, tokens * 0, [0, 3]))
    with pytest.raises(DataError, match="the model has no segment id 2; its ids are 0 to 1"):
        encoder(Batch.pack(tokens.clamp(max=5), torch.tensor([0, 2, 2]), [0, 3]))


def test_a_padded_folder_there_and_back(tmp_path: Path) -> None:
    huggingface.write(bundle(MaskedLM(max_length=16)), tmp_path / "model")
    found = Predictor(huggingface.read(tmp_path / "model"), device="cpu").predict("[MASK] piece1")
    assert [fill.token in TOKENIZER.tokens for fill in found] == [True] * 5
