"""What a job does to itself it does to nobody else: bombs of processes, of memory and of output, each beside a neighbour that goes on.

And what no job may see: another one's directory, credentials and environment, the server's folder, the node.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yard import Yard, serving, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="users of their own for jobs take root")
HAS_BUBBLEWRAP = shutil.which("bwrap") is not None
KINDS = [
    "off",
    pytest.param(
        "require", marks=[pytest.mark.system, pytest.mark.skipif(not HAS_BUBBLEWRAP, reason="bubblewrap (bwrap) is not installed")]
    ),
]
NEIGHBOUR = "for i in 1 2 3 4 5 6; do echo alive $i; sleep 0.2; done; echo content > file; cat file"
PYTHON = next(path for path in ("/usr/bin/python3", sys.executable) if Path(path).exists())
PIDS = 64
LOG_MIB = 2


@pytest.fixture(scope="module", params=KINDS)
def yard(request: pytest.FixtureRequest) -> Iterator[Yard]:
    """A service on processes, with modest limits, whose folder other users may pass through."""
    with tempfile.TemporaryDirectory(prefix="bombs-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        limits = (
            "--pids-limit",
            str(PIDS),
            "--log-limit-mib",
            str(LOG_MIB),
            "--scratch",
            "directory",
            "--vcpus",
            "8",
            "--memory-mib",
            "4096",
        )
        with serving(Path(folder) / "data", "--runtime", "process", "--bubblewrap", request.param, *limits) as yard:
            yield yard.with_queue()


def run(yard: Yard, script: str, **options: Any) -> str:
    """Submit a shell script: the id of its job."""
    definition = yard.definition_of("script", "sh", "-c", script, **options)
    return yard.submit(definition)


def beside_a_bomb(yard: Yard, script: str, memory_mib: int = 64) -> tuple[dict[str, Any], list[str]]:
    """Let a bomb go off beside a neighbour, who must end well and say all that it has to say: the bomb's job and the last of its log."""
    bomb = run(yard, script, memory_mib=memory_mib, timeout={"attemptDurationSeconds": 120})
    yard.until(bomb, "RUNNING", "SUCCEEDED", "FAILED")
    neighbour = yard.until(run(yard, NEIGHBOUR))
    assert neighbour["status"] == "SUCCEEDED", neighbour
    assert yard.logs(neighbour) == [*(f"alive {n}" for n in range(1, 7)), "content"]
    job = yard.until(bomb, patience_s=200)
    stream = job["container"]["logStreamName"]
    events = yard.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, limit=200)["events"]
    return job, [event["message"] for event in events]


def test_a_fork_bomb_has_as_many_processes_as_a_job_may_have(yard: Yard) -> None:
    script = f"""exec {PYTHON} -c '
import os, time
made = 0
try:
    while made < 100000:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        made += 1
except OSError as error:
    print("stopped", made, error.strerror, flush=True)
time.sleep(1)
'"""
    job, lines = beside_a_bomb(yard, script)
    assert job["status"] == "SUCCEEDED"
    word, made, *why = lines[-1].split()
    assert word == "stopped" and int(made) < PIDS and "unavailable" in " ".join(why)


def test_a_bomb_of_shells_is_ended_with_its_job(yard: Yard) -> None:
    job, _ = beside_a_bomb(yard, "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 2; exit 4")
    # 2: the shell itself could not fork any more; 137: so many shells took more memory than the job has, or too long.
    assert job["status"] == "FAILED" and job["container"]["exitCode"] in (2, 4, 137)


@pytest.mark.parametrize("forks", [0, 5])
def test_a_memory_bomb_is_out_of_memory(yard: Yard, forks: int) -> None:
    script = f"""exec {PYTHON} -c '
import os, time
for _ in range({forks}):
    if os.fork() == 0:
        break
held = []
while len(held) < 4000:
    held.append(bytearray(1 << 20))
    time.sleep(0.001)
' """
    job, _ = beside_a_bomb(yard, script)
    assert job["status"] == "FAILED"
    assert job["container"]["reason"].startswith("OutOfMemoryError"), job


