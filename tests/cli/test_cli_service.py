"""The commands against a service of our own, as a person at a shell would use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchyard.main.client import Client
from batchyard.main.commands.place import from_folder
from yard import quiet_port


class Shell:
    """Runs `batchyard` in a folder, with nothing of the AWS configuration of whoever runs the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        astray = ("AWS_", "BATCHYARD_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(astray) and not k.lower().endswith("_proxy")}
        self.environment["BATCHYARD_DATA"] = str(folder / "yard")
        self.server: subprocess.Popen[str] | None = None
        self.port = str(quiet_port())

    def __call__(self, *args: str, code: int = 0) -> str:
        """What the command wrote to stdout; its exit code must be `code`."""
        done = subprocess.run(self.command(*args), capture_output=True, text=True, env=self.environment, timeout=120)
        assert done.returncode == code, f"{args}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout or done.stderr

    def start(self, *args: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*args), stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=self.environment)

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "batchyard.main", *args]

    def serve(self) -> None:
        asked = ("--port", self.port, "--vcpus", "2", "--memory-mib", "1024", "--spot-notice", "0.2")
        self.server = self.start("serve", "--data", str(self.folder / "yard"), *asked)
        assert self.server.stdout is not None
        ready = self.server.stdout.readline()
        assert ready.startswith("ready http://127.0.0.1:"), ready

    def until(self, job_id: str, status: str) -> dict[str, object]:
        """The job once it has that status."""
        give_up_at = time.monotonic() + 90
        while True:
            found: dict[str, object] = json.loads(self("job", job_id, "--json"))
            if found["status"] == status:
                return found
            assert time.monotonic() < give_up_at, found
            time.sleep(0.05)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A service with a Spot environment of two vCPUs and the queue `default`; ended, with its node, by `batchyard down`."""
    made = Shell(tmp_path_factory.mktemp("service"))
    made.serve()
    resources = {"type": "SPOT", "minvCpus": 0, "maxvCpus": 2, "instanceTypes": ["optimal"], "subnets": ["s"], "securityGroupIds": ["g"]}
    resources |= {"instanceRole": "ecsInstanceRole", "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED"}
    with Client(from_folder(made.folder / "yard")) as client:
        client.batch("CreateComputeEnvironment", computeEnvironmentName="spot", type="MANAGED", computeResources=resources)
        order = [{"order": 1, "computeEnvironment": "spot"}]
        client.batch("CreateJobQueue", jobQueueName="default", priority=1, computeEnvironmentOrder=order)
    yield made
    made("down")
    assert made.server is not None
    assert made.server.wait(60) == 0
    assert made.server.stdout is not None
    assert made.server.stderr is not None
    made.server.stdout.close()
    made.server.stderr.close()


def test_a_plain_command_runs_and_its_output_is_there(shell: Shell) -> None:
    job_id = shell("submit", "--queue", "default", "--wait", "-e", "GREETING=hello", "--", "sh", "-c", "echo $GREETING").strip()
    assert shell("logs", job_id) == "hello\n"
    shown = shell("job", job_id)
    assert "SUCCEEDED" in shown
    assert "batchyard-cli-default" in shown
    assert job_id in shell("jobs")
    assert "default" in shell("queues")


def test_a_failed_command_is_an_exit_code_of_one(shell: Shell) -> None:
    document = json.loads(shell("submit", "-q", "default", "--wait", "--json", "--", "sh", "-c", "exit 7", code=1))
    assert document["container"]["exitCode"] == 7


def test_an_array_is_waited_for_and_its_failed_child_is_listed(shell: Shell) -> None:
    script = 'test "$AWS_BATCH_JOB_ARRAY_INDEX" != 1'
    parent = shell("submit", "-q", "default", "--memory", "64", "--array", "3", "--wait", "--", "sh", "-c", script, code=1).strip()
    failed = json.loads(shell("jobs", "--array", parent, "-s", "FAILED", "--json"))["jobs"]
    assert [child["jobId"] for child in failed] == [f"{parent}:1"]


def test_a_log_is_followed_while_it_is_written(shell: Shell) -> None:
    job_id = shell("submit", "-q", "default", "--", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done").strip()
    assert shell("logs", "-f", job_id).splitlines() == ["line 1", "line 2", "line 3"]


def test_a_job_that_fits_nowhere_is_explained_and_cancelled(shell: Shell) -> None:
    job_id = shell("submit", "-q", "default", "--vcpus", "64", "--", "true").strip()
    shell.until(job_id, "RUNNABLE")
    document = json.loads(shell("explain", job_id, "--json"))
    assert document["reasons"][0]["environment"] == "spot"
    assert document["reasons"][0]["fix"]
    assert "fix:" in shell("explain", job_id)
    shell("cancel", job_id, "--reason", "too big")
    assert shell.until(job_id, "FAILED")["statusReason"] == "too big"


def test_a_spot_instance_is_reclaimed_and_its_job_tried_again(shell: Shell) -> None:
    job_id = shell("submit", "-q", "default", "--attempts", "2", "--", "sh", "-c", 'test "$AWS_BATCH_JOB_ATTEMPT" = 2 || sleep 600').strip()
    shell.until(job_id, "RUNNING")
    (instance,) = [i for i in json.loads(shell("compute", "--json"))["instances"] if job_id in i["jobs"]]
    assert instance["id"] in shell("compute")
    shell("reclaim", instance["id"], "--notice", "0")
    ended = shell.until(job_id, "SUCCEEDED")
    reasons = [attempt["statusReason"] for attempt in ended["attempts"]]  # type: ignore[attr-defined]
    assert reasons == [f"Host EC2 (instance {instance['id']}) terminated.", "Essential container in task exited"]


def test_a_running_job_is_terminated_not_cancelled(shell: Shell) -> None:
    job_id = shell("submit", "-q", "default", "--", "sleep", "600").strip()
    shell.until(job_id, "RUNNING")
    assert "batchyard terminate" in shell("cancel", job_id)
    shell("terminate", job_id, "--reason", "enough")
    assert shell.until(job_id, "FAILED")["statusReason"] == "enough"


def test_waiting_outlasts_the_servers_death(shell: Shell) -> None:
    waiting = shell.start("submit", "-q", "default", "--wait", "--", "sleep", "1.5")
    assert waiting.stderr is not None
    told = ""
    for line in waiting.stderr:
        told += line
        if "RUNNING" in line or "SUCCEEDED" in line:  # or it had no time to look while it ran
            break
    assert shell.server is not None
    shell.server.send_signal(signal.SIGKILL)
    shell.server.communicate()
    shell.serve()
    _, errors = waiting.communicate(timeout=150)
    assert waiting.returncode == 0, errors
    assert "SUCCEEDED" in told + errors


def test_the_aws_command_line_works_after_eval_of_env(shell: Shell) -> None:
    ask = '"$0" -m awscli batch describe-job-queues --query "jobQueues[].jobQueueName" --output text'
    script = f'eval "$("$0" -m batchyard.main env)" && exec {ask}'
    told = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, text=True, env=shell.environment, timeout=120)
    assert told.stdout.split() == ["default"], told.stderr


def test_doctor_is_content_with_a_service_that_runs(shell: Shell) -> None:
    found = {check["subject"]: check["result"] for check in json.loads(shell("doctor", "--json"))["checks"]}
    assert found["Server"] == found["Node"] == found["Ports"] == "ok"


def test_down_ends_the_node_of_a_server_that_was_killed(tmp_path: Path) -> None:
    shell = Shell(tmp_path / ("deep-" * 30))  # too deep for a plain unix socket's address
    shell.folder.mkdir()
    shell.serve()
    assert shell.server is not None
    shell.server.kill()
    shell.server.communicate()
    found = {check["subject"]: check for check in json.loads(shell("doctor", "--json"))["checks"]}
    assert "runs" in found["Node"]["found"]
    assert "its node does" in shell("down")
    assert "is not running" in shell("doctor")
    assert "nothing to end" in shell("down", code=3)


def test_a_second_server_of_the_same_folder_is_refused(shell: Shell) -> None:
    assert "is served already" in shell("serve", "--data", str(shell.folder / "yard"), code=1)


def test_once_down_has_said_so_the_folder_may_be_copied(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for option in ("--keep-jobs", "--json"):
        shell.serve()
        assert list((tmp_path / "yard").glob("batchyard.db-*"))
        shell("down", option)
        assert not list((tmp_path / "yard").glob("batchyard.db-*")), "the server still has its database open"
        assert shell.server is not None
        shell.server.communicate()
