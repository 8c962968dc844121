"""The page for who comes from elsewhere: its test suite is run as it stands, and what it says of moto is asked of moto."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import moto
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

import pages
import reader

PAGE = (pages.ROOT / "docs" / "explanation" / "coming-from.md").read_text()
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)  # the commands have a limit of their own, and fail by that
SIZES = [{"type": "VCPU", "value": "1000"}, {"type": "MEMORY", "value": "64"}]
CONTAINER = {"image": "busybox", "command": ["false"], "resourceRequirements": SIZES}


def test_the_suite_that_was_motos_runs(tmp_path: Path) -> None:
    blocks = [block.text for block in pages.blocks(pages.section(PAGE, "## From moto")) if block.language == "python"]
    for name, text in zip(("conftest.py", "test_pipeline.py"), blocks, strict=True):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    # A folder of its own: a pytest that begins closes the common one to the jobs of all tests that run beside this one.
    command += ["--basetemp", str(tmp_path / "temporary"), str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=reader.environment(with_tools=False), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_each_behaviour_names_its_test() -> None:
    """Rows without one say that what they are about is not there."""
    table = pages.section(PAGE, "## What emulators get wrong, and what you get here")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 25
    for row in rows:
        assert row[4].startswith("`tests/") or (row[4] == "-" and "not there" in row[3]), row


# --- moto, as it is installed ---


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """moto's Batch with an environment of one vCPU, a queue, a definition; nobody needs Docker."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    for name in ("AWS_ENDPOINT_URL", "AWS_DATA_PATH", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws(config={"batch": {"use_docker": False}}):
        region: Any = {"region_name": "us-east-1"}
        iam, ec2, batch = (boto3.client(name, **region) for name in ("iam", "ec2", "batch"))
        role = iam.create_role(RoleName="role", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        profile = iam.create_instance_profile(InstanceProfileName="profile")["InstanceProfile"]["Arn"]
        capacity = {
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 1,
            "instanceTypes": ["m5.large"],
            "instanceRole": profile,
            "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
            "securityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        }
        made = batch.create_compute_environment(computeEnvironmentName="small", type="MANAGED", serviceRole=role, computeResources=capacity)
        order = [{"order": 1, "computeEnvironment": made["computeEnvironmentArn"]}]
        batch.create_job_queue(jobQueueName="queue", state="ENABLED", priority=1, computeEnvironmentOrder=order)
        batch.register_job_definition(jobDefinitionName="fails", type="container", containerProperties=CONTAINER)
        yield batch


def submitted(batch: Any, **params: Any) -> Any:
    job = batch.submit_job(jobName="job", jobQueue="queue", jobDefinition="fails", **params)["jobId"]
    return batch.describe_jobs(jobs=[job])["jobs"][0]


def refused(call: Callable[..., Any], **params: Any) -> dict[str, str]:
    with pytest.raises(ClientError) as refusal:
        call(**params)
    return refusal.value.response["Error"]  # type: ignore[return-value]


def test_the_page_names_the_moto_that_is_installed() -> None:
    assert f"moto {moto.__version__}" in PAGE


def test_moto_runs_nothing_and_schedules_nothing(others: Any) -> None:
    """`false` succeeds, on 1,000 vCPUs of an environment of one; no retries are kept, task and instance are invented."""
    job = submitted(others, retryStrategy={"attempts": 3})
    assert job["status"] == "SUCCEEDED"
    assert "retryStrategy" not in job
    container = job["attempts"][0]["container"]
    assert (container["taskArn"], container["containerInstanceArn"]) == (job["jobDefinition"], "TBD")
    assert [e["name"] for e in job["container"]["environment"]] == ["AWS_BATCH_JOB_ID"]


def test_moto_lists_all_at_once(others: Any) -> None:
    submitted(others), submitted(others)
    listed = others.list_jobs(jobQueue="queue", maxResults=1)
    assert [job["status"] for job in listed["jobSummaryList"]] == ["SUCCEEDED", "SUCCEEDED"]
    assert "nextToken" not in listed
    assert others.list_jobs()["jobSummaryList"] == []


def test_moto_has_words_and_types_of_its_own(others: Any) -> None:
    unknown = refused(others.submit_job, jobName="job", jobQueue="nowhere", jobDefinition="fails")
    assert unknown["Message"] != "JobQueue nowhere not found."
    twice = refused(others.create_compute_environment, computeEnvironmentName="small", type="UNMANAGED", serviceRole="role")
    assert twice["Code"] == "InvalidParameterValue"


def test_moto_has_neither_nodes_nor_snapshots_nor_consumable_resources(others: Any) -> None:
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:", "container": CONTAINER}]}
    others.register_job_definition(jobDefinitionName="many", type="multinode", nodeProperties=nodes)
    job = others.submit_job(jobName="job", jobQueue="queue", jobDefinition="many")["jobId"]
    assert others.describe_jobs(jobs=[f"{job}#0"])["jobs"] == []
    assert refused(others.get_job_queue_snapshot, jobQueue="queue")["Code"] == "404"
    assert refused(others.create_consumable_resource, consumableResourceName="licence")["Code"] == "404"
