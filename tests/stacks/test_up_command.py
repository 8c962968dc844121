"""`batchyard up`: one command from an empty folder to an environment that runs jobs, and the same again changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from yard import quiet_port, until

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.timeout(700)  # each command line needs seconds of a processor that others want too


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs `batchyard ...` in a folder of its own; whatever service it started ends with the test."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_"))}
    surroundings["AWS_PROFILE"] = "not-there"  # the user's settings of AWS have no part in this

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "batchyard.main", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path, env=surroundings, check=False)

    yield call
    if (tmp_path / ".batchyard").exists():
        call("down", "--data", ".batchyard")


def as_json(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_one_command_gives_an_environment_that_runs_jobs_and_again_changes_nothing(run: Run, tmp_path: Path) -> None:
    port = str(quiet_port())  # it is to be had again when the service is back
    first = as_json(run("up", "--vcpus", "2", "--port", port, "--parameter", "SpotMaxvCpus=8", "--json"))
    assert (bool(first["pid"]), first["changed"], first["stack"]["StackStatus"]) == (True, True, "CREATE_COMPLETE")
    assert first["queues"] == ["genomics-default", "genomics-high-priority"]
    assert len(first["computeEnvironments"]) == 2
    assert len(first["buckets"]) == 2
    given = {each["ParameterKey"]: each["ParameterValue"] for each in first["stack"]["Parameters"]}
    assert given["VpcId"].startswith("vpc-")
    assert (given["RequireTls"], given["SpotMaxvCpus"]) == ("false", "8")
    job = run("submit", "--queue", "genomics-default", "--wait", "--", "echo", "hello")
    assert job.returncode == 0, job.stderr

    again = run("up", "--vcpus", "2")
    assert again.returncode == 0, again.stderr
    assert "CREATE_COMPLETE (nothing to change)" in again.stderr
    assert f"endpoint      {first['endpoint']}" in again.stdout
    assert "The service of .batchyard runs already: --vcpus 2 holds after" in again.stderr

    changed = run("up", "--parameter", "OnDemandMaxvCpus=16")
    assert changed.returncode == 0, changed.stderr
    assert "UPDATE_COMPLETE       AWS::Batch::ComputeEnvironment      OnDemandComputeEnvironment" in changed.stderr
    assert "SpotComputeEnvironment" not in changed.stderr, "what was given before stays"
    assert "foreground" in run("up", "--foreground").stderr

    assert run("down").returncode == 0
    back = as_json(run("up", "--json"))
    assert (bool(back["pid"]), back["changed"], back["endpoint"]) == (True, False, first["endpoint"])


def test_another_template_and_a_refusal_are_said_in_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("Resources:\n  Bucket: {Type: 'AWS::S3::Bucket'}\n")
    found = as_json(run("up", "--template", "small.yaml", "--stack-name", "small", "--json"))
    assert found["queues"] == []
    assert found["buckets"][0].startswith("small-bucket-")
    wrong = run("up", "--parameter", "NoSuch=1")
    assert wrong.returncode == 1
    assert "Parameters: [NoSuch] do not exist in the template" in wrong.stderr
    (tmp_path / "broken.yaml").write_text("Resources:\n\tBucket: {}\n")
    broken = run("up", "--template", "broken.yaml")
    assert "broken.yaml" in broken.stderr
    assert "line 2" in broken.stderr


def test_a_service_that_cannot_start_says_why(run: Run) -> None:
    refused = run("up", "--account", "12")
    assert refused.returncode == 1
    assert "--account 12 must be 12 digits" in refused.stderr


def test_in_the_foreground_it_ends_with_the_command(run: Run, tmp_path: Path) -> None:
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_"))}
    with open(tmp_path / "said", "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "batchyard.main", "up", "--foreground"], stdout=said, stderr=said, cwd=tmp_path, env=surroundings
        )
    try:
        until(lambda: True if "batchyard down" in (tmp_path / "said").read_text() else None, "the environment", 150)
        process.send_signal(signal.SIGTERM)
        assert process.wait(150) == 0
    finally:
        process.kill()
        process.wait(30)
    assert run("stack", "list", "--data", ".batchyard").returncode == 3, "nobody answers any more"
