"""A container on a bridge finds its endpoints at the addresses that scripts have built in, and nobody else's.

Daemon, bridge and service live in a network namespace of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from containers.engines import Daemon, why_not
from own_network import own_network
from own_network import why_not as why_no_network
from yard import Yard, until

ROLE = "arn:aws:iam::000000000000:role/worker"
INSTANCES, TASKS = "http://169.254.169.254", "http://169.254.170.2"
NO_NETWORK = why_no_network()
NETWORKS = [
    pytest.param(kind, network, marks=pytest.mark.system(kind), id=f"{kind}-{network}")
    for kind, network in (("docker", "bridge"), ("docker", "host"), ("podman", "podman"))
]
pytestmark = pytest.mark.skipif(bool(NO_NETWORK), reason=NO_NETWORK or "there are")


@pytest.fixture(scope="module")
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    kind = request.param
    missing = why_not(kind)
    if missing:
        pytest.skip(f"{kind}: {missing}")
    with own_network():
        made = Daemon(kind, bridge="10.117.0.1/24")
        try:
            made.start()
            made.load("busybox")
            yield made
        finally:
            made.remove()


@pytest.fixture
def service(request: pytest.FixtureRequest, daemon: Daemon, tmp_path: Path) -> Iterator[Yard]:
    options = ("--runtime", "container", "--container-socket", daemon.socket, "--container-network", request.param)
    yard = Yard(tmp_path / "data", *options, "--scratch", "directory", "--vcpus", "4", "--memory-mib", "4096", "--link-local", "on").start()
    try:
        yard.environment_of("ce")
        yard.queue_of("queue", "ce")
        yield yard
    finally:
        yard.down()


def submitted(yard: Yard, name: str, script: str, **container: Any) -> str:
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
    properties = {"image": "busybox", "command": ["sh", "-c", script], "resourceRequirements": needs, "jobRoleArn": ROLE, **container}
    yard.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=properties)
    return yard.submit(name)


@pytest.mark.parametrize(("daemon", "service"), NETWORKS, indirect=True)
def test_a_container_is_known_by_its_connection(service: Yard) -> None:
    """In its first moment: it asks before its daemon has told anybody that it runs."""
    owner = submitted(
        service,
        "owner",
        f"""
wget -q -O - {INSTANCES}/latest/meta-data/instance-id; echo
wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task; echo
wget -q -O - {TASKS}$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; echo
echo $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
echo $ECS_CONTAINER_METADATA_URI_V4
sleep 600""",
    )
    lines = until(lambda: found if len(found := service.logs(service.until(owner, "RUNNING"))) >= 5 else None, "its answers")
    job = service.job(owner)
    assert lines[0] == job["container"]["containerInstanceArn"].rpartition("/")[2]
    assert json.loads(lines[1])["TaskARN"] == job["container"]["taskArn"]
    assert json.loads(lines[2])["RoleArn"] == ROLE
    theirs = f"""
wget -q -O - {INSTANCES}/latest/meta-data/instance-id >/dev/null && echo known
wget -q -O - {TASKS}$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI >/dev/null && echo own
wget -q -O - {TASKS}{lines[3]} 2>&1 || echo refused
wget -q -O - {lines[4]} 2>&1 || echo refused"""
    answers = service.logs(service.until(submitted(service, "thief", theirs)))
    assert answers[:2] == ["known", "own"]
    assert [line for line in answers[2:] if "404" not in line] == ["refused", "refused"]
    assert len([line for line in answers if "404" in line]) == 2
    service.batch.terminate_job(jobId=owner, reason="enough")
    service.until(owner)
