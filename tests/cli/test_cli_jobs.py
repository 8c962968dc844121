"""What jobs, job, logs, explain, cancel and terminate show of what a service answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from cli_service import REGION, FakeService, Refuse, job
from click.testing import Result

from batchyard.main.client import Trouble
from batchyard.main.commands.draw import table_lines
from batchyard.main.commands.times import since, span

Call = Callable[..., Result]
ONE, TWO, THREE = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123")
NOW_MS = 0


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this test, and not of the start of the run, which may be long ago."""
    monkeypatch.setattr(sys.modules[__name__], "NOW_MS", int(time.time() * 1000))


def listing(service: FakeService, **by_status: list[dict[str, Any]]) -> None:
    """Let ListJobs answer by status, with filters everything, two to a page."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        found = by_status.get(params.get("jobStatus", "RUNNING"), [])
        if "filters" in params:
            found = [summary for summaries in by_status.values() for summary in summaries]
        start = int(params.get("nextToken") or 0)
        more = {"nextToken": str(start + 2)} if start + 2 < len(found) else {}
        return {"jobSummaryList": found[start : start + 2], **more}

    service.answers["ListJobs"] = answer
    service.answers["DescribeJobQueues"] = lambda params: {"jobQueues": [{"jobQueueName": "default"}]}


def summary(job_id: str, status: str, **members: Any) -> dict[str, Any]:
    return {"jobId": job_id, "jobName": "align", "status": status, "createdAt": NOW_MS - 90_000, **members}


def test_jobs_are_listed_unfinished_first_and_completed_where_the_list_is_bare(call: Call, service: FakeService) -> None:
    listing(
        service,
        RUNNABLE=[summary(ONE, "RUNNABLE", statusReason="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too big")],
        RUNNING=[summary(TWO, "RUNNING", startedAt=NOW_MS - 7_500_000)],
        FAILED=[summary(THREE, "FAILED", stoppedAt=NOW_MS - 20_000)],
    )
    service.knows(
        job(THREE, "FAILED", startedAt=NOW_MS - 30_000, statusReason="Essential container in task exited", container={"exitCode": 3})
    )
    result = call("jobs")
    assert result.exit_code == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["JOB", "NAME", "QUEUE", "STATUS", "AGE", "RAN", "REASON"]
    assert {row.split()[0] for row in rows[:2]} == {ONE, TWO}
    assert rows[2].split()[0] == THREE
    shown = {row.split()[0]: row for row in rows}
    assert "too big" in shown[ONE]
    assert "2h05m" in shown[TWO]
    assert "10s" in shown[THREE]
    assert "Essential container in task exited; exit code 3" in shown[THREE]


def test_jobs_old_and_finished_are_not_listed_unless_asked(call: Call, service: FakeService) -> None:
    listing(service, SUCCEEDED=[summary(ONE, "SUCCEEDED", createdAt=NOW_MS - 3 * 86_400_000, startedAt=1, stoppedAt=2)])
    assert json.loads(call("jobs", "--json").stdout) == {"jobs": []}
    assert "No jobs that wait or run" in call("jobs").stderr
    assert [found["jobId"] for found in json.loads(call("jobs", "--json", "--since", "4d").stdout)["jobs"]] == [ONE]
    assert [found["jobId"] for found in json.loads(call("jobs", "--json", "-s", "succeeded").stdout)["jobs"]] == [ONE]


def test_jobs_are_read_page_by_page_up_to_the_limit(call: Call, service: FakeService) -> None:
    listing(service, RUNNABLE=[summary(f"{n:08}-1111-4111-8111-111111111111", "RUNNABLE") for n in range(9)])
    result = call("jobs", "-s", "RUNNABLE", "--limit", "5")
    assert len(result.stdout.splitlines()) == 6
    assert "--limit" in result.stderr
    assert len(call("jobs", "-s", "RUNNABLE").stdout.splitlines()) == 10


def test_children_of_an_array_are_listed_by_index(call: Call, service: FakeService) -> None:
    listing(
        service,
        SUCCEEDED=[summary(f"{ONE}:10", "SUCCEEDED", startedAt=1, stoppedAt=5)],
        RUNNING=[summary(f"{ONE}:9", "RUNNING", startedAt=1)],
    )
    service.knows(job(ONE, "PENDING", arrayProperties={"size": 11}))
    found = json.loads(call("jobs", "--array", ONE, "--json").stdout)["jobs"]
    assert [child["jobId"] for child in found] == [f"{ONE}:9", f"{ONE}:10"]
    assert found[0]["jobQueue"] == "default"


def test_job_shows_everything_and_the_way_on(call: Call, service: FakeService) -> None:
    attempt = {
        "container": {
            "exitCode": 137,
            "reason": "OutOfMemoryError: Container killed due to memory usage",
            "logStreamName": "align/default/a1",
        }
    }
    container = {
        "image": "busybox",
        "command": ["sh", "-c", "echo 'a b'"],
        "environment": [{"name": "K", "value": "V"}],
        "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "512"}],
        "logStreamName": "align/default/a2",
    }
    attempts = [
        attempt | {"startedAt": NOW_MS - 50_000, "stoppedAt": NOW_MS - 40_000, "statusReason": "Essential container in task exited"}
    ]
    service.knows(
        job(
            ONE,
            container=container,
            attempts=attempts,
            retryStrategy={"attempts": 3},
            startedAt=NOW_MS - 30_000,
            timeout={"attemptDurationSeconds": 90},
        )
    )
    service.answers["own:cost"] = lambda params: {
        "usd": 0.001234,
        "attempts": [{"number": 1, "peakMemoryMiB": 511.6, "cpuSeconds": 9.5, "usd": 0.001}],
    }
    shown = call("job", ONE).stdout
    for words in (
        "1 ended, 3 at most",
        "sh -c 'echo '\"'\"'a b'\"'\"''",
        "512 MiB",
        "K=V",
        "OutOfMemoryError",
        "137",
        "512 MiB  9 s",
        "0.001234 USD",
    ):
        assert words in shown, words
    assert "align/default/a2" in shown
    assert "batchyard logs " + ONE in shown
    document = json.loads(call("job", ONE, "--json").stdout)
    assert document["jobId"] == ONE
    assert document["cost"]["usd"] == 0.001234


def test_what_attempts_and_their_containers_used(call: Call, service: FakeService) -> None:
    ended = {"startedAt": NOW_MS - 50_000, "stoppedAt": NOW_MS - 40_000, "taskProperties": []}
    service.knows(job(ONE, "SUCCEEDED", container={}, attempts=[ended, ended]))
    used = {"peakMemoryMiB": 12.3, "cpuSeconds": 2, "readMiB": 3.6, "writtenMiB": 2048}
    containers = [{"name": "side", "peakMemoryMiB": 1.0}, {"name": "main", **used}]
    service.answers["own:cost"] = lambda params: {
        "usd": 0,
        "attempts": [{"number": 1}, {"number": 2, **used, "diskPeakMiB": 1536.5, "containers": containers}],
    }
    shown = call("job", ONE).stdout
    attempts = shown.partition("Attempts\n")[2].splitlines()
    assert "PEAK    CPU  READ   WRITTEN  DISK PEAK" in attempts[0]
    assert "12 MiB  2 s  4 MiB  2.0 GiB  1.5 GiB" in attempts[2]
    of_each = [line.split() for line in shown.partition("What their containers used\n")[2].splitlines()[:3]]
    assert of_each == [
        ["#", "CONTAINER", "PEAK", "CPU", "READ", "WRITTEN"],
        ["2", "side", "1", "MiB"],
        ["2", "main", "12", "MiB", "2", "s", "4", "MiB", "2.0", "GiB"],
    ]


def test_a_job_of_several_containers_is_shown_by_the_one_that_failed(call: Call, service: FakeService) -> None:
    containers = [{"name": "side", "exitCode": 0}, {"name": "main", "exitCode": 4, "image": "tool", "logStreamName": "x/main/1"}]
    service.knows(job(ONE, "FAILED", container={}, ecsProperties={"taskProperties": [{"containers": containers}]}))
    shown = call("job", ONE).stdout
    assert "tool" in shown
    assert "x/main/1" in shown


def test_an_unknown_job_is_said(call: Call, service: FakeService) -> None:
    service.knows()
    for command in ("job", "logs", "explain"):
        result = call(command, "nobody")
        assert result.exit_code == 1
        assert "knows no job nobody" in result.stderr
        assert "batchyard jobs" in result.stderr


def streams(service: FakeService, **lines: list[str]) -> None:
    """Let GetLogEvents answer these streams, two events to a page, with a token that stays the same at the end."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if params["logStreamName"] not in lines:
            raise Refuse(400, "ResourceNotFoundException", "The specified log stream does not exist.")
        events = [{"timestamp": 1_000_000_000_000 + i, "message": line} for i, line in enumerate(lines[params["logStreamName"]])]
        if not params.get("startFromHead"):
            return {"events": events[-params["limit"] :], "nextForwardToken": "f/x"}
        start = int(params.get("nextToken", "f/0")[2:])
        return {"events": events[start : start + 2], "nextForwardToken": f"f/{min(start + 2, len(events))}"}

    service.answers["logs:GetLogEvents"] = answer


