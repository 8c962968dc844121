"""The archive of a log group over the wire: what jobs wrote, in readable files, complete after crashes and refusals."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, serving, until

GROUP = "/aws/batch/genomics"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("archive") / "data", "--vcpus", "4", "--memory-mib", "2048") as made:
        made.environment_of("ce")
        made.queue_of("default", "ce")
        made.client("s3").create_bucket(Bucket="lake")
        let_in(made)
        made.client("logs").create_log_group(logGroupName=GROUP, tags={"batchyard:log-archive": "s3://lake/job-logs/"})
        yield made


def let_in(yard: Yard) -> None:
    """The statement of `templates/genomics.yaml`, and the one that lets nobody in without TLS."""
    account = yard.client("sts").get_caller_identity()["Account"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "logs.us-east-1.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::lake/job-logs/*",
        "Condition": {
            "StringEquals": {"aws:SourceAccount": account, "s3:x-amz-acl": "bucket-owner-full-control"},
            "ArnLike": {"aws:SourceArn": f"arn:aws:logs:us-east-1:{account}:log-group:*"},
        },
    }
    tls = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::lake/*"}
    tls["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}  # type: ignore[assignment]
    policy = {"Version": "2012-10-17", "Statement": [allow, tls]}
    yard.client("s3").put_bucket_policy(Bucket="lake", Policy=json.dumps(policy))


def container(*command: str) -> dict[str, Any]:
    return {
        "image": "busybox",
        "command": list(command),
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": GROUP}},
    }


def define(yard: Yard, name: str, *command: str, **options: Any) -> str:
    made = yard.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container(*command), **options)
    return str(made["jobDefinitionArn"])


def files(yard: Yard, folder: str) -> dict[str, str]:
    s3 = yard.client("s3")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="lake", Prefix=folder).get("Contents", [])]
    return {key.removeprefix(folder): s3.get_object(Bucket="lake", Key=key)["Body"].read().decode() for key in keys}


def folder_of(job: dict[str, Any], name: str = "align") -> str:
    day = dt.datetime.fromtimestamp(job["createdAt"] / 1000, dt.UTC).strftime("%Y-%m-%d")
    return f"job-logs/default/{day}/{name}/{job['jobId'].replace(':', '_')}/"


def archived(yard: Yard, job_id: str, name: str = "align") -> dict[str, str]:
    """The files of a job, once its final record is there."""
    folder = folder_of(yard.until(job_id), name)

    def whole() -> dict[str, str] | None:
        found = files(yard, folder)
        return found if "job.json" in found and json.loads(found["job.json"])["status"] in ("SUCCEEDED", "FAILED") else None

    until(whole, f"the archive of {job_id}")
    return files(yard, folder)  # the record is written last: what was listed before it was final need not have been all


def test_a_job_and_how_it_ended(yard: Yard) -> None:
    definition = define(yard, "hello", "sh", "-c", "echo 10 reads; echo done")
    job_id = yard.submit(definition, "default", "align", tags={"project": "a"})
    found = archived(yard, job_id)
    assert found.pop("attempt-1.log") == "10 reads\ndone\n"
    record = json.loads(found.pop("job.json"))
    assert not found
    assert (record["jobId"], record["status"], record["jobName"], record["jobDefinition"]) == (job_id, "SUCCEEDED", "align", definition)
    assert record["tags"] == {"project": "a"} and record["command"][0] == "sh" and "environment" not in record
    (attempt,) = record["attempts"]
    assert attempt["exitCode"] == 0 and attempt["startedAt"] <= attempt["stoppedAt"] == record["stoppedAt"]
    assert attempt["logStreamName"] == yard.job(job_id)["container"]["logStreamName"]
    assert attempt["cpuSeconds"] >= 0 and attempt["peakMemoryMiB"] > 0, "what it used, as far as that can be told here"


def test_each_attempt_and_each_child(yard: Yard) -> None:
    command = 'echo "attempt $AWS_BATCH_JOB_ATTEMPT"; exit 3'
    failing = yard.submit(define(yard, "failing", "sh", "-c", command), "default", "align", retryStrategy={"attempts": 2})
    array = yard.submit(
        define(yard, "child", "sh", "-c", "echo $AWS_BATCH_JOB_ARRAY_INDEX"), "default", "align", arrayProperties={"size": 2}
    )
    found = archived(yard, failing)
    assert {name: text for name, text in found.items() if name != "job.json"} == {
        "attempt-1.log": "attempt 1\n",
        "attempt-2.log": "attempt 2\n",
    }
    record = json.loads(found["job.json"])
    assert record["status"] == "FAILED" and [attempt["exitCode"] for attempt in record["attempts"]] == [3, 3]
    for index in range(2):
        assert archived(yard, f"{array}:{index}")["attempt-1.log"] == f"{index}\n"
    assert json.loads(archived(yard, array)["job.json"])["status"] == "SUCCEEDED"


def test_a_job_that_never_ran_leaves_its_reason(yard: Yard) -> None:
    first = yard.submit(define(yard, "wait", "sleep", "60"), "default", "align")
    second = yard.submit(define(yard, "hello", "true"), "default", "align", dependsOn=[{"jobId": first}])
    yard.batch.terminate_job(jobId=second, reason="not needed")
    yard.batch.terminate_job(jobId=first, reason="enough")
    found = archived(yard, second)
    assert list(found) == ["job.json"] and json.loads(found["job.json"])["statusReason"] == "not needed"
    assert json.loads(archived(yard, first)["job.json"])["statusReason"] == "enough"


def test_several_containers_have_a_file_each(yard: Yard) -> None:
    parts = [container("sh", "-c", f"echo {name}") | {"name": name, "essential": name == "main"} for name in ("prepare", "main")]
    parts[1]["dependsOn"] = [{"containerName": "prepare", "condition": "SUCCESS"}]
    task = {"taskProperties": [{"containers": parts}]}
    definition = yard.batch.register_job_definition(jobDefinitionName="several", type="container", ecsProperties=task)["jobDefinitionArn"]
    found = archived(yard, yard.submit(definition, "default", "align"))
    assert (found["attempt-1.prepare.log"], found["attempt-1.main.log"]) == ("prepare\n", "main\n")
    (attempt,) = json.loads(found["job.json"])["attempts"]
    assert [part["exitCode"] for part in attempt["containers"]] == [0, 0]
    assert all(part["cpuSeconds"] >= 0 for part in (attempt, *attempt["containers"])), "the task, and each of them"


def test_what_a_bucket_does_not_take_arrives_once_it_does(yard: Yard) -> None:
    yard.client("s3").delete_bucket_policy(Bucket="lake")
    definition = define(yard, "hello", "echo", "late")
    job_id = yard.submit(definition, "default", "align")
    job = yard.until(job_id)
    until(lambda: "AccessDenied" in yard.log() or None, "the warning")
    assert files(yard, folder_of(job)) == {}
    yard.kill()
    yard.start()
    let_in(yard)
    assert archived(yard, job_id)["attempt-1.log"] == "late\n"


def test_jobs_that_end_around_a_crash_are_all_there(yard: Yard) -> None:
    definition = define(yard, "some", "sh", "-c", "sleep 0.$((AWS_BATCH_JOB_ARRAY_INDEX % 5)); echo $AWS_BATCH_JOB_ARRAY_INDEX")
    array = yard.submit(definition, "default", "crash", arrayProperties={"size": 30})
    until(lambda: yard.batch.list_jobs(arrayJobId=array, jobStatus="SUCCEEDED")["jobSummaryList"] or None, "the first to end")
    yard.kill()
    yard.start()
    yard.until(array)
    for index in range(30):
        assert archived(yard, f"{array}:{index}", "crash")["attempt-1.log"] == f"{index}\n"


def test_the_tag_begins_and_ends_it(yard: Yard) -> None:
    logs = yard.client("logs")
    logs.untag_log_group(logGroupName=GROUP, tags=["batchyard:log-archive"])
    definition = define(yard, "hello", "echo", "unheard")
    unheard = yard.until(yard.submit(definition, "default", "align"))
    logs.tag_log_group(logGroupName=GROUP, tags={"batchyard:log-archive": "s3://lake/job-logs"})
    archived(yard, yard.submit(definition, "default", "align"))
    assert files(yard, folder_of(unheard)) == {}


@pytest.mark.parametrize("value", ["lake/job-logs", "s3://", "s3://UPPER/x", "https://lake/x"])
def test_a_tag_that_says_no_place_is_refused(yard: Yard, value: str) -> None:
    with pytest.raises(ClientError, match="s3://BUCKET/PREFIX"):
        yard.client("logs").tag_log_group(logGroupName=GROUP, tags={"batchyard:log-archive": value})
    with pytest.raises(ClientError, match="is not known"):
        yard.client("logs").create_log_group(logGroupName="/other", tags={"batchyard:log-archiv": "s3://lake/x"})
