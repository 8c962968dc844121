"""What submit hands in, and how --wait sees it through."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_service import FakeService, job
from click.testing import Result

Call = Callable[..., Result]
ONE = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def taking(service: FakeService) -> FakeService:
    """A service that takes submissions and definitions."""
    service.answers["SubmitJob"] = lambda params: {"jobArn": "arn", "jobName": params["jobName"], "jobId": ONE}
    service.answers["DescribeJobQueues"] = lambda params: {"jobQueues": [{}] if params["jobQueues"] == ["default"] else []}
    service.answers["DescribeJobDefinitions"] = lambda params: {"jobDefinitions": []}
    service.answers["RegisterJobDefinition"] = lambda params: {"jobDefinitionName": params["jobDefinitionName"], "revision": 1}
    return service


def tells(service: FakeService, *story: dict[str, Any]) -> None:
    """Let DescribeJobs answer one state after the other; the last one stays."""
    left = list(story)
    service.answers["DescribeJobs"] = lambda params: {"jobs": [left.pop(0) if len(left) > 1 else left[0]]}


def test_everything_asked_for_is_handed_in(call: Call, taking: FakeService) -> None:
    asked = "-q default -d align:3 -n mine --array 4 --depends-on A --depends-on B:N_TO_N --depends-on C:7 --depends-on SEQUENTIAL"
    sizes = "-e K=V -e X=a=b --vcpus 1.5 --memory 2048 --attempts 3 --timeout 60 --tag t=1 --param ref=hg38 --share blue --priority 0"
    result = call("submit", *asked.split(), *sizes.split(), "--", "run", "--fast", "Ref::ref")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ONE + "\n"
    assert f"batchyard job {ONE}" in result.stderr
    assert taking.named("SubmitJob") == [
        {
            "jobName": "mine",
            "jobQueue": "default",
            "jobDefinition": "align:3",
            "containerOverrides": {
                "command": ["run", "--fast", "Ref::ref"],
                "environment": [{"name": "K", "value": "V"}, {"name": "X", "value": "a=b"}],
                "resourceRequirements": [{"type": "VCPU", "value": "1.5"}, {"type": "MEMORY", "value": "2048"}],
            },
            "arrayProperties": {"size": 4},
            "dependsOn": [{"jobId": "A"}, {"jobId": "B", "type": "N_TO_N"}, {"jobId": "C:7"}, {"type": "SEQUENTIAL"}],
            "retryStrategy": {"attempts": 3},
            "timeout": {"attemptDurationSeconds": 60},
            "tags": {"t": "1"},
            "parameters": {"ref": "hg38"},
            "shareIdentifier": "blue",
            "schedulingPriorityOverride": 0,
        }
    ]
    assert taking.named("RegisterJobDefinition") == []


def test_what_is_not_asked_for_is_left_to_the_definition(call: Call, taking: FakeService) -> None:
    assert json.loads(call("submit", "-q", "default", "-d", "arn:aws:batch:r:1:job-definition/align:3", "--json").stdout)["jobId"] == ONE
    assert taking.named("SubmitJob") == [
        {"jobName": "align", "jobQueue": "default", "jobDefinition": "arn:aws:batch:r:1:job-definition/align:3"}
    ]


def test_a_plain_command_gets_a_small_definition_once(call: Call, taking: FakeService) -> None:
    assert call("submit", "--queue", "default", "--", "/bin/echo", "hello").exit_code == 0
    (registered,) = taking.named("RegisterJobDefinition")
    assert registered["jobDefinitionName"] == "batchyard-cli-default"
    assert taking.named("SubmitJob")[0]["jobDefinition"] == "batchyard-cli-default:1"
    assert taking.named("SubmitJob")[0]["jobName"] == "echo"
    assert "schedulingPriorityOverride" not in taking.named("SubmitJob")[0]
    known = [{"revision": revision, "containerProperties": {"image": image}} for revision, image in ((9, "other"), (10, "mine"))]
    taking.answers["DescribeJobDefinitions"] = lambda params: {"jobDefinitions": known}
    assert call("submit", "--queue", "default", "--image", "mine", "--", "true").exit_code == 0
    assert taking.named("SubmitJob")[1]["jobDefinition"] == "batchyard-cli-default:10"
    assert len(taking.named("RegisterJobDefinition")) == 1
    assert call("submit", "--queue", "default", "--image", "other", "--", "true").exit_code == 0
    assert len(taking.named("RegisterJobDefinition")) == 2
    assert call("submit", "--queue", "default", "--image", "mine", "--share", "blue", "--", "true").exit_code == 0
    assert taking.named("SubmitJob")[-1]["schedulingPriorityOverride"] == 0, "its definition has no priority"
    result = call("submit", "--queue", "deafult", "--", "true")
    assert result.exit_code == 1
    assert "no job queue deafult" in result.stderr
    assert len(taking.named("RegisterJobDefinition")) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-q", "default"], "COMMAND after --"),
        (["-q", "default", "-d", "x", "-e", "nothing"], "NAME=VALUE"),
        (["-q", "default", "-d", "x", "--array", "1"], "2<=x<=10000"),
        (["-d", "x"], "--queue"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_sent(arguments: list[str], words: str, call: Call, taking: FakeService) -> None:
    result = call("submit", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert taking.asked == []


def test_wait_shows_each_state_once_and_why_it_waits(call: Call, taking: FakeService, bare: pytest.MonkeyPatch) -> None:
    bare.setattr("batchyard.main.commands.watch.NAPS_NEAR_S", (0.01, 0.02))
    bare.setattr("batchyard.main.commands.watch.REASON_EVERY_S", 0.0)
    tells(
        taking,
        job(ONE, "SUBMITTED"),
        job(ONE, "RUNNABLE"),
        job(ONE, "RUNNABLE"),
        job(ONE),
        job(ONE, "SUCCEEDED", startedAt=1, stoppedAt=1501),
    )
    taking.answers["own:explain"] = lambda params: {"summary": "the instance starts"}
    result = call("submit", "-q", "default", "-d", "align", "--wait")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ONE + "\n"
    states = [line.split(maxsplit=2)[2] for line in result.stderr.splitlines()[:-1]]
    assert states == ["SUBMITTED", "RUNNABLE  the instance starts", "RUNNING", "SUCCEEDED"]
    assert "ran 1 s" in result.stderr


def test_wait_tells_why_a_job_failed_and_its_last_lines(call: Call, taking: FakeService) -> None:
    container = {"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage", "logStreamName": "s"}
    tells(taking, job(ONE, "FAILED", statusReason="Essential container in task exited", container=container))
    taking.answers["logs:GetLogEvents"] = lambda params: {
        "events": [{"timestamp": 1, "message": "sorting"}, {"timestamp": 2, "message": "Killed"}]
    }
    result = call("submit", "-q", "default", "-d", "align", "--wait")
    assert result.exit_code == 1
    for words in ("FAILED", "Essential container in task exited; OutOfMemoryError", "exit code 137", "  Killed", f"batchyard logs {ONE}"):
        assert words in result.stderr
    assert json.loads(call("submit", "-q", "default", "-d", "align", "--wait", "--json").stdout)["status"] == "FAILED"


def test_wait_counts_the_children_of_an_array_and_names_those_that_failed(
    call: Call, taking: FakeService, bare: pytest.MonkeyPatch
) -> None:
    bare.setattr("batchyard.main.commands.watch.NAPS_NEAR_S", (0.01, 0.02))
    child = job(f"{ONE}:1", "FAILED", statusReason="Essential container in task exited", container={"exitCode": 2, "logStreamName": "c1"})
    parent = [
        job(ONE, "PENDING", arrayProperties={"size": 2, "statusSummary": {"RUNNING": 2, "FAILED": 0}}),
        job(ONE, "PENDING", arrayProperties={"size": 2, "statusSummary": {"SUCCEEDED": 1, "FAILED": 1}}),
        job(
            ONE,
            "FAILED",
            statusReason="Array Child Job failed",
            arrayProperties={"size": 2, "statusSummary": {"SUCCEEDED": 1, "FAILED": 1}},
        ),
    ]
    taking.answers["DescribeJobs"] = lambda params: {
        "jobs": [child] if ":" in params["jobs"][0] else [parent.pop(0) if len(parent) > 1 else parent[0]]
    }
    taking.answers["ListJobs"] = lambda params: {"jobSummaryList": [child]}
    taking.answers["logs:GetLogEvents"] = lambda params: {"events": [{"timestamp": 1, "message": "no such file"}]}
    result = call("submit", "-q", "default", "-d", "align", "--array", "2", "--wait")
    assert result.exit_code == 1
    for words in ("2 RUNNING", "1 FAILED, 1 SUCCEEDED", "Array Child Job failed", f"{ONE}:1  Essential", "exit code 2", "  no such file"):
        assert words in result.stderr
    assert taking.named("ListJobs") == [{"arrayJobId": ONE, "jobStatus": "FAILED"}]


def test_wait_outlasts_a_restart_of_the_service(call: Call, taking: FakeService, folder: Path, bare: pytest.MonkeyPatch) -> None:
    """The service is gone for the first looks; what waits does not give up at once."""
    from batchyard.main import client

    tells(taking, job(ONE, "SUCCEEDED"))
    connect, refused = client._connect, []

    def refusing(scheme: str, netloc: str) -> Any:
        if taking.named("SubmitJob") and len(refused) < 2:
            refused.append(netloc)
            return connect(scheme, "127.0.0.1:1")
        return connect(scheme, netloc)

    bare.setattr(client, "_connect", refusing)
    bare.setattr(client, "_BACK_OFF_S", 0.01)
    assert call("submit", "-q", "default", "-d", "align", "--wait").exit_code == 0
    assert len(refused) == 2


def run_on_a_terminal(
    arguments: list[str], environment: dict[str, str], until: bytes, then: Callable[[int, int], None]
) -> tuple[int, bytes]:
    """Runs `batchyard` on a terminal of its own; once it has written `until`, `then(pid, terminal)` happens. Exit code and output."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "batchyard.main", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    output, done = b"", False
    give_up_at = time.monotonic() + 90
    while time.monotonic() < give_up_at:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            output += read
        elif child.poll() is not None:
            break
        if not done and until in output:
            done = True
            then(child.pid, ours)
    os.close(ours)
    return child.wait(60), output