def test_logs_are_those_of_the_latest_attempt_or_of_the_one_asked_for(call: Call, service: FakeService) -> None:
    streams(service, s1=["first", "try"], s2=["a", "b", "c", "d", "e"])
    attempts = [{"container": {"logStreamName": "s1"}}, {"container": {"logStreamName": "s2"}}]
    service.knows(
        job(
            ONE,
            "SUCCEEDED",
            attempts=attempts,
            container={"logStreamName": "s2", "logConfiguration": {"options": {"awslogs-group": "mine"}}},
        )
    )
    assert call("logs", ONE).stdout.split() == list("abcde")
    assert call("logs", ONE, "--attempt", "1").stdout.split() == ["first", "try"]
    assert service.named("logs:GetLogEvents")[0]["logGroupName"] == "mine"
    assert len(json.loads(call("logs", ONE, "--json").stdout)["events"]) == 5
    stamped = call("logs", ONE, "--timestamps", "--since", "2001-09-09T01:46:40+00:00").stdout
    assert "46:40.000" in stamped.splitlines()[0]
    assert service.named("logs:GetLogEvents")[-1]["startTime"] == 1_000_000_000_000
    result = call("logs", ONE, "--attempt", "3")
    assert (result.exit_code, "no log of an attempt 3" in result.stderr) == (1, True)


