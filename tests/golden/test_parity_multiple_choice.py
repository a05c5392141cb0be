"""Multiple choice is transformers' multiple choice: equal logits, and files read by either side."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from bertie.formats import huggingface
from bertie.items.choice import Choice
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

WORDS = [f"w{number}" for number in range(95)]
ITEMS = [
    Choice("w1 w2 w3 w4", ("w5", "w6 w7 w8", "w9 w10"), "2"),
    Choice("w11", ("w12 w13 w14 w15 w16", "w17", "w18 w19"), "0", lead="w20 w21"),
]


def test_logits_and_files(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    torch.manual_seed(3)
    theirs = transformers.BertForMultipleChoice(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    theirs.save_pretrained(tmp_path / "theirs")
    save_tokenizer(Tokenizer.build([*SPECIALS, *WORDS], lowercase=True), tmp_path / "theirs")

    bundle = huggingface.read(tmp_path / "theirs")
    assert isinstance(bundle.task, MultipleChoice) and bundle.notes == ()
    batch = bundle.task.encode(ITEMS, bundle.tokenizer)
    mask = batch.unpack(torch.ones_like(batch.tokens))
    inputs = {
        "input_ids": batch.unpack(batch.tokens).view(2, 3, -1),
        "token_type_ids": batch.unpack(batch.segments).view(2, 3, -1),
        "attention_mask": mask.view(2, 3, -1),
    }
    with torch.no_grad():
        expected = theirs(**inputs, labels=batch.targets["item.label"])
        outputs = bundle.model(batch)
    assert float(expected.logits.abs().max()) > 1e-3
    torch.testing.assert_close(outputs.view(2, 3), expected.logits, rtol=0, atol=1e-5)
    loss = bundle.task.loss(outputs, batch).total(bundle.task.counts(batch))
    torch.testing.assert_close(loss, expected.loss, rtol=0, atol=1e-5)

    huggingface.write(bundle, tmp_path / "ours")
    again, found = transformers.BertForMultipleChoice.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {kind: list(keys) for kind, keys in found.items() if keys} == {}
    before, after = theirs.state_dict(), again.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert transformers.AutoModelForMultipleChoice.from_pretrained(tmp_path / "ours").config.model_type == "bert"
    assert huggingface.read(tmp_path / "ours").task == bundle.task
