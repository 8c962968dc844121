"""How the folders in this directory were made: a release's own program, filled through the real boto3, then stopped or killed.

    git archive 4efa9e8 | tar -x -C /tmp/first
    python tests/golden/make_golden.py /tmp/first/src stopped
    python tests/golden/make_golden.py /tmp/first/src killed

Each run writes `first-<end>.tar.xz`: the data folder as the release left it, with what it had answered beside it (`answers.json`).
The keys inside are those of a service that never lived anywhere else.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

HERE = Path(__file__).parent
NETWORK = {"subnets": ["subnet-12345678"], "securityGroupIds": ["sg-12345678"], "instanceRole": "ecsInstanceRole"}
NAP = '[ "$AWS_BATCH_JOB_ATTEMPT" -gt 1 ] || sleep 600'
HALF = f'case $AWS_BATCH_JOB_ARRAY_INDEX in 2|3) {NAP};; esac; echo "child $AWS_BATCH_JOB_ARRAY_INDEX"'
PART = bytes(5 * 1024 * 1024)


def main(sources: str, end: str) -> None:
    """Make one folder with the program in `sources`; `end` is stopped (SIGTERM) or killed (SIGKILL)."""
    place = Path(tempfile.mkdtemp(prefix="golden-"))
    place.chmod(0o711)
    data = place / "data"
    environment = {**os.environ, "PYTHONPATH": sources, "BATCHYARD_RUNTIME": "process"}
    command = [sys.executable, "-P", "-m", "batchyard.main", "serve", "--data", str(data), "--port", "0", "--vcpus", "4"]
    server = subprocess.Popen(
        [*command, "--memory-mib", "4096"], stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True
    )
    try:
        assert server.stdout is not None
        assert select.select([server.stdout], [], [], 30)[0]
        assert server.stdout.readline().startswith("ready ")
        client = _clients(data)
        names = _fill(client)
        answers = {"names": names, **described(client, names)}
    finally:
        server.send_signal(signal.SIGTERM if end == "stopped" else signal.SIGKILL)
        server.wait(30)
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((data / "node.lock").read_text()), signal.SIGKILL)
    (place / "answers.json").write_text(json.dumps(answers, indent=1, default=str))
    with tarfile.open(HERE / f"first-{end}.tar.xz", "w:xz") as archive:
        archive.add(place / "answers.json", "answers.json")
        archive.add(data, "data", filter=_kept)
    _end_jobs(data, [*command, "--memory-mib", "4096"], environment)
    shutil.rmtree(place)


def _end_jobs(data: Path, command: list[str], environment: dict[str, str]) -> None:
    """The jobs of the killed node are found and ended by the next one."""
    again = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True)
    assert again.stdout is not None
    assert again.stdout.readline().startswith("ready ")
    subprocess.run([sys.executable, "-P", "-m", "batchyard.main", "down", "--data", str(data)], env=environment, check=True, timeout=90)
    again.wait(60)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files and folders, owned by nobody of this machine; sockets and the log of the node are of no use."""
    if not (member.isfile() or member.isdir()) or member.name in ("data/node.log", "data/server.log"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _clients(data: Path) -> Callable[[str], Any]:
    found = json.loads((data / "endpoint.json").read_text())

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=found["endpoint_url"],
            region_name=found["region"],
            aws_access_key_id=found["access_key_id"],
            aws_secret_access_key=found["secret_access_key"],
            config=Config(retries={"max_attempts": 1, "mode": "standard"}),
        )

    return client


def _fill(client: Callable[[str], Any]) -> dict[str, Any]:
    """Everything that the first release keeps. Gives the names under which it is found again."""
    batch = client("batch")
    _places(batch)
    jobs = _jobs(batch)
    s3, logs = client("s3"), client("logs")
    upload = _objects(s3)
    logs.create_log_group(logGroupName="own", tags={"of": "golden"})
    logs.put_retention_policy(logGroupName="own", retentionInDays=3653)
    logs.create_log_stream(logGroupName="own", logStreamName="stream")
    now_ms = int(time.time() * 1000)
    events = [{"timestamp": now_ms - 10 + n, "message": f"line {n} é"} for n in range(3)]
    logs.put_log_events(logGroupName="own", logStreamName="stream", logEvents=events)
    return {"jobs": jobs, "upload": upload}


def _places(batch: Any) -> None:
    for name, kind in (("on-demand", "EC2"), ("spot", "SPOT"), ("unused", "EC2")):
        strategy = "SPOT_PRICE_CAPACITY_OPTIMIZED" if kind == "SPOT" else "BEST_FIT_PROGRESSIVE"
        resources = {"type": kind, "minvCpus": 0, "maxvCpus": 8, "instanceTypes": ["optimal"], "allocationStrategy": strategy, **NETWORK}
        batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", computeResources=resources, tags={"place": name}, state="ENABLED"
        )
    batch.update_compute_environment(computeEnvironment="unused", state="DISABLED")
    order = [{"order": 1, "computeEnvironment": "on-demand"}, {"order": 2, "computeEnvironment": "spot"}]
    batch.create_job_queue(jobQueueName="queue", priority=10, computeEnvironmentOrder=order, tags={"lab": "wet"})
    batch.create_job_queue(jobQueueName="shut", priority=1, computeEnvironmentOrder=order[:1], state="DISABLED")


def _define(batch: Any, name: str, script: str, **options: Any) -> None:
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
    container = {"image": "busybox", "command": ["sh", "-c", script], "resourceRequirements": needs}
    container["environment"] = [{"name": "COLOUR", "value": "green"}]
    batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container, **options)


