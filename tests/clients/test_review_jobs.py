"""Jobs as their users see them, held to the specification line by line: how they start and end, what they may do, when."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from yard import Yard, until


def test_a_job_dies_of_every_signal_however_the_service_was_started(new_yard: Callable[..., Yard]) -> None:
    """A script's `batchyard serve &` ignores SIGINT and SIGQUIT, `nohup` SIGHUP: jobs must not inherit that."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yard = new_yard("--vcpus", "4", "--memory-mib", "1024")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    yard.with_queue(max_vcpus=4)
    jobs = {number: yard.submit(yard.definition_of(number.name, "sh", "-c", f"kill -{number} $$; sleep 5")) for number in numbers}
    for number, job_id in jobs.items():
        job = yard.until(job_id)
        assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 128 + number), number.name


@pytest.mark.parametrize("digits", [20, 400, 5000])
@pytest.mark.parametrize("kind", ["VCPU", "MEMORY", "GPU"])
def test_sizes_beyond_all_reason_are_the_callers_mistake(yard: Yard, kind: str, digits: int) -> None:
    wanted = {"resourceRequirements": [{"type": kind, "value": "9" * digits}]}
    with pytest.raises(ClientError, match=f"Value 9+.* for type {kind} in resourceRequirement is not valid") as refused:
        yard.submit("true", containerOverrides=wanted)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize("value", ["9" * 20, "9" * 5000, "-1", "yesterday", "1.5"])
def test_a_filter_by_time_takes_milliseconds_and_nothing_else(yard: Yard, value: str) -> None:
    with pytest.raises(ClientError, match="BEFORE_CREATED_AT takes milliseconds since 1970") as refused:
        yard.batch.list_jobs(jobQueue="queue", filters=[{"name": "BEFORE_CREATED_AT", "values": [value]}])
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_user_that_owns_the_machine_is_refused_with_a_fix_that_exists(yard: Yard, name: str) -> None:
    container = {"image": "busybox", "command": ["id"], "vcpus": 1, "memory": 64, "user": "root"}
    yard.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container)
    job = yard.until(yard.submit(name))
    if os.geteuid():
        pytest.skip("without root there is no other user")
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert job["container"]["reason"].endswith("name another user, or none")
    assert not {"exitCode", "logStreamName"} & job["container"].keys()
    assert "startedAt" not in job


def test_a_finished_jobs_record_outlives_its_environment_unchanged(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "2", "--memory-mib", "1024", "--idle", "0")
    yard.with_queue()
    done = yard.until(yard.submit(yard.definition_of("true", "true")))
    yard.batch.update_job_queue(jobQueue="queue", state="DISABLED")
    yard.batch.delete_job_queue(jobQueue="queue")
    until(lambda: not yard.batch.describe_job_queues(jobQueues=["queue"])["jobQueues"] or None, "the queue to be gone")
    yard.batch.update_compute_environment(computeEnvironment="environment", state="DISABLED")
    yard.batch.delete_compute_environment(computeEnvironment="environment")
    gone = yard.batch.describe_compute_environments
    until(lambda: not gone(computeEnvironments=["environment"])["computeEnvironments"] or None, "it to be gone")
    assert yard.job(done["jobId"]) == done


def test_a_small_request_cannot_become_a_huge_command(yard: Yard) -> None:
    parameters, command = {"a": "v" * 500_000}, ["echo", "Ref::a" * 5000]
    with pytest.raises(ClientError, match="With its parameters filled in, the command is longer than"):
        yard.submit("true", parameters=parameters, containerOverrides={"command": command})
