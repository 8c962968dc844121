"""Consumable resources through the API, with the provider played by hand: what is counted when, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import Bench

WANTS = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}


@pytest.fixture
def licensed(ready: Bench) -> Bench:
    ready.call("CreateConsumableResource", consumableResourceName="licence", totalQuantity=2, tags={"team": "x"})
    ready.definition("licensed", consumableResourceProperties=WANTS)
    return ready


def counted(bench: Bench, name: str = "licence") -> tuple[int, int, int]:
    told = bench.call("DescribeConsumableResource", consumableResource=name)
    return told["totalQuantity"], told["inUseQuantity"], told["availableQuantity"]


def states(bench: Bench, *jobs: str) -> list[str]:
    return [bench.job(job)["status"] for job in jobs]


def test_created_shown_listed_and_deleted(bench: Bench) -> None:
    made = bench.call("CreateConsumableResource", consumableResourceName="licence", totalQuantity=5, tags={"a": "b"})
    arn = made["consumableResourceArn"]
    assert arn.endswith(":consumable-resource/licence")
    shown = bench.call("DescribeConsumableResource", consumableResource=arn)
    assert shown.pop("createdAt") > 0
    assert shown == {
        **made,
        "totalQuantity": 5,
        "inUseQuantity": 0,
        "availableQuantity": 5,
        "resourceType": "REPLENISHABLE",
        "tags": {"a": "b"},
    }
    bench.call("TagResource", resourceArn=arn, tags={"c": "d"})
    assert bench.call("ListTagsForResource", resourceArn=arn)["tags"] == {"a": "b", "c": "d"}
    assert bench.refused("CreateConsumableResource", consumableResourceName="licence") == "Object already exists"
    assert bench.call("DeleteConsumableResource", consumableResource="licence") == {}
    assert "does not exist" in bench.refused("DescribeConsumableResource", consumableResource="licence")
    assert "does not exist" in bench.refused("DeleteConsumableResource", consumableResource="licence")


def test_lists_filter_by_name_in_any_case_and_come_in_pages(bench: Bench) -> None:
    for name in ("Alpha", "alps", "beta"):
        bench.call("CreateConsumableResource", consumableResourceName=name, resourceType="NON_REPLENISHABLE", totalQuantity=1)

    def names(**params: Any) -> list[str]:
        return [c["consumableResourceName"] for c in bench.call("ListConsumableResources", **params)["consumableResources"]]

    assert names() == ["Alpha", "alps", "beta"]
    assert names(filters=[{"name": "CONSUMABLE_RESOURCE_NAME", "values": ["AL*"]}]) == ["Alpha", "alps"]
    assert names(filters=[{"name": "CONSUMABLE_RESOURCE_NAME", "values": ["BETA"]}]) == ["beta"]
    first = bench.call("ListConsumableResources", maxResults=2)
    assert names(maxResults=2, nextToken=first["nextToken"]) == ["beta"]
    assert "is not valid" in bench.refused("ListConsumableResources", filters=[{"name": "NAME", "values": ["x"]}])


def test_updates_count_once_per_token(licensed: Bench) -> None:
    def update(**params: Any) -> int:
        return int(licensed.call("UpdateConsumableResource", consumableResource="licence", **params)["totalQuantity"])

    assert update(quantity=7) == 7, "SET is the default"
    assert update(operation="ADD", quantity=3, clientToken="t1") == 10
    assert update(operation="ADD", quantity=3, clientToken="t1") == 10
    assert update(operation="REMOVE", quantity=4) == 6
    refused = {"consumableResource": "licence"}
    assert "was used with another update" in licensed.refused(
        "UpdateConsumableResource", **refused, operation="ADD", quantity=4, clientToken="t1"
    )
    assert "cannot be removed" in licensed.refused("UpdateConsumableResource", **refused, operation="REMOVE", quantity=7)
    assert "between 0 and" in licensed.refused("UpdateConsumableResource", **refused, operation="SET", quantity=-1)
    assert "is not valid" in licensed.refused("UpdateConsumableResource", **refused, operation="TAKE", quantity=1)
    licensed.tick(8 * 3600 + 1)
    assert update(operation="ADD", quantity=3, clientToken="t1") == 9, "a token is valid for 8 hours"


def test_locked_at_starting_and_given_back_at_the_end(licensed: Bench) -> None:
    jobs = [licensed.submit(jobDefinition="licensed") for _ in range(3)]
    plain = licensed.submit()
    assert counted(licensed) == (2, 0, 2), "nothing is held by jobs that wait for an instance"
    licensed.instances_up()
    assert states(licensed, *jobs, plain) == ["STARTING", "STARTING", "RUNNABLE", "STARTING"]
    assert counted(licensed) == (2, 2, 0)
    waiting = licensed.job(jobs[2])
    assert waiting["statusReason"] == "waits for consumable resource licence: the job needs 1 and 0 of 2 are free"
    licensed.start(jobs[0])
    licensed.end(jobs[0], exit_code=1)
    licensed.instances_up()
    assert states(licensed, *jobs) == ["FAILED", "STARTING", "STARTING"]
    assert counted(licensed) == (2, 2, 0)


def test_a_retry_gives_back_and_takes_anew_and_a_total_may_fall_below_what_is_in_use(licensed: Bench) -> None:
    job = licensed.submit(jobDefinition="licensed", retryStrategy={"attempts": 2})
    licensed.start(job)
    licensed.call("UpdateConsumableResource", consumableResource="licence", quantity=0)
    assert counted(licensed) == (0, 1, 0)
    licensed.end(job, exit_code=1)
    assert licensed.job(job)["status"] == "RUNNABLE"
    licensed.call("UpdateConsumableResource", consumableResource="licence", operation="ADD", quantity=1)
    licensed.instances_up()
    assert licensed.job(job)["status"] == "STARTING"


def test_what_does_not_come_back_shrinks_the_total_at_every_attempt(ready: Bench) -> None:
    ready.call("CreateConsumableResource", consumableResourceName="token", totalQuantity=5, resourceType="NON_REPLENISHABLE")
    wants = {"consumableResourceList": [{"consumableResource": "token", "quantity": 2}]}
    job = ready.submit(consumableResourcePropertiesOverride=wants, retryStrategy={"attempts": 2})
    ready.start(job)
    assert counted(ready, "token") == (3, 0, 3)
    ready.end(job, exit_code=1)
    ready.start(job)
    assert counted(ready, "token") == (1, 0, 1)
    ready.end(job)
    last = ready.submit(consumableResourcePropertiesOverride=wants)
    ready.instances_up()
    assert "the job needs 2 and there are 1 in all" in ready.job(last)["statusReason"]


def test_children_of_an_array_hold_each_their_own(licensed: Bench) -> None:
    array = licensed.submit(jobDefinition="licensed", arrayProperties={"size": 5})
    licensed.instances_up()
    assert licensed.job(array)["arrayProperties"]["statusSummary"]["STARTING"] == 2
    assert counted(licensed) == (2, 2, 0)


def test_in_use_is_derived_so_a_restart_counts_the_same(licensed: Bench) -> None:
    job = licensed.submit(jobDefinition="licensed")
    licensed.start(job)
    licensed.engine.rebuild()
    assert counted(licensed) == (2, 1, 1)
    licensed.end(job)
    assert counted(licensed) == (2, 0, 2)


def test_a_job_shows_what_it_wants_and_an_override_replaces_it(licensed: Bench) -> None:
    arn = licensed.call("DescribeConsumableResource", consumableResource="licence")["consumableResourceArn"]
    (shown,) = licensed.call("DescribeJobDefinitions", jobDefinitionName="licensed")["jobDefinitions"]
    assert shown["consumableResourceProperties"] == WANTS
    job = licensed.job(licensed.submit(jobDefinition="licensed"))
    assert job["consumableResourceProperties"] == {"consumableResourceList": [{"consumableResource": arn, "quantity": 1}]}
    override = {"consumableResourceList": [{"consumableResource": arn, "quantity": 2}]}
    job = licensed.job(licensed.submit(jobDefinition="licensed", consumableResourcePropertiesOverride=override))
    assert job["consumableResourceProperties"] == override


def test_jobs_by_resource(licensed: Bench) -> None:
    ran = licensed.submit(jobDefinition="licensed", jobName="first")
    licensed.start(ran)
    licensed.end(ran)
    array = licensed.submit(jobDefinition="licensed", jobName="Second", arrayProperties={"size": 2})
    licensed.submit(jobName="other")

    def listed(**params: Any) -> list[tuple[str, str]]:
        jobs = licensed.call("ListJobsByConsumableResource", consumableResource="licence", **params)["jobs"]
        return [(job["jobArn"].rpartition("/")[2], job["jobStatus"]) for job in jobs]

    assert listed() == [(ran, "SUCCEEDED"), (array, "PENDING")]
    assert listed(filters=[{"name": "JOB_STATUS", "values": ["SUCCEEDED"]}]) == [(ran, "SUCCEEDED")]
    assert listed(filters=[{"name": "JOB_NAME", "values": ["sec*"]}]) == [(array, "PENDING")]
    first = licensed.call("ListJobsByConsumableResource", consumableResource="licence", maxResults=1)
    (entry,) = first["jobs"]
    assert (entry["quantity"], entry["jobName"]) == (1, "first")
    assert listed(maxResults=1, nextToken=first["nextToken"]) == [(array, "PENDING")]
    assert "does not exist" in licensed.refused("ListJobsByConsumableResource", consumableResource="nothing")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"quantity": 1}], "consumableResource is required"),
        ([{"consumableResource": "licence"}], "quantity must be 1 or more"),
        ([{"consumableResource": "licence", "quantity": 0}], "quantity must be 1 or more"),
        ([{"consumableResource": "licence", "quantity": 1}] * 2, "names licence more than once"),
    ],
)
def test_entries_that_make_no_sense_are_refused(licensed: Bench, entries: list[dict[str, Any]], said: str) -> None:
    properties = {"consumableResourceList": entries}
    wrong = licensed.refused(
        "SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job", consumableResourcePropertiesOverride=properties
    )
    assert said in wrong
    container = {"image": "x", "vcpus": 1, "memory": 4}
    definition = {"jobDefinitionName": "d", "type": "container", "containerProperties": container}
    assert said in licensed.refused("RegisterJobDefinition", **definition, consumableResourceProperties=properties)


def test_a_job_cannot_want_what_does_not_exist(ready: Bench) -> None:
    ready.definition("licensed", consumableResourceProperties=WANTS)
    assert "does not exist" in ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="licensed")
