"""One store of tags behind every answer (specification, sections 1.5, 1.8)."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import BATCH, Bench


def tags_of(bench: Bench, arn: str) -> dict[str, str]:
    return dict(bench.call("ListTagsForResource", resourceArn=arn)["tags"])


def refused(bench: Bench, arn: str, tags: dict[str, str]) -> str:
    return bench.refused("TagResource", resourceArn=arn, tags=tags)


def described(bench: Bench, kind: str) -> dict[str, Any]:
    operation, member = {
        "compute-environment": ("DescribeComputeEnvironments", "computeEnvironments"),
        "job-queue": ("DescribeJobQueues", "jobQueues"),
        "job-definition": ("DescribeJobDefinitions", "jobDefinitions"),
        "scheduling-policy": ("DescribeSchedulingPolicies", "schedulingPolicies"),
    }[kind]
    if kind == "scheduling-policy":
        return dict(bench.call(operation, arns=[f"{BATCH}:scheduling-policy/fair"])[member][0]["tags"])
    return dict(bench.call(operation)[member][0]["tags"])


@pytest.mark.parametrize("kind", ["compute-environment", "job-queue", "job-definition", "scheduling-policy"])
def test_tags_of_named_things(ready: Bench, kind: str) -> None:
    ready.call("CreateSchedulingPolicy", name="fair")
    name = {"compute-environment": "ce", "job-queue": "queue", "job-definition": "job:1", "scheduling-policy": "fair"}[kind]
    arn = f"{BATCH}:{kind}/{name}"
    assert tags_of(ready, arn) == {}
    assert ready.call("TagResource", resourceArn=arn, tags={"a": "1", "b": "2"}) == {}
    ready.call("TagResource", resourceArn=arn, tags={"b": "3"})
    assert tags_of(ready, arn) == described(ready, kind) == {"a": "1", "b": "3"}
    assert ready.call("UntagResource", resourceArn=arn, tagKeys=["a", "gone"]) == {}
    assert tags_of(ready, arn) == described(ready, kind) == {"b": "3"}


def test_tags_of_jobs_alive_and_finished(ready: Bench) -> None:
    job_id = ready.submit(tags={"a": "1"})
    arn = f"{BATCH}:job/{job_id}"
    ready.call("TagResource", resourceArn=arn, tags={"b": "2"})
    assert tags_of(ready, arn) == ready.job(job_id)["tags"] == {"a": "1", "b": "2"}
    ready.start(job_id)
    ready.end(job_id, 0)
    ready.call("UntagResource", resourceArn=arn, tagKeys=["a"])
    assert tags_of(ready, arn) == ready.job(job_id)["tags"] == {"b": "2"}


def test_children_have_no_tags(ready: Bench) -> None:
    parent = ready.submit(arrayProperties={"size": 2}, tags={"a": "1"})
    assert tags_of(ready, f"{BATCH}:job/{parent}") == {"a": "1"}
    for operation, more in (("TagResource", {"tags": {"x": "y"}}), ("UntagResource", {"tagKeys": ["a"]}), ("ListTagsForResource", {})):
        assert "child of an array job" in ready.refused(operation, resourceArn=f"{BATCH}:job/{parent}:0", **more)


@pytest.mark.parametrize(
    ("tags", "part"),
    [
        ({f"k{n}": "v" for n in range(50)}, "at most 50"),
        ({"aws:x": "1"}, "reserved"),
        ({"k": "v" * 257}, "256"),
        ({"k" * 129: "v"}, "128"),
        ({"": "v"}, "128"),
        (
            {"batchyard:sofa": "1"},
            "Known batchyard:* tags are: batchyard:inert, batchyard:log-archive, batchyard:provider, batchyard:runtime,"
            " batchyard:scratch-gib, batchyard:spill",
        ),
        ({"batchyard:provider": "local"}, "not for a job queue"),
    ],
)
def test_tags_that_are_refused(ready: Bench, tags: dict[str, str], part: str) -> None:
    arn = f"{BATCH}:job-queue/queue"
    ready.call("TagResource", resourceArn=arn, tags={"first": "1"})
    assert part in refused(ready, arn, tags)
    assert tags_of(ready, arn) == {"first": "1"}


@pytest.mark.parametrize(
    "arn",
    [
        "queue",
        "arn:aws:batch:us-east-1:123456789012:job-queue/queue",
        f"{BATCH}:sofa/queue",
        f"{BATCH}:job-queue/",
        f"{BATCH}:job-queue",
    ],
)
def test_arns_that_name_nothing_of_ours(ready: Bench, arn: str) -> None:
    assert "Invalid ARN" in ready.refused("ListTagsForResource", resourceArn=arn)


def test_unknown_resources(ready: Bench) -> None:
    for name in ("job-queue/gone", "job-definition/job:7", "job-definition/job", "compute-environment/gone", "job/gone"):
        assert "does not exist" in ready.refused("ListTagsForResource", resourceArn=f"{BATCH}:{name}")
        assert "does not exist" in refused(ready, f"{BATCH}:{name}", {"a": "b"})


def test_our_own_tags_act_at_once(ready: Bench) -> None:
    arn = f"{BATCH}:job-queue/queue"
    ready.call("TagResource", resourceArn=arn, tags={"batchyard:spill": "idle"})
    assert ready.desk.read.queues[arn].spill_idle
    ready.call("UntagResource", resourceArn=arn, tagKeys=["batchyard:spill"])
    assert not ready.desk.read.queues[arn].spill_idle
