"""The waiters for Batch that come with Batchyard, as botocore and the AWS CLI find them: by AWS_DATA_PATH of `batchyard env`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import WaiterError

from batchyard.main.commands.serve import WAITERS
from yard import Yard, serving

AWS = str(Path(sys.executable).with_name("aws"))


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("waiters") / "data", "--vcpus", "4", "--memory-mib", "2048") as yard:
        yard.with_queue()
        yard.definition_of("sleep", "sleep", "Ref::seconds", parameters={"seconds": "0.2"})
        yard.definition_of("false", "false")
        yield yard


@pytest.fixture(scope="module")
def batch(yard: Yard) -> Any:
    session = botocore.session.Session()
    session.set_config_variable("data_path", str(WAITERS))
    where = yard.endpoint
    return session.create_client(
        "batch",
        endpoint_url=where["endpoint_url"],
        region_name=where["region"],
        aws_access_key_id=where["access_key_id"],
        aws_secret_access_key=where["secret_access_key"],
    )


QUICK = {"Delay": 0.1, "MaxAttempts": 900}
ONCE = {"Delay": 0.1, "MaxAttempts": 2}


def test_jobs_are_waited_for(yard: Yard, batch: Any) -> None:
    good = [yard.submit("sleep") for _ in range(3)]
    batch.get_waiter("job_exists").wait(jobs=good, WaiterConfig=QUICK)
    batch.get_waiter("job_running").wait(jobs=good[:1], WaiterConfig=QUICK)
    batch.get_waiter("job_succeeded").wait(jobs=good, WaiterConfig=QUICK)
    bad = yard.submit("false")
    batch.get_waiter("job_complete").wait(jobs=[*good, bad], WaiterConfig=QUICK)
    with pytest.raises(WaiterError, match="terminal failure"):
        batch.get_waiter("job_succeeded").wait(jobs=[*good, bad], WaiterConfig=QUICK)


def test_nothing_is_not_complete(batch: Any) -> None:
    for name in ("job_exists", "job_running", "job_complete", "job_succeeded"):
        with pytest.raises(WaiterError, match="Max attempts"):
            batch.get_waiter(name).wait(jobs=["00000000-0000-4000-8000-000000000000"], WaiterConfig=ONCE)


def test_queues_and_environments_are_waited_for(yard: Yard, batch: Any) -> None:
    yard.environment_of("short-lived")
    yard.queue_of("brief", "short-lived")
    batch.get_waiter("compute_environment_valid").wait(computeEnvironments=["short-lived"], WaiterConfig=QUICK)
    batch.get_waiter("job_queue_valid").wait(jobQueues=["brief"], WaiterConfig=QUICK)
    batch.update_job_queue(jobQueue="brief", state="DISABLED")
    batch.delete_job_queue(jobQueue="brief")
    batch.get_waiter("job_queue_deleted").wait(jobQueues=["brief"], WaiterConfig=QUICK)
    batch.update_compute_environment(computeEnvironment="short-lived", state="DISABLED")
    batch.delete_compute_environment(computeEnvironment="short-lived")
    batch.get_waiter("compute_environment_deleted").wait(computeEnvironments=["short-lived"], WaiterConfig=QUICK)


def test_the_aws_cli_waits_too(yard: Yard) -> None:
    told = yard.cli("env", "--data", str(yard.data)).stdout
    job = yard.submit("sleep")
    script = f'eval "$1"; "{AWS}" batch wait job-succeeded --jobs "{job}"'
    done = subprocess.run(["sh", "-c", script, "sh", told], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert yard.job(job)["status"] == "SUCCEEDED"
