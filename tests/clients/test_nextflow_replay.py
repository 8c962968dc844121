"""Nextflow as nf-amazon calls the service, in its order: a definition found by token, tasks staged through S3, their ends and machines."""

from __future__ import annotations

import gzip
import hashlib
import random
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

import reader
from yard import Yard, until

pytestmark = pytest.mark.timeout(500)  # a task starts the AWS CLI six times, which takes a second of processor each
PATIENCE_S = 300
POLLED_AT_ONCE = 100
RECIPE = [{"action": "RETRY", "onStatusReason": "Host EC2*"}, {"action": "EXIT", "onReason": "*"}]
READS = 30_000
PART_BYTES = 5 * 1024 * 1024

# What Nextflow writes for each task: the script, and a wrapper that stages files by the AWS CLI and leaves the exit code beside them.
SCRIPT = "#!/bin/bash -ue\ngzip -cd reads.fq.gz | awk 'NR % 4 == 2 { n++; gc += gsub(/[GC]/, \"\") } END { print n, gc }' > counted.txt\n"
WRAPPER = """#!/bin/bash
set -e
set -u
nxf_s3_upload() {{ aws s3 cp --only-show-errors "$1" "$2/$1"; }}
nxf_s3_download() {{ aws s3 cp --only-show-errors "$1" "$2"; }}
on_exit() {{
    local status=${{nxf_main_ret:=$?}}
    printf '%s' "$status" | aws s3 cp --only-show-errors - {work}/.exitcode || true
    rm -rf "$nxf_scratch"
    exit "$status"
}}
nxf_stage() {{ nxf_s3_download {reads} reads.fq.gz; nxf_s3_download {work}/.command.sh .command.sh; }}
nxf_unstage() {{ nxf_s3_upload .command.out {work}; nxf_s3_upload .command.err {work}; {unstage} }}
nxf_main() {{
    trap on_exit EXIT
    nxf_scratch=$(mktemp -d)
    cd "$nxf_scratch"
    nxf_stage
    set +e
    (bash -ue .command.sh) > >(tee .command.out) 2> >(tee .command.err >&2)
    nxf_main_ret=$?
    set -e
    nxf_unstage
}}
nxf_main
"""


class Head:
    """What the head process of Nextflow holds: clients with its settings, and the bucket of its work directory."""

    def __init__(self, yard: Yard, bucket: str) -> None:
        self.yard, self.bucket = yard, bucket
        end = yard.endpoint
        self.s3 = boto3.client(
            "s3",
            endpoint_url=end["endpoint_url"],
            region_name=end["region"],
            aws_access_key_id=end["access_key_id"],
            aws_secret_access_key=end["secret_access_key"],
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_supported"),
        )
        self.s3.create_bucket(Bucket=bucket)

    def definition(self, container: dict[str, Any]) -> str:
        """`resolveJobDefinition`: one per image and settings, found by its token among all revisions, registered if there is none."""
        token = hashlib.md5(repr(container).encode(), usedforsecurity=False).hexdigest()
        name = f"nf-{container['image']}-{self.bucket}"
        known = self.yard.batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
        for one in known:
            if one["status"] == "ACTIVE" and one["parameters"].get("nf-token") == token:
                return f"{one['jobDefinitionName']}:{one['revision']}"
        made = self.yard.batch.register_job_definition(
            jobDefinitionName=name, type="container", containerProperties=container, parameters={"nf-token": token}
        )
        return f"{made['jobDefinitionName']}:{made['revision']}"

    def stage(self, hash: str, reads: str, script: str = SCRIPT, outputs: tuple[str, ...] = ("counted.txt",)) -> str:
        """Writes a task's files to its place in the work directory, which comes back as a URL."""
        work = f"s3://{self.bucket}/work/{hash[:2]}/{hash[2:]}"
        unstage = " ".join(f"[ ! -f {name} ] || nxf_s3_upload {name} {work};" for name in outputs)
        wrapper = WRAPPER.format(work=work, reads=reads, unstage=unstage)
        for name, text in ((".command.sh", script), (".command.run", wrapper)):
            self.s3.put_object(Bucket=self.bucket, Key=f"{key_of(work)}/{name}", Body=text.encode(), ContentType="text/x-sh")
        return work

    def submit(self, definition: str, queue: str, work: str, **more: Any) -> str:
        """`submitJob` with what Nextflow always sends, and `more`."""
        launch = f"trap '{{ ret=$?; exit $ret; }}' EXIT; aws s3 cp --only-show-errors {work}/.command.run - | bash 2>&1"
        asked = {
            "jobName": "count_reads",
            "jobQueue": queue,
            "jobDefinition": definition,
            "retryStrategy": {"attempts": 5, "evaluateOnExit": RECIPE},
            "timeout": {"attemptDurationSeconds": 600},
            "tags": {"nextflow.io/processName": "count_reads", "nextflow.io/runName": "happy_curie"},
            "propagateTags": True,
            "containerOverrides": {
                "command": ["bash", "-o", "pipefail", "-c", launch],
                "environment": [{"name": "NXF_DEBUG", "value": "0"}],
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
            },
        }
        return str(self.yard.batch.submit_job(**(asked | more))["jobId"])

    def ended(self, *ids: str) -> dict[str, dict[str, Any]]:
        """The jobs by id when all have ended, polled in batches as Nextflow polls them."""

        def poll() -> dict[str, dict[str, Any]] | None:
            found: dict[str, dict[str, Any]] = {}
            for start in range(0, len(ids), POLLED_AT_ONCE):
                asked = list(ids[start : start + POLLED_AT_ONCE])
                answered = self.yard.batch.describe_jobs(jobs=asked)["jobs"]
                assert {job["jobId"] for job in answered} == set(asked), "Nextflow takes a job that is not described for lost"
                found |= {job["jobId"]: job for job in answered}
            return found if all(job["status"] in ("SUCCEEDED", "FAILED") for job in found.values()) else None

        return until(poll, f"{len(ids)} tasks", PATIENCE_S)

    def text(self, work: str, name: str) -> str:
        return str(self.s3.get_object(Bucket=self.bucket, Key=f"{key_of(work)}/{name}")["Body"].read().decode())


