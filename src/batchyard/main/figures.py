"""The engine's figures for `/metrics`: jobs by state, instances, vCPUs, turns, and reports that concerned nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from batchyard.engine.driver import Driver
from batchyard.model.job import Status
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
        seconds = "Time that turns have kept the loop: to decide, to write without the sync, to merge, to answer."
        yield CounterMetricFamily("batchyard_turn_seconds", seconds, value=self._driver.turn_s)
        yield CounterMetricFamily("batchyard_turns", "Turns of the engine.", value=engine.turns)
        dropped = CounterMetricFamily("batchyard_reports_dropped", "Reports of providers that concerned nothing we hold.", labels=("kind",))
        for kind, count in sorted(engine.observer.dropped.items()):
            dropped.add_metric((kind,), count)
        yield dropped


class LogFigures:
    """The same of access logs: what was delivered, and what was lost and why."""

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
