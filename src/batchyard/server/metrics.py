"""What the door counts, for `/metrics`: requests, their time, and the exceptions that nobody expected.

Counting a request is an addition to a list; everything that costs more happens when the figures are asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # importing it costs 50 ms: not before somebody asks for figures
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Collector(Protocol):
    """Anything with figures of its own to add."""

    def collect(self) -> Iterable[Metric]: ...


class DoorMetrics:
    """The door's figures, and the registry in which others hang theirs."""

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._times: dict[tuple[str, str], list[float]] = {}
        self._unexpected: dict[tuple[str, str], int] = {}
        self._collectors = (self, *collectors)

    @cached_property
    def registry(self) -> CollectorRegistry:
        """Where all figures come together."""
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        for collector in self._collectors:
            registry.register(collector)
        return registry

    def count(self, service: str, operation: str, status: int, seconds: float) -> None:
        """Notes one answered request. `operation` must be one of a bounded set."""
        key = (service, operation, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        times = self._times.get((service, operation))
        if times is None:
            # One place per bucket, one for what is longer, one for the sum.
            times = self._times[service, operation] = [0.0] * (len(BUCKETS_S) + 2)
        times[bisect_left(BUCKETS_S, seconds)] += 1
        times[-1] += seconds

    def count_unexpected(self, service: str, operation: str) -> None:
        """Notes an exception that was not a `Fault`."""
        self._unexpected[service, operation] = self._unexpected.get((service, operation), 0) + 1

    def collect(self) -> Iterator[Metric]:
        """The figures as prometheus_client wants them."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("batchyard_requests", "Requests answered.", labels=("service", "operation", "status"))
        for (service, operation, status), count in sorted(self._requests.items()):
            requests.add_metric((service, operation, str(status)), count)
        yield requests
        times = HistogramMetricFamily(
            "batchyard_request_seconds", "From the head of a request to its answer.", labels=("service", "operation")
        )
        for (service, operation), found in sorted(self._times.items()):
            total: float = 0
            buckets = []
            for bound, seen in zip((*map(str, BUCKETS_S), "+Inf"), found, strict=False):
                total += seen
                buckets.append((bound, total))
            times.add_metric((service, operation), buckets, found[-1])
        yield times
        unexpected = CounterMetricFamily(
            "batchyard_unexpected_exceptions",
            "Exceptions that became a generic server fault.",
            labels=("service", "operation"),
        )
        for (service, operation), count in sorted(self._unexpected.items()):
            unexpected.add_metric((service, operation), count)
        yield unexpected

    def render(self) -> bytes:
        """All figures as text."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