def test_what_lies_in_dev_shm_counts_as_memory_and_goes_with_the_job(yard: Yard) -> None:
    shared = Path("/dev/shm")
    file = f"{yard.data.parent.name}-shm"  # nobody else's: the same test may run beside this one, without bubblewrap
    job, _ = beside_a_bomb(yard, f"dd if=/dev/zero of=/dev/shm/{file} bs=1M count=400; sleep 1; rm -f /dev/shm/{file}", memory_mib=48)
    if job["status"] == "FAILED":
        assert job["container"]["reason"].startswith("OutOfMemoryError"), job
    else:  # the kernel killed dd, not the shell: the job's end is its own to tell
        assert job["container"]["exitCode"] == 0
    is_left = (shared / file).exists()
    (shared / file).unlink(missing_ok=True)
    assert not is_left or ("--bubblewrap" in yard.options and "off" in yard.options)


def test_a_flood_of_output_is_cut_and_its_end_is_kept(yard: Yard) -> None:
    node_kib = _memory_kib(yard.node_pid)
    job, lines = beside_a_bomb(yard, "yes 0123456789012345678901234567890123456789 | head -c 60000000; echo; echo the end; exit 3")
    assert job["container"]["exitCode"] == 3
    assert lines[-1] == "the end"
    stream = job["container"]["logStreamName"]
    segment = next((yard.data / "logs").rglob(f"*{stream.rsplit('/', 1)[1]}*.log"))
    assert segment.stat().st_size < (LOG_MIB + 2) * 1024 * 1024
    assert _memory_kib(yard.node_pid) < node_kib + 8 * 1024
    note = f"a log may have {LOG_MIB} MiB"
    assert note.encode() in segment.read_bytes()


def _memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def test_no_job_sees_what_is_not_its_own(yard: Yard) -> None:
    opens = "chmod 666 file" if "off" in yard.options else "chmod -R a+rwX ."  # its own home is its own to open, where others can look
    victim = run(yard, f"echo secret > file; {opens}; echo $$ $HOME; sleep 600")
    said = until(lambda: _said(yard, victim), "the other job to say where it lives")
    home = said.split()[1]
    host_pid = next(
        place.name for place in Path("/proc").iterdir() if place.name.isdecimal() and f"HOME={home}\0".encode() in _environment(place)
    )
    looks = [
        f"cat {home}/file",
        f"ls {home}",
        f"ls {home}/../..",
        f"touch {home}/mine",
        f"cat /proc/{host_pid}/environ",
        f"ls /proc/{host_pid}/root/ /proc/{host_pid}/cwd/",
        f"kill -9 {host_pid}",
        f"cat /proc/{yard.node_pid}/environ",
        f"kill -9 {yard.node_pid}",
        *(f"cat {yard.data}/{name}" for name in ("endpoint.json", "identity.json", "node.id", "node.journal", "shelf.key")),
        f"ls {yard.data}",
        f"ls {yard.data}/logs {yard.data}/objects",
        f"{PYTHON} -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{yard.data}/node.sock\")'",
        "cat /etc/shadow",
    ]
    script = "\n".join(f"({look}) >/dev/null 2>&1 && echo 'possible: {look.split()[0]} {n}'" for n, look in enumerate(looks))
    job = yard.until(run(yard, f"{script}\necho looked"))
    assert yard.logs(job) == ["looked"], looks
    assert Path(f"/proc/{host_pid}").exists()
    yard.batch.terminate_job(jobId=victim, reason="seen enough")
    yard.until(victim)


def _said(yard: Yard, job_id: str) -> str | None:
    job = yard.job(job_id)
    lines = yard.logs(job) if job["status"] == "RUNNING" else []
    return lines[0] if lines else None


def _environment(place: Path) -> bytes:
    try:
        return (place / "environ").read_bytes()
    except OSError:
        return b""


def test_with_bubblewrap_it_does_not_even_know_of_others(yard: Yard) -> None:
    if "off" in yard.options:  # there is no such promise then
        return
    script = "ls -d /proc/[0-9]* | wc -l; ls /tmp /var/tmp; touch /tmp/mine; ls $TMPDIR; ls /dev/shm"
    shown = yard.logs(yard.until(run(yard, script)))
    assert int(shown[0]) < 8
    assert not Path("/tmp/mine").exists()
    beside = f"bombs-{yard.data.parent.name.removeprefix('bombs-')}"
    assert [line for line in shown[1:] if line not in ("/tmp:", "/var/tmp:", "", beside)].count("mine") == 1
