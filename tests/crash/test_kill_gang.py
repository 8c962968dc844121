"""kill -9 while the nodes of a multi-node parallel job start: all of them come or none, nobody comes twice, and the job ends right."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yard import Yard, quiet_port, until

NODES = 3


def gang_yard(new_yard: Callable[..., Yard], starts: Path) -> Yard:
    """The main node ends well once it has seen all others of its own attempt; they stay until they are stopped."""
    yard = new_yard("--vcpus", "6", "--memory-mib", "1024", "--port", str(quiet_port()))
    yard.with_queue(max_vcpus=6)
    note = f'echo "$AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT" >> {starts}; '
    seen = f'[ "$(grep -c "^${{AWS_BATCH_JOB_ID%#*}}#[12] $AWS_BATCH_JOB_ATTEMPT$" {starts})" = 2 ]'
    main = f"{note} until {seen}; do sleep 0.05; done"
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]

    def entry(target: str, command: str) -> dict[str, Any]:
        return {
            "targetNodes": target,
            "container": {"image": "busybox", "command": ["sh", "-c", command], "resourceRequirements": needs},
        }

    nodes = {"numNodes": NODES, "mainNode": 0, "nodeRangeProperties": [entry("0:", f"{note} sleep 600"), entry("0:0", main)]}
    yard.batch.register_job_definition(jobDefinitionName="gang", type="multinode", nodeProperties=nodes, retryStrategy={"attempts": 3})
    return yard


def check_starts(starts: Path) -> None:
    """No node was begun twice in one attempt, and none without its main node."""
    begun = Counter(line for line in starts.read_text().split("\n") if line)
    assert not {line: n for line, n in begun.items() if n > 1}, "a node was begun twice"
    for line in begun:
        main_node = f"{line.partition('#')[0]}#0 {line.rpartition(' ')[2]}"
        assert main_node in begun, f"{line}, and not its main node"


def test_the_server_killed_while_nodes_start(new_yard: Callable[..., Yard], starts: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (shown when the test fails)
    chance = random.Random(seed)
    yard = gang_yard(new_yard, starts)
    jobs = []
    for _ in range(7):
        jobs.append(yard.submit("gang"))
        time.sleep(chance.uniform(0.0, 0.35))
        yard.kill()
        yard.start()
    for id in jobs:
        job = yard.until(id, patience_s=90)
        assert (job["status"], len(job["attempts"])) == ("SUCCEEDED", 1), job
        nodes = yard.batch.describe_jobs(jobs=[f"{id}#{n}" for n in range(NODES)])["jobs"]
        assert [node["status"] for node in nodes] == ["SUCCEEDED", "FAILED", "FAILED"]
        assert {node["statusReason"] for node in nodes[1:]} == {"Main node has ended"}
    assert set(starts.read_text().split()) >= {f"{id}#{n}" for id in jobs for n in range(NODES)}
    check_starts(starts)


def test_the_machine_lost_while_nodes_start_costs_an_attempt_of_the_whole_job(new_yard: Callable[..., Yard], starts: Path) -> None:
    yard = gang_yard(new_yard, starts)
    job = yard.submit("gang")
    until(lambda: f"{job}#0 1" in starts.read_text() or None, "the main node to start")
    os.kill(yard.node_pid, signal.SIGKILL)
    ended = yard.until(job, patience_s=90)
    assert ended["status"] == "SUCCEEDED", ended
    if len(ended["attempts"]) > 1:  # the main node may have seen the others before it was killed
        assert ended["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")
        assert f"{job}#1 2" in starts.read_text() and f"{job}#2 2" in starts.read_text()
    check_starts(starts)