def test_logs_that_cannot_be_say_why(call: Call, service: FakeService) -> None:
    service.knows(
        job(ONE, "RUNNABLE"), job(TWO, "FAILED", statusReason="Dependent Job failed"), job(THREE, "PENDING", arrayProperties={"size": 4})
    )
    waiting, never, array = (call("logs", job_id) for job_id in (ONE, TWO, THREE))
    assert "has not started yet" in waiting.stderr
    assert f"batchyard explain {ONE}" in waiting.stderr
    assert "never ran" in never.stderr
    assert "Dependent Job failed" in never.stderr
    assert array.exit_code == 2
    assert f"batchyard logs {THREE}:0 (to 3)" in array.stderr


def test_logs_follow_a_job_through_its_attempts(call: Call, service: FakeService, bare: pytest.MonkeyPatch) -> None:
    bare.setattr("batchyard.main.commands.logs.NAP_NEAR_S", 0.01)
    first, second = {"logStreamName": "s1"}, {"logStreamName": "s2"}
    story = [
        job(ONE, "RUNNABLE"),
        job(ONE, container=first),
        job(ONE, "RUNNABLE", container=first, attempts=[{"container": first}]),
        job(ONE, container=second, attempts=[{"container": first}]),
        job(ONE, "SUCCEEDED", container=second, attempts=[{"container": first}, {"container": second}]),
    ]
    service.answers["DescribeJobs"] = lambda params: {"jobs": [story.pop(0) if len(story) > 1 else story[0]]}
    streams(service, s1=["one", "two", "three"], s2=["four"])
    result = call("logs", "-f", "--json", ONE)
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["message"] for line in result.stdout.splitlines()] == ["one", "two", "three", "four"]
    assert "attempt 2" in result.stderr


def test_explain_draws_the_reasons_as_a_tree(call: Call, service: FakeService) -> None:
    service.knows(job(ONE, "RUNNABLE"))
    answer = {
        "jobId": ONE,
        "status": "RUNNABLE",
        "summary": "No compute environment can hold 64 vCPUs.",
        "reasons": [
            {"environment": "spot", "shortfall": "60 vCPUs", "fix": "raise maxvCpus to 64"},
            {"environment": "base", "shortfall": "full", "fix": ""},
        ],
        "position": 3,
        "aheadOf": 2,
        "awsReason": "UNDETERMINED - Batch job is blocked",
    }
    service.answers["own:explain"] = lambda params: answer
    result = call("explain", ONE)
    assert result.stdout.splitlines() == [
        f"{ONE}  align  RUNNABLE",
        "├── No compute environment can hold 64 vCPUs.",
        "├── position 3 in its queue, ahead of 2",
        "├── in AWS's words: UNDETERMINED - Batch job is blocked",
        "├── spot",
        "│   ├── short: 60 vCPUs",
        "│   └── fix:   raise maxvCpus to 64",
        "└── base",
        "    └── short: full",
    ]
    assert json.loads(call("explain", ONE, "--json").stdout) == answer
    assert service.named("own:explain")[0] == {"jobId": ONE}


