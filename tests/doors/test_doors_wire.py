"""What jobs find at their metadata endpoints, asked from inside of real jobs, with the real boto3 where that is who asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from asking import ASK, spot_and_on_demand

from client_tools import interpreter
from yard import Yard, until

SITE = str(Path(boto3.__file__).parents[1])
ROLE = "arn:aws:iam::123456789012:role/worker"
CLUSTER = "com.amazonaws.ecs.cluster"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with spot_and_on_demand(tmp_path_factory.mktemp("doors") / "data", "--vcpus", "4", "--memory-mib", "4096") as yard:
        yield yard


def submitted(yard: Yard, name: str, script: str, queue: str = "queue", **container: Any) -> str:
    properties = {
        "image": "busybox",
        "command": [interpreter(), "-c", ASK + script],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
        **container,
    }
    yard.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=properties)
    return yard.submit(name, queue)


def told(yard: Yard, job_id: str) -> tuple[dict[str, Any], list[Any]]:
    job = yard.until(job_id)
    lines = yard.logs(job)
    assert job["status"] == "SUCCEEDED", lines
    return job, [json.loads(line) for line in lines]


def test_a_job_finds_itself_at_its_metadata_endpoint(service: Yard) -> None:
    script = """
for version in ("ECS_CONTAINER_METADATA_URI", "ECS_CONTAINER_METADATA_URI_V4"):
    for path in ("", "/task", "/stats", "/task/stats"):
        tell(*ask(os.environ[version] + path))
"""
    job, answers = told(service, submitted(service, "seen", script))
    assert [status for status, _ in answers] == [200] * 8
    v3, v3_task, _, _, v4, v4_task, stats, all_stats = [json.loads(text) for _, text in answers]
    arn = job["container"]["taskArn"]
    task_id = arn.rpartition("/")[2]
    (task,) = service.client("ecs").describe_tasks(cluster=v4_task["Cluster"], tasks=[arn])["tasks"]
    assert v4["Labels"] == {
        CLUSTER: task["clusterArn"].rpartition("/")[2],
        "com.amazonaws.ecs.container-name": "default",
        "com.amazonaws.ecs.task-arn": arn,
        "com.amazonaws.ecs.task-definition-family": "seen",
        "com.amazonaws.ecs.task-definition-version": "1",
    }
    assert (v4["ContainerARN"], v4["DockerId"]) == (task["containers"][0]["containerArn"], task["containers"][0]["runtimeId"])
    assert (v4["Name"], v4["Image"], v4["KnownStatus"], v4["DesiredStatus"], v4["Type"]) == (
        "default",
        "busybox",
        "RUNNING",
        "RUNNING",
        "NORMAL",
    )
    assert v4["Limits"] == {"CPU": 1024, "Memory": 256}
    assert v4["Networks"] == [{"NetworkMode": "host", "IPv4Addresses": [""]}]
    assert (v4["LogDriver"], v4["LogOptions"]) == (
        "awslogs",
        {"awslogs-group": "/aws/batch/job", "awslogs-region": "us-east-1", "awslogs-stream": f"seen/default/{task_id}"},
    )
    assert v4["StartedAt"].endswith("Z")
    assert {name: value for name, value in v4.items() if name not in ("LogDriver", "LogOptions", "ContainerARN")} == v3
    assert (v4_task["TaskARN"], v4_task["Family"], v4_task["Revision"], v4_task["LaunchType"]) == (arn, "seen", "1", "EC2")
    assert v4_task["Containers"] == [v4]
    assert v3_task["Containers"] == [v3]
    assert "LaunchType" not in v3_task
    assert all_stats[v4["DockerId"]]["id"] == stats["id"] == v4["DockerId"]
    assert stats["memory_stats"]["limit"] == 256 * 1024 * 1024
    assert 0 < stats["memory_stats"]["usage"] <= stats["memory_stats"]["limit"]
    assert 0 < stats["cpu_stats"]["cpu_usage"]["total_usage"] < stats["cpu_stats"]["system_cpu_usage"]
    names = {entry["name"] for entry in job["container"]["environment"]}
    assert not {name for name in names if name.startswith(("ECS_", "AWS_"))}  # what DescribeJobs shows is what was asked for


def test_paths_are_known_to_their_job_only_and_lead_nowhere_afterwards(service: Yard) -> None:
    script = """
uri = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
tell(uri)
base, _, key = uri.rpartition("/v4/")
own = "/v4/" + key[:32]
for path in ("/", "/v4/", "/v4/" + "0" * 32 + "-default", own, own + "-other", own + "-default/nothing", "/ec2/latest/"):
    tell(ask(base + path)[0])
