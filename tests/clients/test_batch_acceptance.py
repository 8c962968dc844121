"""The acceptance list of the specification (section 9) at the wire, with the real boto3: items 1, 2, 4, 5, 6, 7, 8 and 14."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from yard import Yard, until

NEXTFLOW = {
    "attempts": 5,
    "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}, {"action": "EXIT", "onReason": "*"}],
}


def test_1_the_four_forms_of_a_definition_and_the_latest_active_wins(yard: Yard, name: str) -> None:
    first = yard.definition_of(name, "sh", "-c", "echo one")
    second = yard.definition_of(name, "sh", "-c", "echo two")
    assert (first.rpartition(":")[2], second.rpartition(":")[2]) == ("1", "2")
    for form, revision in [(name, second), (f"{name}:1", first), (first, first), (second.rpartition(":")[0], second)]:
        job = yard.until(yard.submit(form))
        assert job["jobDefinition"] == revision
    yard.batch.deregister_job_definition(jobDefinition=second)
    assert yard.until(yard.submit(name))["jobDefinition"] == first
    yard.batch.deregister_job_definition(jobDefinition=f"{name}:1")
    with pytest.raises(ClientError) as refused:
        yard.submit(name)
    assert f"JobDefinition name {name} does not exist or is not in ACTIVE status" in str(refused.value)


def test_2_nextflows_recipe_stops_at_an_ordinary_exit(yard: Yard) -> None:
    job = yard.until(yard.submit("false", retryStrategy=NEXTFLOW))
    assert job["status"] == "FAILED"
    assert len(job["attempts"]) == 1
    assert job["attempts"][0]["statusReason"] == "Essential container in task exited"
    assert job["container"]["exitCode"] == 1


def test_2_nextflows_recipe_retries_a_lost_host(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "4", "--memory-mib", "2048")
    yard.with_queue(kind="SPOT")
    yard.definition_of("once", "sh", "-c", '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || sleep 600')
    job_id = yard.submit("once", retryStrategy=NEXTFLOW)
    running = yard.until(job_id, "RUNNING")
    instance = running["container"]["containerInstanceArn"].rpartition("/")[2]
    yard.cli("reclaim", instance, "--notice", "0", "--data", str(yard.data))
    job = yard.until(job_id)
    assert job["status"] == "SUCCEEDED"
    lost, good = job["attempts"]
    assert lost["statusReason"] == f"Host EC2 (instance {instance}) terminated."
    assert "exitCode" not in lost["container"]
    assert good["container"]["exitCode"] == 0
    assert good["container"]["containerInstanceArn"] != lost["container"]["containerInstanceArn"]


def test_4_an_array_with_a_failing_child(yard: Yard, name: str) -> None:
    yard.definition_of(name, "sh", "-c", '[ "$AWS_BATCH_JOB_ARRAY_INDEX" = 1 ] && exit 1; sleep 0.5')
    parent = yard.submit(name, arrayProperties={"size": 3})
    seen = set()

    def ended() -> dict[str, object] | None:
        job = yard.job(parent)
        seen.add(job["status"])
        return job if job["status"] in ("SUCCEEDED", "FAILED") else None

    job = until(ended, "the array to end")
    assert seen <= {"SUBMITTED", "PENDING", "FAILED"}
    assert (job["status"], job["statusReason"]) == ("FAILED", "Array Child Job failed")
    summary = job["arrayProperties"]["statusSummary"]  # type: ignore[index]
    assert summary == {"SUBMITTED": 0, "PENDING": 0, "RUNNABLE": 0, "STARTING": 0, "RUNNING": 0, "SUCCEEDED": 2, "FAILED": 1}
    assert job["attempts"] == []
    children = yard.batch.describe_jobs(jobs=[f"{parent}:{i}" for i in range(3)])["jobs"]
    assert [c["status"] for c in children] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert [c["arrayProperties"]["index"] for c in children] == [0, 1, 2]


def test_5_n_to_n_passes_child_by_child(yard: Yard, name: str) -> None:
    yard.definition_of(name, "sh", "-c", '[ "$AWS_BATCH_JOB_ARRAY_INDEX" != 2 ]')
    first = yard.submit(name, arrayProperties={"size": 4})
    second = yard.submit("true", arrayProperties={"size": 4}, dependsOn=[{"jobId": first, "type": "N_TO_N"}])
    assert yard.until(second)["status"] == "FAILED"
    children = yard.batch.describe_jobs(jobs=[f"{second}:{i}" for i in range(4)])["jobs"]
    assert [c["status"] for c in children] == ["SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert (children[2]["statusReason"], children[2]["attempts"]) == ("Dependent Job failed", [])


def test_5_sequential_stops_at_the_first_failure(yard: Yard, name: str) -> None:
    yard.definition_of(name, "sh", "-c", '[ "$AWS_BATCH_JOB_ARRAY_INDEX" != 1 ]')
    parent = yard.submit(name, arrayProperties={"size": 4}, dependsOn=[{"type": "SEQUENTIAL"}])
    assert yard.until(parent)["status"] == "FAILED"
    children = yard.batch.describe_jobs(jobs=[f"{parent}:{i}" for i in range(4)])["jobs"]
    assert [c["status"] for c in children] == ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]
    assert [c["statusReason"] for c in children[2:]] == ["Dependent Job failed"] * 2
    assert [c["attempts"] for c in children[2:]] == [[], []]


def test_5_a_failed_dependency_dooms_what_waits_for_it_transitively(yard: Yard) -> None:
    first = yard.submit("false")
    second = yard.submit("true", dependsOn=[{"jobId": first}])
    third = yard.submit("true", dependsOn=[{"jobId": second}])
    for job_id in (second, third):
        job = yard.until(job_id)
        assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "Dependent Job failed", [])
        assert "startedAt" not in job


def test_6_cancel_does_nothing_to_a_running_job_and_terminate_ends_it(yard: Yard) -> None:
    job_id = yard.submit("sleep")
    yard.until(job_id, "RUNNING")
    assert yard.batch.cancel_job(jobId=job_id, reason="no")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert yard.job(job_id)["status"] == "RUNNING"
    yard.batch.terminate_job(jobId=job_id, reason="enough of it")
    job = yard.until(job_id)
    assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", "enough of it", True)
    assert job["container"]["exitCode"] == 143
    for call in (yard.batch.cancel_job, yard.batch.terminate_job):
        call(jobId=job_id, reason="again")
        call(jobId="00000000-0000-4000-8000-000000000000", reason="unknown")
    assert yard.job(job_id)["statusReason"] == "enough of it"


def test_6_terminate_of_a_runnable_job_fails_it_with_the_reason(yard: Yard) -> None:
    too_big = {"resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "8000000"}]}
    job_id = yard.submit("true", containerOverrides=too_big)
    assert yard.job(job_id)["status"] == "RUNNABLE"
    yard.batch.terminate_job(jobId=job_id, reason="It was: too big, really.")
    job = yard.job(job_id)
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "It was: too big, really.", [])
    assert "startedAt" not in job


def test_7_a_timeout_fails_once_and_is_not_retried(yard: Yard) -> None:
    job_id = yard.submit("sleep", timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 3})
    job = yard.until(job_id, patience_s=180)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert len(job["attempts"]) == 1
    assert job["stoppedAt"] - job["startedAt"] >= 60_000


def test_8_list_jobs_shows_running_ones_and_one_filter_only(yard: Yard, name: str) -> None:
    running, done = yard.submit("sleep", name=name), yard.submit("true", name=name)
    yard.until(running, "RUNNING")
    yard.until(done)
    listed = {j["jobId"] for j in yard.batch.list_jobs(jobQueue="queue")["jobSummaryList"]}
    assert running in listed
    assert done not in listed
    mine = yard.batch.list_jobs(jobQueue="queue", filters=[{"name": "JOB_NAME", "values": [name.upper()]}])["jobSummaryList"]
    assert [j["jobId"] for j in mine] == [done, running]  # every status, newest first
    two = [{"name": "JOB_NAME", "values": [name]}, {"name": "BEFORE_CREATED_AT", "values": ["1"]}]
    with pytest.raises(ClientError, match=r"Error executing request, Exception : Only one filter key-value pair can be specified\."):
        yard.batch.list_jobs(jobQueue="queue", filters=two)
    with pytest.raises(ClientError, match=r"Error executing request, Exception : Filter cannot take more than one value\."):
        yard.batch.list_jobs(jobQueue="queue", filters=[{"name": "JOB_NAME", "values": ["a", "b"]}])
    yard.batch.terminate_job(jobId=running, reason="done")


def test_14_the_log_stream(yard: Yard, name: str) -> None:
    yard.definition_of(name, "sh", "-c", "echo to stdout; echo to stderr >&2")
    job = yard.until(yard.submit(name))
    assert re.fullmatch(rf"{name}/default/[0-9a-f]{{32}}", job["container"]["logStreamName"])
    assert job["container"]["taskArn"].endswith(job["container"]["logStreamName"].rpartition("/")[2])
    assert yard.logs(job) == ["to stdout", "to stderr"]


def test_a_job_can_ask_who_it_is(yard: Yard, name: str) -> None:
    yard.definition_of(name, "sh", "-c", "echo $USER $LOGNAME; id -u")
    user, uid = yard.logs(yard.until(yard.submit(name)))
    assert user.split()[0] == user.split()[1] != ""
    assert uid != "0"
