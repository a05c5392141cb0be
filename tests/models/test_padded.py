"""Padded tensors into every encoder: as transformers has them, with its pooler, in somebody's own module."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bertie
from bertie import progress
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.models.bert import Bert, BertConfig
from bertie.models.model import architecture
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

KINDS = ("albert", "bert", "distilbert", "electra", "modernbert", "roberta", "roformer")
POOLED = ("albert", "bert", "roberta")
NAMES = {
    "albert": "Albert",
    "bert": "Bert",
    "distilbert": "DistilBert",
    "electra": "Electra",
    "roberta": "Roberta",
    "roformer": "RoFormer",
}
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
SHAPES: dict[str, dict[str, Any]] = {
    "albert": {**SMALL, "embedding_size": 16},
    "electra": {**SMALL, "embedding_size": 16},
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 48},
    "modernbert": {**SMALL, "pad_token_id": 0, "local_attention": 8},
    "roberta": {**SMALL, "type_vocab_size": 1, "pad_token_id": 0},
}


def tiny(kind: str) -> Any:
    config = architecture(kind).config.sized("2/32", vocab_size=70)
    encoder = config.build()
    encoder.initialize(seed=1)
    return encoder.eval()


def padded(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    mask = (torch.arange(11)[None, :] < torch.tensor([11, 1, 6, 9])[:, None]).long()
    ids = torch.randint(5, 70, mask.shape, generator=random) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (torch.arange(11) > 4).long() * mask}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_as_transformers(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    name = NAMES.get(kind, "ModernBert")
    config = getattr(transformers, f"{name}Config")(
        vocab_size=70, max_position_embeddings=40, **SHAPES.get(kind, SMALL)
    )
    model = getattr(transformers, f"{name}Model")(config).eval()
    model.save_pretrained(tmp_path)
    save_tokenizer(Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(65))], lowercase=True), tmp_path)
    inputs = padded()
    if kind in ("distilbert", "modernbert", "roberta"):
        inputs.pop("token_type_ids")
    encoder = bertie.encoder(tmp_path)
    assert not encoder.training
    with torch.no_grad():
        theirs, ours = model(**inputs, output_hidden_states=True), encoder(**inputs)
    real = inputs["attention_mask"].bool()
    assert ours.last_hidden_state.shape == theirs.last_hidden_state.shape
    torch.testing.assert_close(ours.last_hidden_state[real], theirs.last_hidden_state[real], rtol=0, atol=1e-5)
    assert not ours.last_hidden_state[~real].any()
    assert torch.equal(ours[0], ours["last_hidden_state"])
    if kind in POOLED:
        torch.testing.assert_close(ours.pooler_output, theirs.pooler_output, rtol=0, atol=1e-5)
        assert torch.equal(ours[1], ours.pooler_output)
    else:
        assert not hasattr(ours, "pooler_output") and len(ours) == 1
    if kind != "albert":
        with torch.no_grad():
            states = encoder(**inputs, output_hidden_states=True).hidden_states
        assert len(states) == len(theirs.hidden_states)
        for mine, his in zip(states[:-1], theirs.hidden_states[:-1], strict=True):
            torch.testing.assert_close(mine[real], his[real], rtol=0, atol=1e-5)
        assert torch.equal(states[-1], ours.last_hidden_state)
    else:
        with pytest.raises(SettingsError, match="uses each block several times"):
            encoder(**inputs, output_hidden_states=True)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_to_every_weight_and_dropout_goes_with_the_mode(kind: str) -> None:
    encoder = tiny(kind)
    encoder.pooler = encoder.pool("classification")
    nn.init.normal_(next(encoder.pooler.parameters()))
    inputs = padded()
    if kind == "roberta":
        inputs.pop("token_type_ids")
    torch.manual_seed(0)
    evaluated = encoder(**inputs)
    assert torch.equal(encoder(**inputs).last_hidden_state, evaluated.last_hidden_state)
    encoder.train()
    first, second = encoder(**inputs), encoder(**inputs)
    if kind not in ("albert", "modernbert"):  # which have no dropout unless asked for
        assert not torch.equal(first.last_hidden_state, second.last_hidden_state)
    (first.pooler_output.sum() + first.last_hidden_state.square().sum()).backward()
    without = [name for name, value in encoder.named_parameters() if value.grad is None]
    assert without == []


def test_a_pooler_put_on_is_a_part_of_the_module() -> None:
    encoder = tiny("bert")
    plain = set(encoder.state_dict())
    with pytest.raises(SettingsError, match=r"no pooler: use last_hidden_state\[:, 0\]; or open it by bertie.encoder"):
        _ = encoder(**padded())[1]
    encoder.pooler = encoder.pool("features")
    assert set(encoder.state_dict()) - plain == {"pooler.dense.weight", "pooler.dense.bias"}
    hidden, pooled = copy.deepcopy(encoder)(**padded(), return_dict=False)
    assert hidden.shape == (4, 11, 32) and pooled.shape == (4, 32)


def test_left_padding_gives_the_same_vectors_at_the_right() -> None:
    encoder, inputs = tiny("bert"), padded()
    flipped = {name: torch.zeros_like(value) for name, value in inputs.items()}
    lengths = inputs["attention_mask"].sum(1).tolist()
    for row, length in enumerate(lengths):
        for name, value in inputs.items():
            flipped[name][row, 11 - length :] = value[row, :length]
    with torch.no_grad():
        right, left = encoder(**inputs).last_hidden_state, encoder(**flipped).last_hidden_state
    for row, length in enumerate(lengths):
        torch.testing.assert_close(left[row, 11 - length :], right[row, :length], rtol=0, atol=1e-6)


def test_masks_of_other_types_and_none(capsys: pytest.CaptureFixture[str]) -> None:
    encoder, inputs = tiny("bert"), padded()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.no_grad():
        expected = encoder(ids, mask).last_hidden_state
        for other in (mask.bool(), mask.float(), mask.int()):
            assert torch.equal(encoder(ids, other).last_hidden_state, expected)
        progress.set_quiet(False)
        full = encoder(ids[:1], mask[:1]).last_hidden_state
        assert torch.equal(encoder(ids[:1]).last_hidden_state, full)
        assert "seem to be padded" not in capsys.readouterr().err
        encoder(ids)
        assert "without attention_mask, padding is read as text" in capsys.readouterr().err


def test_a_packed_batch_stays_what_it_was() -> None:
    encoder, inputs = tiny("bert"), padded()
    batch = Batch.from_padded(**inputs)
    with torch.no_grad():
        flat = encoder(batch)
        assert flat.shape == (27, 32) and torch.equal(encoder(batch=batch), flat)
        assert torch.equal(encoder(**inputs).last_hidden_state[inputs["attention_mask"].bool()], flat)


IDS = torch.tensor([[2, 6, 7, 3], [2, 8, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": IDS[0]}, r"input_ids has one dimension, \(4,\), and must have two.*input_ids\[None\]"),
        ({"input_ids": IDS, "attention_mask": MASK[0]}, r"attention_mask has one dimension"),
        ({"input_ids": IDS, "attention_mask": MASK[:1]}, r"attention_mask has shape \(1, 4\), but input_ids has"),
        ({"input_ids": IDS, "attention_mask": MASK * 5}, "must be 1 on tokens and 0 on padding"),
        ({"input_ids": IDS, "attention_mask": MASK.flip(0) * 0 + torch.tensor([1, 0, 1, 1])}, "row 0 has not"),
        ({"input_ids": IDS, "attention_mask": MASK * torch.tensor([[1], [0]])}, "one run of ones in each row; row 1"),
        ({"input_ids": IDS.float()}, "input_ids must be whole numbers; got torch.float32"),
        ({"input_ids": IDS.tolist()}, "input_ids must be a torch tensor of shape .*; got list"),
        ({"input_ids": {"input_ids": IDS}}, r"as encoder\(\*\*inputs\), with two stars"),
        ({"input_ids": IDS + 63, "attention_mask": MASK}, "input_ids must be from 0 to 69; got 65 to 71"),
        ({"input_ids": IDS, "attention_mask": MASK, "token_type_ids": IDS}, "token_type_ids must be from 0 to 1"),
        ({"input_ids": IDS, "attention_mask": MASK, "position_ids": IDS}, "has no argument position_ids; it takes"),
        ({"input_ids": IDS[:0]}, r"input_ids holds no tokens; its shape is \(0, 4\)"),
        ({}, "input_ids must be a torch tensor"),
    ],
)
def test_what_does_not_fit_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        tiny("bert")(**arguments)


class Tutorial(nn.Module):
    """As pages on BERT write it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.bert = encoder
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(32, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        output = self.bert(input_ids, attention_mask=attention_mask)
        scores: Tensor = self.out(self.dropout(output.pooler_output))
        return scores


def test_it_learns_in_somebody_elses_module() -> None:
    config = BertConfig(60, hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64, max_positions=32)
    encoder = Bert(config)
    encoder.initialize(seed=0)
    encoder.pooler = encoder.pool("features")
    torch.manual_seed(0)
    model = Tutorial(encoder).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for step in range(40):
        ids = torch.randint(5, 40, (32, 12), generator=torch.Generator().manual_seed(step))
        labels = torch.arange(32) % 2
        ids[labels == 1, 2] = 42
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(ids, torch.ones_like(ids)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.5 < losses[0]
    assert not torch.equal(before["bert.pooler.dense.weight"], model.state_dict()["bert.pooler.dense.weight"])


def test_a_folder_without_pooler_says_so(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(vocab_size=70, **SMALL)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    save_tokenizer(Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(65))], lowercase=True), tmp_path)
    encoder = bertie.encoder(tmp_path)
    assert encoder.pooler is None and not hasattr(encoder(**padded()), "pooler_output")
    assert huggingface.read(tmp_path, task="features").model.encoder.pooler is None
