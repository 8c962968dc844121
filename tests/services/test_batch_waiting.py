"""Many waiting jobs at the wire: what has been answered is found by every list at once, also right after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from yard import Yard, serving, until

MANY = 300


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A service whose one vCPU is taken: whoever comes waits."""
    with serving(tmp_path_factory.mktemp("waiting") / "data", "--vcpus", "1", "--memory-mib", "1024") as yard:
        yard.with_queue("ce", max_vcpus=1)
        yard.definition_of("sleep", "sleep", "86400")
        yard.definition_of("other", "true")
        yard.until(yard.submit("sleep"), "RUNNING")
        yield yard


def named(yard: Yard, kind: str, value: str) -> list[str]:
    pages = yard.batch.get_paginator("list_jobs").paginate(jobQueue="queue", filters=[{"name": kind, "values": [value]}])
    return [job["jobId"] for page in pages for job in page["jobSummaryList"]]


def test_a_list_holds_what_was_answered_before(full: Yard) -> None:
    for number in range(20):
        job = full.submit("other", name=f"own-{number}")
        assert named(full, "JOB_NAME", f"OWN-{number}") == [job]
        created = full.job(job)["createdAt"]
        assert job in named(full, "AFTER_CREATED_AT", str(created - 1)) and job not in named(full, "BEFORE_CREATED_AT", str(created))
        assert named(full, "JOB_DEFINITION", "other*")[0] == job


def test_many_jobs_wait_and_are_there_after_a_kill(full: Yard) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda number: full.submit("sleep", name=f"many-{number}"), range(MANY)))
    follower = full.submit("sleep", dependsOn=[{"jobId": ids[0]}])
    full.kill()
    full.start()
    assert sorted(named(full, "JOB_NAME", "many-*")) == sorted(ids)
    assert named(full, "JOB_NAME", "many-*") == [job["jobId"] for job in newest_first(full, ids)]
    for start in range(0, MANY, 100):
        found = full.batch.describe_jobs(jobs=ids[start : start + 100])["jobs"]
        assert [job["jobId"] for job in found] == ids[start : start + 100] and {job["status"] for job in found} == {"RUNNABLE"}
    full.batch.terminate_job(jobId=ids[0], reason="enough")
    assert full.until(follower, "FAILED")["statusReason"] == "Dependent Job failed"


def newest_first(yard: Yard, ids: list[str]) -> list[dict[str, Any]]:
    found = [job for start in range(0, len(ids), 100) for job in yard.batch.describe_jobs(jobs=ids[start : start + 100])["jobs"]]
    return sorted(found, key=lambda job: (job["createdAt"], job["jobId"]), reverse=True)


def test_a_queue_with_many_jobs_is_deleted(full: Yard) -> None:
    full.queue_of("doomed", "ce")
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: full.submit("sleep", queue="doomed"), range(MANY)))
    full.batch.update_job_queue(jobQueue="doomed", state="DISABLED")
    full.batch.delete_job_queue(jobQueue="doomed")
    until(lambda: not full.batch.describe_job_queues(jobQueues=["doomed"])["jobQueues"] or None, "the queue is gone")
    ended = full.batch.describe_jobs(jobs=ids[::3])["jobs"]
    assert {(job["status"], job["statusReason"]) for job in ended} == {("FAILED", "JobQueue deleted")}
