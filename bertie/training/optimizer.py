"""Build the optimizer of a run, with parameter groups by weight decay and, if their rates differ, by layer.

Biases and LayerNorms are never decayed; embeddings are (BERT, appendix A.2, and the original code). Frozen weights
(`requires_grad` False) are in no group. A checkpoint holds a digest of them and not the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bertie import registry
from bertie.errors import SettingsError
from bertie.optimizers.optimizer import Optimizer, optimizer_class
from bertie.training.layers import num_matrices, rate_scales
from bertie.training.settings import OptimizerSettings


def build(model: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """Return the optimizer; auto is AdamW here. The loop sets its learning rate before each update.

    Raises:
        SettingsError: there is no such optimizer, or it is for matrices of blocks, and none of them learns.
    """
    settings = settings.chosen("adamw")
    kind = optimizer_class(settings.name)
    groups = _groups(model, settings, for_matrices=kind.for_matrices)
    if kind.for_matrices and not any(group["matrices"] for group in groups):
        raise SettingsError(f"optimizer.name {settings.name} needs matrices of blocks that learn; choose adamw")
    return kind(groups, **{name: getattr(settings, name) for name in registry.settings_used(kind)})


def total_norm(gradients: Sequence[Tensor]) -> float:
    """Return the norm of all gradients together. Norms of rows come first, because threads share the rows."""
    rows = [torch.linalg.vector_norm(each, dim=-1).flatten() if each.dim() > 1 else each for each in gradients]
    return float(torch.linalg.vector_norm(torch.cat(rows)))


def clip(gradients: Sequence[Tensor], optimizer: Optimizer, norm: float, *, most: float) -> None:
    """Scale gradients with the joint norm `norm` down to a norm of `most`; 0 doesn't clip."""
    optimizer.divide(gradients, max(1.0, (norm + 1e-6) / most) if most > 0 else 1.0)


def _groups(model: nn.Module, settings: OptimizerSettings, *, for_matrices: bool) -> list[dict[str, Any]]:
    """Group the weights that learn by rate, weight decay, and number of stacked matrices."""
    norms = {id(value) for part in model.modules() if isinstance(part, nn.LayerNorm) for value in part.parameters()}
    scales = rate_scales(model, settings.layer_decay)
    members: dict[tuple[float, bool, int], list[nn.Parameter]] = {}
    for name, value in learning(model).items():
        adapted = value.dim() >= 2 and id(value) not in norms
        matrices = num_matrices(name, value) if for_matrices else 0
        members.setdefault((scales[name], adapted, matrices), []).append(value)
    return [
        {
            "params": each,
            "scale": scale,
            "weight_decay": settings.weight_decay if adapted else 0.0,
            "adapted": adapted,
            "matrices": matrices,
        }
        for (scale, adapted, matrices), each in members.items()
    ]


def learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights that learn, by name. A tied weight has its name in the encoder, which comes first."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def frozen_digest(model: nn.Module) -> str:
    """Return a hash of the frozen weights and their names; "" if all weights learn."""
    frozen = {name: value for name, value in model.named_parameters() if not value.requires_grad}
    digest = hashlib.sha256()
    for name, value in sorted(frozen.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest() if frozen else ""


def state_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the tensors of the weights that learn and of the optimizer, by name, for a checkpoint."""
    tensors = {f"model.{name}": value.detach() for name, value in learning(model).items()}
    for name, value in learning(model).items():
        for key, part in optimizer.state.get(value, {}).items():
            tensors[f"optimizer.{key}.{name}"] = part
    return tensors


def restore_tensors(model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Copy the tensors of `state_tensors` back.

    Raises:
        KeyError: the checkpoint lacks a parameter.
    """
    keys = sorted({name.split(".")[1] for name in tensors if name.startswith("optimizer.")})
    with torch.no_grad():
        for name, value in learning(model).items():
            value.copy_(tensors[f"model.{name}"])
            state = {key: tensors[f"optimizer.{key}.{name}"] for key in keys if f"optimizer.{key}.{name}" in tensors}
            if state:
                # fused AdamW needs its step count on the device of the weights
                optimizer.state[value] = {key: part.to(value.device) for key, part in state.items()}
