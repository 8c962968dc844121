"""The tag `batchyard:scratch-gib` in every form of a job: what each of its attempts is promised."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import CONTAINER, Bench

from batchyard.model.job import Specification
from batchyard.model.messages import ScratchSeen

TAG = "batchyard:scratch-gib"
TASK = {"taskProperties": [{"containers": [{**CONTAINER, "name": "a"}, {**CONTAINER, "name": "b", "essential": False}]}]}
POD = {"podProperties": {"containers": [{"image": "x", "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}]}}
FORMS: dict[str, dict[str, Any]] = {
    "one container": {"type": "container", "containerProperties": CONTAINER},
    "a task": {"type": "container", "ecsProperties": TASK},
    "a pod": {"type": "container", "eksProperties": POD},
    "nodes": {
        "type": "multinode",
        "nodeProperties": {
            "numNodes": 3,
            "mainNode": 0,
            "nodeRangeProperties": [{"targetNodes": "0:0", "container": CONTAINER}, {"targetNodes": "1:2", "ecsProperties": TASK}],
        },
    },
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, ready: Bench) -> dict[str, Any]:
    eks = {"eksClusterArn": "arn:aws:eks:eu-central-1:123456789012:cluster/c", "kubernetesNamespace": "batch"}
    if request.param == "a pod":
        resources = {"type": "EC2", "minvCpus": 0, "maxvCpus": 16, "instanceTypes": ["optimal"], "subnets": ["subnet-1"]}
        resources |= {"securityGroupIds": ["sg-1"], "instanceRole": "ecsInstanceRole"}
        ready.call(
            "CreateComputeEnvironment", computeEnvironmentName="eks", type="MANAGED", computeResources=resources, eksConfiguration=eks
        )
        ready.queue("pods", ["eks"], jobQueueType="EKS")
    return {"definition": FORMS[request.param], "queue": "pods" if request.param == "a pod" else "queue", "name": request.param}


def spec_of(bench: Bench, job_id: str) -> Specification:
    found = bench.desk.read.job(job_id)
    assert found is not None
    return found[1]


def test_each_attempt_is_promised_what_the_tag_says(ready: Bench, form: dict[str, Any]) -> None:
    ready.call("RegisterJobDefinition", jobDefinitionName="tagged", tags={TAG: "2"}, **form["definition"])
    plain = ready.submit(jobDefinition="tagged", jobQueue=form["queue"])
    own = ready.submit(jobDefinition="tagged", jobQueue=form["queue"], tags={TAG: "0.5"})
    times = 3 if form["name"] == "nodes" else 1
    assert [spec_of(ready, job).needs.scratch_mib for job in (plain, own)] == [2048, 512]
    assert [spec_of(ready, job).scratch_mib for job in (plain, own)] == [2048 * times, 512 * times]
    ready.instances_up()
    assert ready.desk.read.scratch is None and ready.job(plain)["status"] == "RUNNABLE", "nobody has said how much there is"
    ready.report(ScratchSeen("local", True, "", 1 << 20, 0, ready.world.now))
    ready.instances_up()
    scratch = ready.desk.read.scratch
    assert scratch is not None and scratch.promised_mib == (2048 + 512) * times
    ready.start(plain)
    assert ready.job(plain)["tags"] == {} and ready.job(own)["tags"] == {TAG: "0.5"}


def test_an_array_says_it_once_for_all_of_its_children(ready: Bench) -> None:
    ready.report(ScratchSeen("local", True, "", 2100, 0, ready.world.now))
    array = ready.submit(arrayProperties={"size": 4}, tags={TAG: "1"})
    ready.instances_up()
    summary = ready.job(array)["arrayProperties"]["statusSummary"]
    assert (summary["STARTING"], summary["RUNNABLE"]) == (2, 2)
    assert "1 GiB of scratch space" in ready.job(f"{array}:2")["statusReason"]


def test_overrides_of_other_needs_leave_it_alone(ready: Bench) -> None:
    ready.definition("tagged", tags={TAG: "2"})
    more = {"resourceRequirements": [{"type": "MEMORY", "value": "1024"}]}
    assert spec_of(ready, ready.submit(jobDefinition="tagged", containerOverrides=more)).needs == (1.0, 1024, 0, 2048)


def test_a_definition_that_is_tagged_later_holds_for_jobs_that_are_submitted_later(ready: Bench) -> None:
    bench, arn = ready, ready.definition("later")
    before = bench.submit(jobDefinition="later")
    bench.call("TagResource", resourceArn=arn, tags={TAG: "3"})
    after = bench.submit(jobDefinition="later")
    bench.call("UntagResource", resourceArn=arn, tagKeys=[TAG])
    assert [spec_of(bench, job).scratch_mib for job in (before, after, bench.submit(jobDefinition="later"))] == [0, 3072, 0]
