"""The decoder-only model is transformers' BertLMHeadModel with is_decoder, and writes what its `generate` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bertie.batch import Batch
from bertie.formats import huggingface
from bertie.inference.predictor import load
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(55))], lowercase=True)
SHAPE: dict[str, Any] = {
    "vocab_size": TOKENIZER.vocab_size,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
TEXTS = ["piece3 piece4 piece7", "piece9", "", "piece1 piece1 piece1 piece20 piece33 piece5 piece8"]


@pytest.fixture(scope="module")
def theirs() -> Any:
    torch.manual_seed(5)
    model = transformers.BertLMHeadModel(transformers.BertConfig(**SHAPE, is_decoder=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.copy_(torch.randn_like(parameter) * 0.2 + centre)
        bias = next(value for name, value in model.named_parameters() if name.endswith("cls.predictions.bias"))
        bias[TOKENIZER.separator] += 1.5  # likely enough for some texts to end
    return model.eval()


@pytest.fixture(scope="module")
def folder(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("causal") / "theirs"
    theirs.save_pretrained(place)
    save_tokenizer(TOKENIZER, place)
    return place


def test_the_same_logits(theirs: Any, folder: Path) -> None:
    bundle = huggingface.read(folder)
    assert (bundle.task.name, bundle.architecture, bundle.notes) == ("causal_lm", "causal", ())
    lengths = torch.tensor([19, 4, 1, 11])
    mask = (torch.arange(19)[None, :] < lengths[:, None]).long()
    ids = torch.randint(5, 60, mask.shape, generator=torch.Generator().manual_seed(2)) * mask
    with torch.no_grad():
        expected = theirs(ids, mask).logits[mask.bool()]
        hidden = bundle.model.encoder(Batch.from_padded(ids, mask))
        found = bundle.model.head.token_logits(hidden).materialise()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_there_and_back(theirs: Any, folder: Path, tmp_path: Path) -> None:
    bundle = huggingface.read(folder)
    huggingface.write(bundle, tmp_path / "ours")
    again, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {kind: keys for kind, keys in report.items() if keys} == {}
    assert type(again) is transformers.BertLMHeadModel and again.config.is_decoder
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in theirs.state_dict().items())
    assert again.generation_config.eos_token_id == TOKENIZER.separator
    twice = huggingface.read(tmp_path / "ours")
    assert (twice.task, twice.config, twice.architecture) == (bundle.task, bundle.config, "causal")


@pytest.mark.parametrize(
    "given",
    [{}, {"num_beams": 4, "num_texts": 3}, {"num_beams": 3, "length_penalty": 2.0, "min_new_tokens": 3}],
    ids=["greedy", "beams", "long"],
)
def test_the_same_texts(theirs: Any, folder: Path, given: dict[str, Any]) -> None:
    found = load(folder, max_new_tokens=12, **given).predict(TEXTS)  # together; theirs one after another
    wishes = {{"num_texts": "num_return_sequences"}.get(name, name): value for name, value in given.items()}
    for text, prediction in zip(TEXTS, found, strict=True):
        begun = torch.tensor([[TOKENIZER.start, *TOKENIZER.encode_batch([text])[0]]])
        ids = {"eos_token_id": TOKENIZER.separator, "pad_token_id": TOKENIZER.pad}
        written = theirs.generate(input_ids=begun, max_new_tokens=12, do_sample=False, **ids, **wishes)
        expected = [TOKENIZER.decode(row[begun.shape[1] :]) for row in written.tolist()]
        assert [prediction.target, *(other.target for other in prediction.others)] == expected
    assert len({prediction.target for prediction in found}) == len(TEXTS)
