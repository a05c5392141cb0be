"""Our encoder inside anybody's own module and loop: padded inputs, a linear layer on [CLS], torch's own optimizer.

This is how tutorials use an encoder; nothing of ours but the encoder and `Batch.from_padded` takes part.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.models.bert import Bert, BertConfig


class BertClassifier(nn.Module):
    """An encoder and a linear layer on the first token's vector."""

    def __init__(self, encoder: Bert, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.config.hidden_size, num_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Map (B, S) ids to (B, C) logits."""
        batch = Batch.from_padded(input_ids, attention_mask, token_type_ids)
        hidden = batch.unpack(self.encoder(batch))  # (B, S, H)
        logits: Tensor = self.classifier(hidden[:, 0])
        return logits


def classifier() -> BertClassifier:
    torch.manual_seed(0)
    config = BertConfig(60, hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64, max_positions=32)
    encoder = config.build()
    encoder.initialize(seed=0)
    return BertClassifier(encoder, 2)


def padded(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw texts of which half hold the piece 42, and say which."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 17, (count,), generator=random)
    mask = (torch.arange(16)[None, :] < lengths[:, None]).long()
    ids = torch.randint(5, 40, (count, 16), generator=random)
    ids[:, 0] = 2
    labels = torch.arange(count) % 2
    ids[labels == 1, 2] = 42
    return ids * mask, mask, labels


def test_it_learns_in_a_plain_loop() -> None:
    model = classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    losses = []
    model.train()  # dropout 0.1 everywhere, attention included, and nobody passes noise
    for step in range(60):
        ids, mask, labels = padded(32, seed=step)
        optimizer.zero_grad()
        loss = criterion(model(ids, mask), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < 0.25 < 0.6 < losses[0]
    model.eval()
    ids, mask, labels = padded(200, seed=1000)
    with torch.no_grad():
        accuracy = (model(ids, mask).argmax(1) == labels).float().mean()
    assert accuracy > 0.95


def test_seeding_torch_repeats_it() -> None:
    ids, mask, _ = padded(8, seed=0)
    model = classifier().train()
    outputs = []
    for _ in range(2):
        torch.manual_seed(7)
        outputs.append(model(ids, mask))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], model(ids, mask))


def test_padding_changes_nothing() -> None:
    ids, mask, _ = padded(8, seed=0)
    model = classifier().eval()
    wider = nn.functional.pad(ids, (0, 9), value=3), nn.functional.pad(mask, (0, 9))
    with torch.no_grad():
        assert torch.equal(model(ids, mask), model(*wider))
        torch.testing.assert_close(model(ids[:1], mask[:1]), model(ids, mask)[:1], rtol=0, atol=1e-5)


def test_weights_are_saved_and_loaded_as_any_module_is() -> None:
    model, other = classifier(), classifier()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(model.state_dict())
    ids, mask, _ = padded(4, seed=3)
    with torch.no_grad():
        assert torch.equal(model.eval()(ids, mask), other.eval()(ids, mask))
