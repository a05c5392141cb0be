"""An encoder for a user's own torch module: with its pooler, and taking padded tensors."""

from pathlib import Path
from typing import Any

from bertie import progress
from bertie.formats.huggingface import read, resolve


def encoder(path: str | Path) -> Any:
    """Open the encoder of a model folder as a plain ``torch.nn.Module``.

    It is called as those of transformers are, ``encoder(input_ids, attention_mask=..., token_type_ids=...)``, and gives
    ``last_hidden_state`` (B, S, H) and, where the folder has a pooler, ``pooler_output`` (B, H). A packed
    ``bertie.batch.Batch`` is taken too. It comes in evaluation mode; ``train()`` switches dropout on.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.

    Raises:
        SettingsError: no such folder or model.
        DataError: the folder holds no model we can read.
    """
    bundle = read(resolve(path), task="features")
    for line in bundle.notes:
        progress.note(line)
    module, head = bundle.model.encoder, bundle.model.head
    module.pooler = head.pooler  # the head is left behind, and a pooler that learns must be a part of what is kept
    return module.eval()
