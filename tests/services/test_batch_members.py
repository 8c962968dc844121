"""Every member of AWS's Batch requests goes over the wire: it is shown again as it was sent, or refused by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from batch_requests import (
    EKS,
    ENVIRONMENTS,
    FAIR,
    LIMITS,
    OF_JOB,
    ON_EKS,
    PLAIN,
    QUOTA_SHARES,
    REFUSED,
    REFUSED_ENVIRONMENTS,
    REFUSED_SUBMISSIONS,
    REFUSED_UPDATES,
    SERVICE_ORDER,
    SUBMISSIONS,
    TABLE,
    UPDATES,
)
from botocore.exceptions import ClientError

from yard import Yard, serving


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("members") / "data", "--vcpus", "8", "--memory-mib", "4096", "--runtime", "process") as yard:
        yield yard


def missing(sent: Any, shown: Any, where: str = "") -> list[str]:
    """What of `sent` is not in `shown`."""
    if isinstance(sent, dict) and isinstance(shown, dict):
        return [gone for name, value in sent.items() for gone in missing(value, shown.get(name), f"{where}.{name}")]
    if isinstance(sent, list) and isinstance(shown, list) and len(sent) == len(shown):
        return [gone for number, pair in enumerate(zip(sent, shown, strict=True)) for gone in missing(*pair, f"{where}[{number}]")]
    return [] if sent == shown else [f"{where}: sent {sent!r}, shown {shown!r}"]


def refusal(call: Any, **members: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**members)
    assert refused.value.response["Error"]["Code"] == "ClientException"
    return str(refused.value.response["Error"]["Message"])


@pytest.mark.parametrize(("name", "members"), TABLE, ids=[name for name, _ in TABLE])
def test_what_a_definition_says_is_shown_again(service: Yard, name: str, members: dict[str, Any]) -> None:
    arn = service.batch.register_job_definition(jobDefinitionName=name, **members)["jobDefinitionArn"]
    (shown,) = service.batch.describe_job_definitions(jobDefinitions=[arn])["jobDefinitions"]
    assert missing(members, shown) == []


@pytest.mark.parametrize(("members", "words"), REFUSED, ids=[f"{n}-{w[:40]}" for n, (_, w) in enumerate(REFUSED)])
def test_what_a_definition_cannot_have_is_refused_by_its_name(service: Yard, members: dict[str, Any], words: str) -> None:
    assert words in refusal(service.batch.register_job_definition, jobDefinitionName="refused", **members)
    assert service.batch.describe_job_definitions(jobDefinitionName="refused")["jobDefinitions"] == []


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_an_environment_says_is_shown_again(service: Yard, name: str) -> None:
    service.batch.create_compute_environment(computeEnvironmentName=f"shown-{name}", **ENVIRONMENTS[name])
    (shown,) = service.batch.describe_compute_environments(computeEnvironments=[f"shown-{name}"])["computeEnvironments"]
    assert missing(ENVIRONMENTS[name], shown) == []


@pytest.mark.parametrize(("members", "words"), REFUSED_ENVIRONMENTS, ids=[words for _, words in REFUSED_ENVIRONMENTS])
def test_what_an_environment_cannot_have_is_refused_by_its_name(service: Yard, members: dict[str, Any], words: str) -> None:
    assert words in refusal(service.batch.create_compute_environment, computeEnvironmentName="refused", **members)
    assert service.batch.describe_compute_environments(computeEnvironments=["refused"])["computeEnvironments"] == []


def test_what_an_update_of_an_environment_says_is_shown_from_then_on(service: Yard) -> None:
    for name, members in ENVIRONMENTS.items():
        linked = {n: v for n, v in members.items() if n != "serviceRole" or name == "unmanaged"}
        service.batch.create_compute_environment(computeEnvironmentName=f"changed-{name}", **linked)
    for name, members in UPDATES:
        service.batch.update_compute_environment(computeEnvironment=f"changed-{name}", **members)
        (shown,) = service.batch.describe_compute_environments(computeEnvironments=[f"changed-{name}"])["computeEnvironments"]
        assert missing(members, shown) == [], name
    for name, members, words in REFUSED_UPDATES:
        before = service.batch.describe_compute_environments(computeEnvironments=[f"changed-{name}"])["computeEnvironments"]
        assert words in refusal(service.batch.update_compute_environment, computeEnvironment=f"changed-{name}", **members)
        assert service.batch.describe_compute_environments(computeEnvironments=[f"changed-{name}"])["computeEnvironments"] == before


def test_what_a_queue_and_its_policy_say_is_shown_again(service: Yard) -> None:
    batch = service.batch
    first, second = service.environment_of("queues-1"), service.environment_of("queues-2")
    arns = [batch.create_scheduling_policy(name=f"policy-{n}", fairsharePolicy=FAIR, tags={"a": "b"})["arn"] for n in (1, 2)]
    order = [{"order": 3, "computeEnvironment": first}, {"order": 5, "computeEnvironment": second}]
    made = {"state": "DISABLED", "priority": 5, "computeEnvironmentOrder": order, "schedulingPolicyArn": arns[0], "tags": {"a": "b"}}
    members = {**made, "jobQueueType": "ECS", "jobStateTimeLimitActions": LIMITS}
    arn = batch.create_job_queue(jobQueueName="shown", **members)["jobQueueArn"]
    assert missing(members, batch.describe_job_queues(jobQueues=[arn])["jobQueues"][0]) == []
    changed = {"state": "ENABLED", "priority": 6, "computeEnvironmentOrder": order[1:], "schedulingPolicyArn": arns[1]}
    batch.update_job_queue(jobQueue="shown", **changed, jobStateTimeLimitActions=LIMITS[:1])
    (shown,) = batch.describe_job_queues(jobQueues=["shown"])["jobQueues"]
    assert missing({**changed, "jobStateTimeLimitActions": LIMITS[:1], "tags": {"a": "b"}}, shown) == []
    for members, words in (
        ({"serviceEnvironmentOrder": SERVICE_ORDER}, "serviceEnvironmentOrder is not available"),
        ({"jobQueueType": "SAGEMAKER_TRAINING"}, "jobQueueType SAGEMAKER_TRAINING is not available"),
    ):
        assert words in refusal(batch.create_job_queue, jobQueueName="no", priority=1, computeEnvironmentOrder=order, **members)
    assert "serviceEnvironmentOrder is not" in refusal(batch.update_job_queue, jobQueue="shown", serviceEnvironmentOrder=SERVICE_ORDER)
    batch.update_scheduling_policy(arn=arns[0], fairsharePolicy={**FAIR, "computeReservation": 20})
    (policy,) = batch.describe_scheduling_policies(arns=arns[:1])["schedulingPolicies"]
    assert missing({"fairsharePolicy": {**FAIR, "computeReservation": 20}, "tags": {"a": "b"}}, policy) == []
    assert "quotaSharePolicy is not available" in refusal(batch.create_scheduling_policy, name="quota", quotaSharePolicy=QUOTA_SHARES)
    assert "quotaSharePolicy is not available" in refusal(batch.update_scheduling_policy, arn=arns[0], quotaSharePolicy=QUOTA_SHARES)


@pytest.fixture(scope="module")
def closed(service: Yard) -> Yard:
    """Queues, `queue` and `eks`, whose environments start nothing, so that jobs stay as they are submitted."""
    batch = service.batch
    batch.create_compute_environment(computeEnvironmentName="closed", type="MANAGED", state="DISABLED", computeResources=PLAIN)
    batch.create_compute_environment(
        computeEnvironmentName="closed-eks", type="MANAGED", state="DISABLED", computeResources=ON_EKS, eksConfiguration=EKS
    )
    policy = batch.create_scheduling_policy(name="fair", fairsharePolicy=FAIR)["arn"]
    service.queue_of("queue", "closed", schedulingPolicyArn=policy)
    service.queue_of("eks", "closed-eks", schedulingPolicyArn=policy)
    batch.create_consumable_resource(consumableResourceName="licence", totalQuantity=10, resourceType="REPLENISHABLE", tags={"a": "b"})
    for name, members in TABLE:
        batch.register_job_definition(jobDefinitionName=f"of-{name}", **members)
    return service


@pytest.mark.parametrize(("definition", "members", "shown"), SUBMISSIONS, ids=[f"{n}-{d}" for n, (d, *_) in enumerate(SUBMISSIONS)])
def test_what_a_submission_says_is_shown_of_the_job(closed: Yard, definition: str, members: dict[str, Any], shown: dict[str, Any]) -> None:
    queue = "eks" if definition.startswith("pod") else "queue"
    first = closed.submit(f"of-{definition}", queue, shareIdentifier="a", schedulingPriorityOverride=3)
    sent = {**OF_JOB, "shareIdentifier": "a", "schedulingPriorityOverride": 9, "dependsOn": [{"jobId": first}], **members}
    job = closed.job(closed.submit(f"of-{definition}", queue, **sent))
    expected = {**OF_JOB, "shareIdentifier": "a", "schedulingPriority": 9, "dependsOn": [{"jobId": first}], "status": "PENDING"}
    assert missing({**expected, **shown}, job) == []
    runs = job
    if "-nodes" in definition:
        (runs,) = job["nodeProperties"]["nodeRangeProperties"]
        last = job["nodeProperties"]["numNodes"] - 1
        assert (
            runs["targetNodes"],
            runs["container"]["instanceType"] if runs.get("instanceTypes") == [] else runs["instanceTypes"][0],
        ) == (
            f"0:{last}",
            "m5.xlarge",
        )
        node = closed.job(f"{job['jobId']}#{last}")
        assert (node["nodeDetails"], node["status"]) == ({"nodeIndex": last, "isMainNode": False}, "PENDING")
        (override,) = members["nodeOverrides"]["nodePropertyOverrides"]
        members = override
    if "consumableResourcePropertiesOverride" in members:
        (wanted,) = runs["consumableResourceProperties"]["consumableResourceList"]
        assert (wanted["consumableResource"].rpartition("/")[2], wanted["quantity"]) == ("licence", 2)
    assert [gone for name, value in members.items() if name in EFFECTS for gone in missing(value, EFFECTS[name](runs))] == []


def effective(container: dict[str, Any]) -> dict[str, Any]:
    """A container as overrides speak of it: of its variables and needs those that they name."""
    variables = [entry for entry in container.get("environment", ()) if entry["name"] == "A"]
    needs = [entry for entry in container.get("resourceRequirements", ()) if entry["type"] == "VCPU"]
    return {**container, "environment": variables, "resourceRequirements": needs}


EFFECTS: dict[str, Any] = {
    "containerOverrides": lambda runs: effective(runs["container"]),
    "ecsPropertiesOverride": lambda runs: {
        "taskProperties": [{"containers": [effective(runs["ecsProperties"]["taskProperties"][0]["containers"][0])]}]
    },
    "eksPropertiesOverride": lambda runs: runs["eksProperties"],
}


@pytest.mark.parametrize(("definition", "members", "words"), REFUSED_SUBMISSIONS, ids=[words for *_, words in REFUSED_SUBMISSIONS])
def test_what_a_submission_cannot_have_is_refused_by_its_name(closed: Yard, definition: str, members: dict[str, Any], words: str) -> None:
    sent = {"shareIdentifier": "a", "schedulingPriorityOverride": 1, **members}
    assert words in refusal(closed.batch.submit_job, jobName="j", jobQueue="queue", jobDefinition=f"of-{definition}", **sent)


NAMED = "CONSUMABLE_RESOURCE_NAME"


def test_pages_and_filters_of_every_list(closed: Yard) -> None:
    batch = closed.batch
    fair = {"shareIdentifier": "a", "schedulingPriorityOverride": 1}
    array = closed.submit("of-legacy", **fair, arrayProperties={"size": 3})
    gang = closed.submit("of-legacy-nodes", **fair)
    closed.submit("of-container", **fair, parameters={"mode": "x"})
    batch.create_consumable_resource(consumableResourceName="licence-2", totalQuantity=1)
    batch.create_scheduling_policy(name="fair-2", fairsharePolicy={})
    for call, members, member in (
        (batch.list_jobs, {"arrayJobId": array, "jobStatus": "RUNNABLE", "filters": []}, "jobSummaryList"),
        (batch.list_jobs, {"multiNodeJobId": gang, "jobStatus": "RUNNABLE"}, "jobSummaryList"),
        (batch.list_jobs, {"jobQueue": "queue", "filters": [{"name": "JOB_NAME", "values": ["j*"]}]}, "jobSummaryList"),
        (batch.list_jobs_by_consumable_resource, {"consumableResource": "licence"}, "jobs"),
        (batch.list_consumable_resources, {"filters": [{"name": NAMED, "values": ["licence*"]}]}, "consumableResources"),
        (batch.list_scheduling_policies, {}, "schedulingPolicies"),
        (batch.describe_job_queues, {}, "jobQueues"),
        (batch.describe_compute_environments, {}, "computeEnvironments"),
        (batch.describe_job_definitions, {"status": "ACTIVE"}, "jobDefinitions"),
    ):
        whole = call(**members)[member]
        paged: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            answer = call(**members, **token, maxResults=1)
            paged += answer[member]
            if not answer.get("nextToken"):
                break
            token = {"nextToken": answer["nextToken"]}
        assert [timeless(one) for one in paged] == [timeless(one) for one in whole] and len(whole) > 1, member
    (told,) = batch.list_jobs_by_consumable_resource(
        consumableResource="licence", filters=[{"name": "JOB_STATUS", "values": ["RUNNABLE"]}], maxResults=1
    )["jobs"]
    assert told["jobStatus"] == "RUNNABLE"
    batch.update_consumable_resource(consumableResource="licence-2", operation="ADD", quantity=4, clientToken="once")
    batch.update_consumable_resource(consumableResource="licence-2", operation="ADD", quantity=4, clientToken="once")
    assert batch.describe_consumable_resource(consumableResource="licence-2")["totalQuantity"] == 5


def timeless(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if not name.endswith("UpdatedAt")}


def test_no_member_of_the_model_is_missing_in_these_tables(service: Yard) -> None:
    """A newer botocore that knows more members fails here, so that each is looked at."""
    sent: dict[str, list[dict[str, Any]]] = {
        "RegisterJobDefinition": [m for _, m in TABLE] + [m for m, _ in REFUSED],
        "SubmitJob": [{**OF_JOB, **m} for _, m, _ in SUBMISSIONS] + [m for _, m, _ in REFUSED_SUBMISSIONS],
        "CreateComputeEnvironment": [*ENVIRONMENTS.values(), *(m for m, _ in REFUSED_ENVIRONMENTS)],
        "UpdateComputeEnvironment": [m for _, m in UPDATES] + [m for _, m, _ in REFUSED_UPDATES],
    }
    model = service.batch.meta.service_model
    by_itself = {"jobDefinitionName", "computeEnvironmentName", "computeEnvironment", "jobName", "jobQueue", "jobDefinition"}
    by_itself |= {"shareIdentifier", "schedulingPriorityOverride", "dependsOn", "dependsOn[].jobId"}
    for operation, requests in sent.items():
        shape = model.operation_model(operation).input_shape
        known = set(paths(shape))
        assert known - {path for request in requests for path in held(shape, request)} - by_itself == EXEMPT.get(operation, set())


EXEMPT = {"UpdateComputeEnvironment": {"computeResources.updateToLatestImageVersion"}}  # it has a test of its own


def paths(shape: Any, at: str = "") -> Iterator[str]:
    if shape.type_name == "structure":
        for name, inner in shape.members.items():
            yield f"{at}.{name}".lstrip(".")
            yield from paths(inner, f"{at}.{name}".lstrip("."))
    elif shape.type_name == "list":
        yield from paths(shape.member, f"{at}[]")


def held(shape: Any, value: Any, at: str = "") -> Iterator[str]:
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield f"{at}.{name}".lstrip(".")
            yield from held(shape.members[name], inner, f"{at}.{name}".lstrip("."))
    elif shape.type_name == "list":
        for inner in value:
            yield from held(shape.member, inner, f"{at}[]")
