"""What an operator decides and a client sees: AWS's rate of submissions, and how long finished jobs are kept."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from batchyard.wire import sigv4
from batchyard.wire.sigv4 import Credential
from yard import Yard, until


def test_profile_aws_answers_too_many_submissions_with_429(new_yard: Callable[..., Yard]) -> None:
    """All of them are signed before the first is sent: on a busy machine a client would not come to 50 in a second."""
    yard = new_yard("--profile", "aws", "--vcpus", "1", "--memory-mib", "512")
    yard.with_queue(max_vcpus=0)
    yard.definition_of("true", "true")
    end = yard.endpoint
    key = Credential(end["access_key_id"], end["secret_access_key"], None, "", "", "")
    body = json.dumps({"jobName": "job", "jobQueue": "queue", "jobDefinition": "true"}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    signed = sigv4.sign("POST", f"{yard.url}/v1/submitjob", headers, body, key, end["region"], "batch", time.time())
    head = "\r\n".join(["POST /v1/submitjob HTTP/1.1", *(f"{name}: {text}" for name, text in signed.items()), "", ""]).encode()
    host, port = yard.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(300)]
        for connection in connections:
            connection.sendall(head + body)
        answers = [connection.makefile("rb").read() for connection in connections]
    assert {answer.split()[1] for answer in answers} == {b"200", b"429"}
    assert all(b"TooManyRequestsException" in answer for answer in answers if b" 429 " in answer[:20])
    assert sum(b" 200 " in answer[:20] for answer in answers) >= 50


def test_finished_jobs_are_forgotten_after_their_time_and_logs_are_not(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--retention-days", str(5 / 86_400), "--vcpus", "2", "--memory-mib", "512")
    yard.with_queue()
    yard.definition_of("hello", "echo", "hello")
    yard.definition_of("sleep", "sleep", "600")
    first, kept = yard.submit("hello"), yard.submit("sleep")
    until(lambda: not yard.batch.describe_jobs(jobs=[first])["jobs"] or None, "the job to be forgotten")
    logs, group = yard.client("logs"), "/aws/batch/job"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="hello/")["logStreams"]
    said = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)["events"]
    assert [event["message"] for event in said] == ["hello"]
    yard.until(kept, "RUNNING")
    yard.kill()
    yard.start()
    assert yard.job(kept)["status"] == "RUNNING"


def test_profile_aws_keeps_at_least_seven_days(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "batchyard.main", "serve", "--data", str(tmp_path), "--profile", "aws", "--retention-days", "6"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "--retention-days 6 must be 7 or more with --profile aws" in ended.stderr
