"""DistilBERT's own ways: no segments, no pooler, three dropouts in front of heads, names of its own in configs."""

from __future__ import annotations

import pytest
import torch

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models.distilbert import DistilBertConfig

SMALL = DistilBertConfig(
    60, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32, dropout=0.3
)


def test_the_base_size() -> None:
    with torch.device("meta"):
        encoder = DistilBertConfig.sized("base", vocab_size=30522).build()
    assert sum(value.numel() for value in encoder.parameters()) == 66_362_880


def test_segments_and_pooler_are_not_there() -> None:
    encoder = SMALL.build().eval()
    encoder.initialize(0)
    with torch.no_grad():
        one, two = (encoder(Batch.pack([7, 8, 9], segments, [0, 3])) for segments in ([0, 0, 0], [0, 1, 1]))
    assert torch.equal(one, two)
    assert not any("segment" in name for name in encoder.state_dict())
    assert encoder.pool("features") is None and encoder.pool("next_sentence") is None
    pooler = encoder.pool()
    assert pooler is not None
    pooled = pooler(one, Batch.pack([7, 8, 9], [0, 0, 0], [0, 3]))
    assert pooled.shape == (1, 16) and float(pooled.detach().min()) >= 0.0


def test_dropouts() -> None:
    encoder = SMALL.build()
    rates = [encoder.classifier_dropout().rate, encoder.token_layers("tags").rate, encoder.token_layers("answers").rate]
    assert rates == [0.2, 0.3, 0.1]


def test_settings_that_it_lacks() -> None:
    foreign = SMALL.to_foreign()
    assert {"dim", "n_layers", "hidden_dim", "qa_dropout"} < set(foreign) and "type_vocab_size" not in foreign
    with pytest.raises(SettingsError, match="have BERT's names"):
        DistilBertConfig.from_foreign({"hidden_size": 16, "num_hidden_layers": 2})
    with pytest.raises(SettingsError, match="num_segments 2"):
        DistilBertConfig(60, num_segments=2)
