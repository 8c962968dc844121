"""Resources of AWS Batch on a real service: what a stack makes, changes, and takes away, and steps that are tried again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yard_hands import YardHands, standing, wanted

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import batch
from batchyard.services.cloudformation.resources.type import Asked, Made, ResourceType
from yard import Yard, until

TYPES = {one.name.rpartition(":")[2]: one for one in batch.TYPES}
ENVIRONMENT, QUEUE, DEFINITION = TYPES["ComputeEnvironment"], TYPES["JobQueue"], TYPES["JobDefinition"]


@pytest.fixture
def hands(yard: Yard, tmp_path: Path) -> Iterator[YardHands]:
    made = YardHands(yard, tmp_path)
    yield made
    made.close()


def resources(**more: Any) -> dict[str, Any]:
    return {
        "Type": "EC2",
        "AllocationStrategy": "BEST_FIT_PROGRESSIVE",
        "MinvCpus": 0,
        "MaxvCpus": 4,
        "InstanceTypes": ["optimal"],
        "Subnets": ["subnet-12345678"],
        "SecurityGroupIds": ["sg-12345678"],
        "InstanceRole": "ecsInstanceRole",
        **more,
    }


def environment(**more: Any) -> dict[str, Any]:
    return {"Type": "MANAGED", "ComputeResources": resources(), **more}


def container(*command: str, vcpus: str = "1") -> dict[str, Any]:
    needs = [{"Type": "VCPU", "Value": vcpus}, {"Type": "MEMORY", "Value": "64"}]
    return {"Type": "container", "ContainerProperties": {"Image": "busybox", "Command": list(command), "ResourceRequirements": needs}}


def queue(*environments: str, **more: Any) -> dict[str, Any]:
    order = [{"Order": number, "ComputeEnvironment": one} for number, one in enumerate(environments, 1)]
    return {"Priority": 1, "ComputeEnvironmentOrder": order, **more}


async def made_twice(hands: YardHands, type: ResourceType, asked: Asked) -> Made:
    """Made, and the same step tried again as after a crash that lost the note of it."""
    with hands.step(asked.token):
        first = await type.create(hands, asked)
    with hands.step(asked.token):
        assert await type.create(hands, asked) == first
    return first


async def test_an_environment_is_made_changed_and_taken_away(yard: Yard, hands: YardHands) -> None:
    policy = {"TerminateJobsOnUpdate": False, "JobExecutionTimeoutMinutes": 7}
    properties = environment(Tags={"Project": "p"}, UpdatePolicy=policy, ReplaceComputeEnvironment=False)
    asked = wanted(ENVIRONMENT, properties, name="stack-Ce-1", tags={"Team": "t", "Project": "of the stack"})
    made = await made_twice(hands, ENVIRONMENT, asked)
    arn = f"arn:aws:batch:{hands.region}:{hands.account}:compute-environment/stack-Ce-1"
    assert made == Made(arn, {"ComputeEnvironmentArn": arn})
    kept = standing(asked, made)
    (there,) = yard.batch.describe_compute_environments(computeEnvironments=[arn])["computeEnvironments"]
    assert there["tags"] == {"Team": "t", "Project": "p"} and there["updatePolicy"]["jobExecutionTimeoutMinutes"] == 7
    assert (await ENVIRONMENT.read(hands, kept))["Tags"] == {"Project": "p"}

    changed = {
        **properties,
        "ComputeResources": resources(MaxvCpus=8, InstanceTypes=["m5", "c5"]),
        "State": "DISABLED",
        "Tags": {"New": "n"},
    }
    changed["ComputeResources"].pop("SecurityGroupIds")
    changed["ComputeResources"]["LaunchTemplate"] = {"LaunchTemplateId": "lt-1"}
    asked_again = wanted(ENVIRONMENT, changed, tags={"Team": "t"})
    assert ENVIRONMENT.update is not None
    hands.calls.clear()
    assert await ENVIRONMENT.update(hands, asked_again, kept) == made
    assert await ENVIRONMENT.update(hands, asked_again, kept) == made  # again, as after a crash
    (there,) = yard.batch.describe_compute_environments(computeEnvironments=[arn])["computeEnvironments"]
    assert there["computeResources"]["maxvCpus"] == 8 and there["computeResources"]["instanceTypes"] == ["m5", "c5"]
    assert "securityGroupIds" not in there["computeResources"]
    assert there["state"] == "DISABLED" and there["tags"] == {"Team": "t", "New": "n"}

    kept = standing(asked_again, made)
    read = await ENVIRONMENT.read(hands, kept)
    assert read is not None
    assert {name: read["ComputeResources"][name] for name in changed["ComputeResources"] if name != "LaunchTemplate"} == {
        name: value for name, value in changed["ComputeResources"].items() if name != "LaunchTemplate"
    }
    await ENVIRONMENT.delete(hands, kept)
    await ENVIRONMENT.delete(hands, kept)
    assert await ENVIRONMENT.read(hands, kept) is None


async def test_a_member_that_cannot_be_taken_away_is_told(hands: YardHands) -> None:
    asked = wanted(ENVIRONMENT, environment(), name="stack-Ce-2")
    kept = standing(asked, await ENVIRONMENT.create(hands, asked))
    without = {name: value for name, value in resources().items() if name != "AllocationStrategy"}
    with pytest.raises(Fault, match=r"ComputeResources\.AllocationStrategy cannot be taken away"):
        await ENVIRONMENT.update(hands, wanted(ENVIRONMENT, environment(ComputeResources=without)), kept)
    await ENVIRONMENT.delete(hands, kept)


async def test_a_name_that_is_taken_is_refused_and_stays_its_owners(yard: Yard, hands: YardHands) -> None:
    yard.environment_of("taken")
    asked = wanted(ENVIRONMENT, environment(ComputeEnvironmentName="taken"))
    for _ in range(2):
        with hands.step("a" * 32), pytest.raises(Fault) as refused:
            await ENVIRONMENT.create(hands, asked)
        assert refused.value.message == "Resource of type 'AWS::Batch::ComputeEnvironment' with identifier 'taken' already exists."
    (there,) = yard.batch.describe_compute_environments(computeEnvironments=["taken"])["computeEnvironments"]
    assert there["state"] == "ENABLED"


async def test_an_invalid_environment_is_a_refusal_and_leaves_nothing(tmp_path: Path) -> None:
    strict = Yard(tmp_path / "yard", "--profile", "aws").start()
    hands = YardHands(strict, tmp_path)
    try:
        strict._network()
        with pytest.raises(Fault, match="stack-Ce-3 is INVALID: CLIENT_ERROR"):
            await ENVIRONMENT.create(hands, wanted(ENVIRONMENT, environment(), name="stack-Ce-3"))
        assert strict.batch.describe_compute_environments()["computeEnvironments"] == []
    finally:
        hands.close()
        strict.down()


async def test_a_queue_is_made_changed_and_taken_away_with_its_jobs(yard: Yard, hands: YardHands) -> None:
    ones = [
        standing(a, await ENVIRONMENT.create(hands, a)) for a in (wanted(ENVIRONMENT, environment(), name=f"stack-Q-{n}") for n in "12")
    ]
    limit = {"Reason": "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", "State": "RUNNABLE", "MaxTimeSeconds": 600, "Action": "CANCEL"}
    properties = queue(ones[0].physical_id, Tags={"batchyard:spill": "idle"}, JobStateTimeLimitActions=[limit])
    asked = wanted(QUEUE, properties, name="stack-Queue-1")
    made = await made_twice(hands, QUEUE, asked)
    assert made.attributes == {"JobQueueArn": made.physical_id} and made.physical_id.endswith(":job-queue/stack-Queue-1")
    kept = standing(asked, made)
    assert (await QUEUE.read(hands, kept)) == {
        **properties,
        "State": "ENABLED",
        "JobQueueType": "ECS",
        "JobQueueName": "stack-Queue-1",
        "JobQueueArn": made.physical_id,
    }

    changed = queue(*(one.physical_id for one in reversed(ones)), Priority=5)
    asked_again = wanted(QUEUE, changed)
    assert await QUEUE.update(hands, asked_again, kept) == made
    kept = standing(asked_again, made)
    (there,) = yard.batch.describe_job_queues(jobQueues=[made.physical_id])["jobQueues"]
    assert there["priority"] == 5 and there["tags"] == {} and there["jobStateTimeLimitActions"] == []
    assert [one["computeEnvironment"] for one in there["computeEnvironmentOrder"]] == [one.physical_id for one in reversed(ones)]

    with pytest.raises(Fault, match="Cannot delete, found existing JobQueue relationship"):
        await ENVIRONMENT.delete(hands, ones[0])
    job = yard.submit(yard.definition_of("long", "sleep", "600"), made.physical_id)
    yard.until(job, "RUNNABLE", "STARTING", "RUNNING")
    await QUEUE.delete(hands, kept)
    await QUEUE.delete(hands, kept)
    assert yard.until(job)["statusReason"] == "JobQueue deleted"
    for one in ones:
        await ENVIRONMENT.delete(hands, one)


async def test_revisions_of_a_definition(yard: Yard, hands: YardHands) -> None:
    properties = {**container("true"), "Parameters": {"Input": "x"}, "RetryStrategy": {"Attempts": 2}, "Tags": {"a": "b"}}
    asked = wanted(DEFINITION, properties, name="stack-Definition")
    made = await made_twice(hands, DEFINITION, asked)
    assert made.physical_id.endswith(":job-definition/stack-Definition:1")
    assert made.attributes["JobDefinitionArn"] == made.physical_id
    first = standing(asked, made)
    read = await DEFINITION.read(hands, first)
    assert read is not None and {name: read[name] for name in properties} == properties

    retagged = wanted(DEFINITION, {**properties, "Tags": {"c": "d"}})
    assert (await DEFINITION.update(hands, retagged, first)).physical_id == first.physical_id
    assert statuses(yard) == {1: "ACTIVE"}

    step = wanted(DEFINITION, {**properties, **container("false")})
    with hands.step("b" * 32):
        second = await DEFINITION.update(hands, step, standing(retagged, made))
    with hands.step("b" * 32):
        assert await DEFINITION.update(hands, step, standing(retagged, made)) == second
    assert second.physical_id.endswith(":2") and not second.keeps_former and statuses(yard) == {1: "ACTIVE", 2: "ACTIVE"}
    undone = await DEFINITION.update(hands, retagged, standing(step, made))  # an update that failed, and is taken back
    assert undone == made
    await DEFINITION.delete(hands, first)  # what a stack does with the former one at the end

    less = {name: value for name, value in step.properties.items() if name != "RetryStrategy"}
    staying = wanted(DEFINITION, {**less, "ResourceRetentionPolicy": {"SkipDeregisterOnUpdate": True}})
    third = await DEFINITION.update(hands, staying, standing(step, second))
    assert third.keeps_former and statuses(yard) == {1: "INACTIVE", 2: "ACTIVE", 3: "ACTIVE"}
    for _ in range(2):
        await DEFINITION.delete(hands, standing(staying, third))
    assert statuses(yard) == {1: "INACTIVE", 2: "ACTIVE", 3: "INACTIVE"}
    assert await DEFINITION.read(hands, standing(staying, third)) is None


def statuses(yard: Yard) -> dict[int, str]:
    found = yard.batch.describe_job_definitions(jobDefinitionName="stack-Definition")["jobDefinitions"]
    return {one["revision"]: one["status"] for one in found}


NODES = {
    "Type": "MultiNode",
    "NodeProperties": {
        "MainNode": 0,
        "NumNodes": 2,
        "NodeRangeProperties": [{"TargetNodes": "0:1", "Container": container("true")["ContainerProperties"]}],
    },
}
PODS = {
    "Type": "container",
    "EksProperties": {
        "PodProperties": {
            "Containers": [{"Image": "busybox", "Command": ["true"], "Resources": {"Limits": {"cpu": "1", "memory": "64Mi"}}}],
            "Metadata": {"Labels": {"App": "x"}},
        }
    },
}
TASKS = {
    "Type": "container",
    "EcsProperties": {
        "TaskProperties": [
            {
                "Containers": [
                    {
                        "Name": "main",
                        "Image": "busybox",
                        "Command": ["true"],
                        "ResourceRequirements": [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "64"}],
                    }
                ]
            }
        ]
    },
}


@pytest.mark.parametrize(("name", "properties"), [("nodes", NODES), ("pods", PODS), ("tasks", TASKS)])
async def test_every_form_of_definition_is_registered_once_and_read_as_it_was_written(
    hands: YardHands, name: str, properties: dict[str, Any]
) -> None:
    asked = wanted(DEFINITION, properties, name=f"stack-{name}")
    made = await made_twice(hands, DEFINITION, asked)
    assert made.physical_id.endswith(":1")
    read = await DEFINITION.read(hands, standing(asked, made))
    assert read is not None and {member: read[member] for member in properties} == properties


async def test_scheduling_policies_and_consumable_resources(yard: Yard, hands: YardHands) -> None:
    policy, consumable = TYPES["SchedulingPolicy"], TYPES["ConsumableResource"]
    shares = {"ShareDecaySeconds": 600, "ComputeReservation": 10, "ShareDistribution": [{"ShareIdentifier": "a", "WeightFactor": 2.0}]}
    asked = wanted(policy, {"FairsharePolicy": shares}, name="stack-Policy")
    made = await made_twice(hands, policy, asked)
    assert made.attributes == {"Arn": made.physical_id}
    assert (await policy.read(hands, standing(asked, made)))["FairsharePolicy"] == shares
    plain = wanted(policy, {})
    assert await policy.update(hands, plain, standing(asked, made)) == made
    (there,) = yard.batch.describe_scheduling_policies(arns=[made.physical_id])["schedulingPolicies"]
    assert there["fairsharePolicy"]["shareDistribution"] == []
    await policy.delete(hands, standing(asked, made))
    await policy.delete(hands, standing(asked, made))
    assert await policy.read(hands, standing(asked, made)) is None

    asked = wanted(consumable, {"ResourceType": "REPLENISHABLE", "TotalQuantity": 5}, name="stack-Licence")
    made = await made_twice(hands, consumable, asked)
    assert made.attributes["ConsumableResourceArn"] == made.physical_id and made.attributes["AvailableQuantity"] == 5
    more = wanted(consumable, {"ResourceType": "REPLENISHABLE", "TotalQuantity": 9}, tags={"x": "y"})
    for _ in range(2):
        assert (await consumable.update(hands, more, standing(asked, made))).attributes["AvailableQuantity"] == 9
    there = yard.batch.describe_consumable_resource(consumableResource=made.physical_id)
    assert there["totalQuantity"] == 9 and there["tags"] == {"x": "y"}
    await consumable.delete(hands, standing(more, made))
    await consumable.delete(hands, standing(more, made))
    assert await consumable.read(hands, standing(more, made)) is None


async def test_a_replaced_environment_lets_its_jobs_end(yard: Yard, hands: YardHands) -> None:
    """Blue and green by hand: a new environment, the queue's update, then the old one goes; each job runs once."""
    old_asked = wanted(ENVIRONMENT, environment(), name="stack-Blue")
    old = standing(old_asked, await ENVIRONMENT.create(hands, old_asked))
    queue_asked = wanted(QUEUE, queue(old.physical_id), name="stack-Live")
    live = standing(queue_asked, await QUEUE.create(hands, queue_asked))
    definition = yard.definition_of("some", "sleep", "3")
    jobs = [yard.submit(definition, live.physical_id) for _ in range(6)]
    yard.until(jobs[0], "RUNNING", "SUCCEEDED")
    new_asked = wanted(ENVIRONMENT, environment(ComputeResources=resources(InstanceTypes=["m5"])), name="stack-Green")
    new = standing(new_asked, await ENVIRONMENT.create(hands, new_asked))
    await QUEUE.update(hands, wanted(QUEUE, queue(new.physical_id)), live)
    await ENVIRONMENT.delete(hands, old)
    ended = [yard.until(job) for job in jobs]
    assert [job["status"] for job in ended] == ["SUCCEEDED"] * 6 and {len(job["attempts"]) for job in ended} == {1}
    await QUEUE.delete(hands, live)
    await ENVIRONMENT.delete(hands, new)


