"""A real service for tests: `batchyard serve` as a process of its own, driven by the real boto3."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

FINAL = ("SUCCEEDED", "FAILED")
WATCHED = Path(__file__).with_name("wire_watch.py")  # `batchyard`, with every answer held against the model
T = TypeVar("T")
_SHARES, _PORTS_OF_ONE = 8, 900  # among which the workers of a test run share the quiet ports


class Yard:
    """One service on a folder of its own. `start` may be called again after `kill` or `stop`: the folder stays."""

    program: tuple[str, ...] = (str(WATCHED),)
    down_patience_s = 150.0

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self.options = options
        self.process: subprocess.Popen[str] | None = None
        self._clients: dict[str, Any] = {}

    def start(self) -> Yard:
        command = [sys.executable, *self.program, "serve", "--data", str(self.data), "--port", "0", *self.options]
        self.errors = open(self.data.with_suffix(".log"), "a")  # noqa: SIM115 (closed in `down`)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True, start_new_session=True)
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 90)
        line = self.process.stdout.readline() if readable else ""
        if not line.startswith("ready "):
            self._end_what_is_left()
            raise AssertionError(self.log())
        self.url = line.split()[1]
        self._clients.clear()
        return self

    def log(self) -> str:
        return self.data.with_suffix(".log").read_text()

    def kill(self) -> None:
        """kill -9: no goodbye."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def down(self) -> None:
        """End server, node and jobs, whatever state they are in."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.cli("down", "--data", str(self.data))
                self.process.wait(self.down_patience_s)
        finally:
            self._end_what_is_left()
            self.errors.close()

    def _end_what_is_left(self) -> None:
        """A server that would not end, and a node whose server was killed by a test that then failed."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        with contextlib.suppress(OSError, ValueError):
            pid = self.node_pid
            if str(self.data).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "batchyard.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + self.down_patience_s)
        if check and done.returncode:
            print(f"batchyard {' '.join(arguments)} said:\n{done.stdout}{done.stderr}")  # noqa: T201
            done.check_returncode()
        return done

    @property
    def endpoint(self) -> dict[str, str]:
        return json.loads((self.data / "endpoint.json").read_text())  # type: ignore[no-any-return]

    @property
    def environment(self) -> dict[str, str]:
        """What an AWS tool needs to find the service."""
        e = self.endpoint
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
            "AWS_ENDPOINT_URL": e["endpoint_url"],
            "AWS_ACCESS_KEY_ID": e["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": e["secret_access_key"],
            "AWS_DEFAULT_REGION": e["region"],
            "AWS_REGION": e["region"],
        }

    def client(self, service: str, **options: Any) -> Any:
        special = bool(options)
        made = self._clients.get(service)  # a thread may ask while another one starts the service anew
        if made is None or special:
            e = self.endpoint
            made = boto3.client(
                service,
                endpoint_url=options.pop("endpoint_url", e["endpoint_url"]),
                region_name=options.pop("region_name", e["region"]),
                aws_access_key_id=options.pop("aws_access_key_id", e["access_key_id"]),
                aws_secret_access_key=options.pop("aws_secret_access_key", e["secret_access_key"]),
                config=Config(retries={"max_attempts": 1, "mode": "standard"}, max_pool_connections=20),
                **options,
            )
            if special:
                return made
            self._clients[service] = made
        return made

    @property
    def batch(self) -> Any:
        return self.client("batch")

    @property
    def node_pid(self) -> int:
        return int((self.data / "node.lock").read_text())

    # --- the usual things ---

    def with_queue(self, environment: str = "environment", **options: Any) -> Yard:
        """The same service, with a queue "queue" on one environment; `options` are those of `environment_of`."""
        self.queue_of("queue", self.environment_of(environment, **options))
        return self

    def environment_of(
        self, name: str, *, kind: str = "EC2", max_vcpus: int = 8, min_vcpus: int = 0, types: Iterable[str] = ("optimal",)
    ) -> str:
        network = self._network()
        resources = {
            "type": kind,
            "minvCpus": min_vcpus,
            "maxvCpus": max_vcpus,
            "instanceTypes": list(types),
            **network,
            "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED" if kind == "SPOT" else "BEST_FIT_PROGRESSIVE",
        }
        answer = self.batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources)
        return str(answer["computeEnvironmentArn"])

    def _network(self) -> dict[str, Any]:
        """What an environment stands on: with --profile aws it must exist."""
        if "aws" not in self.options:
            return {"subnets": ["subnet-12345678"], "securityGroupIds": ["sg-12345678"], "instanceRole": "ecsInstanceRole"}
        ec2, iam = self.client("ec2"), self.client("iam")
        if not iam.list_instance_profiles()["InstanceProfiles"]:
            iam.create_instance_profile(InstanceProfileName="ecsInstanceRole")
        return {
            "subnets": [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]],
            "securityGroupIds": [group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]],
            "instanceRole": "ecsInstanceRole",
        }

    def queue_of(self, name: str, *environments: str, priority: int = 1, **options: Any) -> str:
        order = [{"order": n, "computeEnvironment": e} for n, e in enumerate(environments, 1)]
        return str(
            self.batch.create_job_queue(jobQueueName=name, priority=priority, computeEnvironmentOrder=order, **options)["jobQueueArn"]
        )

    def definition_of(self, name: str, *command: str, vcpus: int = 1, memory_mib: int = 64, **options: Any) -> str:
        container = {
            "image": "busybox",
            "command": list(command),
            "resourceRequirements": [{"type": "VCPU", "value": str(vcpus)}, {"type": "MEMORY", "value": str(memory_mib)}],
        }
        answer = self.batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container, **options)
        return str(answer["jobDefinitionArn"])

    def submit(self, definition: str, queue: str = "queue", name: str = "job", **options: Any) -> str:
        return str(self.batch.submit_job(jobName=name, jobQueue=queue, jobDefinition=definition, **options)["jobId"])

    def trouble(self) -> str:
        """Why no job would start now, as far as the server has heard; "" if one would."""
        with urllib.request.urlopen(f"{self.url}/healthz", timeout=60) as answer:
            return str(json.load(answer).get("trouble", ""))

    def job(self, job_id: str) -> dict[str, Any]:
        return self.batch.describe_jobs(jobs=[job_id])["jobs"][0]  # type: ignore[no-any-return]

    def until(self, job_id: str, *statuses: str, patience_s: float = 90) -> dict[str, Any]:
        """The job once it is in one of `statuses` (by default: final)."""
        wanted = statuses or FINAL
        return until(lambda: j if (j := self.job(job_id))["status"] in wanted else None, f"{job_id} to be {wanted}", patience_s)

    def logs(self, job: dict[str, Any]) -> list[str]:
        stream = job["container"]["logStreamName"]
        events = self.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)["events"]
        return [e["message"] for e in events]