tell(ask(uri, method="POST")[0])
"""
    _, (first, *others) = told(service, submitted(service, "mine", script))
    assert others == [[404]] * 7 + [[405]]
    _, answers = told(
        service, submitted(service, "theirs", f"tell(ask({first[0]!r})[0])\ntell(os.environ['ECS_CONTAINER_METADATA_URI_V4'])")
    )
    assert answers[0] == [404]
    assert answers[1] != first


def test_boto3_finds_the_credentials_of_a_jobs_role_without_keys_in_its_environment(service: Yard) -> None:
    script = f"""
for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
    del os.environ[name]
sys.path.insert(0, {SITE!r})
import boto3
found = boto3.Session().get_credentials()
tell(found.method, boto3.client("sts").get_caller_identity()["Arn"])
uri, password = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
tell(ask(uri)[0], ask(uri, Authorization="guessed")[0])
tell(*sorted(json.loads(ask(uri, Authorization=password)[1])))
"""
    job, (caller, refused, names) = told(
        service, submitted(service, "acting", script, jobRoleArn=ROLE.replace("123456789012", account(service)))
    )
    assert caller == ["container-role", f"arn:aws:sts::{account(service)}:assumed-role/worker/{job['jobId']}"]
    assert refused == [401, 401]
    assert names == ["AccessKeyId", "Expiration", "RoleArn", "SecretAccessKey", "Token"]


def test_a_job_without_a_role_has_no_credentials_endpoint(service: Yard) -> None:
    script = """
tell([name for name in os.environ if name.startswith("AWS_CONTAINER")], "AWS_ACCESS_KEY_ID" in os.environ)
uri = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
tell(ask(uri.replace("/v4/", "/v2/credentials/").partition("-default")[0])[0])
"""
    assert told(service, submitted(service, "roleless", script))[1] == [[[], True], [404]]


def test_instance_metadata_says_what_ec2_says(service: Yard) -> None:
    script = f"""
base = os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] + "/latest"
status, token = ask(base + "/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
headers = dict(X_aws_ec2_metadata_token=token)
placement = ("placement/availability-zone", "placement/region")
for path in ("instance-id", "instance-type", *placement, "local-ipv4", "instance-life-cycle", "services/domain"):
    tell(*ask(base + "/meta-data/" + path, **headers))
tell(*ask(base + "/meta-data/instance-id"))
tell(*ask(base + "/dynamic/instance-identity/document", **headers))
tell(*ask(base + "/meta-data/placement/", **headers))
for path in ("/meta-data/spot/instance-action", "/meta-data/spot/termination-time", "/meta-data/iam/security-credentials/", "/user-data"):
    tell(ask(base + path, **headers)[0])
tell(ask(base + "/meta-data/instance-id", X_aws_ec2_metadata_token=token[:-6] + "AAAA==")[0], ask(base + "/api/token", "PUT")[0])
sys.path.insert(0, {SITE!r})
os.environ["AWS_METADATA_SERVICE_TIMEOUT"] = "90"  # by itself it asks once, and waits for a second
from botocore.utils import IMDSRegionProvider
import botocore.session
tell(IMDSRegionProvider(botocore.session.Session()).provide())
"""
    job, answers = told(service, submitted(service, "where", script))
    instance = job["container"]["containerInstanceArn"].rpartition("/")[2]
    (reservation,) = service.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"]
    (machine,) = reservation["Instances"]
    zone = machine["Placement"]["AvailabilityZone"]
    assert answers[:7] == [
        [200, instance],
        [200, machine["InstanceType"]],
        [200, zone],
        [200, zone[:-1]],
        [200, machine["PrivateIpAddress"]],
        [200, "on-demand"],
        [200, "amazonaws.com"],
    ]
    assert answers[7] == [200, instance]
    document = json.loads(answers[8][1])
    assert (document["instanceId"], document["imageId"], document["accountId"]) == (instance, machine["ImageId"], account(service))
    assert document["pendingTime"] == machine["LaunchTime"].strftime("%Y-%m-%dT%H:%M:%SZ")
    assert answers[9][1].splitlines() == ["availability-zone", "availability-zone-id", "region"]
    assert answers[10:14] == [[404]] * 4
    assert answers[14:] == [[401, 400], [zone[:-1]]]


def test_a_spot_job_sees_its_notice_at_the_metadata_endpoint(service: Yard) -> None:
    script = """
import time
base = os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] + "/latest/meta-data/"
tell(ask(base + "instance-life-cycle")[1])
tell(ask(base + "spot/instance-action")[0], ask(base + "spot/termination-time", method="HEAD"), ask(base + "instance-id", method="HEAD"))
while (found := ask(base + "spot/instance-action"))[0] == 404:
    time.sleep(0.2)
