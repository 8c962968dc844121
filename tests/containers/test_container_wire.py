"""Jobs in containers as clients of AWS Batch see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from containers.engines import Daemon
from containers.registry import PASSWORD, USER, Registry
from yard import Yard, serving, until


def test_a_job_runs_in_its_image_and_finds_the_service(yard: Yard, shared_daemon: Daemon) -> None:
    script = (
        "cat /etc/passwd | wc -l; wget -q -O - $AWS_ENDPOINT_URL/healthz; echo; echo $AWS_BATCH_JQ_NAME ${AWS_SESSION_TOKEN:+keys} $PATH"
    )
    job = yard.until(yard.submit(yard.definition_of("inside", "sh", "-c", script)))
    assert job["status"] == "SUCCEEDED"
    lines = yard.logs(job)
    assert lines[0] == "2"
    assert '"ready":' in lines[1]
    assert lines[2].startswith("queue keys /")
    assert "runtimePlatform" not in job["container"]
    assert "in their images, with" in yard.log()


def test_a_container_finds_itself_at_its_metadata_endpoint(yard: Yard, shared_daemon: Daemon) -> None:
    script = """
for path in / /task /stats; do wget -q -O - $ECS_CONTAINER_METADATA_URI_V4$path; echo; done
wget -q -O - $AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/meta-data/instance-id; echo
cat /proc/self/cgroup | tail -1"""
    job = yard.until(yard.submit(yard.definition_of("doors", "sh", "-c", script, memory_mib=128)))
    own, task, stats, instance, *_ = yard.logs(job)
    shown, whole, used = json.loads(own), json.loads(task), json.loads(stats)
    assert (shown["Name"], shown["Image"], shown["KnownStatus"]) == ("default", "busybox", "RUNNING")
    assert shown["DockerName"] == shown["Labels"]["com.amazonaws.ecs.task-arn"].rpartition("/")[2]
    assert len(shown["DockerId"]) == 64
    assert shown["ImageID"].removeprefix("sha256:").isalnum()
    assert whole["TaskARN"] == job["container"]["taskArn"]
    assert whole["PullStartedAt"] <= whole["PullStoppedAt"] <= shown["StartedAt"]
    assert used["id"] == shown["DockerId"]
    assert used["memory_stats"]["limit"] == 128 * 1024 * 1024
    assert used["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert instance == job["container"]["containerInstanceArn"].rpartition("/")[2]


def test_entry_points_run_in_an_image_that_has_nothing_but_a_shell(yard: Yard, folder: Path) -> None:
    command = [sys.executable, "-m", "batchyard.main", "entrypoint", "install", "--to", str(folder / "programs")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    container = {
        "image": "busybox",
        "command": ["/programs/stage_and_run", "trap 'echo told; exit 9' TERM; pwd; ls ..; sleep 600 & wait"],
        "environment": [{"name": "JOB_DATA_ISOLATION", "value": "1"}, {"name": "JOB_DATA_ROOT", "value": "/tmp"}],
        "volumes": [{"name": "programs", "host": {"sourcePath": str(folder / "programs")}}],
        "mountPoints": [{"sourceVolume": "programs", "containerPath": "/programs", "readOnly": True}],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
    }
    yard.batch.register_job_definition(jobDefinitionName="staged", type="container", containerProperties=container)
    job_id = yard.submit("staged")
    job = yard.until(job_id, "RUNNING")
    until(lambda: yard.logs(job)[1:] or None, "its first words")
    yard.batch.terminate_job(jobId=job_id, reason="enough")
    job = yard.until(job_id)
    assert yard.logs(job) == [f"/tmp/{job_id}/1", "1", "told"]
    assert job["container"]["exitCode"] == 9


def test_the_output_of_a_container_goes_where_its_driver_says(yard: Yard) -> None:
    for driver in ("json-file", "none"):
        container = {
            "image": "busybox",
            "command": ["sh", "-c", "echo one; echo two >&2"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
            "logConfiguration": {"logDriver": driver},
        }
        yard.batch.register_job_definition(jobDefinitionName=driver, type="container", containerProperties=container)
        job = yard.until(yard.submit(driver))
        assert job["status"] == "SUCCEEDED"
        assert "logStreamName" not in job["container"]
        told = yard.cli("logs", job["jobId"], "--data", str(yard.data), check=False)
        assert (told.returncode, sorted(told.stdout.splitlines())) == ((0, ["one", "two"]) if driver == "json-file" else (2, []))


def test_on_another_network_no_variable_leads_nowhere(shared_daemon: Daemon, folder: Path) -> None:
    options = ("--runtime", "container", "--container-socket", shared_daemon.socket, "--container-network", "none")
    with serving(folder / "data", *options) as yard:
        yard.with_queue("ce")
        job = yard.until(yard.submit(yard.definition_of("apart", "env")))
        names = {line.partition("=")[0] for line in yard.logs(job)}
    assert "AWS_BATCH_JOB_ID" in names
    assert not {name for name in names if "METADATA" in name or name.startswith("AWS_CONTAINER")}


def test_3_an_image_that_is_not_there(yard: Yard, registry: Registry) -> None:
    arn = yard.batch.register_job_definition(
        jobDefinitionName="missing",
        type="container",
        containerProperties={
            "image": registry.name("missing/tool:7"),
            "command": ["true"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        },
    )["jobDefinitionArn"]
    job = yard.until(yard.submit(arn))
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert job["container"]["reason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in job["container"]
    assert "startedAt" not in job
    (attempt,) = job["attempts"]
    assert attempt["statusReason"] == "Task failed to start"
    assert attempt["container"]["reason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in attempt["container"]
    assert "startedAt" not in attempt


def test_a_private_image_is_pulled_with_repository_credentials(yard: Yard, private_registry: Registry) -> None:
    image = private_registry.name("tools/caller")
    secrets = yard.client("secretsmanager")
    good = secrets.create_secret(Name="registry", SecretString=json.dumps({"username": USER, "password": PASSWORD}))["ARN"]
    odd = secrets.create_secret(Name="odd", SecretString="no JSON")["ARN"]
    wrong = secrets.create_secret(Name="wrong", SecretString=json.dumps({"username": USER, "password": "wrong"}))["ARN"]
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]

    def ended(name: str, **runs: Any) -> dict[str, Any]:
        arn = yard.batch.register_job_definition(jobDefinitionName=name, type="container", **runs)["jobDefinitionArn"]
        return yard.until(yard.submit(arn))

    def single(name: str, **credentials: Any) -> dict[str, Any]:
        return ended(name, containerProperties={"image": image, "resourceRequirements": needs, **credentials})

    assert single("without")["container"]["reason"].startswith("CannotPullContainerError: ")
    refused = single("odd", repositoryCredentials={"credentialsParameter": odd})
    assert refused["container"]["reason"].startswith("ResourceInitializationError: unable to pull secrets or registry auth: ")
    assert f"{odd} must be JSON with username and password" in refused["container"]["reason"]
    refused = single("absent", repositoryCredentials={"credentialsParameter": "absent"})
    assert refused["container"]["reason"].startswith("ResourceInitializationError: unable to pull secrets or registry auth: ")
    assert "unable to retrieve secret from asm" in refused["container"]["reason"]
    refused = single("wrong", repositoryCredentials={"credentialsParameter": wrong})
    assert refused["container"]["reason"].startswith("CannotPullContainerError: ")
    named = {"image": private_registry.name("tools/named"), "repositoryCredentials": {"credentialsParameter": "registry"}}
    assert ended("named", containerProperties={"resourceRequirements": needs, **named})["status"] == "SUCCEEDED"
    credentials = {"repositoryCredentials": {"credentialsParameter": good}}
    member = {"name": "main", "image": private_registry.name("tools/other"), "resourceRequirements": needs, **credentials}
    task = ended("task", ecsProperties={"taskProperties": [{"containers": [member]}]})
    assert task["status"] == "SUCCEEDED", task
    job = single("with", **credentials)
    assert (job["status"], yard.logs(job)) == ("SUCCEEDED", ["I am tools/caller"])
    assert job["container"]["repositoryCredentials"] == credentials["repositoryCredentials"]
    assert PASSWORD not in json.dumps([job, task])


def test_out_of_memory_in_awss_words(yard: Yard) -> None:
    job = yard.until(yard.submit(yard.definition_of("greedy", "tail", "-c", "150000000", "/dev/zero", memory_mib=32)))
    assert (job["status"], job["statusReason"]) == ("FAILED", "Essential container in task exited")
    assert job["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert job["container"]["exitCode"] == 137


def test_a_job_is_lost_with_its_container_and_tried_again(yard: Yard, shared_daemon: Daemon) -> None:
    retry = {"attempts": 2, "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}, {"action": "EXIT", "onReason": "*"}]}
    script = "test $AWS_BATCH_JOB_ATTEMPT = 2 || sleep 600; echo again"
    id = yard.submit(yard.definition_of("lost", "sh", "-c", script, retryStrategy=retry))
    yard.until(id, "RUNNING")
    (container,) = shared_daemon.containers()
    shared_daemon.call("DELETE", f"/v1.40/containers/{container['Id']}?force=1")
    job = yard.until(id)
    assert job["status"] == "SUCCEEDED"
    assert job["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")
    assert job["attempts"][0]["statusReason"].endswith(") terminated.")
    assert "exitCode" not in job["attempts"][0]["container"]


def test_tags_choose_for_a_definition_and_for_a_queue(yard: Yard) -> None:
    """What /proc/1 is called tells a process of the machine from a container's first."""
    yard.queue_of("on-host", "ce", tags={"batchyard:runtime": "process"})
    script = "test $$ = 1 && echo container || echo process"
    plain = yard.definition_of("plain", "sh", "-c", script)
    tagged = yard.definition_of("tagged", "sh", "-c", script, tags={"batchyard:runtime": "container"})
    jobs = [yard.until(yard.submit(definition, queue)) for definition, queue in ((plain, "queue"), (plain, "on-host"), (tagged, "on-host"))]
    assert [yard.logs(job) for job in jobs] == [["container"], ["process"], ["container"]]
    marks = [job["container"].get("runtimePlatform", {}).get("operatingSystemFamily") for job in jobs]
    assert marks == [None, "LINUX (process: image not used)", None]


def test_mount_points_are_whole(yard: Yard) -> None:
    for point in ({"containerPath": "/x"}, {"sourceVolume": "v"}):
        with pytest.raises(yard.batch.exceptions.ClientException, match="each needs sourceVolume and containerPath"):
            yard.batch.register_job_definition(
                jobDefinitionName="half",
                type="container",
                containerProperties={
                    "image": "busybox",
                    "volumes": [{"name": "v"}],
                    "mountPoints": [point],
                    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
                },
            )


def test_containers_without_a_daemon_are_refused_at_the_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "batchyard.main", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    done = subprocess.run(
        [*command, "--runtime", "container", "--container-socket", str(tmp_path / "none.sock")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert f"no Docker or Podman daemon answers: {tmp_path}/none.sock (--container-socket): No such file or directory" in done.stderr
