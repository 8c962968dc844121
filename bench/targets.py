"""Servers that take SubmitJob, each with a queue and a definition to submit to, and requests signed for them."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from batchyard.wire.sigv4 import Credential, sign
from bench import peers, scratch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from yard import Yard as WatchedYard  # the tests' way to run a real service


class Yard(WatchedYard):
    """The service as users have it; ending a million jobs takes its time."""

    program = ("-m", "batchyard.main")
    down_patience_s = 600.0


REGION = "us-east-1"
ALL_JOBS = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


@dataclass(slots=True)
class Target:
    """Where and how to submit."""

    name: str
    url: str
    credential: Credential
    queue: str = "bench"
    definition: str = "bench"
    answered: list[str] = field(default_factory=list)  # ids of jobs, as they were acknowledged

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.credential.access_key_id,
            aws_secret_access_key=self.credential.secret_access_key,
            config=Config(retries={"max_attempts": 1, "mode": "standard"}),
        )

    def submissions(self, count: int, prefix: str, container: dict[str, Any] | None = None) -> list[bytes]:
        """Distinct SubmitJob requests, signed, byte for byte as boto3 sends them."""
        named = (self.submission(f"{prefix}-{number}", number) for number in range(count))
        return [self.signed("/v1/submitjob", {**members, "containerOverrides": container} if container else members) for members in named]

    def submission(self, name: str, number: int) -> dict[str, Any]:
        """What one SubmitJob says: a command and a variable of its own."""
        overrides = {"command": ["align", "--shard", str(number)], "environment": [{"name": "SHARD", "value": str(number)}]}
        return {"jobName": name, "jobQueue": self.queue, "jobDefinition": self.definition, "containerOverrides": overrides}

    def signed(self, path: str, members: dict[str, Any]) -> bytes:
        """One request, signed now, byte for byte as boto3 sends it."""
        body = json.dumps(members).encode()
        url, host = f"{self.url}{path}", urlsplit(self.url).netloc
        signed = sign("POST", url, {"content-type": "application/json"}, body, self.credential, REGION, "batch", time.time())
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\nContent-Type: application/json\r\n"
            "User-Agent: Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux md/arch#x86_64 lang/python#3.11.7 md/pyimpl#CPython\r\n"
            f"X-Amz-Date: {signed['x-amz-date']}\r\nAuthorization: {signed['authorization']}\r\n"
            f"amz-sdk-invocation-id: {uuid.uuid4()}\r\namz-sdk-request: attempt=1; max=3\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def note(self, bodies: list[bytes]) -> None:
        """Look into the answers: every one a job id of its own. Raises AssertionError."""
        ids = [json.loads(body)["jobId"] for body in bodies]
        self.answered.extend(ids)
        assert len(set(self.answered)) == len(self.answered), f"{self.name} gave a job id twice"

    def listed(self, statuses: tuple[str, ...] = ALL_JOBS) -> set[str]:
        """The ids of the queue's jobs, as ListJobs has them."""
        pages = self.client("batch").get_paginator("list_jobs")
        return {
            job["jobId"]
            for status in statuses
            for page in pages.paginate(jobQueue=self.queue, jobStatus=status)
            for job in page["jobSummaryList"]
        }


def credential_of(yard: Yard) -> Credential:
    endpoint = yard.endpoint
    return Credential(endpoint["access_key_id"], endpoint["secret_access_key"], None, "", "", "")


@contextlib.contextmanager
def running_yard(*options: str) -> Iterator[Yard]:
    """A service in a fresh folder, ended afterwards."""
    yard = Yard(scratch.folder() / "service", *options)
    yard.start()
    try:
        yield yard
    finally:
        yard.down()


def batchyard_target(yard: Yard) -> Target:
    return Target("Batchyard", yard.url, credential_of(yard))


@contextlib.contextmanager
def full_batchyard() -> Iterator[tuple[Yard, Target]]:
    """Batchyard with default settings; the queue's one vCPU is held by a sleeping job, so all that comes stays RUNNABLE."""
    with running_yard("--vcpus", "1", "--memory-mib", "1024") as yard:
        yard.queue_of("bench", yard.environment_of("bench", max_vcpus=1))
        yard.definition_of("bench", "sleep", "86400")
        blocker = yard.submit("bench", "bench", "holds-the-room")
        yard.until(blocker, "RUNNING")
        yield yard, batchyard_target(yard)


@contextlib.contextmanager
def moto_target(*, simulated: bool = False) -> Iterator[Target]:
    with peers.moto(simulated=simulated) as url:
        target = Target("moto", url, Credential("AKIAIOSFODNN7EXAMPLE", "secret", None, "", "", ""))
        role = target.client("iam").create_role(RoleName="bench", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        _fill(target, type="UNMANAGED", state="ENABLED", serviceRole=role)
        yield target


@contextlib.contextmanager
def localbatch_target() -> Iterator[Target]:
    with peers.localbatch() as url:
        target = Target("localbatch", url, Credential("AKIAIOSFODNN7EXAMPLE", "secret", None, "", "", ""))
        _fill(target, type="UNMANAGED", state="ENABLED")
        yield target


def _fill(target: Target, **environment: Any) -> None:
    batch = target.client("batch")
    made = batch.create_compute_environment(computeEnvironmentName="bench", **environment)["computeEnvironmentArn"]
    order = [{"order": 1, "computeEnvironment": made}]
    batch.create_job_queue(jobQueueName="bench", state="ENABLED", priority=1, computeEnvironmentOrder=order)
    container = {"image": "busybox", "command": ["sleep", "86400"], "vcpus": 1, "memory": 64}
    batch.register_job_definition(jobDefinitionName="bench", type="container", containerProperties=container)


__all__ = ["Target", "Yard", "batchyard_target", "full_batchyard", "localbatch_target", "moto_target", "running_yard"]
