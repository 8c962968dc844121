"""The log drivers of jobs, on a real service: awslogs is the default, json-file keeps files, none keeps nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, open_to_jobs, serving, until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("drivers") / "data", "--vcpus", "4", "--memory-mib", "4096") as yard:
        yield yard.with_queue()


def container(script: str, driver: str, **options: str) -> dict[str, Any]:
    return {
        "image": "busybox",
        "command": ["sh", "-c", script],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        "logConfiguration": {"logDriver": driver, **({"options": options} if options else {})},
    }


def submitted(yard: Yard, name: str, properties: dict[str, Any], **more: Any) -> str:
    yard.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=properties, **more)
    return yard.submit(name)


def streams(yard: Yard) -> list[str]:
    try:
        return [s["logStreamName"] for s in yard.client("logs").describe_log_streams(logGroupName="/aws/batch/job")["logStreams"]]
    except ClientError:
        return []


def test_json_file_keeps_a_file_on_the_node_which_batchyard_logs_reads(service: Yard) -> None:
    script = "echo attempt $AWS_BATCH_JOB_ATTEMPT; echo aside >&2; [ $AWS_BATCH_JOB_ATTEMPT = 2 ]"
    job_id = submitted(
        service, "filed", container(script, "json-file", **{"max-size": "10m", "max-file": "2"}), retryStrategy={"attempts": 2}
    )
    job = service.until(job_id)
    assert job["status"] == "SUCCEEDED"
    assert job["container"]["logConfiguration"] == {"logDriver": "json-file", "options": {"max-size": "10m", "max-file": "2"}}
    assert "logStreamName" not in job["container"]
    assert all("logStreamName" not in attempt["container"] for attempt in job["attempts"])
    assert not [name for name in streams(service) if name.startswith("filed/")]
    where = ("--data", str(service.data))
    assert service.cli("logs", job_id, *where).stdout.splitlines() == ["attempt 2", "aside"]
    assert service.cli("logs", job_id, "--attempt", "1", *where).stdout.splitlines() == ["attempt 1", "aside"]
    shown = json.loads(service.cli("logs", job_id, "--json", *where).stdout)
    assert [event["message"] for event in shown["events"]] == ["attempt 2", "aside"]
    attempt = job["attempts"][1]["container"]["taskArn"].rpartition("/")[2]
    (first, _) = (service.data / "json-logs" / f"{attempt}.json").read_text().splitlines()
    assert json.loads(first)["log"] == "attempt 2\n"
    assert (service.data / "json-logs").stat().st_mode & 0o077 == 0
    missing = service.cli("logs", job_id, "--attempt", "7", *where, check=False)
    assert missing.returncode == 1
    assert "has no log of an attempt 7" in missing.stderr


def test_a_file_is_followed_while_the_job_writes(service: Yard) -> None:
    job_id = submitted(service, "talking", container("for n in 1 2 3 4; do echo $n; sleep 0.4; done", "json-file"))
    service.until(job_id, "RUNNING", "SUCCEEDED")
    assert service.cli("logs", "--follow", job_id, "--data", str(service.data)).stdout.splitlines() == ["1", "2", "3", "4"]


def test_a_file_is_bounded_by_its_options(service: Yard) -> None:
    job_id = submitted(service, "bounded", container("seq 20000", "json-file", **{"max-size": "64k", "max-file": "2"}))
    job = service.until(job_id)
    attempt = job["container"]["taskArn"].rpartition("/")[2]
    sizes = [path.stat().st_size for path in (service.data / "json-logs").glob(f"{attempt}.json*")]
    assert len(sizes) == 2
    assert max(sizes) <= 65_536
    lines = service.cli("logs", job_id, "--data", str(service.data)).stdout.splitlines()
    assert lines == [str(number) for number in range(20_001 - len(lines), 20_001)]


def test_a_file_without_options_is_bounded_by_the_limit_of_logs(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--vcpus", "2", "--memory-mib", "2048", "--log-limit-mib", "1") as yard:
        yard.with_queue()
        job = yard.until(submitted(yard, "endless", container("seq 100000", "json-file")))
        sizes = [path.stat().st_size for path in (yard.data / "json-logs").iterdir()]
        assert sum(sizes) <= 1024 * 1024
        assert yard.cli("logs", job["jobId"], "--data", str(yard.data)).stdout.endswith("99999\n100000\n")


def test_none_keeps_nothing(service: Yard) -> None:
    job_id = submitted(service, "silent", container("seq 100000; echo $ECS_CONTAINER_METADATA_URI_V4; exit 3", "none"))
    job = service.until(job_id)
    assert job["container"]["exitCode"] == 3
    assert "logStreamName" not in job["container"]
    assert "logStreamName" not in job["attempts"][0]["container"]
    assert not [name for name in streams(service) if name.startswith("silent/")]
    attempt = job["container"]["taskArn"].rpartition("/")[2]
    assert not list((service.data / "json-logs").glob(f"{attempt}*")) if (service.data / "json-logs").is_dir() else True
    told = service.cli("logs", job_id, "--data", str(service.data), check=False)
    assert told.returncode == 2
    assert "has the log driver none: what it writes is not kept" in told.stderr


def test_each_container_of_a_task_has_its_own_driver(service: Yard) -> None:
    others = [{"containerName": name, "condition": "SUCCESS"} for name in ("file", "nothing")]  # with its end it would stop them
    parts = [
        {"name": "stream", "dependsOn": others, **container("echo to a stream", "awslogs")},
        {"name": "file", "essential": False, **container("echo to a file", "json-file")},
        {"name": "nothing", "essential": False, **container("echo to nobody", "none")},
    ]
    ecs = {"taskProperties": [{"containers": parts}]}
    service.batch.register_job_definition(jobDefinitionName="mixed", type="container", ecsProperties=ecs)
    job = service.until(service.submit("mixed"))
    shown = {c["name"]: c for c in job["ecsProperties"]["taskProperties"][0]["containers"]}
    assert ["logStreamName" in shown[name] for name in ("stream", "file", "nothing")] == [True, False, False]
    named = {c["name"]: c for c in job["attempts"][0]["taskProperties"][0]["containers"]}
    assert ["logStreamName" in named[name] for name in ("stream", "file", "nothing")] == [True, False, False]
    where = ("--data", str(service.data))
    assert service.cli("logs", job["jobId"], "--container", "stream", *where).stdout == "to a stream\n"
    assert service.cli("logs", job["jobId"], "--container", "file", *where).stdout == "to a file\n"
    assert service.cli("logs", job["jobId"], "--container", "nothing", *where, check=False).returncode == 2


def test_each_node_of_a_multi_node_job_has_its_file(service: Yard) -> None:
    said = service.data.with_name("said")  # the end of the main node would stop the other one
    said.touch()
    said.chmod(0o666)
    open_to_jobs(said.parent)
    script = f"echo node $AWS_BATCH_JOB_NODE_INDEX; echo $AWS_BATCH_JOB_NODE_INDEX >> {said}; until grep -q 1 {said}; do sleep 0.1; done"
    part = {"targetNodes": "0:1", "container": container(script, "json-file")}
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [part]}
    service.batch.register_job_definition(jobDefinitionName="nodes", type="multinode", nodeProperties=nodes)
    job = service.until(service.submit("nodes"))
    assert job["status"] == "SUCCEEDED"
    where = ("--data", str(service.data))
    shown = [service.cli("logs", f"{job['jobId']}{node}", *where).stdout for node in ("", "#0", "#1")]
    assert shown == ["node 0\n", "node 0\n", "node 1\n"]
    assert "logStreamName" not in service.job(f"{job['jobId']}#1")["container"]


def test_what_a_node_says_of_a_start_that_failed_stands_in_the_file(service: Yard) -> None:
    properties = {**container("", "json-file"), "command": ["/nowhere/to/be/found"]}
    job = service.until(submitted(service, "unstartable", properties))
    assert job["status"] == "FAILED"
    assert "CannotStartContainerError" in service.cli("logs", job["jobId"], "--data", str(service.data)).stdout


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("syslog", {}, "logDriver syslog is not available in this version of Batchyard"),
        ("splunk", {}, "logDriver splunk is not available in this version of Batchyard"),
        ("paper", {}, "logDriver paper is not valid. Valid values here are: awslogs, json-file, none."),
        ("json-file", {"awslogs-group": "g"}, "awslogs-group has no effect with json-file. Known are: max-size, max-file"),
        ("json-file", {"max-size": "many"}, "max-size 'many' is not valid. A size looks like 512k, 10m or 1g"),
        ("json-file", {"max-file": "0"}, "max-file '0' is not valid"),
        ("none", {"max-size": "10m"}, "max-size has no effect with none. It has no options."),
    ],
)
def test_what_a_driver_cannot_do_is_refused_at_registration(service: Yard, driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(ClientError, match="logConfiguration") as refused:
        submitted(service, "refused", container("true", driver, **options))
    assert words in str(refused.value)


def test_files_of_forgotten_attempts_are_nobodys(service: Yard, tmp_path: Path) -> None:
    job_id = submitted(service, "gone", container("echo here", "json-file"))
    job = service.until(job_id)
    attempt = job["container"]["taskArn"].rpartition("/")[2]
    until(lambda: (service.data / "json-logs" / f"{attempt}.json").exists() or None, "its file")
    (service.data / "json-logs" / f"{attempt}.json").unlink()
    assert service.cli("logs", job_id, "--data", str(service.data)).stdout == ""


# --- a group that is not there ---

MISSING = "failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist."


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("strict") / "data", "--vcpus", "4", "--memory-mib", "4096", "--profile", "aws") as yard:
        yield yard.with_queue()


def test_a_group_that_is_not_there_fails_the_attempt_as_on_aws(strict: Yard) -> None:
    asked = {"awslogs-group": "/lab/not-there"}
    refused = [
        submitted(
            strict, f"missing-{create}", container("echo hello", "awslogs", **asked, **({"awslogs-create-group": create} if create else {}))
        )
        for create in ("", "false")
    ]
    several = {"name": "one", "essential": True, **container("echo hello", "awslogs", **asked)}
    task = {"taskProperties": [{"containers": [several]}]}
    strict.batch.register_job_definition(jobDefinitionName="missing-of-several", type="container", ecsProperties=task)
    refused.append(strict.submit("missing-of-several"))
    for job_id in refused:
        job = strict.until(job_id)
        assert job["status"] == "FAILED"
        assert job["statusReason"] == "Task failed to start"
        (attempt,) = job["attempts"]
        shown = attempt["taskProperties"][0]["containers"][0] if "taskProperties" in attempt else attempt["container"]
        assert shown["reason"] == f"CannotStartContainerError: Error response from daemon: failed to initialize logging driver: {MISSING}"
    groups = [group["logGroupName"] for group in strict.client("logs").describe_log_groups()["logGroups"]]
    assert "/lab/not-there" not in groups


def test_a_group_that_is_there_or_is_to_be_made_is_written_to(strict: Yard) -> None:
    logs = strict.client("logs")
    logs.create_log_group(logGroupName="/lab/there")
    for group, more in (("/lab/there", {}), ("/lab/to-be-made", {"awslogs-create-group": "True"}), ("/aws/batch/job", {})):
        name = group.replace("/", "-").strip("-")
        job = strict.until(submitted(strict, name, container("echo hello", "awslogs", **{"awslogs-group": group}, **more)))
        assert job["status"] == "SUCCEEDED", job
        events = logs.get_log_events(logGroupName=group, logStreamName=job["container"]["logStreamName"], startFromHead=True)["events"]
        assert [event["message"] for event in events] == ["hello"]


def test_with_profile_open_it_is_made_in_any_case(service: Yard) -> None:
    asked = {"awslogs-group": "/lab/made", "awslogs-create-group": "false"}
    assert service.until(submitted(service, "made", container("echo hello", "awslogs", **asked)))["status"] == "SUCCEEDED"
    assert service.client("logs").describe_log_groups(logGroupNamePrefix="/lab/made")["logGroups"]