def _jobs(batch: Any) -> dict[str, str]:
    _define(batch, "say", "echo Ref::word $COLOUR", parameters={"word": "hello"}, tags={"is": "short"}, propagateTags=True)
    _define(batch, "say", "echo second Ref::word", parameters={"word": "hello"}, timeout={"attemptDurationSeconds": 900})
    rules = [{"onExitCode": "4", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
    _define(batch, "fails", "echo wrong; exit 3", retryStrategy={"attempts": 2, "evaluateOnExit": rules})
    _define(batch, "naps", f"{NAP}; echo rested")
    _define(batch, "half", HALF)
    _define(batch, "gone", "true")
    batch.deregister_job_definition(jobDefinition="gone:1")
    jobs: dict[str, str] = {}

    def submit(name: str, definition: str, **options: Any) -> str:
        jobs[name] = batch.submit_job(jobName=name, jobQueue="queue", jobDefinition=definition, **options)["jobId"]
        return jobs[name]

    def until(name: str, *statuses: str) -> None:
        deadline = time.monotonic() + 30
        while batch.describe_jobs(jobs=[jobs[name]])["jobs"][0]["status"] not in statuses:
            assert time.monotonic() < deadline, name
            time.sleep(0.05)

    again = {"attempts": 3}
    submit("succeeded", "say:1", parameters={"word": "salut"}, tags={"who": "me"})
    failed = submit("failed", "fails")
    submit("doomed", "say", dependsOn=[{"jobId": failed}])
    for name in ("succeeded", "failed", "doomed"):
        until(name, "SUCCEEDED", "FAILED")
    half = submit("half", "half", arrayProperties={"size": 6}, retryStrategy=again)
    for index in (2, 3):
        jobs[f"half:{index}"] = f"{half}:{index}"
        until(f"half:{index}", "RUNNING")
    submit("lost", "naps")
    resumed = submit("resumed", "naps", retryStrategy=again)
    for name in ("lost", "resumed"):
        until(name, "RUNNING")
    waiting = submit("waiting", "say", timeout={"attemptDurationSeconds": 600})
    submit("cancelled", "say")
    batch.cancel_job(jobId=jobs["cancelled"], reason="not needed")
    submit("held", "say", dependsOn=[{"jobId": resumed}, {"jobId": waiting}])
    submit("beside", "say", arrayProperties={"size": 6}, dependsOn=[{"jobId": half, "type": "N_TO_N"}])
    submit("one-by-one", "say", arrayProperties={"size": 3}, dependsOn=[{"type": "SEQUENTIAL"}])
    return jobs


def _objects(s3: Any) -> str:
    """Gives the id of an upload that has two parts and is open."""
    s3.create_bucket(Bucket="golden")
    s3.create_bucket(Bucket="empty")
    s3.put_object(Bucket="golden", Key="nothing", Body=b"")
    s3.put_object(Bucket="golden", Key="dir/é +%.txt", Body=b"text" * 1000, Metadata={"a": "b"}, ContentType="text/plain")
    s3.put_object(Bucket="golden", Key="twice", Body=b"first")
    s3.put_object(Bucket="golden", Key="twice", Body=b"second", Tagging="k=v", ChecksumAlgorithm="SHA256")
    s3.put_object(Bucket="golden", Key="deleted", Body=b"x")
    s3.delete_object(Bucket="golden", Key="deleted")
    upload = s3.create_multipart_upload(Bucket="golden", Key="whole")["UploadId"]
    parts = []
    for number, body in ((1, PART), (2, b"tail")):
        tag = s3.upload_part(Bucket="golden", Key="whole", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    s3.complete_multipart_upload(Bucket="golden", Key="whole", UploadId=upload, MultipartUpload={"Parts": parts})
    upload = s3.create_multipart_upload(Bucket="golden", Key="open", Metadata={"up": "load"})["UploadId"]
    for number, body in ((1, PART), (2, b"end")):
        s3.upload_part(Bucket="golden", Key="open", UploadId=upload, PartNumber=number, Body=body)
    return str(upload)


def described(client: Callable[[str], Any], names: dict[str, Any]) -> dict[str, Any]:
    """What the service says of everything that is there."""
    batch, s3, logs = client("batch"), client("s3"), client("logs")
    jobs = batch.describe_jobs(jobs=list(names["jobs"].values()))["jobs"]
    streams = {j["jobName"]: j["container"]["logStreamName"] for j in jobs if j["jobName"] in ("succeeded", "failed")}
    lines = {
        name: logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)["events"]
        for name, stream in streams.items()
    }
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="golden")["Contents"]]
    return _plain(
        {
            "environments": batch.describe_compute_environments()["computeEnvironments"],
            "queues": batch.describe_job_queues()["jobQueues"],
            "definitions": batch.describe_job_definitions()["jobDefinitions"],
            "jobs": sorted(jobs, key=lambda job: str(job["jobId"])),
            "lines": {**lines, "own": logs.get_log_events(logGroupName="own", logStreamName="stream", startFromHead=True)["events"]},
            "groups": logs.describe_log_groups(logGroupNamePrefix="own")["logGroups"],
            "buckets": s3.list_buckets()["Buckets"],
            "objects": {key: s3.head_object(Bucket="golden", Key=key) for key in keys},
            "parts": s3.list_parts(Bucket="golden", Key="open", UploadId=names["upload"])["Parts"],
            "tagging": s3.get_object_tagging(Bucket="golden", Key="twice")["TagSet"],
        }
    )


def _plain(value: Any) -> Any:
    """As JSON holds it, without what every response has."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != "ResponseMetadata"}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | str | None) else str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