tell(found[1], ask(base + "spot/termination-time")[1], ask(base + "spot/")[1])
"""
    job_id = submitted(service, "polite", script, queue="spot-queue")
    running = service.until(job_id, "RUNNING")
    until(lambda: len(service.logs(service.job(job_id))) >= 2 or None, "its first answers")
    instance = running["container"]["containerInstanceArn"].rpartition("/")[2]
    service.cli("reclaim", instance, "--notice", "90", "--data", str(service.data))
    _, answers = told(service, job_id)
    assert answers[:2] == [["spot"], [404, [404, ""], [200, ""]]]
    notice = json.loads(answers[2][0])
    assert notice["action"] == "terminate"
    assert answers[2][1] == notice["time"]
    assert answers[2][2].splitlines() == ["instance-action", "termination-time"]


def test_variables_of_a_definition_win_over_ours(service: Yard) -> None:
    script = 'tell(os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"])'
    own = [{"name": "AWS_EC2_METADATA_SERVICE_ENDPOINT", "value": "http://169.254.169.254"}]
    assert told(service, submitted(service, "own", script, environment=own))[1] == [["http://169.254.169.254"]]


def test_each_container_of_a_task_finds_itself_and_the_others(service: Yard) -> None:
    def container(name: str, script: str, **more: Any) -> dict[str, Any]:
        return {
            "name": name,
            "image": f"image-of-{name}",
            "command": [interpreter(), "-c", ASK + script],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
            **more,
        }

    script = 'uri = os.environ["ECS_CONTAINER_METADATA_URI_V4"]\nfor path in ("", "/task"): tell(*ask(uri + path))'
    after = {"dependsOn": [{"containerName": "first", "condition": "COMPLETE"}]}
    parts = [container("last", script, **after), container("first", "sys.exit(3)", essential=False)]
    task = {"containers": parts, "taskRoleArn": ROLE}
    service.batch.register_job_definition(jobDefinitionName="several", type="container", ecsProperties={"taskProperties": [task]})
    job = service.until(service.submit("several"))
    shown = job["ecsProperties"]["taskProperties"][0]
    stream = shown["containers"][0]["logStreamName"]
    events = service.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)["events"]
    (_, own), (_, whole) = [json.loads(event["message"]) for event in events]
    mine, seen = json.loads(own), json.loads(whole)
    assert (mine["Name"], mine["Image"], mine["Limits"]["Memory"]) == ("last", "image-of-last", 128)
    assert seen["TaskARN"] == shown["taskArn"]
    first, last = seen["Containers"]
    assert last == mine
    assert (first["Name"], first["KnownStatus"], first["ExitCode"]) == ("first", "STOPPED", 3)
    assert first["FinishedAt"] >= first["StartedAt"]
    (told_by_ecs,) = service.client("ecs").describe_tasks(cluster=seen["Cluster"], tasks=[shown["taskArn"]])["tasks"]
    assert {c["name"]: c["containerArn"] for c in told_by_ecs["containers"]} == {c["Name"]: c["ContainerARN"] for c in (first, last)}


def test_a_task_of_fargate_finds_itself_but_no_instance(service: Yard) -> None:
    resources = {"type": "FARGATE", "maxvCpus": 2, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
    service.batch.create_compute_environment(computeEnvironmentName="fargate", type="MANAGED", computeResources=resources)
    service.queue_of("fargate-queue", "fargate", jobQueueType="ECS_FARGATE")
    script = """
