"""Each act of a resource type, broken off or refused at each of its calls: it goes on as if nothing had been, or leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from resource_acts import FailingHands
from stack_hands import ACCOUNT, REGION, Workbench
from yard_hands import YardHands, standing, wanted

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.planning.drift import differences
from batchyard.services.cloudformation.resources import batch, events, logs, s3
from batchyard.services.cloudformation.resources.type import Kept, Made, ResourceType
from batchyard.services.repeating import Step, current_step
from yard import Yard, serving

STATEMENT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "s3:GetObject", "Resource": "*"}
NETWORK = {"Subnets": ["subnet-12345678"], "SecurityGroupIds": ["sg-12345678"], "InstanceRole": "ecsInstanceRole"}
CAPACITY = {
    "Type": "EC2",
    "AllocationStrategy": "BEST_FIT_PROGRESSIVE",
    "MinvCpus": 0,
    "MaxvCpus": 2,
    "InstanceTypes": ["optimal"],
    **NETWORK,
}
NEEDS = [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "64"}]
CONTAINER = {"Image": "busybox", "ResourceRequirements": NEEDS}
LOG = {"Id": "log", "Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/events"}
GROUP = {"LogGroupName": "own", "RetentionInDays": 7, "Tags": [{"Key": "a", "Value": "b"}]}
RULE = {"Name": "own", "EventPattern": {"source": ["a"]}, "Targets": [LOG], "Tags": [{"Key": "a", "Value": "b"}]}

# type -> its properties, and what an update makes of them
HERE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "AWS::S3::Bucket": (
        {
            "BucketName": "own-bucket",
            "VersioningConfiguration": {"Status": "Enabled"},
            "LifecycleConfiguration": {"Rules": [{"Id": "a", "Status": "Enabled", "ExpirationInDays": 1}]},
            "Tags": [{"Key": "a", "Value": "b"}],
        },
        {
            "BucketName": "own-bucket",
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]},
            "AccessControl": "LogDeliveryWrite",
            "LoggingConfiguration": {"LogFilePrefix": "a/"},
        },
    ),
    "AWS::Logs::LogGroup": (GROUP, {"LogGroupName": "own", "DeletionProtectionEnabled": False, "RetentionInDays": 3}),
    "AWS::Logs::QueryDefinition": ({"Name": "a", "QueryString": "fields @message"}, {"Name": "b", "QueryString": "fields @message"}),
    "AWS::Events::Rule": (RULE, {"Name": "own", "ScheduleExpression": "rate(1 hour)", "Targets": [{**LOG, "Id": "other"}]}),
    "AWS::Events::Connection": (
        {"AuthorizationType": "BASIC", "AuthParameters": {"BasicAuthParameters": {"Username": "u", "Password": "p"}}},
        {"AuthorizationType": "API_KEY", "AuthParameters": {"ApiKeyAuthParameters": {"ApiKeyName": "X-K", "ApiKeyValue": "v"}}},
    ),
}
THERE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "AWS::Batch::ComputeEnvironment": (
        {"Type": "MANAGED", "ComputeResources": CAPACITY, "UpdatePolicy": {"JobExecutionTimeoutMinutes": 5}, "Tags": {"a": "b"}},
        {"Type": "MANAGED", "ComputeResources": {**CAPACITY, "MaxvCpus": 4}, "State": "DISABLED", "Tags": {"c": "d"}},
    ),
    "AWS::Batch::JobDefinition": (
        {"Type": "container", "ContainerProperties": {**CONTAINER, "Command": ["true"]}},
        {"Type": "container", "ContainerProperties": {**CONTAINER, "Command": ["false"]}},
    ),
    "AWS::Batch::JobQueue": ({"Priority": 1, "Tags": {"a": "b"}}, {"Priority": 2, "State": "DISABLED"}),
    "AWS::Batch::SchedulingPolicy": ({"Tags": {"a": "b"}}, {"FairsharePolicy": {"ComputeReservation": 5}}),
    "AWS::Batch::ConsumableResource": (
        {"ResourceType": "REPLENISHABLE", "TotalQuantity": 1},
        {"ResourceType": "REPLENISHABLE", "TotalQuantity": 2, "Tags": {"a": "b"}},
    ),
}
TYPES = {one.name: one for module in (batch, events, logs, s3) for one in module.TYPES}


class BrokenOff(Exception):
    """The server was killed."""


class Breaking:
    """Hands that are struck off after so many calls."""

    def __init__(self, hands: Any, calls: int) -> None:
        self.hands, self.left = hands, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hands, name)

    async def call(self, service: str, operation: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = await self.hands.call(service, operation, params)
        self.left -= 1
        if self.left <= 0:
            raise BrokenOff
        return answer


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    made.desk.announcer = SimpleNamespace(refresh=lambda: None)
    yield made
    made.close()


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("repeated") / "yard") as one:
        one.environment_of("theirs")
        yield one


@contextmanager
def step(token: str, sealer: Any) -> Iterator[None]:
    mark = current_step.set(Step(token, ACCOUNT, sealer))
    try:
        yield
    finally:
        current_step.reset(mark)


async def acted(hands: Any, sealer: Any, token: str, act: Any) -> tuple[Any, int]:
    """(what `act` gave, how often it was broken off): after its first call, then after its second ..."""
    for calls in range(1, 60):
        try:
            with step(token, sealer):
                return await act(Breaking(hands, calls)), calls
        except BrokenOff:
            continue
    raise AssertionError("it never came to its end")


async def all_its_life(type: ResourceType, hands: Any, sealer: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert type.update is not None and type.read is not None
    name = "own-name"
    asked = wanted(type, before, name=name, tags={"Team": "t"})
    made, _ = await acted(hands, sealer, "1" * 32, lambda struck: type.create(struck, asked))
    kept = standing(asked, made)
    assert differences(type.name, before, await type.read(hands, kept) or {}) == []
    asked_again = wanted(type, after, name=name)
    made_again, calls = await acted(hands, sealer, "2" * 32, lambda struck: type.update(struck, asked_again, kept))
    assert calls > 1 and isinstance(made_again, Made)
    kept_again = standing(asked_again, made_again)
    assert differences(type.name, after, await type.read(hands, kept_again) or {}) == []
    if made_again.physical_id != made.physical_id:
        await acted(hands, sealer, "3" * 32, lambda struck: type.delete(struck, kept))
    gone: Kept = kept_again
    await acted(hands, sealer, "4" * 32, lambda struck: type.delete(struck, gone))
    assert await type.read(hands, gone) is None


async def all_its_refusals(type: ResourceType, hands: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    """A creation refused at each of its calls in turn leaves nothing; an update refused at each of them can be taken back."""
    assert type.update is not None and type.read is not None
    asked = wanted(type, before, name="own-name", tags={"Team": "t"})
    made: Made | None = None
    for at in range(1, 30):
        try:
            made = await type.create(FailingHands(hands, at), asked)
            break
        except Fault as fault:
            assert "was refused" in fault.message
    assert made is not None and at > 1  # so nothing of the tries before stood in its way
    kept = standing(asked, made)
    asked_again = wanted(type, after, name="own-name")
    for at in range(1, 30):
        try:
            made_again = await type.update(FailingHands(hands, at), replace(asked_again, token=f"{at:032}"), kept)
            break
        except Fault:
            undone = await type.update(hands, replace(asked, token=f"{at:031}u", is_undoing=True), standing(asked_again, made))
            assert undone.physical_id == made.physical_id
            assert differences(type.name, before, await type.read(hands, kept) or {}) == []
    assert at > 1
    for one in (standing(asked_again, made_again), kept):
        await type.delete(hands, one)
        assert await type.read(hands, one) is None


@pytest.mark.parametrize("name", sorted(HERE))
async def test_refusals_here(bench: Workbench, name: str) -> None:
    before, after = HERE[name]
    await all_its_refusals(TYPES[name], bench.hands, before, after)


@pytest.mark.parametrize("name", sorted(THERE))
async def test_refusals_on_a_service(yard: Yard, tmp_path: Path, name: str) -> None:
    hands = YardHands(yard, tmp_path)
    before, after = THERE[name]
    if name.endswith("JobQueue"):
        before, after = ({**one, "ComputeEnvironmentOrder": _order(hands)} for one in (before, after))
    try:
        await all_its_refusals(TYPES[name], hands, before, after)
    finally:
        hands.close()


def _order(hands: YardHands) -> list[dict[str, Any]]:
    return [{"Order": 1, "ComputeEnvironment": f"arn:aws:batch:{hands.region}:{hands.account}:compute-environment/theirs"}]


@pytest.mark.parametrize("name", sorted(HERE))
async def test_here(bench: Workbench, name: str) -> None:
    before, after = HERE[name]
    await all_its_life(TYPES[name], bench.hands, bench.sealer, before, after)


@pytest.mark.parametrize("name", sorted(THERE))
async def test_on_a_service(yard: Yard, tmp_path: Path, name: str) -> None:
    hands = YardHands(yard, tmp_path)
    before, after = THERE[name]
    if name.endswith("JobQueue"):
        before, after = ({**one, "ComputeEnvironmentOrder": _order(hands)} for one in (before, after))
    try:
        await all_its_life(TYPES[name], hands, hands.sealer, before, after)
    finally:
        hands.close()
    if name.endswith("JobDefinition"):
        revisions = yard.batch.describe_job_definitions(jobDefinitionName="own-name")["jobDefinitions"]
        assert {one["status"] for one in revisions} == {"INACTIVE"}
