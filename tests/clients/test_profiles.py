"""What an operator decides and a client sees: AWS's rate of submissions, and how long finished jobs are kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from botocore.exceptions import ClientError

from yard import Yard, until


def test_profile_aws_answers_too_many_submissions_with_429(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--profile", "aws", "--vcpus", "1", "--memory-mib", "512")
    yard.with_queue(max_vcpus=0)
    yard.definition_of("true", "true")
    refusals: list[ClientError] = []

    def submit_many(_worker: int) -> None:
        for _ in range(60):
            try:
                yard.submit("true")
            except ClientError as refusal:
                refusals.append(refusal)
                return

    yard.batch.describe_job_queues()  # clients are made by one thread
    with ThreadPoolExecutor(16) as workers:
        list(workers.map(submit_many, range(16)))
    assert {refusal.response["Error"]["Code"] for refusal in refusals} == {"TooManyRequestsException"}
    assert {refusal.response["ResponseMetadata"]["HTTPStatusCode"] for refusal in refusals} == {429}


def test_finished_jobs_are_forgotten_after_their_time_and_logs_are_not(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--retention-days", str(5 / 86_400), "--vcpus", "2", "--memory-mib", "512")
    yard.with_queue()
    yard.definition_of("hello", "echo", "hello")
    yard.definition_of("sleep", "sleep", "600")
    first = yard.until(yard.submit("hello"))
    kept = yard.submit("sleep")
    until(lambda: not yard.batch.describe_jobs(jobs=[first["jobId"]])["jobs"] or None, "the job to be forgotten")
    assert yard.logs(first) == ["hello"]
    yard.until(kept, "RUNNING")
    yard.kill()
    yard.start()
    assert yard.job(kept)["status"] == "RUNNING"


def test_profile_aws_keeps_at_least_seven_days(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "batchyard.main", "serve", "--data", str(tmp_path), "--profile", "aws", "--retention-days", "6"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "--retention-days 6 must be 7 or more with --profile aws" in ended.stderr
