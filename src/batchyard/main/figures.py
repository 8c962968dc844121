"""Figures for `/metrics`. Of the engine: jobs by state, instances, vCPUs, turns, and reports that concerned nothing; and of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from batchyard.engine.driver import Driver
from batchyard.model.capacity import Scratch
from batchyard.model.job import Status
from batchyard.services.announcing.announcer import Announcer
from batchyard.services.s3 import AccessLogs

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class EngineFigures:
    """A collector of prometheus_client; counts only when it is asked."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        engine = self._driver.engine
        jobs = GaugeMetricFamily("batchyard_jobs", "Jobs that have a record and are not finished.", labels=("queue", "status"))
        counts: Counter[tuple[str, Status]] = Counter()
        for job in engine.ledger.jobs.awake.values():
            spec = engine.yard.specifications.get(job.spec_id)
            if spec is not None:  # a job that ends with the turn that is being written may be gone there
                counts[spec.queue, job.status] += 1
        for (queue, status), count in sorted((counts + engine.yard.resting.counts).items()):
            jobs.add_metric((queue.rpartition("/")[2], str(status)), count)
        yield jobs
        vcpus = GaugeMetricFamily("batchyard_instance_vcpus", "vCPUs of instances.", labels=("environment", "state"))
        rooms: Counter[tuple[str, str]] = Counter()
        for instance in engine.ledger.instances.values():
            rooms[instance.environment.rpartition("/")[2], str(instance.state)] += int(instance.room.vcpus)
        for labels, total in sorted(rooms.items()):
            vcpus.add_metric(labels, total)
        yield vcpus
        yield from _of_scratch(engine.yard.scratch("local"))
        seconds = "Time that turns have kept the loop: to decide, to write without the sync, to merge, to answer."
        yield CounterMetricFamily("batchyard_turn_seconds", seconds, value=self._driver.turn_s)
        yield CounterMetricFamily("batchyard_turns", "Turns of the engine.", value=engine.turns)
        dropped = CounterMetricFamily("batchyard_reports_dropped", "Reports of providers that concerned nothing we hold.", labels=("kind",))
        for kind, count in sorted(engine.observer.dropped.items()):
            dropped.add_metric((kind,), count)
        yield dropped


def _of_scratch(scratch: Scratch | None) -> Iterator[Metric]:
    """Without samples as long as nobody has said how much there is."""
    from prometheus_client.core import GaugeMetricFamily

    sizes = GaugeMetricFamily("batchyard_scratch_mib", "Scratch space of the machine.", labels=("kind",))
    healthy = GaugeMetricFamily("batchyard_scratch_healthy", "Whether jobs may start on the scratch space of the machine.")
    if scratch is not None:
        sizes.add_metric(("capacity",), scratch.capacity_mib)
        sizes.add_metric(("promised",), scratch.promised_mib)
        sizes.add_metric(("unpromised",), scratch.unpromised_mib)
        healthy.add_metric((), int(scratch.is_healthy))
    yield sizes
    yield healthy


class LogFigures:
    """Of access logs: what was delivered, and what was lost and why."""

    def __init__(self, access_logs: AccessLogs) -> None:
        self._access_logs = access_logs

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        from prometheus_client.core import CounterMetricFamily

        yield CounterMetricFamily("batchyard_access_log_records", "Records of access logs delivered.", value=self._access_logs.delivered)
        lost = CounterMetricFamily("batchyard_access_log_records_lost", "Records of access logs that nobody will get.", labels=("why",))
        for why, count in sorted(self._access_logs.lost.items()):
            lost.add_metric((why,), count)
        yield lost


class EventFigures:
    """What became of events on their way to webhooks and targets of rules. Counters begin anew with the server, what waits does not."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        deliveries = self._announcer.deliveries
        yield CounterMetricFamily("batchyard_events_delivered", "Events that a listener has taken.", value=deliveries.delivered)
        dropped = CounterMetricFamily("batchyard_events_dropped", "Events that a listener will not get.", labels=("why",))
        lost = Counter(deliveries.dropped)
        lost["too many moves waited"] += self._announcer.moves_dropped
        for why, count in sorted((+lost).items()):
            dropped.add_metric((why,), count)
        yield dropped
        waiting = GaugeMetricFamily("batchyard_events_waiting", "Events that are still to be delivered.", labels=("listener",))
        counts: Counter[str] = Counter()
        for key, count in deliveries.waiting().items():
            counts[_name_of(key)] += count
        for name, count in sorted(counts.items()):
            waiting.add_metric((name,), count)
        yield waiting


def _name_of(key: str) -> str:
    """A listener's key as everybody may see it: of a webhook the host alone, for its URL may hold a secret."""
    kind, _, url = key.partition("/")
    return f"webhook/{urlsplit(url).hostname}" if kind == "webhook" else key
