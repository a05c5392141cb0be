"""What some encoders can do beyond encoding; a task asks with `isinstance` whether its encoder can.

Tasks don't know architectures, so these protocols are here, below both.

Shapes: M slots, H hidden.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import nn

from bertie.nn.continuation import Continuation
from bertie.nn.decoder import Decoder
from bertie.nn.heads import Discriminator


@runtime_checkable
class CanContinue(Protocol):
    """An encoder whose own layers can continue a text from left to right."""

    def continuation(self, token_logits: nn.Module) -> Continuation:
        """Return what continues texts; `token_logits` maps (M, H) to logits of the next token.

        Raises:
            SettingsError: this encoder can't.
        """


@runtime_checkable
class HasDecoder(Protocol):
    """An encoder with a decoder that attends to it."""

    def decoder(self) -> Decoder:
        """Return the decoder."""


@runtime_checkable
class HasDiscriminator(Protocol):
    """An encoder that can learn by detecting replaced tokens, as ELECTRA does."""

    def discriminator(self) -> Discriminator:
        """Return the layers that detect replaced tokens."""

    def generator(self, share: float) -> Any:
        """Return the smaller encoder that proposes tokens; `share` is its part of this encoder's width."""
