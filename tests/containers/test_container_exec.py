"""`batchyard exec` into a job's container."""

from __future__ import annotations

import contextlib
import os
import subprocess

from exec_client import interrupted, run, until_gone
from yard import Yard


def test_a_command_in_the_container(yard: Yard) -> None:
    id = yard.submit(yard.definition_of("waiting", "sh", "-c", "echo here > /marker; while ! test -e /end; do sleep 1; done"))
    yard.until(id, "RUNNING")
    inside = run(
        yard, id, "--", "sh", "-c", "until test -s /marker; do sleep 1; done; cat /marker; echo $AWS_BATCH_JOB_ID; echo wrong >&2; exit 3"
    )
    assert (inside.returncode, inside.stdout.decode().split(), inside.stderr) == (3, ["here", id], b"wrong\n")
    content = os.urandom(1_000_000)
    assert run(yard, id, "--", "cat", given=content).stdout == content
    missing = run(yard, id, "--", "no-such-program")
    assert missing.returncode != 0
    assert b"no-such-program" in missing.stdout + missing.stderr
    shell = run(yard, id, "--terminal", "--", "sh", "-c", "test -t 1 && echo a terminal")
    assert (shell.returncode, shell.stdout) == (0, b"a terminal\r\n")
    interrupted(yard, id, "echo $$ > /inside; echo in; exec sleep 1000")
    until_gone(yard, id, "/inside")
    with contextlib.suppress(subprocess.CalledProcessError):
        run(yard, id, "touch", "/end")
    assert yard.until(id)["status"] == "SUCCEEDED"
