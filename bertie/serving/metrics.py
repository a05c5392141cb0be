"""Counters and histograms of a server, in the text form that Prometheus reads."""

from __future__ import annotations

from typing import Any

from bertie.errors import missing_extra
from bertie.serving.batcher import Batched, Observer

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ModuleNotFoundError as error:
    raise missing_extra("prometheus_client", "serve", "to serve a model") from error

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.requests = Counter("bertie_requests", "Requests by route and status.", ["route", "status"], **own)
        self.failures = Counter("bertie_failures", "Requests without an answer, by kind.", ["kind"], **own)
        self.seconds = Histogram("bertie_request_seconds", "Seconds of a request.", ["route"], buckets=_SECONDS, **own)
        labels = ["model", "task"]
        self.batch_tokens = Histogram("bertie_batch_tokens", "Tokens of a batch.", labels, buckets=_TOKENS, **own)
        self.batch_items = Histogram("bertie_batch_items", "Items of a batch.", labels, buckets=_TOKENS, **own)
        self.queue_seconds = Histogram(
            "bertie_queue_seconds", "Seconds from an item's arrival to its batch.", labels, buckets=_SECONDS, **own
        )
        self.inference_seconds = Histogram(
            "bertie_inference_seconds", "Seconds of a batch.", labels, buckets=_SECONDS, **own
        )
        self.errors = Counter("bertie_prediction_errors", "Failures of a model that no input caused.", labels, **own)
        self.queue_tokens = Gauge("bertie_queue_tokens", "Tokens that wait or are computed.", ["model"], **own)
        self.restarts = Gauge("bertie_worker_restarts", "Workers that died and were replaced.", ["model"], **own)

    def observer(self, model: str, task: str) -> Observer:
        """Return what counts the batches of a model by one task."""
        names = (model, task)

        def batch(batched: Batched) -> None:
            self.batch_tokens.labels(*names).observe(batched.tokens)
            self.batch_items.labels(*names).observe(batched.items)
            self.inference_seconds.labels(*names).observe(batched.seconds)
            for seconds in batched.waited:
                self.queue_seconds.labels(*names).observe(seconds)

        return Observer(batch, lambda error: self.errors.labels(*names).inc())

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        return generate_latest(self.registry)

    def total(self, name: str) -> int:
        """Return the sum of a counter over all its labels."""
        families = [family for family in self.registry.collect() if family.name == name]
        return int(sum(one.value for family in families for one in family.samples if one.name == f"{name}_total"))
