"""What callers ask for in a simulation: submissions of every kind, stops, and changes of queues and environments."""

from __future__ import annotations

from random import Random
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from batchyard.core.lifecycle import EXITED
from batchyard.engine.reader import EngineReader
from batchyard.model.capacity import Resources
from batchyard.model.consumable import Consumption, Wants
from batchyard.model.job import Dependency, DependencyKind, RetryRule, Specification, Status, child_id, node_id
from batchyard.model.requests import Cancel, EndAll, Forget, Reclaim, Request, Submit, TagJob, Terminate
from batchyard.simulate import edits, gangs, scratch, sharing
from batchyard.simulate.edits import ACCOUNT, BATCH, REGION
from batchyard.simulate.scenario import Scenario
from batchyard.simulate.world import FalseWorld

DEFINITION = f"{BATCH}:job-definition/work:1"
CONTAINER = Raw(b'{"command":["work"],"environment":[{"name":"A","value":"1"}]}')
TASK = Raw(
    b'{"taskProperties":[{"containers":['
    b'{"name":"work","image":"x","vcpus":1,"memory":64,"dependsOn":[{"containerName":"prepare","condition":"SUCCESS"}]},'
    b'{"name":"prepare","image":"x","vcpus":1,"memory":64,"essential":false}]}]}'
)
SIZES = ((0.25, 128), (0.5, 512), (1, 512), (1, 1024), (2, 2048), (3, 1024), (4, 4096))
WANTS: tuple[Wants, ...] = (
    (Consumption(edits.LICENCE, 1),),
    (Consumption(edits.LICENCE, 2),),
    (Consumption(edits.TOKEN, 1),),
    (Consumption(edits.LICENCE, 1), Consumption(edits.TOKEN, 2)),
)
WRONG = "Container Overrides length must be at most 8192"
WHOLE, N_TO_N, SEQUENTIAL = DependencyKind.WHOLE, DependencyKind.N_TO_N, DependencyKind.SEQUENTIAL
RULES: tuple[tuple[RetryRule, ...], ...] = (
    (),
    (RetryRule("RETRY", on_status_reason="Host EC2*"), RetryRule("EXIT", on_reason="*")),
    (RetryRule("EXIT", on_exit_code="2"), RetryRule("RETRY", on_exit_code="*")),
    (RetryRule("EXIT", on_reason="OutOfMemory*"),),
    (RetryRule("EXIT", on_status_reason=EXITED, on_exit_code="1"), RetryRule("RETRY", on_reason="Cannot*")),
)


