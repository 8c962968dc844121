"""Scripts that have 169.254.169.254 and 169.254.170.2 built in, run unchanged as jobs; and whoever else asks there gets nothing.

The service lives in a network namespace of its own: nothing here touches the machine's addresses.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from asking import ASK, spot_and_on_demand

from batchyard.compute.local.doors import link_local, netlink
from client_tools import interpreter
from own_network import own_network, why_not
from yard import Yard, until

SITE = str(Path(boto3.__file__).parents[1])
ROLE = "arn:aws:iam::000000000000:role/worker"
INSTANCES, TASKS = "http://169.254.169.254", "http://169.254.170.2"
OPTIONS = ("--runtime", "process", "--scratch", "directory", "--vcpus", "8", "--memory-mib", "8192")
NO_NETWORK = why_not()
pytestmark = [
    pytest.mark.system("network namespaces"),
    pytest.mark.skipif(bool(NO_NETWORK), reason=NO_NETWORK or "there are"),
]


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    with own_network():
        yield


@pytest.fixture(scope="module")
def service(network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with spot_and_on_demand(tmp_path_factory.mktemp("linked") / "data", *OPTIONS, "--link-local", "on") as yard:
        yield yard
    assert taken() == set()


@pytest.fixture
def alone() -> Iterator[None]:
    """A network for a test that has a service of its own."""
    with own_network():
        yield


def taken() -> set[str]:
    """What this network has of the addresses."""
    return {each.address for each in netlink.addresses()} & set(link_local.ADDRESSES)


def submitted(yard: Yard, name: str, *command: str, queue: str = "queue", **container: Any) -> str:
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}]
    properties = {"image": "busybox", "command": list(command), "resourceRequirements": needs, **container}
    again = {"attempts": 5, "evaluateOnExit": [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]}
    yard.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=properties, retryStrategy=again)
    return yard.submit(name, queue)


def asking(yard: Yard, name: str, script: str, **more: Any) -> str:
    return submitted(yard, name, interpreter(), "-c", ASK + script, **more)


def lines_of(yard: Yard, job_id: str) -> list[str]:
    job = yard.until(job_id)
    lines = yard.logs(job)
    assert job["status"] == "SUCCEEDED", (lines, job["attempts"], job.get("statusReason"))
    return lines


def told(yard: Yard, job_id: str) -> list[Any]:
    return [json.loads(line) for line in lines_of(yard, job_id)]


def asked(url: str, method: str = "GET", **headers: str) -> int:
    """What the address answers to somebody who is no job."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=90) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_script_with_both_addresses_built_in_runs_unchanged(service: Yard) -> None:
    script = """
set -eu
TOKEN=$(curl -fsS -X PUT http://169.254.169.254/latest/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600')
curl -fsS -H "X-aws-ec2-metadata-token: $TOKEN" http://169.254.169.254/latest/meta-data/instance-id; echo
curl -fsS http://169.254.169.254/latest/meta-data/placement/region; echo
curl -s -o /dev/null -w '%{http_code}\\n' http://169.254.169.254/latest/meta-data/spot/instance-action
curl -fsS "http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"; echo
curl -fsS "$ECS_CONTAINER_METADATA_URI_V4/task"; echo
curl -fsS "$ECS_CONTAINER_METADATA_URI"; echo
env | grep -E '^(ECS_|AWS_CONTAINER|AWS_EC2)' | sort
"""
    job_id = submitted(service, "script", "sh", "-c", script, jobRoleArn=ROLE)
    instance, region, notice, keys, task, container, *variables = lines_of(service, job_id)
    job = service.job(job_id)
    assert instance == job["container"]["containerInstanceArn"].rpartition("/")[2]
    assert (region, notice) == ("us-east-1", "404")
    assert json.loads(keys)["RoleArn"] == ROLE
    assert json.loads(task)["TaskARN"] == job["container"]["taskArn"]
    assert json.loads(container)["Name"] == "default"
    relative, ec2, v3, v4 = variables
    assert ec2 == f"AWS_EC2_METADATA_SERVICE_ENDPOINT={INSTANCES}"
    assert relative.startswith("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/")
    assert v3.startswith(f"ECS_CONTAINER_METADATA_URI={TASKS}/v3/")
    assert v4.startswith(f"ECS_CONTAINER_METADATA_URI_V4={TASKS}/v4/")


