"""`batchyard exec`: a command inside of a job that runs, as a process."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exec_client import PATIENCE_S, command, interrupted, run, until_gone
from yard import Yard, serving, until

MARKED = "until test -s marker; do sleep 0.05; done; cat marker"  # a job that has begun may not have come so far yet


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("exec") / "data", "--runtime", "process") as made:
        yield made.with_queue()


@pytest.fixture
def job(yard: Yard) -> Iterator[str]:
    """One that runs until it finds a file in its directory."""
    script = "echo here > marker; while ! test -e end; do sleep 0.05; done"
    id = yard.submit(yard.definition_of("waiting", "sh", "-c", script))
    yard.until(id, "RUNNING")
    yield id
    with contextlib.suppress(Exception):
        yard.batch.terminate_job(jobId=id, reason="over")
    yard.until(id)


def test_it_is_inside_with_the_jobs_directory_user_and_environment(yard: Yard, job: str) -> None:
    ended = run(yard, job, "--", "sh", "-c", f"{MARKED}; echo $AWS_BATCH_JOB_ID; id -u; pwd; echo wrong >&2; exit 3")
    marker, names, uid, place = ended.stdout.decode().splitlines()
    assert (ended.returncode, marker, names, ended.stderr) == (3, "here", f"{job}", b"wrong\n")
    if os.geteuid() == 0:
        assert uid != "0"
    assert place != str(Path.cwd())
    assert run(yard, job, "touch", "end").returncode == 0  # and what it does is seen by the job
    assert yard.until(job)["status"] == "SUCCEEDED"


def test_what_comes_from_stdin_arrives_whole_and_ends(yard: Yard, job: str) -> None:
    content = os.urandom(3_000_000)
    ended = run(yard, job, "--", "cat", given=content)
    assert (ended.returncode, ended.stdout == content, ended.stderr) == (0, True, b"")
    ended = run(yard, job, "--", "sh", "-c", "sleep 1; wc -c", given=content)  # fed faster than it reads
    assert ended.stdout.split() == [b"3000000"]


def test_codes_and_what_is_not_there(yard: Yard, job: str) -> None:
    assert run(yard, job, "--", "sh", "-c", "kill -9 $$").returncode == 137
    missing = run(yard, job, "--", "no-such-program")
    assert missing.returncode in (126, 127)  # 126: a folder of the PATH may be closed to the job
    assert b"no-such-program" in missing.stderr
    unknown = run(yard, "01a2060a-0000-4000-b025-000000000000", "true")
    assert (unknown.returncode, b"does not exist" in unknown.stderr) == (1, True)


def test_what_is_no_variable_in_a_jobs_environment_keeps_nobody_out(yard: Yard) -> None:
    id = yard.submit(yard.definition_of("odd", "env", "=odd", "EVEN=1", "sleep", "600"))
    yard.until(id, "RUNNING")
    until(lambda: run(yard, id, "--", "sh", "-c", "echo $EVEN").stdout == b"1\n" or None, "the job's environment, as it is now")
    yard.batch.terminate_job(jobId=id, reason="over")
    yard.until(id)


def test_a_job_that_does_not_run_says_so(yard: Yard) -> None:
    id = yard.submit(yard.definition_of("short", "true"))
    yard.until(id)
    ended = run(yard, id, "true")
    assert (ended.returncode, f"Job {id} is SUCCEEDED" in ended.stderr.decode()) == (1, True)


def test_it_ends_with_its_job(yard: Yard, job: str) -> None:
    with subprocess.Popen(
        command(yard, job, "--", "sh", "-c", "echo in; sleep 1000"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as inside:
        assert inside.stdout is not None
        assert inside.stdout.readline() == b"in\n"
        yard.batch.terminate_job(jobId=job, reason="enough")
        assert inside.wait(PATIENCE_S) == 137
    assert yard.until(job)["statusReason"] == "enough"


def test_it_ends_with_its_client(yard: Yard, job: str) -> None:
    interrupted(yard, job, "echo $$ > inside; echo in; sleep 1000")
    until_gone(yard, job, "inside")
    assert yard.until(job, "RUNNING")["status"] == "RUNNING"


def test_it_ends_with_its_client_also_while_it_does_not_read(yard: Yard, job: str) -> None:
    words = command(yard, job, "--", "sh", "-c", "echo $$ > inside; echo in; exec sleep 1000")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as inside:
        assert inside.stdin is not None and inside.stdout is not None
        assert inside.stdout.readline() == b"in\n"
        os.set_blocking(inside.stdin.fileno(), False)
        give_up_at = time.monotonic() + PATIENCE_S
        while select.select([], [inside.stdin], [], 2)[1]:  # until nobody on the way takes any more
            os.write(inside.stdin.fileno(), bytes(4096))
            assert time.monotonic() < give_up_at
        inside.send_signal(2)
        inside.wait(PATIENCE_S)
    until_gone(yard, job, "inside")


def test_a_shell_with_a_terminal(yard: Yard, job: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command(yard, job, "--", "sh"))
    seen = b""

    def shows(words: bytes) -> None:
        nonlocal seen
        give_up_at = time.monotonic() + PATIENCE_S
        while words not in seen:
            assert time.monotonic() < give_up_at, seen
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 4096)

    try:
        os.write(terminal, b"test -t 0 && echo a ter''minal; stty size\n" + MARKED.encode() + b"\n")
        shows(b"a terminal")
        os.write(terminal, b"test -w $(tty) && echo it has a na''me\n")
        shows(b"it has a name")
        shows(b"here")
        os.write(terminal, b"sh -c 'echo it sle''eps; exec sleep 1000'\n")
        shows(b"it sleeps")
        os.write(terminal, b"\x03")  # reaches the command, not us
        os.write(terminal, b"echo go''es on; exit 5\n")
        shows(b"goes on")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 5
    finally:
        os.close(terminal)


def test_a_container_of_a_task(yard: Yard) -> None:
    def member(name: str, script: str) -> dict[str, object]:
        needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
        return {"name": name, "image": "none", "command": ["sh", "-c", script], "resourceRequirements": needs}

    arn = yard.batch.register_job_definition(
        jobDefinitionName="task",
        type="container",
        ecsProperties={
            "taskProperties": [{"containers": [member("one", "echo 1 > me; sleep 1000"), member("two", "echo 2 > me; sleep 1000")]}]
        },
    )["jobDefinitionArn"]
    id = yard.submit(arn)
    yard.until(id, "RUNNING")
    script = ("sh", "-c", "until test -s me; do sleep 0.05; done; cat me")
    assert run(yard, id, "--container", "two", "--", *script).stdout == b"2\n"
    assert run(yard, id, "--", *script).stdout == b"1\n"
    assert b"does not run" in run(yard, id, "--container", "three", "true").stderr
    yard.batch.terminate_job(jobId=id, reason="over")
    yard.until(id)


def test_jobs_themselves_may_not(yard: Yard, job: str) -> None:
    """A job's credentials open nobody else's door."""
    inside = dict(line.split("=", 1) for line in run(yard, job, "env").stdout.decode().splitlines() if line.startswith("AWS_"))
    words = [sys.executable, "-m", "batchyard.main", "exec", job, "true"]
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("AWS_")}, **inside}
    answer = subprocess.run(words, env=environment, capture_output=True, check=False, timeout=PATIENCE_S)
    assert (answer.returncode, b"not authorized" in answer.stderr) == (4, True)


def test_a_server_that_was_killed_ends_its_sessions_and_not_the_job(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--runtime", "process") as yard:
        yard.with_queue()
        id = yard.submit(yard.definition_of("long", "sh", "-c", "while ! test -e end; do sleep 0.05; done"))
        yard.until(id, "RUNNING")
        with subprocess.Popen(
            command(yard, id, "--", "sh", "-c", "echo $$ > inside; echo in; sleep 1000"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as inside:
            assert inside.stdout is not None
            assert inside.stdout.readline() == b"in\n"
            yard.kill()
            assert inside.wait(PATIENCE_S) == 3
        yard.start()
        until_gone(yard, id, "inside")
        assert run(yard, id, "touch", "end").returncode == 0
        assert yard.until(id)["status"] == "SUCCEEDED"
