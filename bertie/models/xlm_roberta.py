"""XLM-RoBERTa (Conneau et al. 2020): RoBERTa over a SentencePiece vocabulary of a hundred languages.

The network is RoBERTa's; only its configs and the classes of transformers have names of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bertie.models import roberta
from bertie.models.roberta import RobertaConfig


@dataclass(frozen=True)
class XLMRobertaConfig(RobertaConfig):
    """Describe an XLM-RoBERTa encoder."""

    KIND: ClassVar[str] = "xlm-roberta"
    ABSENT: ClassVar[dict[str, Any]] = {**RobertaConfig.ABSENT, "vocab_size": 30522}


ARCHITECTURE = replace(
    roberta.ARCHITECTURE,
    config=XLMRobertaConfig,
    model_types=("xlm-roberta",),
    classes={"XLMRobertaLMHeadModel": "XLMRobertaForCausalLM"},
)
