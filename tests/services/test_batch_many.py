"""DescribeJobs says the same whether an answer is made anew or known already."""

from __future__ import annotations

import pytest
from batch_bench import Bench

WHOLE = {"resourceRequirements": [{"type": "VCPU", "value": "16"}]}


def test_a_job_that_moves_is_shown_anew(ready: Bench) -> None:
    job = ready.submit()
    first = ready.job(job)
    assert ready.job(job) == first and set(ready.desk.encoded) == {job}
    seen = [first["status"]]
    ready.instances_up()
    seen.append(ready.job(job)["status"])
    ready.start(job)
    seen.append(ready.job(job)["status"])
    ready.end(job)
    seen.append(ready.job(job)["status"])
    assert seen == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    ready.call("TagResource", resourceArn=first["jobArn"], tags={"a": "b"})
    assert ready.job(job)["tags"] == {"a": "b"}


def test_a_changed_reason_is_shown(ready: Bench) -> None:
    """Nothing of the record has changed, only what it waits for."""
    job = ready.submit()
    starting = ready.job(job)["statusReason"]
    ready.instances_up()
    more = [ready.submit() for _ in range(40)]
    behind = ready.job(more[-1])["statusReason"]
    assert starting != behind
    ready.desk.encoded.clear()
    assert ready.job(more[-1])["statusReason"] == behind


def test_many_are_found_where_they_are(ready: Bench) -> None:
    """Running, waiting, finished, children with and without a record, an array, unknown ones: in order, once each."""
    ended = ready.submit()
    ready.instances_up()
    ready.start(ended)
    ready.end(ended)
    runs, waits = ready.submit(), [ready.submit(containerOverrides=WHOLE) for _ in range(3)]
    array = ready.submit(arrayProperties={"size": 2})
    asked = [waits[2], ended, "nobody", f"{array}:1", runs, array, waits[0], f"{array}:7", waits[2]]
    found = ready.call("DescribeJobs", jobs=asked)["jobs"]
    assert [job["jobId"] for job in found] == [waits[2], ended, f"{array}:1", runs, array, waits[0]]


@pytest.mark.parametrize("runtime", ["process", "container"])
def test_jobs_that_only_waited_are_shown_alike_at_the_first_look_and_later(ready: Bench, runtime: str) -> None:
    """The first time they are put together from texts, from the second time on made from their records."""
    ready.settings.runtime = runtime
    everything = {
        "containerOverrides": {**WHOLE, "command": ['say "ä"', "Ref::x"], "environment": [{"name": "A", "value": "\\ \n"}]},
        "parameters": {"x": "1"},
        "tags": {'k"ey': "välue"},
        "retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "RETRY", "onExitCode": "1"}]},
        "timeout": {"attemptDurationSeconds": 60},
        "propagateTags": True,
    }
    first = ready.submit(containerOverrides=WHOLE)
    jobs = [first, ready.submit(containerOverrides=WHOLE), ready.submit(**everything), ready.submit(dependsOn=[{"jobId": first}])]
    stopped = ready.submit(dependsOn=[{"jobId": first}])
    array = ready.submit(containerOverrides=WHOLE, arrayProperties={"size": 2})
    asked = [*jobs, stopped, f"{array}:0", array, "nobody"]
    ready.engine.yard.resting._recent.clear()
    ready.desk.encoded.clear()
    seen = ready.call("DescribeJobs", jobs=asked)["jobs"]
    assert not {*jobs, stopped} & set(ready.desk.encoded), "they were looked at, not kept"
    again = ready.call("DescribeJobs", jobs=asked)["jobs"]
    assert {*jobs, stopped} <= set(ready.desk.encoded)
    assert [job["jobId"] for job in seen] == asked[:-1]
    for one, other in zip(seen, again, strict=True):
        assert one | {"arrayProperties": None} == other | {"arrayProperties": None}
    assert [job["status"] for job in seen[:5]] == ["RUNNABLE", "RUNNABLE", "RUNNABLE", "PENDING", "PENDING"]
    assert all(job["statusReason"] for job in seen[:3])