def test_boto3_needs_nothing_but_what_ecs_gives_it(service: Yard) -> None:
    script = f"""
for name in list(os.environ):
    if name.startswith("AWS_") and name not in ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_ENDPOINT_URL"):
        del os.environ[name]
os.environ["AWS_METADATA_SERVICE_TIMEOUT"] = "90"  # by itself it asks once, and waits for a second
sys.path.insert(0, {SITE!r})
import boto3, botocore.session
from botocore.utils import IMDSRegionProvider
region = IMDSRegionProvider(botocore.session.Session()).provide()
found = boto3.Session(region_name=region)
tell(region, found.get_credentials().method, found.client("sts").get_caller_identity()["Arn"])
"""
    job_id = asking(service, "boto", script, jobRoleArn=ROLE)
    assert told(service, job_id) == [["us-east-1", "container-role", f"arn:aws:sts::000000000000:assumed-role/worker/{job_id}"]]


def test_without_a_role_there_are_no_credentials_but_the_instance_is_there(service: Yard) -> None:
    script = f"""
sys.path.insert(0, {SITE!r})
for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
    del os.environ[name]
import botocore.session
tell([name for name in os.environ if name.startswith("AWS_CONTAINER")], botocore.session.Session().get_credentials())
key = os.environ["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/")[2].partition("-")[0]
tell(ask("{TASKS}/v2/credentials/" + key)[0], ask("{INSTANCES}/latest/meta-data/iam/security-credentials/")[0])
tell(ask("{INSTANCES}/latest/meta-data/instance-life-cycle"))
"""
    assert told(service, asking(service, "roleless", script)) == [[[], None], [404, 404], [[200, "on-demand"]]]


def test_who_polls_for_the_notice_of_spot_sees_it_come(service: Yard) -> None:
    script = """
import urllib.request, urllib.error, time
url = "http://169.254.169.254/latest/meta-data/spot/instance-action"
print("begun", flush=True)
while True:
    try:
        print(urllib.request.urlopen(url, timeout=90).read().decode(), flush=True)
        break
    except urllib.error.HTTPError as error:
        assert error.code == 404
        time.sleep(0.2)
"""
    job_id = submitted(service, "polling", interpreter(), "-c", script, queue="spot-queue")
    running = service.until(job_id, "RUNNING")
    until(lambda: service.logs(service.job(job_id)) or None, "its first word")
    instance = running["container"]["containerInstanceArn"].rpartition("/")[2]
    service.cli("reclaim", instance, "--notice", "90", "--data", str(service.data))
    begun, notice = lines_of(service, job_id)
    assert begun == "begun"
    assert json.loads(notice)["action"] == "terminate"


def test_what_is_one_jobs_is_nobody_elses(service: Yard) -> None:
    script = f"""
key = os.environ["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/")[2].partition("-")[0]
status, token = ask("{INSTANCES}/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="600")
tell(os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"], os.environ["ECS_CONTAINER_METADATA_URI_V4"], token)
def last(*_):
    tell(ask("{TASKS}" + os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])[0])
    sys.exit()
signal.signal(signal.SIGTERM, last)
while True:
    time.sleep(600)
"""
    owner = asking(service, "owner", script, jobRoleArn=ROLE)
    ((uri, metadata, token),) = [json.loads(line) for line in until(lambda: service.logs(service.until(owner, "RUNNING")) or None, "it")]
    theirs = f"""
own = os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
tell(ask("{TASKS}" + own)[0], ask("{TASKS}{uri}")[0], ask({metadata!r})[0], ask({metadata!r} + "/task")[0])
tell(ask("{INSTANCES}/latest/meta-data/instance-id", X_aws_ec2_metadata_token={token!r})[0])
tell(ask("{TASKS}/latest/meta-data/")[0], ask("{INSTANCES}" + own)[0], ask("{INSTANCES}{uri}")[0])
"""
    assert told(service, asking(service, "thief", theirs, jobRoleArn=ROLE)) == [[200, 404, 404, 404], [401], [404, 404, 404]]
    nobody = [
        asked(TASKS + uri),
        asked(metadata),
        asked(f"{INSTANCES}/latest/meta-data/"),
        asked(f"{INSTANCES}/latest/api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"}),
        asked(f"{INSTANCES}/latest/meta-data/instance-id", **{"X-aws-ec2-metadata-token": token}),
    ]
    assert nobody == [404] * 5
    service.batch.terminate_job(jobId=owner, reason="enough")
    assert json.loads(service.logs(service.until(owner))[1]) == [200]