tell("AWS_EC2_METADATA_SERVICE_ENDPOINT" in os.environ)
tell(*ask(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task"))
base, _, key = os.environ["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/v4/")
tell(ask(base + "/ec2/" + key[:32] + "/latest/meta-data/")[0])
"""
    container = {
        "image": "busybox",
        "command": [interpreter(), "-c", ASK + script],
        "executionRoleArn": ROLE,
        "resourceRequirements": [{"type": "VCPU", "value": "0.5"}, {"type": "MEMORY", "value": "1024"}],
    }
    service.batch.register_job_definition(
        jobDefinitionName="small", type="container", platformCapabilities=["FARGATE"], containerProperties=container
    )
    job, answers = told(service, service.submit("small", "fargate-queue"))
    assert answers[0] == [False]
    task = json.loads(answers[1][1])
    assert (task["LaunchType"], task["Limits"]) == ("FARGATE", {"CPU": 0.5, "Memory": 1024})
    assert task["Cluster"].startswith("arn:aws:ecs:")
    assert task["TaskARN"] == job["container"]["taskArn"]
    assert answers[2] == [404]


def test_a_pod_has_the_machines_metadata_and_nothing_of_ecs(service: Yard) -> None:
    eks = {"eksClusterArn": f"arn:aws:eks:us-east-1:{account(service)}:cluster/c", "kubernetesNamespace": "n"}
    resources = {
        "type": "EC2",
        "minvCpus": 0,
        "maxvCpus": 2,
        "instanceTypes": ["m5"],
        "subnets": ["subnet-1"],
        "securityGroupIds": ["sg-1"],
        "instanceRole": "ecsInstanceRole",
    }
    service.batch.create_compute_environment(
        computeEnvironmentName="cluster", type="MANAGED", eksConfiguration=eks, computeResources=resources
    )
    service.queue_of("pods", "cluster")
    script = """
tell([name for name in os.environ if name.startswith(("ECS_", "AWS_CONTAINER"))])
tell(ask(os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] + "/latest/meta-data/instance-id"))
"""
    container = {
        "image": "busybox",
        "command": [interpreter(), "-c", ASK + script],
        "resources": {"limits": {"cpu": "1", "memory": "256Mi"}},
    }
    service.batch.register_job_definition(
        jobDefinitionName="pod", type="container", eksProperties={"podProperties": {"containers": [container]}}
    )
    job = service.until(service.submit("pod", "pods"))
    assert job["status"] == "SUCCEEDED"
    pod = job["eksProperties"]["podProperties"]
    logs = service.client("logs")
    found = logs.describe_log_streams(logGroupName="/aws/batch/job", logStreamNamePrefix="pod/")["logStreams"]
    events = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=found[0]["logStreamName"], startFromHead=True)["events"]
    (names, instance) = [json.loads(event["message"]) for event in events]
    assert names == [[]]
    assert instance == [[200, pod["nodeName"]]]


def test_the_node_answers_while_the_server_is_away(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "data", "--vcpus", "2", "--memory-mib", "2048").start()
    try:
        yard.with_queue()
        script = """
import time
uri, service = os.environ["ECS_CONTAINER_METADATA_URI_V4"], os.environ["AWS_ENDPOINT_URL"]
tell("begun")
while True:
    try:
        urllib.request.urlopen(service + "/healthz", timeout=5).close()
    except OSError:
        break
    time.sleep(0.1)
tell(*ask(uri + "/task"))
tell(ask(uri + "/stats")[0])
"""
        job_id = submitted(yard, "left", script)
        until(lambda: (yard.job(job_id)["status"] == "RUNNING" and yard.logs(yard.job(job_id))) or None, "its first line")
        yard.kill()
        log = next((yard.data / "logs").rglob("left*.log"))
        until(lambda: b"TaskARN" in log.read_bytes() or None, "its answer")
        yard.start()
        job, answers = told(yard, job_id)
        assert json.loads(answers[1][1])["TaskARN"] == job["container"]["taskArn"]
        assert answers[2] == [200]
    finally:
        yard.down()


def test_a_job_that_floods_its_endpoint_keeps_nobody_from_starting(service: Yard) -> None:
    script = """
import socket, threading
from urllib.parse import urlsplit
where = urlsplit(os.environ["ECS_CONTAINER_METADATA_URI_V4"])
address = (where.hostname, where.port)
held = []
def flood():
    while True:
        try:
            peer = socket.create_connection(address, timeout=5)
            peer.sendall(b"GET /" + b"x" * 100)
            held.append(peer)
            del held[:-500]
        except OSError:
            pass
for _ in range(4):
    threading.Thread(target=flood, daemon=True).start()
tell("flooding")
threading.Event().wait(60)
"""
    flooding = submitted(service, "flood", script)
    until(lambda: (service.job(flooding)["status"] == "RUNNING" and service.logs(service.job(flooding))) or None, "the flood")
    asking = "tell(ask(os.environ['ECS_CONTAINER_METADATA_URI_V4'])[0])"
    _, answers = told(service, submitted(service, "beside", asking))
    assert answers == [[200]]
    service.batch.terminate_job(jobId=flooding, reason="enough")
    service.until(flooding)


def account(yard: Yard) -> str:
    return str(yard.client("sts").get_caller_identity()["Account"])
