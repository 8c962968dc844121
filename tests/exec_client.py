"""`batchyard exec` as a test calls it."""

from __future__ import annotations

import subprocess
import sys
import time

from yard import FINAL, Yard

PATIENCE_S = 120.0
UNTIL_LET_GO = "until test -e go; do sleep 0.05; done"  # what a job runs that goes on until the test has seen it: see `let_go`


def command(yard: Yard, *words: str) -> list[str]:
    return [sys.executable, "-m", "batchyard.main", "exec", "--data", str(yard.data), *words]


def run(yard: Yard, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(yard, *words), input=given, capture_output=True, check=False, timeout=PATIENCE_S)


def let_go(yard: Yard, *job: str) -> None:
    """Have a job (or a node; `--container` and a name may follow) come to its end that runs UNTIL_LET_GO, once it runs.

    What lets it go runs beside it, and is killed with it if it takes longer to end than the job.
    """
    give_up_at = time.monotonic() + PATIENCE_S
    while (told := run(yard, *job, "--", "touch", "go")).returncode and yard.job(job[0])["status"] not in FINAL:
        assert time.monotonic() < give_up_at, told.stderr


def interrupted(yard: Yard, job: str, script: str) -> None:
    """Run a script that says `in` when it has begun, and then end the client as Ctrl-C does."""
    with subprocess.Popen(command(yard, job, "--", "sh", "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as inside:
        assert inside.stdout is not None
        assert inside.stdout.readline() == b"in\n"
        inside.send_signal(2)
        inside.wait(PATIENCE_S)


def until_gone(yard: Yard, job: str, file: str) -> None:
    """Wait until the process whose number stands in a file of the job has ended."""
    look = f'number=$(cat {file}) && test "$number" && if kill -0 "$number" 2>/dev/null; then echo there; else echo gone; fi'
    give_up_at = time.monotonic() + PATIENCE_S
    while (told := run(yard, job, "--", "sh", "-c", look)).stdout != b"gone\n":
        assert told.stdout == b"there\n", told.stderr
        assert time.monotonic() < give_up_at
