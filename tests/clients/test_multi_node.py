"""Multi-node parallel jobs at the wire, with the real boto3: item 13 of the acceptance list, and nodes that talk to each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from exec_client import UNTIL_LET_GO, let_go
from yard import Yard, quiet_port, until

# The main node waits for one line of every other node; they try until it listens.
MAIN_NODE = """
import os, socket
server = socket.create_server(("127.0.0.1", {port}))
server.settimeout(60)
others = int(os.environ["AWS_BATCH_JOB_NUM_NODES"]) - 1
for _ in range(others):
    connection, _ = server.accept()
    print("heard", connection.makefile().readline().strip(), flush=True)
print("address", os.environ.get("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"), flush=True)
"""
OTHER_NODE = """
import os, socket, time
for _ in range(600):
    try:
        connection = socket.create_connection((os.environ["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"], {port}), 5)
        break
    except OSError:
        time.sleep(0.1)
line = os.environ["AWS_BATCH_JOB_ID"] + " " + os.environ["AWS_BATCH_JOB_NODE_INDEX"]
print("says", line, flush=True)
connection.sendall(line.encode() + b"\\n")
time.sleep(600)
"""


def container(*command: str, vcpus: int = 1) -> dict[str, Any]:
    needs = [{"type": "VCPU", "value": str(vcpus)}, {"type": "MEMORY", "value": "64"}]
    return {"image": "busybox", "command": list(command), "resourceRequirements": needs}


def define(yard: Yard, name: str, main: list[str], other: list[str], **more: Any) -> str:
    ranges = [{"targetNodes": "0:", "container": container(*other)}, {"targetNodes": "0:0", "container": container(*main)}]
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": ranges}
    answer = yard.batch.register_job_definition(jobDefinitionName=name, type="multinode", nodeProperties=nodes, **more)
    return str(answer["jobDefinitionArn"])


def nodes_of(yard: Yard, job: str, status: str) -> list[dict[str, Any]]:
    return yard.batch.list_jobs(multiNodeJobId=job, jobStatus=status)["jobSummaryList"]  # type: ignore[no-any-return]


def test_13_the_main_node_decides_whatever_a_child_does(yard: Yard, name: str) -> None:
    define(yard, name, ["sh", "-c", UNTIL_LET_GO], ["sh", "-c", "exit 1"])
    job = yard.submit(name)
    child = yard.until(f"{job}#1")
    assert (child["status"], child["container"]["exitCode"], child["nodeDetails"]) == ("FAILED", 1, {"nodeIndex": 1, "isMainNode": False})
    let_go(yard, f"{job}#0")
    whole = yard.until(job)
    assert (whole["status"], whole["attempts"][0]["container"]["exitCode"]) == ("SUCCEEDED", 0)
    assert "container" not in whole and whole["nodeProperties"]["numNodes"] == 2
    main = yard.job(f"{job}#0")
    assert (main["status"], main["nodeDetails"], main["container"]["exitCode"]) == ("SUCCEEDED", {"nodeIndex": 0, "isMainNode": True}, 0)
    assert main["container"]["logStreamName"] != child["container"]["logStreamName"]
    assert [j["jobId"] for j in nodes_of(yard, job, "FAILED")] == [f"{job}#1"]
    (listed,) = nodes_of(yard, job, "SUCCEEDED")
    assert (listed["jobId"], listed["nodeProperties"]) == (f"{job}#0", {"isMainNode": True, "numNodes": 2, "nodeIndex": 0})
    in_queue = yard.batch.list_jobs(jobQueue="queue", filters=[{"name": "AFTER_CREATED_AT", "values": [str(whole["createdAt"] - 1)]}])
    assert not any("#" in j["jobId"] for j in in_queue["jobSummaryList"])


def test_nodes_find_the_main_node_and_are_stopped_with_it(yard: Yard, name: str) -> None:
    port = quiet_port()
    main, other = [["python3", "-c", text.format(port=port)] for text in (MAIN_NODE, OTHER_NODE)]
    define(yard, name, main, other)
    job = yard.submit(name, nodeOverrides={"numNodes": 3})
    whole = yard.until(job, patience_s=90)
    assert whole["status"] == "SUCCEEDED", whole["attempts"]
    heard = sorted(yard.logs(yard.job(f"{job}#0")))
    assert heard == ["address None", f"heard {job}#1 1", f"heard {job}#2 2"]
    for node in (1, 2):
        child = yard.job(f"{job}#{node}")
        assert (child["status"], child["statusReason"]) == ("FAILED", "Main node has ended")
        assert yard.logs(child) == [f"says {job}#{node} {node}"]
    assert not yard.batch.list_jobs(multiNodeJobId=job)["jobSummaryList"], "none runs any more"


def test_a_failed_main_node_is_tried_again_with_everybody(yard: Yard, name: str) -> None:
    define(yard, name, ["sh", "-c", "exit 3"], ["sleep", "600"], retryStrategy={"attempts": 2})
    whole = yard.until(yard.submit(name))
    assert (whole["status"], [a["container"]["exitCode"] for a in whole["attempts"]]) == ("FAILED", [3, 3])


def test_terminate_ends_all_nodes(yard: Yard, name: str) -> None:
    define(yard, name, ["sleep", "600"], ["sleep", "600"], retryStrategy={"attempts": 3})
    job = yard.submit(name)
    yard.until(f"{job}#1", "RUNNING")
    with pytest.raises(ClientError, match="nodes end with their job"):
        yard.batch.terminate_job(jobId=f"{job}#1", reason="no")
    yard.batch.terminate_job(jobId=job, reason="enough")
    whole, child = yard.until(job), yard.until(f"{job}#1")
    assert (whole["status"], whole["statusReason"], len(whole["attempts"])) == ("FAILED", "enough", 1)
    assert (child["status"], child["statusReason"], child["isTerminated"]) == ("FAILED", "enough", True)


def test_a_job_that_needs_more_than_there_is_says_so_and_a_smaller_one_runs(yard: Yard, name: str) -> None:
    define(yard, name, ["true"], ["sleep", "600"])
    job = yard.submit(name, nodeOverrides={"numNodes": 9})  # maxvCpus is 8
    waiting = until(lambda: found if (found := yard.job(job)).get("statusReason") else None, "a reason")
    assert waiting["statusReason"].startswith("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE")
    assert "9 nodes" in yard.cli("explain", job, "--data", str(yard.data)).stdout
    assert yard.until(yard.submit(name))["status"] == "SUCCEEDED"
    yard.batch.cancel_job(jobId=job, reason="too large")
    assert yard.until(job)["statusReason"] == "too large" and yard.job(f"{job}#8")["status"] == "FAILED"


def test_dependencies_on_nodes(yard: Yard, name: str) -> None:
    define(yard, name, ["sh", "-c", UNTIL_LET_GO], ["true"])
    job = yard.submit(name)
    follower = yard.submit("true", dependsOn=[{"jobId": f"{job}#1"}])
    assert yard.until(follower)["status"] == "SUCCEEDED"
    let_go(yard, f"{job}#0")
    assert yard.until(job)["status"] == "SUCCEEDED"


def test_nodes_on_a_machine_with_two_cores(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "2", "--memory-mib", "512")
    yard.with_queue(max_vcpus=2)
    define(yard, "pair", ["sh", "-c", "sleep 1"], ["sleep", "600"])
    assert yard.until(yard.submit("pair"))["status"] == "SUCCEEDED"


def test_the_command_line_shows_nodes(yard: Yard, name: str) -> None:
    define(yard, name, ["sh", "-c", "echo main"], ["sh", "-c", "echo other; sleep 600"])
    job = yard.submit(name)
    yard.until(job)
    place = ("--data", str(yard.data))
    assert yard.cli("logs", f"{job}#0", *place).stdout == yard.cli("logs", job, *place).stdout == "main\n"
    shown = yard.cli("job", job, *place).stdout
    assert "Nodes" in shown and "#1" in shown and f"batchyard logs {job}" in shown
    assert f"{job}#1" in yard.cli("job", f"{job}#1", *place).stdout
