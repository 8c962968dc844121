"""Item 11 of the acceptance list: consumable resources as boto3 sees them, and through a kill of the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

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
    yard.environment_of("environment")
    yard.queue_of("queue", "environment")
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
