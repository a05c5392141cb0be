"""The limits of a server, and the refusal that names the limit that a request exceeds."""

from __future__ import annotations

from dataclasses import dataclass

from bertie.errors import SettingsError


@dataclass(frozen=True)
class Limits:
    """What a server accepts; one request that exceeds a limit is refused, and the others go on."""

    body: int = 2_000_000
    """Bytes of a request."""
    inputs: int = 256
    """Items of a request."""
    characters: int = 200_000
    """Characters of an item."""
    queue: int = 131_072
    """Tokens that wait or are computed, over all requests of a model."""
    batch: int = 4096
    """Tokens of a batch."""
    window: float = 0.004
    """Seconds that a batch waits for further items."""
    wait: float = 4.0
    """Seconds that a request may have to wait for the work before it, as estimated from the last batches."""
    deadline: float = 30.0
    """Seconds after which a request that has no answer is given up."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if (name != "window" and value <= 0) or value < 0:
                raise SettingsError(f"limits.{name} must be above 0; got {value}")


class RequestError(Exception):
    """A request that gets no prediction.

    Args:
        status: the HTTP status.
        kind: a word for programs, such as "too_many_inputs".
        message: what is wrong, and what to do.
        limit: the name of the limit, if one is exceeded.
        value: the value that exceeds it.
        retry_after: seconds after which the client may try again.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        limit: str | None = None,
        value: float | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message
        self.limit, self.value, self.retry_after = limit, value, retry_after

    @property
    def sentence(self) -> str:
        """The message, with the flag that sets the limit; for forms that have room for one text only."""
        return f"{self.message} (--limits.{self.limit})" if self.limit in Limits.__dataclass_fields__ else self.message

    def as_dict(self) -> dict[str, object]:
        """Return the body of the answer."""
        parts = {"type": self.kind, "message": self.message, "limit": self.limit, "value": self.value}
        return {"error": {name: part for name, part in parts.items() if part is not None}}
