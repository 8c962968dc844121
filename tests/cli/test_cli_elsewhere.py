"""The same commands against a Batch that is not ours (moto's server): what it answers is shown, what it cannot is said."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import boto3
import pytest
from click.testing import CliRunner, Result

from batchyard.main.cli import batchyard

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of moto's, on a port of its own."""
    log = tmp_path_factory.mktemp("moto") / "log"
    start = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
    with log.open("wb") as out:
        child = subprocess.Popen([sys.executable, "-c", start], stdout=out, stderr=out)
    try:
        give_up_at = time.monotonic() + 60
        while b"Running on http" not in log.read_bytes():
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.05)
        port = int(log.read_text().split("Running on http://127.0.0.1:")[1].split()[0])
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/moto-api/config", json.dumps({"batch": {"use_docker": False}}))  # jobs succeed at once
        assert connection.getresponse().status == 201
        yield f"http://127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def elsewhere(moto_url: str, bare: pytest.MonkeyPatch) -> Call:
    bare.setenv("AWS_ENDPOINT_URL", moto_url)
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bare.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return lambda *args: CliRunner().invoke(batchyard, list(args))


@pytest.fixture
def queue(moto_url: str, elsewhere: Call) -> str:
    """A queue there, made with boto3."""
    batch, iam = boto3.client("batch"), boto3.client("iam")
    name = f"queue-{len(batch.describe_job_queues()['jobQueues'])}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    made = batch.create_compute_environment(computeEnvironmentName=f"{name}-env", type="UNMANAGED", state="ENABLED", serviceRole=role)
    order = [{"order": 1, "computeEnvironment": made["computeEnvironmentArn"]}]
    batch.create_job_queue(jobQueueName=name, state="ENABLED", priority=5, computeEnvironmentOrder=order)
    return name


def test_capacity_is_shown_as_far_as_it_goes(elsewhere: Call, queue: str) -> None:
    shown = elsewhere("queues")
    assert shown.exit_code == 0, shown.stderr
    assert f"{queue}-env" in shown.stdout
    shown = elsewhere("compute")
    assert f"{queue}-env" in shown.stdout
    assert "does not show instances" in shown.stderr


def test_definitions_jobs_and_their_end(elsewhere: Call, queue: str) -> None:
    batch = boto3.client("batch")
    properties = {"image": "busybox", "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]}
    batch.register_job_definition(jobDefinitionName="first", type="container", containerProperties=properties)
    blocker = batch.submit_job(jobName="none", jobQueue=queue, jobDefinition="first")["jobId"]
    submitted = elsewhere("submit", "-q", queue, "-n", "later", "--depends-on", blocker, "--", "echo", "hello")
    assert submitted.exit_code == 0, submitted.stderr
    job_id = submitted.stdout.strip()
    described = json.loads(elsewhere("job", job_id, "--json").stdout)
    assert described["jobName"] == "later"
    assert described["container"]["command"] == ["echo", "hello"]
    listed = json.loads(elsewhere("jobs", "--json", "-q", queue).stdout)["jobs"]
    assert job_id in {found["jobId"] for found in listed}
    assert elsewhere("job", job_id).exit_code == 0
    assert elsewhere("terminate", job_id).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["reclaim", "i-0abc"], 2, "only a Batchyard service does"),
        (["job", "x"], 1, "knows no job x"),
        (["submit", "-q", "nowhere", "--", "true"], 1, "no job queue nowhere"),
        (["submit", "-q", "nowhere", "-d", "none"], 1, "was refused"),
        (["down"], 2, "No service to end"),
    ],
)
def test_what_it_cannot_is_said(arguments: list[str], code: int, words: str, elsewhere: Call) -> None:
    result = elsewhere(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