@contextlib.contextmanager
def serving(data: Path, *options: str) -> Iterator[Yard]:
    """A service on the folder `data` that runs from here on, and is gone afterwards, whatever happens."""
    yard = Yard(data, *options)
    try:
        yield yard.start()
    finally:
        yard.down()


def lives(job_id: str) -> bool:
    """Whether a process of the job is there. It may know itself by another number than we do."""
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdecimal() and f"AWS_BATCH_JOB_ID={job_id}\0".encode() in (place / "environ").read_bytes():
                return True
    return False


def open_to_jobs(folder: Path) -> None:
    """Jobs are other users when the tests run as root, and these may pass through here from now on."""
    for place in (folder, *folder.parents):
        if not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o011)


def quiet_port() -> int:
    """A free port from below the range that the kernel gives out by itself, and of those that are this worker's alone: nobody else gets
    it, or tries whether it is free, while a service is away."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20_000 + worker % _SHARES * _PORTS_OF_ONE
    while True:
        port = random.randrange(first, first + _PORTS_OF_ONE)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def until(ask: Callable[[], T | None], what: str, patience_s: float = 90) -> T:
    """Ask until there is an answer."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        answer = ask()
        if answer is not None:
            return answer
        time.sleep(0.03)
    raise AssertionError(f"waited {patience_s} s for {what}")
