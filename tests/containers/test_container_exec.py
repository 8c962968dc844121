"""`batchyard exec` into a job's container."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.engines import Daemon
from yard import Yard

PATIENCE_S = 60.0


@pytest.fixture
def yard(shared_daemon: Daemon, folder: Path) -> Iterator[Yard]:
    made = Yard(folder / "data", "--runtime", "container", "--container-socket", shared_daemon.socket)
    made.start()
    try:
        made.environment_of("ce")
        made.queue_of("queue", "ce")
        yield made
    finally:
        made.down()
    assert not shared_daemon.containers()


def command(yard: Yard, *words: str) -> list[str]:
    return [sys.executable, "-m", "batchyard.main", "exec", "--data", str(yard.data), *words]


def run(yard: Yard, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(yard, *words), input=given, capture_output=True, check=False, timeout=PATIENCE_S)


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
    with subprocess.Popen(
        command(yard, id, "--", "sh", "-c", "echo $$ > /inside; echo in; exec sleep 1000"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as leaving:
        assert leaving.stdout is not None
        assert leaving.stdout.readline() == b"in\n"
        leaving.send_signal(2)
        leaving.wait(PATIENCE_S)
    give_up_at = time.monotonic() + PATIENCE_S
    while run(yard, id, "--", "sh", "-c", 'kill -0 "$(cat /inside)" 2>/dev/null').returncode == 0:
        assert time.monotonic() < give_up_at, "it ends with its client"
    with contextlib.suppress(subprocess.CalledProcessError):
        run(yard, id, "touch", "/end")
    assert yard.until(id)["status"] == "SUCCEEDED"
