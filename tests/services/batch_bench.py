"""A Batch API on a workbench: the real handlers, engine and store, in memory, with a clock and a provider in the test's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from batchyard.compute.catalogue import Catalogue
from batchyard.core.quotas import Bucket
from batchyard.core.scheduling import Rules
from batchyard.engine.engine import Engine, Options
from batchyard.engine.reader import EngineReader
from batchyard.engine.world import JobIds
from batchyard.model.capacity import Environment, Instance, InstanceState, Resources, Shape
from batchyard.model.fault import Fault
from batchyard.model.messages import AttemptEnded, AttemptStarted, InstanceGone, InstanceUp, Report
from batchyard.model.requests import Request
from batchyard.services import Caller
from batchyard.services.batch import OPERATIONS
from batchyard.store.sql import Store
from batchyard.wire import shapes
from batchyard.wire.http import HttpRequest
from batchyard.wire.restjson import encode_json

ACCOUNT, REGION = "123456789012", "eu-central-1"
BATCH = f"arn:aws:batch:{REGION}:{ACCOUNT}"
SERVICE = shapes.load("batch")

RESOURCES = {
    "type": "EC2",
    "minvCpus": 0,
    "maxvCpus": 16,
    "instanceTypes": ["optimal"],
    "subnets": ["subnet-1"],
    "securityGroupIds": ["sg-1"],
    "instanceRole": "ecsInstanceRole",
}
CONTAINER = {
    "image": "busybox",
    "command": ["sleep", "60"],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
}


@dataclass
class ManualWorld:
    """The clock stands still until the test moves it; ids count up."""

    now: int = 1_700_000_000_000
    host: Resources = field(default_factory=lambda: Resources(16, 32768))
    catalogue: Catalogue = field(default_factory=Catalogue)
    ids: JobIds = field(default_factory=JobIds)
    count: int = 0

    def now_ms(self) -> int:
        return self.now

    def job_id(self, now_ms: int) -> str:
        return self.ids.next(now_ms, 0)

    def hex_id(self, digits: int) -> str:
        self.count += 1
        return f"{self.count:0{digits}x}"

    def host_room(self, provider: str) -> Resources | None:
        return self.host

    def shapes(self, environment: Environment) -> Sequence[Shape]:
        return self.catalogue.shapes(environment.instance_types, self.host, in_order=environment.in_order)

    def price(self, shape: Shape, room: Resources, spot: bool) -> float:
        return self.catalogue.price(shape, room, spot)


class BenchDesk:
    """Implements `services.desk.Desk` on a bench."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.read = EngineReader(bench.engine, open_profile=bench.settings.profile == "open")
        self.settings = bench.settings
        self.known_type = bench.world.catalogue.knows
        self.now_ms = bench.world.now_ms
        self.prepared: dict[str, Any] = {}
        self.buckets: dict[str, Bucket] = {}
        self.encoded: dict[str, Any] = {}
        self.tagging = asyncio.Lock()

    def missing(self, caller: Caller, settings: Any) -> str:
        return ""

    async def ask(self, request: Request) -> Any:
        (answer,) = self._bench.turn([request], [])
        if isinstance(answer, Fault):
            raise answer
        return answer

    def new_job_id(self) -> str:
        return self._bench.world.job_id(self._bench.world.now)


