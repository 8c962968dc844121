"""Item 11 of the acceptance list: consumable resources as boto3 sees them, and through a kill of the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from yard import Yard, until


def counted(yard: Yard, name: str) -> tuple[int, int, int]:
    told = yard.batch.describe_consumable_resource(consumableResource=name)
    return told["totalQuantity"], told["inUseQuantity"], told["availableQuantity"]


def test_two_of_three_run_and_the_third_waits(yard: Yard, name: str) -> None:
    yard.batch.create_consumable_resource(consumableResourceName=name, totalQuantity=2)
    wants: dict[str, Any] = {"consumableResourceList": [{"consumableResource": name, "quantity": 1}]}
    jobs = [yard.submit("sleep", name=name, consumableResourcePropertiesOverride=wants) for _ in range(3)]
    for job in jobs[:2]:
        yard.until(job, "RUNNING")
    assert counted(yard, name) == (2, 2, 0)
    third = yard.job(jobs[2])
    assert third["status"] == "RUNNABLE"
    told = json.loads(yard.cli("explain", jobs[2], "--json", "--data", str(yard.data)).stdout)
    assert told["summary"] == f"waits for consumable resource {name}: the job needs 1 and 0 of 2 are free"
    yard.until(yard.submit("true"))  # those that want none are not blocked
    yard.batch.terminate_job(jobId=jobs[0], reason="enough")
    yard.until(jobs[2], "RUNNING")
    assert counted(yard, name) == (2, 2, 0)
    for job in jobs[1:]:
        yard.batch.terminate_job(jobId=job, reason="enough")
    until(lambda: counted(yard, name) == (2, 0, 2) or None, "all to be given back")
    listed = yard.batch.list_jobs_by_consumable_resource(consumableResource=name)["jobs"]
    assert [job["jobArn"].rpartition("/")[2] for job in listed] == jobs


def test_what_does_not_come_back_shrinks(yard: Yard, name: str) -> None:
    yard.batch.create_consumable_resource(consumableResourceName=name, totalQuantity=3, resourceType="NON_REPLENISHABLE")
    wants = {"consumableResourceList": [{"consumableResource": name, "quantity": 2}]}
    yard.until(yard.submit("true", consumableResourcePropertiesOverride=wants))
    assert counted(yard, name) == (1, 0, 1)
    second = yard.submit("true", consumableResourcePropertiesOverride=wants)
    assert yard.job(second)["status"] == "RUNNABLE"
    yard.batch.update_consumable_resource(consumableResource=name, operation="ADD", quantity=1, clientToken="once")
    yard.until(second, "SUCCEEDED")
    assert counted(yard, name) == (0, 0, 0)


def test_what_is_in_use_survives_a_kill(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "2", "--memory-mib", "1024")
    yard.with_queue()
    yard.batch.create_consumable_resource(consumableResourceName="licence", totalQuantity=1)
    wants = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}
    yard.definition_of("licensed", "sleep", "600", consumableResourceProperties=wants)
    jobs = [yard.submit("licensed") for _ in range(2)]
    yard.until(jobs[0], "RUNNING")
    yard.kill()
    yard.start()
    assert counted(yard, "licence") == (1, 1, 0)
    assert yard.job(jobs[1])["status"] == "RUNNABLE"
    yard.batch.terminate_job(jobId=jobs[0], reason="enough")
    yard.until(jobs[1], "RUNNING")
    assert counted(yard, "licence") == (1, 1, 0)


def test_resources_are_listed_tagged_updated_and_deleted(yard: Yard, name: str) -> None:
    batch = yard.batch
    made = [batch.create_consumable_resource(consumableResourceName=f"{name}-{n}", totalQuantity=n, tags={"n": str(n)}) for n in range(3)]
    pages = batch.get_paginator("list_consumable_resources").paginate(
        filters=[{"name": "CONSUMABLE_RESOURCE_NAME", "values": [f"{name.upper()}*"]}], PaginationConfig={"PageSize": 2}
    )
    listed = [c for page in pages for c in page["consumableResources"]]
    assert [(c["consumableResourceName"], c["totalQuantity"]) for c in listed] == [(f"{name}-{n}", n) for n in range(3)]
    arn = made[2]["consumableResourceArn"]
    batch.tag_resource(resourceArn=arn, tags={"more": "x"})
    assert batch.describe_consumable_resource(consumableResource=arn)["tags"] == {"n": "2", "more": "x"}
    update = {"consumableResource": arn, "operation": "REMOVE", "quantity": 1, "clientToken": name}
    assert [batch.update_consumable_resource(**update)["totalQuantity"] for _ in range(2)] == [1, 1]
    for one in made:
        batch.delete_consumable_resource(consumableResource=one["consumableResourceArn"])
    with pytest.raises(batch.exceptions.ClientException, match="does not exist"):
        batch.describe_consumable_resource(consumableResource=arn)


def test_jobs_that_want_one_are_listed_in_pages_and_by_status_and_name(yard: Yard, name: str) -> None:
    yard.batch.create_consumable_resource(consumableResourceName=name, totalQuantity=9)
    wants: dict[str, Any] = {"consumableResourceList": [{"consumableResource": name, "quantity": 1}]}
    jobs = [yard.submit("true", name=f"{name}-{n}", consumableResourcePropertiesOverride=wants) for n in range(3)]
    for job in jobs:
        yard.until(job, "SUCCEEDED")
    paginator = yard.batch.get_paginator("list_jobs_by_consumable_resource")

    def listed(**params: Any) -> list[str]:
        return [job["jobArn"].rpartition("/")[2] for page in paginator.paginate(consumableResource=name, **params) for job in page["jobs"]]

    assert listed(PaginationConfig={"PageSize": 2}) == jobs
    assert listed(filters=[{"name": "JOB_STATUS", "values": ["SUCCEEDED"]}]) == jobs
    assert listed(filters=[{"name": "JOB_NAME", "values": [f"{name}-1"]}]) == jobs[1:2]
