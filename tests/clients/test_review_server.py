"""The server seen by its operator: what it says when it cannot start, and what callers see when its disk is full."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from botocore.exceptions import ClientError

from small_disk import fill, refusal, small_disk_at
from yard import Yard, lives, open_to_jobs, serving, until


def serve(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`batchyard serve` on a folder on which it must refuse to start."""
    command = [sys.executable, "-m", "batchyard.main", "serve", "--data", str(data), "--port", "0", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("batchyard.db", "this is no database", "batchyard.db cannot be used"),
        ("shelf.db", "this is no database", "shelf.db cannot be used"),
        ("objects/index.sqlite", "this is no database", "index.sqlite cannot be used"),
        ("logs/logs.sqlite", "this is no database", "logs.sqlite cannot be used"),
        ("identity.json", "", "identity.json holds no JSON object: restore it"),
        ("identity.json", "[1, 2]", "identity.json holds no JSON object: restore it"),
    ],
)
def test_a_damaged_folder_is_named_in_a_sentence_and_left_alone(tmp_path: Path, name: str, content: str, says: str) -> None:
    data = tmp_path / "data"
    (data / name).parent.mkdir(parents=True)
    (data / name).write_text(content)
    refused = serve(data)
    assert refused.returncode == 1
    assert refused.stderr.startswith("batchyard serve: ")
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (data / name).read_text() == content


STORES = ["batchyard.db", "shelf.db", "objects/index.sqlite", "logs/logs.sqlite"]


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_a_newer_program_is_refused_in_a_sentence_and_left_alone(tmp_path: Path, name: str) -> None:
    file = tmp_path / "data" / name
    file.parent.mkdir(parents=True)
    with contextlib.closing(apsw.Connection(str(file))) as connection:
        connection.execute("CREATE TABLE later (body TEXT); PRAGMA user_version = 999")
    held = file.read_bytes()
    refused = serve(tmp_path / "data")
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert f"{name} has version 999; this Batchyard knows up to " in refused.stderr
    with contextlib.closing(apsw.Connection(str(file))) as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM sqlite_master")] == ["later"]
        assert connection.pragma("user_version") == 999
    assert len(held) == file.stat().st_size


@pytest.mark.parametrize("region", ["x y", "EU", "eu/west", "-", "a" * 64])
def test_a_region_has_the_form_of_one(tmp_path: Path, region: str) -> None:
    refused = serve(tmp_path / "data", "--region", region)
    assert (refused.returncode, "must look like us-east-1" in refused.stderr) == (1, True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "disk") as disk:
        yield disk


def test_a_full_disk_is_named_reads_go_on_and_all_is_well_once_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    yard = Yard(small_disk / "data", "--vcpus", "2", "--memory-mib", "1024")
    yard.data.with_suffix(".log").symlink_to(tmp_path / "server.log")
    yard.start()
    open_to_jobs(tmp_path)
    try:
        yard.with_queue()
        yard.definition_of("true", "true")
        (small_disk / "asleep").touch()
        yard.definition_of("nap", "sh", "-c", f"until test -e {small_disk}/awake; do sleep 0.05; done; exit 3")
        s3, logs = yard.client("s3"), yard.client("logs")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="before", Body=b"kept")
        napping = yard.submit("nap")
        yard.until(napping, "RUNNING")
        filling = fill(small_disk)

        for call in (lambda: yard.submit("true"), lambda: yard.batch.terminate_job(jobId=napping, reason="full")):
            code, message = refusal(call)
            assert code == "ServerException"
            assert message == "The request could not be stored and was not accepted: database or disk is full"
        code, message = refusal(lambda: s3.put_object(Bucket="bucket", Key="more", Body=b"x" * 100_000))
        assert (code, "is full: free some space" in message) == ("ServiceUnavailable", True)
        code, message = refusal(lambda: logs.create_log_group(logGroupName="group"))
        assert (code, "is full: free some space" in message) == ("ServiceUnavailableException", True)
        (small_disk / "asleep").rename(small_disk / "awake")  # which takes no room
        until(lambda: None if lives(napping) else True, "the job to end")
        assert yard.job(napping)["status"] == "RUNNING"
        assert s3.get_object(Bucket="bucket", Key="before")["Body"].read() == b"kept"

        filling.unlink()
        job = yard.until(napping)  # ended while nothing could be written down
        assert (job["status"], job["container"]["exitCode"], job["isTerminated"]) == ("FAILED", 3, False)
        assert yard.until(yard.submit("true"))["status"] == "SUCCEEDED"
        s3.put_object(Bucket="bucket", Key="more", Body=b"x" * 100_000)
        logs.create_log_group(logGroupName="group")
        assert [o["Key"] for o in s3.list_objects_v2(Bucket="bucket")["Contents"]] == ["before", "more"]
        assert len(yard.batch.list_jobs(jobQueue="queue", jobStatus="SUCCEEDED")["jobSummaryList"]) == 1
        until(lambda: logs.describe_log_groups(logGroupNamePrefix="group")["logGroups"] or None, "the group")
    finally:
        yard.down()


def test_profile_aws_keeps_to_awss_quotas(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--vcpus", "2", "--memory-mib", "1024", "--profile", "aws") as yard:
        for number in range(50):
            yard.environment_of(f"environment-{number}", max_vcpus=1)
            yard.queue_of(f"queue-{number}", "environment-0")
        for one_more in (lambda: yard.environment_of("one-more"), lambda: yard.queue_of("one-more", "environment-0")):
            with pytest.raises(ClientError, match=r"at most 50 (compute environments|job queues)"):
                one_more()
        yard.definition_of("true", "true")
        long = {"environment": [{"name": "LONG", "value": "x" * 9000}]}
        job = yard.job(yard.submit("true", "queue-7", containerOverrides=long))
        assert (job["status"], job["statusReason"]) == ("FAILED", "Container Overrides length must be at most 8192")
        assert (job["attempts"], job["isTerminated"], job["isCancelled"]) == ([], False, False), "nobody asked for it"
        array = yard.submit("true", "queue-7", containerOverrides=long, arrayProperties={"size": 2})
        for job_id in (array, f"{array}:1"):
            job = yard.job(job_id)
            assert (job["status"], job["statusReason"]) == ("FAILED", "Container Overrides length must be at most 8192")
            assert job["stoppedAt"] >= job["createdAt"]
