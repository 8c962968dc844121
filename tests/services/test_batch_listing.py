"""ListJobs with all its rules (specification, section 1.8)."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import BATCH, Bench


def ids(answer: dict[str, Any]) -> list[str]:
    return [job["jobId"] for job in answer["jobSummaryList"]]


def listed(bench: Bench, **members: Any) -> list[str]:
    return ids(bench.call("ListJobs", **members))


def named(name: str, *values: str) -> list[dict[str, Any]]:
    return [{"name": name, "values": list(values)}]


def test_without_a_status_only_what_runs(ready: Bench) -> None:
    jobs = [ready.submit() for _ in range(3)]
    ready.start(jobs[0])
    ready.start(jobs[1])
    ready.end(jobs[1], 3, reason="OutOfMemoryError: Container killed due to memory usage")
    assert listed(ready, jobQueue="queue") == [jobs[0]]
    assert listed(ready, jobQueue=f"{BATCH}:job-queue/queue", jobStatus="FAILED") == [jobs[1]]
    assert listed(ready, jobQueue="queue", jobStatus="SUCCEEDED") == []
    (summary,) = ready.call("ListJobs", jobQueue="queue", jobStatus="FAILED")["jobSummaryList"]
    detail = ready.job(jobs[1])
    for name in ("jobArn", "jobId", "jobName", "createdAt", "status", "statusReason", "startedAt", "stoppedAt", "jobDefinition"):
        assert summary[name] == detail[name]
    assert summary["container"] == {"exitCode": 3, "reason": "OutOfMemoryError: Container killed due to memory usage"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "Exactly one of"),
        ({"jobQueue": "queue", "arrayJobId": "x"}, "Exactly one of"),
        ({"jobQueue": ""}, "Exactly one of"),
        ({"multiNodeJobId": "x", "arrayJobId": "x"}, "Exactly one of"),
        ({"jobQueue": "gone"}, "JobQueue gone not found."),
        ({"jobQueue": "queue", "jobStatus": "ODD"}, "jobStatus ODD is not valid"),
        (
            {"jobQueue": "queue", "filters": named("JOB_NAME", "a") + named("JOB_NAME", "b")},
            "Error executing request, Exception : Only one filter key-value pair can be specified.",
        ),
        (
            {"jobQueue": "queue", "filters": named("JOB_NAME", "a", "b")},
            "Error executing request, Exception : Filter cannot take more than one value.",
        ),
        ({"jobQueue": "queue", "filters": named("JOB_NAME")}, "needs one value"),
        ({"jobQueue": "queue", "filters": named("job_name", "a")}, "job_name is not valid"),
        ({"jobQueue": "queue", "filters": named("AFTER_CREATED_AT", "soon")}, "milliseconds"),
        ({"jobQueue": "queue", "maxResults": 0}, "maxResults"),
        ({"jobQueue": "queue", "nextToken": "x"}, "nextToken"),
    ],
)
def test_refusals(ready: Bench, members: dict[str, Any], message: str) -> None:
    assert message in ready.refused("ListJobs", **members)


def test_filters_look_at_every_status_newest_first(ready: Bench) -> None:
    ready.definition("other")
    jobs = []
    for name, definition in (("Align-1", "job"), ("align-2", "other"), ("sort", "other:1")):
        jobs.append(ready.submit(jobName=name, jobDefinition=definition))
        ready.tick()
    ready.call("CancelJob", jobId=jobs[0], reason="x")
    created = [ready.job(job)["createdAt"] for job in jobs]
    queue = {"jobQueue": "queue", "jobStatus": "SUCCEEDED"}
    assert listed(ready, **queue, filters=named("JOB_NAME", "ALIGN*")) == [jobs[1], jobs[0]]
    assert listed(ready, **queue, filters=named("JOB_NAME", "SORT")) == [jobs[2]]
    assert listed(ready, **queue, filters=named("JOB_NAME", "align")) == []
    assert listed(ready, **queue, filters=named("JOB_DEFINITION", "other")) == [jobs[2], jobs[1]]
    assert listed(ready, **queue, filters=named("JOB_DEFINITION", "OTHER")) == []
    assert listed(ready, **queue, filters=named("JOB_DEFINITION", "jo*")) == [jobs[0]]
    assert listed(ready, **queue, filters=named("JOB_DEFINITION", f"{BATCH}:job-definition/job:1")) == [jobs[0]]
    assert listed(ready, **queue, filters=named("BEFORE_CREATED_AT", str(created[1]))) == [jobs[0]]
    assert listed(ready, **queue, filters=named("AFTER_CREATED_AT", str(created[1]))) == [jobs[2]]
    assert ready.call("ListJobs", **queue, filters=named("JOB_NAME", "align-1"))["jobSummaryList"][0]["statusReason"] == "x"
    assert listed(ready, jobQueue="queue", jobStatus="FAILED", filters=[]) == [jobs[0]]


def test_pages(ready: Bench) -> None:
    jobs = [ready.submit() for _ in range(5)]
    ready.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    query = {"jobQueue": "queue", "jobStatus": "RUNNABLE", "maxResults": 2}
    seen: list[str] = []
    token = ""
    for _ in range(3):
        answer = ready.call("ListJobs", **query, nextToken=token)
        seen += ids(answer)
        token = answer.get("nextToken", "")
    assert seen == jobs and token == ""
    answer = ready.call("ListJobs", **query)
    assert "another request" in ready.refused("ListJobs", jobQueue="queue", jobStatus="FAILED", nextToken=answer["nextToken"])
    by_name = {"jobQueue": "queue", "filters": named("JOB_NAME", "j"), "maxResults": 3}
    first = ready.call("ListJobs", **by_name)
    second = ready.call("ListJobs", **by_name, nextToken=first["nextToken"])
    assert ids(first) + ids(second) == jobs[::-1] and "nextToken" not in second


def test_children_of_an_array(ready: Bench) -> None:
    parent = ready.submit(arrayProperties={"size": 4})
    ready.instances_up()
    ready.start(f"{parent}:1")
    assert listed(ready, arrayJobId=parent) == [f"{parent}:1"]
    everything = [job for status in ("RUNNABLE", "STARTING", "RUNNING") for job in listed(ready, arrayJobId=parent, jobStatus=status)]
    assert sorted(everything) == [f"{parent}:{n}" for n in range(4)]
    assert listed(ready, jobQueue="queue") == []
    (summary,) = ready.call("ListJobs", jobQueue="queue", jobStatus="PENDING")["jobSummaryList"]
    assert summary["arrayProperties"]["size"] == 4 and "container" not in summary
    (child,) = ready.call("ListJobs", arrayJobId=parent)["jobSummaryList"]
    assert child["arrayProperties"] == {"index": 1} and child["startedAt"] == ready.world.now
    ready.end(f"{parent}:1", 0)
    assert listed(ready, arrayJobId=parent, jobStatus="SUCCEEDED", filters=named("JOB_NAME", "nothing")) == [f"{parent}:1"]
    assert listed(ready, arrayJobId="gone") == [] and listed(ready, arrayJobId=ready.submit()) == []


def test_pages_of_children(ready: Bench) -> None:
    ready.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    parent = ready.submit(arrayProperties={"size": 5})
    first = ready.call("ListJobs", arrayJobId=parent, jobStatus="RUNNABLE", maxResults=3)
    second = ready.call("ListJobs", arrayJobId=parent, jobStatus="RUNNABLE", maxResults=3, nextToken=first["nextToken"])
    assert ids(first) + ids(second) == [f"{parent}:{n}" for n in range(5)] and "nextToken" not in second