def test_jobs_of_the_same_user_are_told_apart(service: Yard) -> None:
    script = f"""
time.sleep(1)
tell(json.loads(ask(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task")[1])["TaskARN"], os.getuid())
tell(ask("{TASKS}" + os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])[0])
"""
    jobs = [asking(service, f"same-{n}", script, user="65534", jobRoleArn=ROLE) for n in range(3)]
    for job_id in jobs:
        ((arn, uid), status) = told(service, job_id)
        assert (arn, uid, status) == (service.job(job_id)["container"]["taskArn"], 65534, [200])


def test_sockets_of_version_6_and_processes_that_were_left_alone_are_known_too(service: Yard) -> None:
    script = """
import socket, subprocess
with socket.socket(socket.AF_INET6) as peer:
    peer.settimeout(90)
    peer.connect(("::ffff:169.254.169.254", 80))
    peer.sendall(b"GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = b""
    while piece := peer.recv(4096):
        answer += piece
tell(answer.split(b"\\r\\n\\r\\n")[1].decode())
ask_it = "import urllib.request as r; print(r.urlopen('http://169.254.169.254/latest/meta-data/', timeout=90).status, flush=True)"
subprocess.run(["sh", "-c", f'setsid {sys.executable} -c "{ask_it}" & wait'], check=True)
"""
    job_id = asking(service, "six", script)
    instance, status = told(service, job_id)
    assert instance == [service.job(job_id)["container"]["containerInstanceArn"].rpartition("/")[2]]
    assert status == 200


def test_a_command_that_is_run_inside_a_job_is_the_jobs(service: Yard) -> None:
    job_id = submitted(service, "entered", "sleep", "600")
    job = service.until(job_id, "RUNNING")
    ask_it = f"import urllib.request as r; print(r.urlopen('{INSTANCES}/latest/meta-data/instance-id', timeout=90).read().decode())"
    said = service.cli("exec", "--data", str(service.data), job_id, "--", interpreter(), "-c", ask_it).stdout
    assert said.strip() == job["container"]["containerInstanceArn"].rpartition("/")[2]
    service.batch.terminate_job(jobId=job_id, reason="enough")
    service.until(job_id)


def test_each_container_of_a_task_finds_itself(service: Yard) -> None:
    script = f"""
uri = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
tell(json.loads(ask(uri)[1])["Name"], ask("{TASKS}" + os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])[0])
"""
    after: dict[str, Any] = {"dependsOn": [{"containerName": "one", "condition": "COMPLETE"}]}
    parts = [
        {
            "name": name,
            "image": "busybox",
            "command": [interpreter(), "-c", ASK + script],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
            **more,
        }
        for name, more in (("one", {"essential": False}), ("two", after))
    ]
    task = {"containers": parts, "taskRoleArn": ROLE}
    service.batch.register_job_definition(jobDefinitionName="several", type="container", ecsProperties={"taskProperties": [task]})
    job = service.until(service.submit("several"))
    logs, answers = service.client("logs"), []
    for part in job["ecsProperties"]["taskProperties"][0]["containers"]:
        found = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=part["logStreamName"], startFromHead=True)["events"]
        answers += [json.loads(each["message"]) for each in found]
    assert sorted(answers) == [["one", 200], ["two", 200]]


