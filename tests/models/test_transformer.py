"""The original Transformer: against torch's own layers, what is tied, sizes, files, and that it learns to reverse."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.formats.format import Bundle, new
from bertie.inference.evaluate import evaluate
from bertie.models.transformer import Transformer, TransformerConfig
from bertie.nn.positions import sinusoids
from bertie.tasks.classification import Classification
from bertie.tasks.generation import Generation
from bertie.tasks.task import Text
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *"abcdef"], lowercase=True)
TASK = Generation(max_length=16, max_target=10, max_new_tokens=10)


def make(**shape: Any) -> Bundle:
    sizes = {"hidden_size": 32, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4, "intermediate_size": 64}
    config = TransformerConfig(
        TOKENIZER.vocab_size,
        TOKENIZER.start,
        TOKENIZER.separator,
        max_positions=32,
        **{**sizes, "dropout": 0.0, **shape},
    )
    return new(config, TASK, TOKENIZER, 0, architecture="transformer")


def copy(ours: Any, theirs: Any, names: dict[str, str]) -> None:
    """Copy weights and biases of layers into torch's layers, by their names there."""
    for own, other in names.items():
        source, target = ours.get_submodule(own), theirs.get_submodule(other)
        weight = "in_proj_weight" if hasattr(target, "in_proj_weight") else "weight"
        bias = "in_proj_bias" if weight == "in_proj_weight" else "bias"
        with torch.no_grad():
            if own.endswith("cross_attention"):
                target.in_proj_weight.copy_(torch.cat([source.query.weight, source.kv.weight]))
                target.in_proj_bias.copy_(torch.cat([source.query.bias, source.kv.bias]))
            else:
                getattr(target, weight).copy_(source.weight)
                getattr(target, bias).copy_(source.bias)


COMMON = {
    "attention.qkv": "self_attn",
    "attention.output": "self_attn.out_proj",
    "attention_norm": "norm1",
    "feedforward.up": "linear1",
    "feedforward.down": "linear2",
}


def test_it_is_torch_own_transformer() -> None:
    """torch.nn.Transformer has the layers, not embeddings and output; those are written out here."""
    bundle = make()
    torch.manual_seed(0)
    for parameter in bundle.model.parameters():
        nn.init.normal_(parameter, std=0.2)
    bundle.model.eval()
    encoder, decoder, config = bundle.model.encoder, bundle.model.head.decoder, bundle.config
    layers = nn.Transformer(32, 4, 2, 3, 64, dropout=0.0, batch_first=True).eval()
    layers.encoder.norm, layers.decoder.norm = nn.Identity(), nn.Identity()
    for number, block in enumerate(encoder.blocks):
        copy(block, layers.encoder.layers[number], {**COMMON, "feedforward_norm": "norm2"})
    cross = {"cross_attention": "multihead_attn", "cross_attention.output": "multihead_attn.out_proj"}
    for number, block in enumerate(decoder.blocks):
        norms = {"cross_norm": "norm2", "feedforward_norm": "norm3"}
        copy(block, layers.decoder.layers[number], {**COMMON, **cross, **norms})
    source, target = torch.randint(0, 11, (1, 9)), torch.randint(0, 11, (1, 6))
    word = encoder.embeddings.word.weight

    def embed(tokens: Tensor) -> Tensor:
        return word[tokens] * math.sqrt(32) + sinusoids(32, 32)[: tokens.shape[1]]

    mask = nn.Transformer.generate_square_subsequent_mask(6)
    with torch.no_grad():
        expected = layers(embed(source), embed(target), tgt_mask=mask)[0] @ word.T
        batch = Batch.from_padded(source)
        found = decoder(encoder(batch), batch, Batch.from_padded(target)).materialise()
    assert isinstance(config, TransformerConfig)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_one_table_for_source_target_and_output() -> None:
    model = make().model
    word = model.encoder.embeddings.word.weight
    decoder = model.head.decoder
    assert decoder.embeddings.word.weight is word and decoder.token_logits.embedding is word
    assert float(word.detach().std()) == pytest.approx(0.88 * 32**-0.5, rel=0.1)  # cut at two deviations


@pytest.mark.parametrize(("size", "millions"), [("base", 44.1), ("small", 7.4)])
def test_sizes(size: str, millions: float) -> None:
    """Without the vocabulary: base is the paper's 65 million less 37,000 vectors and some biases it doesn't count."""
    with torch.device("meta"):
        encoder = TransformerConfig.sized(size, vocab_size=5).build()
        decoder = encoder.decoder()
    counted = {id(value): value.numel() for part in (encoder, decoder) for value in part.parameters()}
    assert sum(counted.values()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    bundle = make()
    huggingface.write(bundle, tmp_path / "model")
    again = huggingface.read(tmp_path / "model")
    assert (again.config, again.task, again.architecture, again.notes) == (bundle.config, TASK, "transformer", ())
    before, after = bundle.model.state_dict(), again.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())
    assert isinstance(again.model.encoder, Transformer)
    assert again.model.head.decoder.token_logits.embedding is again.model.encoder.embeddings.word.weight


def test_other_tasks_and_shapes_are_refused() -> None:
    with pytest.raises(SettingsError, match="no head for other tasks"):
        Classification(labels=("a", "b")).head(make().model.encoder)
    with pytest.raises(SettingsError, match="multiple of num_heads"):
        make(num_heads=5)
    with pytest.raises(SettingsError, match="start_id must be an id below 9"):
        TransformerConfig(9, 9, 3)
    with pytest.raises(SettingsError, match="size must be one of"):
        TransformerConfig.sized("huge", vocab_size=9)


def draw(random_numbers: random.Random) -> Text:
    letters = [random_numbers.choice("abcdef") for _ in range(random_numbers.randint(1, 4))]
    return Text(" ".join(letters), label=" ".join(reversed(letters)))


def test_it_learns_to_reverse() -> None:
    """Sequences of up to 4 symbols; the ones of 4 that it is measured on were never seen."""
    bundle = make(hidden_size=64, num_layers=1, num_decoder_layers=1, intermediate_size=128)
    model, numbers = bundle.model.train(), random.Random(1)
    unseen = {item.text: item for item in map(draw, [random.Random(2)] * 200) if len(item.text) == 7}
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    for step in range(220):
        items = [item for item in (draw(numbers) for _ in range(40)) if item.text not in unseen]
        optimizer.param_groups[0]["lr"] = 3e-3 * min((step + 1) / 40, 1.0 - step / 220)
        batch = TASK.encode(items, TOKENIZER)
        TASK.loss(model(batch), batch).total(TASK.counts(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
    found = evaluate(model, TASK, list(unseen.values()), TOKENIZER)
    assert len(unseen) > 30 and found.scores["exact_match"] > 0.9