class Bench:
    """`call` runs an operation as the door would; `report` and the verbs on it play the provider."""

    def __init__(self, profile: str = "open") -> None:
        self.world = ManualWorld()
        self.engine = Engine(Store(":memory:"), self.world, Options(Rules(pass_impossible=profile == "open")))
        self.settings = SimpleNamespace(profile=profile, region=REGION, account=ACCOUNT, runtime="process")
        self.caller = Caller(ACCOUNT, REGION, "AKIA", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "request-1")
        self.desk = BenchDesk(self)

    def report(self, *reports: Report) -> None:
        self.turn([], reports)

    def turn(self, requests: Sequence[Request], reports: Sequence[Report]) -> list[Any]:
        turn = self.engine.decide(requests, reports, self.world.now)
        self.engine.store.stage(turn.changes)
        self.engine.store.commit()
        self.engine.merge(turn)
        return turn.answers

    # --- the API ---

    def call(self, operation: str, /, caller: Caller | None = None, **params: Any) -> dict[str, Any]:
        """What the operation answers; the request is read as from the wire, and the answer is checked against AWS's model."""
        if operation not in ("TagResource", "UntagResource", "ListTagsForResource"):
            request = HttpRequest("POST", f"/v1/{operation.lower()}", "", {"content-type": "application/json"}, _nothing())
            params = SERVICE.decode(operation, request, json.dumps(params).encode())
        answer = json.loads(encode_json(asyncio.run(OPERATIONS[operation](self.desk, caller or self.caller, params))))
        problems = shapes.check(SERVICE, operation, answer)
        assert [problem for problem in problems if ".action: 'retry'" not in problem] == []  # echoed in the case it was sent in
        return answer  # type: ignore[no-any-return]

    def refused(self, operation: str, /, **params: Any) -> str:
        """The message of the ClientException that the operation raises."""
        try:
            answer = self.call(operation, **params)
        except Fault as fault:
            assert fault.code == "ClientException", fault
            return fault.message
        raise AssertionError(f"{operation} was not refused: {answer}")

    def environment(self, name: str = "ce", **resources: Any) -> str:
        return str(
            self.call("CreateComputeEnvironment", computeEnvironmentName=name, type="MANAGED", computeResources={**RESOURCES, **resources})[
                "computeEnvironmentArn"
            ]
        )

    def queue(self, name: str = "queue", environments: Sequence[str] = ("ce",), **more: Any) -> str:
        order = [{"order": n, "computeEnvironment": e} for n, e in enumerate(environments, 1)]
        return str(self.call("CreateJobQueue", jobQueueName=name, priority=1, computeEnvironmentOrder=order, **more)["jobQueueArn"])

    def definition(self, name: str = "job", **more: Any) -> str:
        container = {**CONTAINER, **more.pop("containerProperties", {})}
        return str(
            self.call(
                "RegisterJobDefinition", **{"jobDefinitionName": name, "type": "container", "containerProperties": container, **more}
            )["jobDefinitionArn"]
        )

    def submit(self, **more: Any) -> str:
        answer = self.call("SubmitJob", **{"jobName": "j", "jobQueue": "queue", "jobDefinition": "job", **more})
        return str(answer["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        (job,) = self.call("DescribeJobs", jobs=[job_id])["jobs"]
        return dict(job)

    # --- the provider ---

    def tick(self, seconds: float = 1.0) -> None:
        self.world.now += int(seconds * 1000)

    @property
    def pending(self) -> list[Instance]:
        return [i for i in self.engine.ledger.instances.values() if i.state is InstanceState.PENDING]

    def instances_up(self) -> None:
        while self.pending:
            self.report(*(InstanceUp(i.id, self.world.now) for i in self.pending))

    def attempt(self, job_id: str) -> str:
        current = self.engine.ledger.jobs[job_id].current
        assert current is not None, f"{job_id} is not placed"
        return current.id

    def start(self, job_id: str) -> None:
        """Let a job run; instances come up as needed."""
        self.instances_up()
        self.report(AttemptStarted(self.attempt(job_id), self.world.now))

    def end(self, job_id: str, exit_code: int | None = 0, cause: str = "exited", **more: Any) -> None:
        self.report(AttemptEnded(self.attempt(job_id), self.world.now, cause, exit_code=exit_code, **more))

    def lose_host(self, job_id: str) -> str:
        current = self.engine.ledger.jobs[job_id].current
        assert current is not None
        self.report(InstanceGone(current.instance, self.world.now))
        return current.instance


async def _nothing() -> AsyncIterator[bytes]:
    """The body is handed to `decode` beside the request."""
    return
    yield b""


def ready_bench(profile: str = "open") -> Bench:
    """A bench with environment `ce`, queue `queue` and definition `job`."""
    bench = Bench(profile)
    bench.environment()
    bench.queue()
    bench.definition()
    return bench
