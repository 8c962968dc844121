"""Takes in what providers saw and turns it into events. Late, foreign and repeated reports are dropped, counted and acknowledged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from batchyard.core import lifecycle
from batchyard.engine import dispatch
from batchyard.model.capacity import InstanceState
from batchyard.model.job import Status
from batchyard.model.messages import (
    AttemptEnded,
    AttemptStarted,
    InstanceGone,
    InstanceUp,
    ProviderBack,
    Report,
    ScratchSeen,
    StopAttempt,
    StopInstance,
)
from batchyard.store.records import Changes

if TYPE_CHECKING:
    from batchyard.engine.engine import Engine, Turn

log = logging.getLogger(__name__)


class _Returned(NamedTuple):
    """What a provider that came back holds, and the end of what nobody here knows: it would hold room for ever."""

    held: set[str]
    unknown: tuple[StopInstance | StopAttempt, ...]


class Observer:
    """One per engine. `dropped` counts reports that concerned nothing we hold."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dropped: Counter[str] = Counter()
        self._returned: dict[str, _Returned] = {}  # providers that came back in this turn

    def take(self, reports: Sequence[Report], now_ms: int, turn: Turn) -> None:
        """Each report is an event of its own: one that cannot be taken is set aside whole, and the others go on."""
        for report in reports:
            try:
                self._take_one(report, now_ms, turn)
            except Exception as error:  # a report comes again until it is taken: one that cannot be must not stop all others for ever
                log.exception("report set aside: %r", report)
                self.dropped["illegal" if isinstance(error, lifecycle.IllegalMove) else "failed"] += 1

    def _take_one(self, report: Report, now_ms: int, turn: Turn) -> None:
        match report:
            case AttemptStarted():
                self._started(report, now_ms)
            case AttemptEnded():
                self._ended(report, now_ms)
                turn.acknowledge.append(report.attempt)
            case InstanceUp():
                self._up(report)
            case InstanceGone():
                self._gone(report.instance, now_ms)
            case ProviderBack():
                self._back(report, now_ms)
            case ScratchSeen():
                self._scratch(report)

    def _started(self, report: AttemptStarted, now_ms: int) -> None:
        job_id = self._engine.yard.attempts.get(report.attempt)
        if job_id is None:
            self.dropped["started"] += 1
            return
        self._engine.move(self._engine.yard.jobs[job_id], lifecycle.Started(report.at_ms), now_ms)

    def _ended(self, report: AttemptEnded, now_ms: int) -> None:
        job_id = self._engine.yard.attempts.get(report.attempt)
        if job_id is None:
            self.dropped["ended"] += 1
            return
        self._engine.dirty = True
        self._engine.move(self._engine.yard.jobs[job_id], lifecycle.Ended(report), now_ms)

    def _scratch(self, report: ScratchSeen) -> None:
        """What is said last holds, also beyond a broken connection: the next one begins with what is true then."""
        seen = self._engine.scratch_seen
        before = seen.get(report.provider)
        seen[report.provider] = report
        if before is None or replace(before, at_ms=report.at_ms) != report:
            self._engine.dirty = True

    def _up(self, report: InstanceUp) -> None:
        instance = self._engine.yard.instances.get(report.instance)
        if instance is None or instance.state is not InstanceState.PENDING:
            self.dropped["up"] += 1
            return
        self._engine.yard.put_instance(replace(instance, state=InstanceState.RUNNING))
        self._engine.dirty = True

    def _gone(self, instance: str, now_ms: int) -> None:
        """A lost host: every attempt on it ends as the specification's section 2.10 says."""
        yard = self._engine.yard
        if instance not in yard.instances:
            self.dropped["gone"] += 1
            return
        for attempt in list(yard.attempts_on(instance)):
            self._ended(AttemptEnded(attempt, now_ms, "lost"), now_ms)
        yard.drop_instance(instance)
        self._engine.dirty = True

    def _back(self, report: ProviderBack, now_ms: int) -> None:
        """Compare what the provider holds with what we believe."""
        yard = self._engine.yard
        held, there = set(report.attempts), set(report.instances)
        unknown = [StopInstance(i) for i in sorted(there - yard.instances.keys())]
        unknown_attempts = [StopAttempt(a, 0.0) for a in sorted(held - yard.attempts.keys())]
        self._returned[report.provider] = _Returned(held, (*unknown, *unknown_attempts))
        for instance in list(yard.instances.values()):
            if yard.environments[instance.environment].provider != report.provider:
                continue
            if instance.id not in there and instance.state is not InstanceState.PENDING:
                if held.isdisjoint(yard.attempts_on(instance.id)):
                    self._gone(instance.id, now_ms)
                    continue
                # What ended there while we were away is reported next. The answer to this StopInstance comes after it.
                yard.put_instance(replace(instance, state=InstanceState.STOPPING))
            for attempt in list(yard.attempts_on(instance.id)):
                if attempt not in held and (instance.id not in there or yard.jobs[yard.attempts[attempt]].status is Status.RUNNING):
                    self._ended(AttemptEnded(attempt, now_ms, "lost"), now_ms)

    def orders(self, changes: Changes) -> Iterator[dispatch.Order]:
        """What the turn asks of providers, now that all is decided: what is new, and of one that came back all that it lacks."""
        yard = self._engine.yard
        returned, self._returned = self._returned, {}
        for name, (held, unknown) in returned.items():
            for instance in yard.instances.values():
                if yard.environments[instance.environment].provider == name:
                    yield from dispatch.orders_for_instance(yard, instance.id, held)
            yield from (dispatch.Order(name, effect) for effect in unknown)
        for order in dispatch.orders(yard, changes, self._engine.ledger):
            if order.provider not in returned:
                yield order