class Callers:
    """Everybody who uses the API. `submitted` holds every specification that was sent, answered or not."""

    def __init__(self, seed: int, scenario: Scenario, world: FalseWorld) -> None:
        self.submitted: dict[str, Specification] = {}
        self.acknowledged: set[str] = set()
        self._random = Random(f"callers {seed}")
        self._forms = Random(f"forms {seed}")
        self._disks = Random(f"disks {seed}")
        self._work = scenario.workload
        self._machine = scenario.machine
        self._world = world
        self._left = scenario.workload.actions
        self._named = 0
        self.due_ms: int | None = world.now

    def ask(self, read: EngineReader) -> list[Request]:
        """What comes in now; sets when the next comes."""
        if self._left == self._work.actions:
            requests = self._set_up()
        else:
            requests = [self._one(read) for _ in range(self._random.choice((1, 1, 1, 2, 5)))]
        self._left -= 1
        pause_ms = int(self._random.random() * self._work.most_pause_s * 1000)
        self.due_ms = self._world.now + pause_ms if self._left > 0 else None
        return requests

    def answered(self, request: Request) -> None:
        """A request was accepted."""
        if isinstance(request, Submit):
            self.acknowledged.add(request.spec.id)

    def _name(self, kind: str) -> str:
        self._named += 1
        return f"{kind}-{self._named}"

    def _set_up(self) -> list[Request]:
        environments = [edits.new_environment(self._name("ce"), self._random, self._machine) for _ in range(self._random.randint(2, 3))]
        queues = [edits.new_queue(self._name("q"), self._random, self._work.fair_share) for _ in range(self._random.randint(1, 3))]
        return [edits.new_definition(DEFINITION), edits.new_consumables(self._random), *environments, *queues]

    def _one(self, read: EngineReader) -> Request:
        dice = self._random.random()
        if dice < self._work.stops and self.submitted:
            return self._stop(read)
        if dice < self._work.stops + self._work.edits:
            return self._edit(read)
        return self._submit(read)

    # --- submissions ---

    def _submit(self, read: EngineReader) -> Request:
        queues = sorted(read.queues)
        if not queues:
            return edits.new_queue(self._name("q"), self._random, self._work.fair_share)
        dice = self._random.random
        size = self._random.randint(2, self._work.most_children) if dice() < self._work.arrays else 0
        is_gang = not size and dice() < self._work.gangs
        depends_on = self._dependencies(read, size) if dice() < self._work.dependencies else ()
        queue = self._random.choice(queues)
        fair = bool(read.queues[queue].scheduling_policy)
        spec = Specification(
            id=self._world.job_id(self._world.now),
            account=ACCOUNT,
            region=REGION,
            name=f"job-{len(self.submitted)}",
            queue=queue,
            share=self._random.choice(sharing.SHARES) if fair else "",
            priority=self._random.choice(sharing.PRIORITIES) if fair else 0,
            definition=DEFINITION,
            needs=Resources(64, 1 << 20) if dice() < self._work.impossible else Resources(*self._random.choice(SIZES)),
            attempts=self._random.randint(2, 4) if dice() < self._work.retries else 1,
            retry_rules=self._random.choice(RULES),
            timeout_s=self._random.randint(5, 30) if dice() < self._work.timeouts else None,
            consumables=self._random.choice(WANTS) if dice() < self._work.consumables else (),
            depends_on=depends_on,
            array_size=size,
            effective=CONTAINER,
        )
        if is_gang:
            nodes, main = gangs.some_nodes(self._random, self._work.most_nodes, spec.needs)
            spec = replace(spec, nodes=nodes, main_node=main)
        if not is_gang and self._forms.random() < self._work.several:
            spec = replace(spec, form="ecs", effective=TASK)
        if self._disks.random() < self._work.scratch:
            spec = scratch.asking(spec, self._disks.choice(scratch.SIZES_MIB))
        self.submitted[spec.id] = spec
        wrong = WRONG if dice() < 0.02 else ""
        return Submit(spec, _settled(read, depends_on), wrong)

    def _dependencies(self, read: EngineReader, size: int) -> tuple[Dependency, ...]:
        """On jobs that exist, as the service checks; on themselves one after the other; on arrays of the same size child by child."""
        found: list[Dependency] = []
        if size and self._random.random() < 0.3:
            found.append(Dependency("", SEQUENTIAL))
        known = [spec for spec in list(self.submitted.values())[-12:] if read.job(spec.id) is not None]
        self._random.shuffle(known)
        for spec in known[: self._random.randint(0, 3)]:
            if size and spec.array_size == size and self._random.random() < 0.7:
                found.append(Dependency(spec.id, N_TO_N))
            elif spec.array_size and self._random.random() < 0.5:
                found.append(Dependency(child_id(spec.id, self._random.randrange(spec.array_size))))
            elif spec.nodes and self._random.random() < 0.5:
                found.append(Dependency(node_id(spec.id, self._random.randrange(spec.num_nodes))))
            else:
                found.append(Dependency(spec.id))
        return tuple(found)

    # --- stops ---

    def _stop(self, read: EngineReader) -> Request:
        dice = self._random.random()
        if dice < 0.02:
            return EndAll("all of it")
        spec = self._random.choice(list(self.submitted.values())[-20:])
        found = read.job(spec.id)
        if dice < 0.1 and found is not None:
            return TagJob(replace(found[1], tags={"seen": str(self._world.now)}))
        target = spec.id
        if spec.array_size and dice < 0.55:
            target = child_id(spec.id, self._random.randrange(spec.array_size + 1))  # one of them does not exist
        elif spec.nodes and dice < 0.3:
            target = node_id(spec.id, self._random.randrange(spec.num_nodes + 1))
        return (Cancel if self._random.random() < 0.5 else Terminate)(target, f"asked at {self._world.now}")

    # --- queues, environments, instances ---

    def _edit(self, read: EngineReader) -> Request:
        dice = self._random.random()
        if dice < 0.08:
            return Forget(jobs_before_ms=self._world.now - self._random.choice((0, 20_000, 100_000)), most=self._random.randint(1, 9))
        if dice < 0.25 and read.instances:
            return Reclaim(self._random.choice(sorted(read.instances)), self._random.choice((None, 0, 5)))
        if dice < 0.32:
            return edits.new_environment(self._name("ce"), self._random, self._machine)
        if dice < 0.37:
            return edits.new_queue(self._name("q"), self._random, self._work.fair_share)
        return edits.change(self._random)


def _settled(read: EngineReader, depends_on: tuple[Dependency, ...]) -> dict[str, Status]:
    """As `services/batch/submit.py` looks them up."""
    settled: dict[str, Status] = {}
    for dependency in depends_on:
        found: tuple[Any, Any] | None = read.job(dependency.job_id) if dependency.job_id else None
        if found is not None and found[0].status.is_final:
            settled[dependency.job_id] = found[0].status
    return settled