def test_on_a_terminal_ctrl_c_asks_whether_the_job_shall_end(taking: FakeService, folder: Path, bare: pytest.MonkeyPatch) -> None:
    tells(taking, job(ONE))
    taking.answers["TerminateJob"] = lambda params: {}
    environment = dict(os.environ) | {"TERM": "xterm", "COLUMNS": "100"}

    def interrupt_and_say_yes(pid: int, terminal: int) -> None:
        os.kill(pid, signal.SIGINT)
        os.write(terminal, b"y\n")

    asked = ["submit", "--data", str(folder), "-q", "default", "-d", "align", "--wait"]
    code, output = run_on_a_terminal(asked, environment, b"RUNNING", interrupt_and_say_yes)
    assert code == 130, output
    assert b"End it as well?" in output
    assert taking.named("TerminateJob") == [{"jobId": ONE, "reason": "Ended from the command line"}]


def test_off_a_terminal_ctrl_c_says_how_to_end_the_job(taking: FakeService, folder: Path, bare: pytest.MonkeyPatch) -> None:
    tells(taking, job(ONE))
    child = subprocess.Popen(
        [sys.executable, "-m", "batchyard.main", "submit", "--data", str(folder), "-q", "default", "-d", "align", "--wait"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    assert child.stderr is not None
    assert b"RUNNING" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"batchyard terminate {ONE}".encode() in errors
    assert b"Traceback" not in errors


def test_a_terabyte_is_written_as_a_number(call: Call, taking: FakeService) -> None:
    assert call("submit", "-q", "default", "-d", "align", "--vcpus", "128", "--memory", "1048576").exit_code == 0
    (submitted,) = taking.named("SubmitJob")
    sizes = [entry["value"] for entry in submitted["containerOverrides"]["resourceRequirements"]]
    assert sizes == ["128", "1048576"]
