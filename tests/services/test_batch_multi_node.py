"""Job definitions of type multinode and their submissions: what is echoed, and what is refused in which words."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import Bench


def container(**more: Any) -> dict[str, Any]:
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
    return {"image": "busybox", "command": ["sleep", "60"], "resourceRequirements": needs, **more}


def entry(target: str = "0:", **more: Any) -> dict[str, Any]:
    return {"targetNodes": target, "container": container(), **more}


def nodes(*entries: dict[str, Any], num_nodes: int = 3, main: int = 0) -> dict[str, Any]:
    return {"numNodes": num_nodes, "mainNode": main, "nodeRangeProperties": list(entries) or [entry()]}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"nodeProperties": None}, "Node properties should not be empty"),
        ({"containerProperties": container()}, "containerProperties is not for job definitions of type multinode"),
        ({"platformCapabilities": ["FARGATE"]}, "cannot run on Fargate"),
        ({"nodeProperties": nodes(num_nodes=0)}, "numNodes must be between 1 and 1000, not 0"),
        ({"nodeProperties": nodes(num_nodes=1001)}, "numNodes must be between 1 and 1000, not 1001"),
        ({"nodeProperties": nodes(main=3)}, "mainNode must be an index of a node, 0 to 2, not 3"),
        ({"nodeProperties": nodes(*[entry(f"{n}:{n}") for n in range(6)], num_nodes=6)}, "between 1 and 5 node ranges, not 6"),
        ({"nodeProperties": nodes(entry("0:3"))}, "names nodes beyond numNodes, 3"),
        ({"nodeProperties": nodes(entry("1:"))}, "no targetNodes holds node 0"),
        ({"nodeProperties": nodes(entry("0:1"), entry("1:2"))}, "ranges may only be nested"),
        ({"nodeProperties": nodes(entry("0:"), entry("0:"))}, "stands there twice"),
        ({"nodeProperties": nodes(entry("x"))}, "write a range of node indexes"),
        ({"nodeProperties": nodes({"targetNodes": "0:", "instanceTypes": ["m5.large"]})}, "node 0 has no container"),
        ({"nodeProperties": nodes(entry(instanceTypes=["m5.large", "c5.large"]))}, "one instance type only"),
        (
            {"nodeProperties": nodes(entry("0:0", instanceTypes=["m5.large"]), entry("1:", instanceTypes=["c5.large"]))},
            "c5.large, m5.large",
        ),
        ({"nodeProperties": nodes(entry(container={"image": "x", "memory": 64}))}, "vCPU is not provided"),
        ({"nodeProperties": nodes(entry(container={**container(), "image": "a b"}))}, "nodeRangeProperties[0].container.image a b"),
        (
            {"nodeProperties": nodes(entry(eksProperties={"podProperties": {"containers": [{"image": "x"}]}}))},
            "node 0 has container and eksProperties; it may have one of them",
        ),
    ],
)
def test_registrations_that_are_refused(bench: Bench, members: dict[str, Any], message: str) -> None:
    sent = {"jobDefinitionName": "mnp", "type": "multinode", "nodeProperties": nodes(), **members}
    sent = {member: value for member, value in sent.items() if value is not None}
    assert message in bench.refused("RegisterJobDefinition", **sent)


def test_what_was_registered_is_shown(bench: Bench) -> None:
    sent = nodes(entry("0:0"), entry("1:", instanceTypes=["m5.large"]))
    bench.call("RegisterJobDefinition", jobDefinitionName="mnp", type="multinode", nodeProperties=sent, containerProperties={})
    (shown,) = bench.call("DescribeJobDefinitions", jobDefinitionName="mnp")["jobDefinitions"]
    assert (shown["type"], "containerProperties" in shown) == ("multinode", False)
    told = shown["nodeProperties"]
    assert {k: v for k, v in told.items() if k != "nodeRangeProperties"} == {"numNodes": 3, "mainNode": 0}
    for one, other in zip(told["nodeRangeProperties"], sent["nodeRangeProperties"], strict=True):
        assert one == {**other, "container": {**one["container"], **other["container"]}}
        assert {v == [] for k, v in one["container"].items() if k not in other["container"]} == {True}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"containerOverrides": {"command": ["x"]}}, "containerOverrides is not for multi-node parallel jobs"),
        ({"arrayProperties": {"size": 2}}, "cannot be an array job"),
        ({"nodeOverrides": {"numNodes": 2000}}, "nodeOverrides.numNodes must be between 1 and 1000"),
        ({"nodeOverrides": {"nodePropertyOverrides": [{"targetNodes": "0:9"}]}}, "names nodes that the job does not have: it has 3"),
        (
            {"nodeOverrides": {"nodePropertyOverrides": [{"targetNodes": "0:", "containerOverrides": {"command": [""]}}]}},
            "nodePropertyOverrides[0].containerOverrides.command may not hold empty strings",
        ),
    ],
)
def test_submissions_that_are_refused(ready: Bench, members: dict[str, Any], message: str) -> None:
    ready.call("RegisterJobDefinition", jobDefinitionName="mnp", type="multinode", nodeProperties=nodes())
    assert message in ready.refused("SubmitJob", **{"jobName": "j", "jobQueue": "queue", "jobDefinition": "mnp", **members})


def test_a_job_and_its_nodes_are_described_and_listed(ready: Bench) -> None:
    ready.call("RegisterJobDefinition", jobDefinitionName="mnp", type="multinode", nodeProperties=nodes(main=1))
    job = ready.submit(jobDefinition="mnp", containerOverrides={}, arrayProperties={}, tags={"a": "b"})
    shown = ready.job(job)
    assert ("container" in shown, shown["nodeProperties"]["mainNode"], shown["tags"]) == (False, 1, {"a": "b"})
    main, other = ready.job(f"{job}#1"), ready.job(f"{job}#2")
    assert [one["nodeDetails"] for one in (main, other)] == [{"nodeIndex": 1, "isMainNode": True}, {"nodeIndex": 2, "isMainNode": False}]
    assert main["jobArn"].endswith(f"{job}#1") and main["container"]["image"] == "busybox" and main["tags"] == {}
    assert ready.call("DescribeJobs", jobs=[f"{job}#3", f"{job}:0"])["jobs"] == []
    for status in ("RUNNABLE", "STARTING", "RUNNING"):
        listed = ready.call("ListJobs", multiNodeJobId=job, jobStatus=status)["jobSummaryList"]
        if listed:
            assert [one["nodeProperties"]["nodeIndex"] for one in listed] == sorted(one["nodeProperties"]["nodeIndex"] for one in listed)
    assert "nodes end with their job" in ready.refused("TerminateJob", jobId=f"{job}#2", reason="x")
    assert "nodes have no tags" in ready.refused("TagResource", resourceArn=other["jobArn"], tags={"a": "b"})
    assert ready.call("ListJobs", multiNodeJobId="unknown")["jobSummaryList"] == []