def test_a_job_that_makes_the_search_for_itself_long_hurts_nobody_else(service: Yard) -> None:
    script = f"""
held = [open("/dev/null") for _ in range(900)]
for _ in range(60):
    if not os.fork():
        time.sleep(600)
first = ask("{INSTANCES}/latest/meta-data/instance-id")[0]
statuses = [ask("{INSTANCES}/latest/meta-data/instance-id")[0] for _ in range(50)]
tell(first, sorted(set(statuses)))
while True:
    ask("{INSTANCES}/latest/meta-data/instance-id")
"""
    crowd = asking(service, "crowd", script)
    until(lambda: service.logs(service.until(crowd, "RUNNING")) or None, "it to have asked much")
    others = f'tell([ask("{INSTANCES}/latest/meta-data/instance-id")[0] for _ in range(5)])'
    assert told(service, asking(service, "modest", others)) == [[[200] * 5]]
    service.batch.terminate_job(jobId=crowd, reason="enough")
    job = service.until(crowd)
    first, statuses = json.loads(service.logs(job)[0])
    assert {first, *statuses} <= {200, 404}  # with cgroups of version 2 there is no search


def test_a_second_service_says_that_the_addresses_are_taken(service: Yard, tmp_path: Path) -> None:
    refused = _refused(tmp_path / "other")
    assert "--link-local on is not possible: another Batchyard on this machine has the addresses" in refused
    assert taken() == set(link_local.ADDRESSES)
    assert not (tmp_path / "other" / "node.lock").exists()


def test_a_node_that_was_killed_is_followed_by_one_that_has_the_addresses_again(alone: None, tmp_path: Path) -> None:
    yard = Yard(tmp_path / "data", *OPTIONS, "--link-local", "on").start()
    try:
        yard.environment_of("ce")
        yard.queue_of("queue", "ce")
        script = f'tell(ask("{INSTANCES}/latest/meta-data/instance-life-cycle"))'
        assert told(yard, asking(yard, "before", script)) == [[[200, "on-demand"]]]
        before = yard.node_pid
        os.kill(before, signal.SIGKILL)
        assert told(yard, asking(yard, "after", script)) == [[[200, "on-demand"]]]  # by the next one: it is tried until then
        node = yard.node_pid
        assert node != before
        yard.stop()
        os.kill(node, signal.SIGKILL)
        until(lambda: not _lives(node) or None, "its end")
        assert taken() == set(link_local.ADDRESSES)
        yard.options = OPTIONS
        yard.start()
        assert taken() == set()
    finally:
        yard.down()


def test_down_takes_away_what_a_service_left_that_was_killed_whole(alone: None, tmp_path: Path) -> None:
    yard = Yard(tmp_path / "data", *OPTIONS, "--link-local", "on").start()
    node = yard.node_pid
    yard.kill()
    os.kill(node, signal.SIGKILL)
    until(lambda: not _lives(node) or None, "its end")
    assert taken() == set(link_local.ADDRESSES)
    yard.cli("down", "--data", str(yard.data))
    assert taken() == set()
    yard.errors.close()


def test_an_address_that_is_anybody_elses_stays_so(alone: None, tmp_path: Path) -> None:
    netlink.add_address(link_local.TASKS, "lo:agent")
    refused = _refused(tmp_path / "data")
    assert "this machine has the address 169.254.170.2 already (lo:agent)" in refused
    assert taken() == {link_local.TASKS}
    netlink.remove_address(link_local.TASKS, "lo:agent")


def _refused(folder: Path) -> str:
    """What a start says that is refused."""
    command = [sys.executable, "-m", "batchyard.main", "serve", "--data", str(folder), "--port", "0", *OPTIONS, "--link-local", "on"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert ended.returncode == 1
    assert ended.stdout == ""
    return ended.stderr


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
