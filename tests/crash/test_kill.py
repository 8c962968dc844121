"""kill -9 of the server and of the node: what was acknowledged is there, nothing is begun twice, and lost hosts are said to be lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from yard import Yard, quiet_port, until


def small_yard(new_yard: Callable[..., Yard], starts: Path, *command: str, kind: str = "EC2") -> Yard:
    yard = new_yard("--vcpus", "8", "--memory-mib", "2048", "--port", str(quiet_port()))
    yard.with_queue(kind=kind)
    note = f'echo "$AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT" >> {starts}; '
    yard.definition_of("work", "sh", "-c", note + " ".join(command), retryStrategy={"attempts": 2})
    return yard


def test_the_server_killed_at_ten_random_moments(new_yard: Callable[..., Yard], starts: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (shown when the test fails)
    chance = random.Random(seed)
    yard = small_yard(new_yard, starts, "sleep 0.1; echo done")
    acknowledged: list[str] = []
    enough = threading.Event()

    def submit() -> None:
        while not enough.is_set():
            try:
                acknowledged.append(yard.submit("work"))
            except (BotoCoreError, ClientError, OSError):
                time.sleep(0.02)
            time.sleep(0.02)

    array = yard.submit("work", arrayProperties={"size": 60})
    submitter = threading.Thread(target=submit)
    submitter.start()
    for _ in range(10):
        time.sleep(chance.uniform(0.05, 0.6))
        yard.kill()
        yard.start()
    enough.set()
    submitter.join()
    for job_id in [array, *acknowledged]:
        job = yard.until(job_id, patience_s=90)
        assert job["status"] == "SUCCEEDED", job
    begun = Counter(starts.read_text().split("\n"))
    del begun[""]
    assert not {line: n for line, n in begun.items() if n > 1}, "an attempt was begun twice"
    expected = {f"{array}:{i} 1" for i in range(60)} | {f"{job_id} 1" for job_id in acknowledged}
    assert expected <= set(begun), "an acknowledged job never ran"
    # Nothing was retried, for no host was lost: the node lived on through all of it.
    assert all(line.endswith(" 1") for line in begun)


def test_jobs_run_on_while_the_server_is_dead(new_yard: Callable[..., Yard], starts: Path) -> None:
    begun, go = starts.with_name("begun"), starts.with_name("go")
    begun.touch()
    begun.chmod(0o666)
    yard = small_yard(new_yard, starts, f"echo begun > {begun}; until [ -e {go} ]; do sleep 0.05; done; echo still here")
    job_id = yard.submit("work")
    yard.until(job_id, "RUNNING")
    until(lambda: begun.read_text() or None, "the job to begin")
    yard.kill()
    go.touch()
    journal = yard.data / "node.journal"
    until(lambda: b"Outcome" in journal.read_bytes() or None, "the node to have seen the job's end")
    again_at_ms = time.time() * 1000
    yard.start()
    job = yard.until(job_id)
    assert job["status"] == "SUCCEEDED"
    assert len(job["attempts"]) == 1
    assert job["stoppedAt"] < again_at_ms, "it ended while the server was dead, and that time is what counts"
    assert yard.logs(job) == ["still here"]


def test_a_killed_node_is_a_lost_host_and_its_jobs_are_retried(new_yard: Callable[..., Yard], starts: Path) -> None:
    yard = small_yard(new_yard, starts, '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || sleep 600')
    jobs = [yard.submit("work") for _ in range(4)]
    for job_id in jobs:
        yard.until(job_id, "RUNNING")
    until(lambda: starts.read_text().count("\n") == 4 or None, "all of them to have said so")
    os.kill(yard.node_pid, signal.SIGKILL)
    for job_id in jobs:
        job = yard.until(job_id)
        assert job["status"] == "SUCCEEDED"
        lost, good = job["attempts"]
        instance = lost["container"]["containerInstanceArn"].rpartition("/")[2]
        assert lost["statusReason"] == f"Host EC2 (instance {instance}) terminated."
        assert "exitCode" not in lost["container"]
        assert good["container"]["exitCode"] == 0
    begun = Counter(starts.read_text().split())
    assert max(Counter(starts.read_text().split("\n")[:-1]).values()) == 1
    assert begun["1"] == begun["2"] == 4
    until(lambda: None if _running("sleep 600", yard) else True, "the orphans to be gone")


def test_server_and_node_killed_together(new_yard: Callable[..., Yard], starts: Path) -> None:
    yard = small_yard(new_yard, starts, '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || sleep 600')
    job_id = yard.submit("work")
    yard.until(job_id, "RUNNING")
    node = yard.node_pid
    yard.kill()
    os.kill(node, signal.SIGKILL)
    yard.start()
    job = yard.until(job_id)
    assert job["status"] == "SUCCEEDED"
    assert job["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")


def test_a_stop_is_clean_and_keeps_port_keys_and_jobs(new_yard: Callable[..., Yard], starts: Path) -> None:
    yard = small_yard(new_yard, starts, "sleep 600")
    job_id = yard.submit("work")
    yard.until(job_id, "RUNNING")
    before = yard.endpoint
    assert yard.stop() == 0
    yard.start()
    assert yard.endpoint == before
    assert yard.job(job_id)["status"] == "RUNNING"
    assert (yard.data / "endpoint.json").stat().st_mode & 0o777 == 0o600


def _running(command: str, yard: Yard) -> list[str]:
    """Processes of this service's jobs with that command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and command in (entry / "cmdline").read_text().replace("\0", " "):
                environment = (entry / "environ").read_text()
                if str(yard.data) in environment:
                    found.append(entry.name)
    return found


def test_a_port_that_was_taken_meanwhile_gives_way_to_a_free_one(new_yard: Callable[..., Yard], starts: Path) -> None:
    yard = small_yard(new_yard, starts, "true")
    port = int(yard.url.rpartition(":")[2])
    yard.options = yard.options[:-2]  # from now on the port only sticks
    yard.stop()
    with socket.create_server(("127.0.0.1", port)):
        yard.start()
        assert int(yard.url.rpartition(":")[2]) != port
    assert yard.until(yard.submit("work"))["status"] == "SUCCEEDED"
