"""Open a trained encoder as a torch module with padded inputs, for use in other models."""

from pathlib import Path
from typing import Any

from bertie import progress
from bertie.formats.huggingface import read, resolve


def encoder(path: str | Path) -> Any:
    """Open the encoder of a model folder as a plain ``torch.nn.Module``.

    It is called like the encoders of transformers, ``encoder(input_ids, attention_mask=..., token_type_ids=...)``. It
    returns ``last_hidden_state`` (B, S, H) and, if the folder has a pooler, ``pooler_output`` (B, H). It also takes a
    packed ``bertie.batch.Batch``. It is in evaluation mode; ``train()`` switches dropout on.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.

    Raises:
        SettingsError: there is no such folder or model.
        DataError: bertie can't read the folder's model.
    """
    bundle = read(resolve(path), task="features")
    for line in bundle.notes:
        progress.note(line)
    module, head = bundle.model.encoder, bundle.model.head
    module.pooler = head.pooler  # only the encoder is returned, and training must reach the pooler
    return module.eval()