async def test_what_runs_longer_than_its_time_is_ended_and_tried_again(yard: Yard, hands: YardHands) -> None:
    policy = {"TerminateJobsOnUpdate": True}
    old_asked = wanted(ENVIRONMENT, environment(UpdatePolicy=policy), name="stack-Short")
    old = standing(old_asked, await ENVIRONMENT.create(hands, old_asked))
    new_asked = wanted(ENVIRONMENT, environment(), name="stack-Long")
    new = standing(new_asked, await ENVIRONMENT.create(hands, new_asked))
    queue_asked = wanted(QUEUE, queue(old.physical_id), name="stack-Moved")
    live = standing(queue_asked, await QUEUE.create(hands, queue_asked))
    script = "[ $AWS_BATCH_JOB_ATTEMPT = 2 ] || sleep 600"
    definition = yard.definition_of("moved", "sh", "-c", script, retryStrategy={"attempts": 2})
    job = yard.submit(definition, live.physical_id)
    yard.until(job, "RUNNING")
    await QUEUE.update(hands, wanted(QUEUE, queue(new.physical_id)), live)

    async def reclaim(request: Any) -> None:
        yard.cli("reclaim", request.instance, "--notice", "0", "--data", str(yard.data))

    instances = {
        one["id"]: SimpleNamespace(id=one["id"], environment=old.physical_id)
        for one in until(lambda: [i for i in placed(yard) if i["environment"] == "stack-Short"] or None, "an instance")
    }
    hands.desk.read, hands.desk.ask = SimpleNamespace(instances=instances), reclaim
    await ENVIRONMENT.delete(hands, old)
    ended = yard.until(job)
    assert ended["status"] == "SUCCEEDED" and len(ended["attempts"]) == 2
    assert ended["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")
    await QUEUE.delete(hands, live)
    await ENVIRONMENT.delete(hands, new)


def placed(yard: Yard) -> list[dict[str, Any]]:
    import json

    return list(json.loads(yard.cli("compute", "--json", "--data", str(yard.data)).stdout)["instances"])
