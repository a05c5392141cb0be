"""MPNet, DeBERTa v2/v3 and XLM-RoBERTa against transformers from random weights, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.deberta_v2 import DebertaV2Config
from bertie.models.model import architecture
from bertie.models.mpnet import MPNetConfig
from bertie.nn.relative import log_buckets, t5_buckets
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.tagging import Tagging

KINDS = {"mpnet": "MPNet", "xlm_roberta": "XLMRoberta", "deberta_v2": "DebertaV2"}
TASKS: dict[str, Any] = {
    "ForSequenceClassification": Classification(labels=("a", "b", "c"), max_length=32),
    "ForTokenClassification": Tagging(labels=("O", "B-X"), max_length=32),
    "ForMaskedLM": MaskedLM(max_length=32),
}
LENGTHS = (150, 3, 66)  # longer than T5's farthest distance, and shorter than a group


def bundle(kind: str, task: Any, tokenizer: Any) -> Any:
    shape = architecture(kind).config.sized("3/64", vocab_size=tokenizer.vocab_size)
    changes: dict[str, Any] = {"num_heads": 4, "max_positions": 160, "dropout": 0.0}
    changes |= {"position_buckets": 8} if kind == "deberta_v2" else {"pad_id": 1}
    made = new(replace(shape, **changes), task, tokenizer, 1, architecture=kind)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return made


@pytest.mark.parametrize("end", TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_folders_give_transformers_logits(kind: str, end: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    made = bundle(kind, TASKS[end], tiny_tokenizer)
    huggingface.write(made, tmp_path / "model")
    read = huggingface.read(tmp_path / "model")
    assert read.config == made.config and read.architecture == kind
    theirs, report = getattr(transformers, KINDS[kind] + end).from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert {name: keys for name, keys in report.items() if keys} == {}
    ids = torch.randint(5, tiny_tokenizer.vocab_size, (3, max(LENGTHS)), generator=torch.Generator().manual_seed(4))
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.where(mask.bool(), ids, made.config.pad_id)
    with torch.no_grad():
        expected = theirs.eval()(input_ids=ids, attention_mask=mask).logits
        batch = Batch.from_padded(ids, mask)
        hidden = read.model.encoder(batch)
        if end == "ForMaskedLM":
            found = read.model.head.token_logits(hidden).materialise()
        elif end == "ForTokenClassification":
            found = read.model.head.classifier(hidden)
        else:
            found = read.model.head(hidden, batch, None)
    expected = expected if end == "ForSequenceClassification" else expected[mask.bool()]
    assert float(expected.std()) > 0.05
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_gradients_are_those_of_transformers(tiny_tokenizer: Any, tmp_path: Path) -> None:
    for kind in ("mpnet", "deberta_v2"):
        made = bundle(kind, TASKS["ForSequenceClassification"], tiny_tokenizer)
        huggingface.write(made, tmp_path / kind)
        theirs = getattr(transformers, KINDS[kind] + "Model").from_pretrained(tmp_path / kind).eval()
        ids = torch.randint(5, tiny_tokenizer.vocab_size, (2, 40), generator=torch.Generator().manual_seed(4))
        weight = torch.randn(80, 64, generator=torch.Generator().manual_seed(5))
        (theirs(input_ids=ids).last_hidden_state.flatten(0, 1) * weight).sum().backward()
        (made.model.encoder(Batch.from_padded(ids)) * weight).sum().backward()
        names = architecture(kind)
        renamed = names.to_foreign({f"encoder.{name}": v.grad for name, v in made.model.encoder.named_parameters()})
        expected = {f"{names.prefix}.{name}": v.grad for name, v in theirs.named_parameters() if v.grad is not None}
        for name, value in renamed.items():
            if name in expected and not name.endswith("key.bias"):  # the softmax takes a key's bias away
                torch.testing.assert_close(value, expected[name], atol=3e-4, rtol=1e-4)
        assert set(renamed) <= {*expected, *(f"{names.prefix}.pooler.dense.{end}" for end in ("weight", "bias"))}


@pytest.mark.parametrize("kind", KINDS)
def test_training_follows_prediction_on_the_same_shapes(kind: str, tiny_tokenizer: Any) -> None:
    encoder = bundle(kind, TASKS["ForMaskedLM"], tiny_tokenizer).model.encoder
    batch = Batch.from_padded(torch.full((2, 24), 7))
    with torch.inference_mode():
        encoder(batch)
    encoder(batch).sum().backward()
    assert all(value.grad is not None for name, value in encoder.named_parameters() if "position" not in name)


def test_buckets_are_those_of_the_original() -> None:
    distances = torch.arange(-600, 601)
    theirs = transformers.models.mpnet.modeling_mpnet.MPNetEncoder.relative_position_bucket(distances)
    assert torch.equal(t5_buckets(distances, 32), theirs)
    for count, farthest in ((256, 512), (8, 64)):
        expected = make_log_bucket_position(distances, count, farthest).long()
        assert torch.equal(log_buckets(distances, count, farthest), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share_att_key": False}, "share_att_key is False; deberta-v2 here has True"),
        ({"conv_kernel_size": 3}, "conv_kernel_size is 3"),
        ({"pos_att_type": "c2p"}, "pos_att_type is 'c2p'"),
        ({"position_biased_input": True}, "position_biased_input is True"),
        ({"attention_head_size": 8}, "attention_head_size is 8"),
        ({"position_buckets": -1}, "position_buckets"),
    ],
)
def test_other_forms_of_deberta_are_refused(changes: dict[str, Any], message: str) -> None:
    values = DebertaV2Config.sized("2/64", vocab_size=9).to_foreign()
    assert DebertaV2Config.from_foreign({**values, "pos_att_type": ["c2p", "p2c"]})
    with pytest.raises(SettingsError, match=message):
        DebertaV2Config.from_foreign({**values, **changes})


def test_another_number_of_buckets_is_refused() -> None:
    values = MPNetConfig.sized("2/64", vocab_size=9).to_foreign()
    with pytest.raises(SettingsError, match="relative_attention_num_buckets is 16; mpnet here has 32"):
        MPNetConfig.from_foreign({**values, "relative_attention_num_buckets": 16})
