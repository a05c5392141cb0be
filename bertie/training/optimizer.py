"""AdamW, and Adam as the paper ran it, on groups of parameters: decayed and not, and layer by layer when rates differ.

Biases and LayerNorms are never decayed; embeddings are (BERT, appendix A.2, and the original code). Weights that don't
learn (`requires_grad` False) are in no group and in no checkpoint: what is there of them is a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bertie.training.layers import rate_scales
from bertie.training.settings import OptimizerSettings


def build(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Make the optimizer; its learning rate is set by the loop before each update."""
    norms = {id(value) for part in model.modules() if isinstance(part, nn.LayerNorm) for value in part.parameters()}
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    scales = rate_scales(model, settings.layer_decay)
    for name, value in learning(model).items():
        decay = 0.0 if value.dim() < 2 or id(value) in norms else settings.weight_decay
        members.setdefault((scales[name], decay), []).append(value)
    groups = [{"params": each, "scale": scale, "weight_decay": decay} for (scale, decay), each in members.items()]
    betas = (settings.beta1, settings.beta2)
    if settings.name == "bert_adam":
        return BertAdam(groups, betas=betas, eps=settings.epsilon)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=settings.epsilon, fused=True)


class BertAdam(torch.optim.Optimizer):
    """Adam with decoupled decay and no bias correction, as in the original code.

    m and v as usual; w -= rate * (m / (sqrt(v) + eps) + decay * w).

    Args:
        params: groups, each with its own `weight_decay`.
        betas: decay of both means.
        eps: added to the root.
    """

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, {"lr": 0.0, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            (beta1, beta2), rate = group["betas"], group["lr"]
            weights = [value for value in group["params"] if value.grad is not None]
            if not weights:
                continue
            gradients = [value.grad for value in weights]
            for value in weights:
                if not self.state[value]:
                    self.state[value] = {"exp_avg": torch.zeros_like(value), "exp_avg_sq": torch.zeros_like(value)}
            means = [self.state[value]["exp_avg"] for value in weights]
            squares = [self.state[value]["exp_avg_sq"] for value in weights]
            torch._foreach_lerp_(means, gradients, 1 - beta1)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["eps"])
            updates = torch._foreach_div(means, roots)
            torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
            torch._foreach_add_(weights, updates, alpha=-rate)


def learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name the weights that learn; a tied one goes by its first name, its name in the encoder."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def frozen_digest(model: nn.Module) -> str:
    """Hash the weights that don't learn, names included; empty when all learn."""
    frozen = {name: value for name, value in model.named_parameters() if not value.requires_grad}
    digest = hashlib.sha256()
    for name, value in sorted(frozen.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest() if frozen else ""


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Name every tensor of the weights that learn and of the optimizer, for a checkpoint."""
    tensors = {f"model.{name}": value.detach() for name, value in learning(model).items()}
    for name, value in learning(model).items():
        for key, part in optimizer.state.get(value, {}).items():
            tensors[f"optimizer.{key}.{name}"] = part
    return tensors


def restore_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `state_tensors` named.

    Raises:
        KeyError: a parameter that the checkpoint lacks.
    """
    keys = sorted({name.split(".")[1] for name in tensors if name.startswith("optimizer.")})
    with torch.no_grad():
        for name, value in learning(model).items():
            value.copy_(tensors[f"model.{name}"])
            found = {key: tensors[f"optimizer.{key}.{name}"] for key in keys if f"optimizer.{key}.{name}" in tensors}
            if found:
                # fused AdamW keeps its step count where the weights are
                optimizer.state[value] = {key: part.to(value.device) for key, part in found.items()}