def key_of(url: str) -> str:
    """The key in an S3 URL."""
    return url.removeprefix("s3://").partition("/")[2]


@pytest.fixture(scope="module")
def head(yard: Yard) -> Head:
    """Of this turn of the module alone: a worker may be given tests of it twice, with others between, and the service stays."""
    bucket = f"nextflow-{uuid.uuid4().hex[:12]}"
    policy = yard.batch.create_scheduling_policy(
        name=bucket, fairsharePolicy={"shareDistribution": [{"shareIdentifier": "lab*", "weightFactor": 0.5}]}
    )["arn"]
    yard.queue_of(f"{bucket}-shared", "environment", schedulingPolicyArn=policy)
    return Head(yard, bucket)


@pytest.fixture(scope="module")
def reads(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Reads in the bucket, sent in parts with a CRC of each as the Java client sends large files."""
    dice = random.Random(7)
    lines = (f"@read{n}\n{''.join(dice.choices('ACGT', k=100))}\n+\n{'I' * 100}\n" for n in range(READS))
    file: Path = tmp_path_factory.mktemp("reads") / "reads.fq.gz"
    file.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=0))
    head.s3.upload_file(
        str(file),
        head.bucket,
        "data/reads.fq.gz",
        ExtraArgs={"ChecksumAlgorithm": "CRC32"},
        Config=TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES),
    )
    said = head.s3.head_object(Bucket=head.bucket, Key="data/reads.fq.gz", ChecksumMode="ENABLED")
    assert said["ContentLength"] == file.stat().st_size
    assert said["ChecksumCRC32"]
    assert re.fullmatch(r'"[0-9a-f]{32}-2"', said["ETag"])
    yield f"s3://{head.bucket}/data/reads.fq.gz"


@pytest.fixture(scope="module")
def definition(head: Head) -> str:
    path = f"{reader.tools()}:/usr/local/bin:/usr/bin:/bin"
    container = {
        "image": "genomics-tools",
        "command": ["true"],
        "environment": [{"name": "PATH", "value": path}],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "1024"}],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": f"/{head.bucket}/tasks"}},
    }
    head.yard.client("logs").create_log_group(logGroupName=f"/{head.bucket}/tasks")
    first = head.definition(container)
    assert head.definition(container) == first, "the second task finds the definition of the first by its token"
    head.yard.batch.deregister_job_definition(jobDefinition=first)
    second = head.definition(container)
    assert (first.rpartition(":")[2], second.rpartition(":")[2]) == ("1", "2"), "one that is out of use is not taken again"
    return second


def test_a_task_is_staged_through_s3_and_its_exit_code_comes_back(head: Head, reads: str, definition: str) -> None:
    work = head.stage("ab12cd", reads)
    id = head.submit(definition, "queue", work)
    job = head.ended(id)[id]
    assert (job["status"], job["container"]["exitCode"]) == ("SUCCEEDED", 0), job.get("statusReason")
    assert head.text(work, ".exitcode") == "0"
    count, gc = head.text(work, "counted.txt").split()
    assert (int(count), 0.49 < int(gc) / (READS * 100) < 0.51) == (READS, True)
    assert job["tags"]["nextflow.io/runName"] == "happy_curie"
    assert job["propagateTags"] is True
    assert job["timeout"] == {"attemptDurationSeconds": 600}


def test_a_task_that_fails_is_not_tried_again_and_shows_why(head: Head, reads: str, definition: str) -> None:
    work = head.stage("dead01", reads, "#!/bin/bash -ue\necho no such gene >&2\nexit 3\n")
    id = head.submit(definition, "queue", work)
    job = head.ended(id)[id]
    assert (job["status"], job["container"]["exitCode"], len(job["attempts"])) == ("FAILED", 3, 1)
    assert head.text(work, ".exitcode") == "3"
    assert head.text(work, ".command.err") == "no such gene\n"
    assert not any(one["statusReason"].startswith("Host EC2") for one in job["attempts"])
    log = head.yard.client("logs").get_log_events(
        logGroupName=job["container"]["logConfiguration"]["options"]["awslogs-group"],
        logStreamName=job["container"]["logStreamName"],
        startFromHead=True,
    )
    assert "no such gene" in [event["message"] for event in log["events"]]


def test_a_process_with_an_array_is_one_submission_and_many_tasks(head: Head, reads: str, definition: str) -> None:
    works = [head.stage(f"aa{n:04}", reads, f"#!/bin/bash -ue\necho {n} > counted.txt\n") for n in range(3)]
    pick = f"works=({' '.join(works)}); aws s3 cp --only-show-errors ${{works[$AWS_BATCH_JOB_ARRAY_INDEX]}}/.command.run - | bash 2>&1"
    overrides = {"command": ["bash", "-o", "pipefail", "-c", pick]}
    parent = head.submit(definition, "queue", works[0], arrayProperties={"size": 3}, containerOverrides=overrides)
    children = head.ended(*(f"{parent}:{n}" for n in range(3)))
    assert {job["status"] for job in children.values()} == {"SUCCEEDED"}
    assert [head.text(work, "counted.txt") for work in works] == ["0\n", "1\n", "2\n"]


def test_a_fair_share_queue_wants_a_share_and_many_tasks_are_polled_by_hundreds(head: Head, reads: str, definition: str) -> None:
    overrides = {"command": ["true"], "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]}
    share = {"shareIdentifier": "labA", "schedulingPriorityOverride": 0, "containerOverrides": overrides}
    ids = [head.submit(definition, f"{head.bucket}-shared", "s3://none", **share) for _ in range(POLLED_AT_ONCE + 5)]
    jobs = head.ended(*ids)
    assert {(job["status"], job["shareIdentifier"]) for job in jobs.values()} == {("SUCCEEDED", "labA")}


def test_tasks_of_a_run_that_is_stopped_are_terminated(head: Head, definition: str) -> None:
    id = head.submit(definition, "queue", "s3://none", containerOverrides={"command": ["sleep", "600"]})
    head.yard.until(id, "RUNNING")
    for _ in range(2):  # Nextflow does not look whether it has ended
        head.yard.batch.terminate_job(jobId=id, reason="Job killed by NF")
    job = head.ended(id)[id]
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job killed by NF")


def test_the_trace_learns_on_what_machine_a_task_ran(head: Head, definition: str) -> None:
    """`AwsBatchHelper`: queue, compute environment, cluster, task, container instance, instance."""
    yard = head.yard
    id = head.submit(definition, "queue", "s3://none", containerOverrides={"command": ["sleep", "600"]})
    job = yard.until(id, "RUNNING")
    queue = yard.batch.describe_job_queues(jobQueues=[job["jobQueue"]])["jobQueues"][0]
    names = [order["computeEnvironment"] for order in queue["computeEnvironmentOrder"]]
    clusters = [one["ecsClusterArn"] for one in yard.batch.describe_compute_environments(computeEnvironments=names)["computeEnvironments"]]
    task_arn = job["container"]["taskArn"]
    cluster = next(arn for arn in clusters if arn.rpartition("/")[2] in task_arn)
    ecs, ec2 = yard.client("ecs"), yard.client("ec2")
    task = ecs.describe_tasks(cluster=cluster, tasks=[task_arn])["tasks"][0]
    held = ecs.describe_container_instances(cluster=cluster, containerInstances=[task["containerInstanceArn"]])["containerInstances"][0]
    instance = ec2.describe_instances(InstanceIds=[held["ec2InstanceId"]])["Reservations"][0]["Instances"][0]
    assert instance["InstanceType"]
    assert instance["Placement"]["AvailabilityZone"].startswith(yard.endpoint["region"])
    assert instance.get("InstanceLifecycle", "on-demand") == "on-demand"
    yard.batch.terminate_job(jobId=id, reason="seen")
    assert yard.until(id)["status"] == "FAILED"
