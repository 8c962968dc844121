"""A story of the simulation, told: the real engine on a false node where everything takes its time and nothing goes wrong, as a trace.

After every turn the trace says what became of jobs and instances, and of a job that waits, why. The same story is the same trace, on
every machine, so that pages can show it and a test can hold them to it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchyard.engine.reader import EngineReader
from batchyard.model.capacity import Environment, Instance, InstanceState, Queue, Resources
from batchyard.model.job import Job, Specification, Status
from batchyard.model.messages import Launch, Report
from batchyard.model.requests import Catalogue, Edit, Request, Submit
from batchyard.simulate import edits
from batchyard.simulate.callers import CONTAINER, DEFINITION, Callers
from batchyard.simulate.edits import ACCOUNT, BATCH, REGION
from batchyard.simulate.node import FalseNode
from batchyard.simulate.scenario import Scenario, Story, ToldJob
from batchyard.simulate.simulator import Simulation
from batchyard.simulate.world import FalseWorld

WIDTH = 118
_INDENT = " " * 22


def told(scenario: Scenario) -> str:
    """The trace of a scenario that has a story, as text."""
    assert scenario.story is not None
    telling = _Telling(scenario, scenario.story)
    most = ", ".join(f"{one.name} at most {one.max_vcpus}" for one in scenario.story.environments)
    legend = f"(= vCPUs in use/running; {most})"
    heading = textwrap.fill(f"{scenario.name}: {scenario.about}", WIDTH)
    return "\n".join((heading, legend, "", *telling.lines(), ""))


class _SteadyNode(FalseNode):
    """Instances take what the machine says to start, jobs run as long as they are told to."""

    def __init__(self, scenario: Scenario, simulation: Simulation, run_ms: dict[str, int]) -> None:
        super().__init__(0, scenario, simulation.chance)
        self._random = _FIRST
        self._run_ms = run_ms

    def _starts_in_ms(self) -> int:
        return self._start_ms

    def _runs_for_ms(self, launch: Launch) -> int:
        return self._run_ms[launch.job_id]


class _First:
    """Instead of chance: always the least, so that nothing is late and nothing fails."""

    def randint(self, low: int, _high: int) -> int:
        return low

    def random(self) -> float:
        return 1.0

    def choice(self, options: Sequence[int]) -> int:
        return options[0]


_FIRST: Any = _First()


class _Script(Callers):
    """Callers who ask for what the story says, when it says so."""

    def __init__(self, scenario: Scenario, story: Story, world: FalseWorld) -> None:
        super().__init__(0, scenario, world)
        self._story = story
        self._world = world
        self._begin_ms = world.now
        self._to_come = sorted(story.jobs, key=lambda job: job.at_s)
        self._is_set_up = False
        self.run_ms: dict[str, int] = {}

    def ask(self, read: EngineReader) -> list[Request]:
        """The queues and environments, then each job at its time."""
        if not self._is_set_up:
            self._is_set_up = True
            self.due_ms = self._next_ms()
            return [edits.new_definition(DEFINITION), Edit(self._build)]
        asked: list[Request] = []
        while self._to_come and self._at_ms(self._to_come[0]) <= self._world.now:
            asked.append(Submit(self._specification(self._to_come.pop(0))))
        self.due_ms = self._next_ms()
        return asked

    def _next_ms(self) -> int | None:
        return self._at_ms(self._to_come[0]) if self._to_come else None

    def _at_ms(self, job: ToldJob) -> int:
        return self._begin_ms + int(job.at_s * 1000)

    def _build(self, catalogue: Catalogue) -> None:
        for one in self._story.environments:
            catalogue.put(
                Environment(
                    arn=_environment(one.name),
                    name=one.name,
                    account=ACCOUNT,
                    region=REGION,
                    uuid=one.name,
                    kind="MANAGED",
                    spot=one.spot,
                    min_vcpus=one.min_vcpus,
                    max_vcpus=one.max_vcpus,
                    instance_types=("optimal",),
                    created_at_ms=catalogue.now_ms,
                )
            )
        for queue in self._story.queues:
            arns = tuple(_environment(name) for name in queue.environments)
            catalogue.put(
                Queue(
                    arn=f"{BATCH}:job-queue/{queue.name}",
                    name=queue.name,
                    account=ACCOUNT,
                    region=REGION,
                    priority=queue.priority,
                    environments=arns,
                    spill_idle=queue.spill == "idle",
                    created_at_ms=catalogue.now_ms,
                )
            )

    def _specification(self, job: ToldJob) -> Specification:
        spec = Specification(
            id=self._world.job_id(self._world.now),
            account=ACCOUNT,
            region=REGION,
            name=job.name,
            queue=f"{BATCH}:job-queue/{job.queue}",
            definition=DEFINITION,
            needs=Resources(job.vcpus, job.memory_mib),
            created_at_ms=self._world.now,
            effective=CONTAINER,
        )
        self.submitted[spec.id] = spec
        self.run_ms[spec.id] = int(job.run_s * 1000)
        return spec


class _Telling(Simulation):
    """The simulation, looked at after every turn."""

    def __init__(self, scenario: Scenario, story: Story) -> None:
        super().__init__(0, scenario)
        self._script = _Script(scenario, story, self.world)
        self.callers = self._script
        self.node = _SteadyNode(scenario, self, self._script.run_ms)
        self._names: dict[str, str] = {}  # instance -> i-1, i-2 ...
        self._jobs: dict[str, Job] = {}
        self._instances: dict[str, Instance] = {}
        self._why: dict[str, str] = {}
        self._lines: list[str] = []
        self._shown = ""

    def lines(self) -> list[str]:
        """From the first submission until all is quiet."""
        self.node.connect(self.world.now)
        while self._next_ms() is not None:
            self._round()
        return self._lines

    def _turn(self, requests: Sequence[Request], reports: Sequence[Report]) -> None:
        super()._turn(requests, reports)
        before = self._instances
        self._instances = dict(self.engine.ledger.instances)
        for id in self._instances.keys() - before.keys():
            self._names[id] = f"i-{len(self._names) + 1}"
        found = [*self._comings_and_ends(), *self._of_instances(before), *self._of_jobs()]
        if not found:
            return
        state = self._state()
        for text in [*found, *([state] if state != self._shown else [])]:
            self._say(text)
        self._shown = state

    def _say(self, text: str) -> None:
        time = f"{self._clock().partition('.')[0]:>5} s  "
        kind, _, rest = text.partition("\t")
        head = (time if not self._lines or self._last_time != time else " " * len(time)) + f"{kind:<{len(_INDENT) - len(time)}}"
        self._last_time = time
        self._lines += textwrap.wrap(rest, WIDTH, initial_indent=head, subsequent_indent=_INDENT, break_on_hyphens=False)

    _last_time = ""

    def _comings_and_ends(self) -> Iterator[str]:
        for id, spec in self._script.submitted.items():
            found = self.read.job(id)
            if found is None:
                continue
            before = self._jobs.get(id)
            if before is None:
                yield f"submitted\t{spec.name} to {spec.queue.rpartition('/')[2]}: {spec.needs.vcpus:g} vCPUs"
            elif found[0].status.is_final and not before.status.is_final:
                yield f"ended\t{spec.name}"

    def _of_instances(self, before: Mapping[str, Instance]) -> Iterator[str]:
        for id, instance in self._instances.items():
            name, where = self._names[id], instance.environment.rpartition("/")[2]
            was = before[id].state if id in before else None
            if was is instance.state:
                continue
            if was is None:
                caller = instance.launched_for.rpartition("/")[2]
                why = f"for a job of {caller}" if caller else "for minvCpus"
                yield f"starting\t{name} in {where}: {instance.room.vcpus:g} vCPUs, {why}"
            elif instance.state is InstanceState.RUNNING:
                yield f"running\t{name} in {where}"
            elif instance.state is InstanceState.STOPPING:
                yield f"stopping\t{name} in {where}: idle for long enough"

    def _of_jobs(self) -> Iterator[str]:
        for id, spec in self._script.submitted.items():
            found = self.read.job(id)
            if found is None:
                continue
            job, before = found[0], self._jobs.get(id)
            self._jobs[id] = job
            if job.status is Status.STARTING and (before is None or before.status is not Status.STARTING):
                assert job.current is not None
                yield f"placed\t{spec.name} on {self._names[job.current.instance]} in {job.current.environment.rpartition('/')[2]}"
            elif job.status is Status.RUNNABLE:
                yield from self._waits(id, spec.name)

    def _waits(self, id: str, name: str) -> Iterator[str]:
        explained = self.read.explain(id)
        assert explained is not None
        reasons = " | ".join(f"{one.environment}: {one.shortfall}" for one in explained.reasons) or explained.summary
        for instance, short in self._names.items():
            reasons = reasons.replace(instance, short)
        if self._why.get(id) != reasons:
            self._why[id] = reasons
            yield f"waits\t{name}: {reasons}"

    def _state(self) -> str:
        parts = []
        for environment in self.engine.ledger.environments.values():
            here = [one for one in self._instances.values() if one.environment == environment.arn and one.state is InstanceState.RUNNING]
            used = sum(one.room.vcpus - self.engine.yard.free(one.id).vcpus for one in here)
            parts.append(f"{environment.name} {used:g}/{sum(one.room.vcpus for one in here):g}")
        return f"=\t{', '.join(parts)}"


def _environment(name: str) -> str:
    return f"{BATCH}:compute-environment/{name}"
