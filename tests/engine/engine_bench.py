"""An engine on a workbench: the real engine and store in memory, a clock that stands still, and a provider in the test's hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from batchyard.core.scheduling import Rules
from batchyard.engine.dispatch import LaunchOrder
from batchyard.engine.engine import Engine, Options, Turn
from batchyard.engine.reader import EngineReader
from batchyard.model.capacity import Environment, Health, Instance, InstanceState, Queue, Resources
from batchyard.model.fault import Fault
from batchyard.model.job import Dependency, DependencyKind, Job, RetryRule, Specification, Status
from batchyard.model.messages import AttemptEnded, AttemptStarted, InstanceGone, InstanceUp, ProviderBack, Report
from batchyard.model.requests import Cancel, Edit, Request, Submit, Terminate
from batchyard.simulate.world import FalseWorld
from batchyard.store.sql import Store

HOST = Resources(8, 8192)
CE, Q = "arn:aws:batch:r:1:compute-environment/ce", "arn:aws:batch:r:1:job-queue/q"
N_TO_N, SEQUENTIAL = DependencyKind.N_TO_N, DependencyKind.SEQUENTIAL


def after(*ids: str, kind: DependencyKind = DependencyKind.WHOLE) -> tuple[Dependency, ...]:
    return tuple(Dependency(id, kind) for id in ids)


class Bench:
    """One engine with environment `ce` and queue `q` unless told otherwise. Each verb is a turn of its own."""

    def __init__(self, host: Resources = HOST, *, bare: bool = False, idle_s: float = 60.0, open_profile: bool = True) -> None:
        self.world = FalseWorld(1, host)
        self.store = Store(":memory:")
        self.options = Options(Rules(open_profile, idle_s))
        self.engine = Engine(self.store, self.world, self.options)
        self.last = Turn(self.engine.yard.changes)
        if not bare:
            self.environment()
            self.queue()

    # --- turns ---

    def turn(self, requests: Sequence[Request] = (), reports: Sequence[Report] = ()) -> Turn:
        """Decide, write, merge."""
        self.last = self.engine.decide(requests, reports, self.world.now)
        self.store.stage(self.last.changes)
        self.store.commit()
        self.engine.merge(self.last)
        return self.last

    def ask(self, request: Request) -> Any:
        (answer,) = self.turn([request]).answers
        if isinstance(answer, Fault):
            raise answer
        return answer

    def report(self, *reports: Report) -> Turn:
        return self.turn([], reports)

    def restart(self) -> None:
        """A new engine on the same store, as after a crash."""
        self.engine = Engine(self.store, self.world, self.options)
        self.turn()

    def tick(self, seconds: float) -> Turn:
        self.world.now += int(seconds * 1000)
        return self.turn()

    @property
    def effects(self) -> list[str]:
        """What the last turn told the provider: kind and whom."""
        told = []
        for _, effect in self.last.effects:
            match effect:
                case LaunchOrder(job=job):
                    told.append(f"Launch {job.id}")
                case _:
                    whom = getattr(effect, "instance", None) or getattr(effect, "attempt", "")
                    told.append(f"{type(effect).__name__} {getattr(whom, 'id', whom)}")
        return told

    # --- named things ---

    def put(self, record: Environment | Queue) -> None:
        self.ask(Edit(lambda catalogue: catalogue.put(record)))

    def environment(self, arn: str = CE, **more: Any) -> Environment:
        fields = {"kind": "MANAGED", "max_vcpus": 100, "instance_types": ("optimal",), **more}
        environment = Environment(arn=arn, name=arn.rpartition("/")[2], account="1", region="r", uuid="u", **fields)
        self.put(environment)
        return environment

    def queue(self, arn: str = Q, environments: Sequence[str] = (CE,), **more: Any) -> Queue:
        fields = {"priority": 1, **more}
        queue = Queue(arn=arn, name=arn.rpartition("/")[2], account="1", region="r", environments=tuple(environments), **fields)
        self.put(queue)
        return queue

    # --- jobs ---

    def spec(self, *depends_on: Dependency, size: int = 0, attempts: int = 1, **more: Any) -> Specification:
        fields = {"needs": Resources(1, 100), "queue": Q, "name": "n", "definition": "arn:aws:batch:r:1:job-definition/d:1", **more}
        id = self.world.job_id(self.world.now)
        return Specification(
            id=id,
            account="1",
            region="r",
            depends_on=depends_on,
            array_size=size,
            attempts=attempts,
            effective=Raw(b"{}"),
            **fields,
        )

    def submit(self, *depends_on: Dependency, **more: Any) -> str:
        spec = self.spec(*depends_on, **more)
        settled = {d.job_id: self.job(d.job_id).status for d in depends_on if d.job_id and self.job(d.job_id).status.is_final}
        self.ask(Submit(spec, settled))
        return spec.id

    def cancel(self, id: str, reason: str = "enough") -> None:
        self.ask(Cancel(id, reason))

    def terminate(self, id: str, reason: str = "stop it") -> None:
        self.ask(Terminate(id, reason))

    @property
    def read(self) -> EngineReader:
        return EngineReader(self.engine, open_profile=self.options.rules.pass_impossible)

    def job(self, id: str) -> Job:
        found = self.read.job(id)
        assert found is not None, f"{id} is not there"
        return found[0]

    def status(self, *ids: str) -> list[str]:
        return [str(self.job(id).status) for id in ids]

    def children(self, parent: str) -> str:
        """The states of an array's children, a letter each: P, R(unnable), S(tarting), r(unning), + and -."""
        letters = {"PENDING": "P", "RUNNABLE": "R", "STARTING": "S", "RUNNING": "r", "SUCCEEDED": "+", "FAILED": "-"}
        size = self.job_spec(parent).array_size
        return "".join(letters[s] for s in self.status(*(f"{parent}:{i}" for i in range(size))))

    def job_spec(self, id: str) -> Specification:
        found = self.read.job(id)
        assert found is not None
        return found[1]

    # --- the provider ---

    @property
    def instances(self) -> list[Instance]:
        return list(self.engine.ledger.instances.values())

    def up(self) -> None:
        """Every instance that was started is there."""
        while pending := [i for i in self.instances if i.state is InstanceState.PENDING]:
            self.report(*(InstanceUp(i.id, self.world.now) for i in pending))

    def attempt(self, id: str) -> str:
        current = self.engine.ledger.jobs[id].current
        assert current is not None, f"{id} is not placed"
        return current.id

    def start(self, *ids: str) -> None:
        self.up()
        self.report(*(AttemptStarted(self.attempt(id), self.world.now) for id in ids))

    def end(self, *ids: str, exit_code: int | None = 0, cause: str = "exited", **more: Any) -> None:
        self.report(*(AttemptEnded(self.attempt(id), self.world.now, cause, exit_code=exit_code, **more) for id in ids))

    def finish(self, *ids: str, exit_code: int = 0) -> None:
        """Run and end, whatever attempts it takes."""
        for id in ids:
            self.up()
            self.start(id)
            self.end(id, exit_code=exit_code)

    def gone(self, instance: str) -> Turn:
        return self.report(InstanceGone(instance, self.world.now))

    def back(self, instances: Sequence[str] = (), attempts: Sequence[str] = (), *more: Report) -> Turn:
        return self.report(ProviderBack("local", "g", tuple(instances), tuple(attempts), self.world.now), *more)


__all__ = ["CE", "HOST", "N_TO_N", "SEQUENTIAL", "Bench", "Health", "Q", "RetryRule", "Status", "after"]