def test_explain_elsewhere_tells_what_can_be_told_and_that_it_is_not_all(call: Call, service: FakeService) -> None:
    arn = f"arn:aws:batch:{REGION}:123456789012:job/"
    service.knows(job(ONE, "RUNNABLE", statusReason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - none"), job(TWO, "SUCCEEDED"))
    service.answers["GetJobQueueSnapshot"] = lambda params: {"frontOfQueue": {"jobs": [{"jobArn": arn + TWO}, {"jobArn": arn + ONE}]}}
    result = call("explain", ONE)
    assert result.exit_code == 2
    assert "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY" in result.stdout
    assert "position 2 in default" in result.stdout
    assert "does not say what is short" in result.stderr
    assert call("explain", TWO).exit_code == 0
    assert json.loads(call("explain", ONE, "--json").stdout)["position"] == 2


def test_cancel_and_terminate_name_each_job_and_the_unknown_ones(call: Call, service: FakeService) -> None:
    service.knows(job(ONE, "RUNNABLE"), job(TWO, "RUNNING"), job(THREE, "SUCCEEDED"))
    service.answers["CancelJob"] = service.answers["TerminateJob"] = lambda params: {}
    result = call("cancel", ONE, TWO, THREE, "nobody", "--reason", "why not")
    assert result.exit_code == 1
    notes = dict(line.split("  ", 1) for line in result.stderr.splitlines())
    assert notes[ONE] == "is cancelled"
    assert f"batchyard terminate {TWO}" in notes[TWO]
    assert notes[THREE] == "had already ended: SUCCEEDED"
    assert "knows no job" in notes["nobody"]
    assert service.named("CancelJob")[0] == {"jobId": ONE, "reason": "why not"}
    done = json.loads(call("terminate", TWO, "--json").stdout)["jobs"]
    assert done == [{"jobId": TWO, "done": True, "note": "is being ended"}]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, ""), (7, "7 ms"), (59_999, "59 s"), (61_000, "1 min 01 s"), (7_500_000, "2 h 05 min"), (200_000_000, "2 d 7 h")],
)
def test_spans_read_well(milliseconds: int | None, text: str) -> None:
    assert span(milliseconds) == text


def test_times_can_be_written_in_three_ways() -> None:
    assert since("10m", 1_000_000) == 400_000
    assert since("1.5 h", 10_000_000) == 4_600_000
    assert since("1700000000000", 0) == 1_700_000_000_000
    assert since("1970-01-02T00:00:00+00:00", 0) == 86_400_000
    with pytest.raises(Trouble, match="is no time"):
        since("yesterday", 0)


@pytest.mark.parametrize("width", [200, 100, 80, 60])
def test_a_table_fits_the_terminal_and_names_its_rows_whole(width: int) -> None:
    reason = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than can be met"
    lines = table_lines(
        ["JOB", "NAME", "RAN", "STATUS", "REASON"],
        [[ONE, "align-the-reads-of-sample-17-to-the-genome", "", "RUNNABLE", reason], [TWO, "merge", "", "FAILED", ""]],
        width,
    )
    plain = [click.unstyle(line) for line in lines]
    assert max(len(line) for line in plain) <= width
    assert "RAN" not in plain[0]
    assert [line.split()[0] for line in plain if line[0] != " "] == ["JOB", ONE, TWO]
    assert reason in " ".join(" ".join(plain).split())
    assert "\x1b[31m\x1b[1mFAILED" in lines[-1]


def test_a_table_in_a_pipe_is_whole_and_plain() -> None:
    lines = table_lines(["JOB", "RAN", "REASON"], [[ONE, "", "x" * 200]], None)
    assert lines == [f"{'JOB':36}  RAN  REASON", f"{ONE}       {'x' * 200}"]


def test_watching_goes_on_until_it_is_interrupted(service: FakeService, folder: Path, bare: pytest.MonkeyPatch) -> None:
    listing(service, RUNNING=[summary(TWO, "RUNNING", startedAt=NOW_MS)])
    asked = [sys.executable, "-m", "batchyard.main", "jobs", "--data", str(folder), "--watch", "--json"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["jobs"][0]["jobId"] == TWO
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"Traceback" not in errors
