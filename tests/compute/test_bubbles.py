"""With bubblewrap a job sees its own processes, its own /tmp and none of the server's folder; all else is as without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from compute_rig import AS_ROOT, PATIENCE_S, LocalRig

from batchyard.model.messages import StopAttempt

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap (bwrap) is not installed"),
    pytest.mark.parametrize("local", [["--bubblewrap", "require"]], indirect=True),
]


def attempts_in_time() -> Iterator[None]:
    """Again and again, but not for ever: whatever is mounted or unmounted on this machine meanwhile also ends namespaces that wait for a
    job, and other tests may do that all the time."""
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        yield


async def test_a_job_sees_its_own_processes_only(local: LocalRig) -> None:
    other = local.launch("sleep", "600")
    local.provider.carry_out([other])
    await local.started(other.attempt)
    _, lines = await local.run("sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done")
    assert not any("sleep" in line or "batchyard" in line for line in lines), lines
    assert len(lines) <= 5


async def test_tmp_is_its_own_and_empty(local: LocalRig) -> None:
    marker, theirs = Path("/tmp") / f"seen-{os.getpid()}", Path("/tmp") / f"theirs-{os.getpid()}"
    marker.write_text("x")
    try:
        _, lines = await local.run("sh", "-c", f"ls {marker}; echo mine > /tmp/a; cat /var/tmp/a $TMPDIR/a; touch {theirs}")
        assert lines[1:] == ["mine", "mine"]
        assert not theirs.exists()
        _, lines = await local.run("sh", "-c", f"ls /tmp/a {theirs}")
        assert len(lines) == 2 and all("No such file" in line for line in lines)
    finally:
        marker.unlink()


async def test_the_servers_folder_is_not_there(local: LocalRig) -> None:
    victim = local.launch("sh", "-c", "echo secret > file; chmod 666 file; echo go; sleep 600")
    local.provider.carry_out([victim])
    await local.says(victim.attempt)
    d = local.directory
    _, lines = await local.run("sh", "-c", f"cat {d}/node.id; cat {local.work}/{victim.attempt}/home/file; ls -a {local.work}")
    assert "No such file" in lines[0] and "No such file" in lines[1]


async def test_codes_signals_and_reasons_are_as_ever(local: LocalRig) -> None:
    ended, _ = await local.run("sh", "-c", "exit 3")
    assert ended.exit_code == 3
    ended, _ = await local.run("sh", "-c", "kill -9 $$")
    assert ended.exit_code == 137 and not ended.oom
    ended, _ = await local.run("/no/such")
    assert ended.cause == "not-started" and "no such file" in ended.reason
    launch = local.launch("sh", "-c", "trap 'echo bye; exit 5' TERM; echo go; while :; do sleep 0.1; done")
    local.provider.carry_out([launch])
    await local.says(launch.attempt)
    local.provider.carry_out([StopAttempt(launch.attempt, 30.0)])
    ended = await local.ended(launch.attempt)
    assert ended.exit_code == 5 and local.log(launch.attempt)[-1] == "bye"
    launch = local.launch("sleep", "600")
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    local.provider.carry_out([StopAttempt(launch.attempt, 30.0)])
    assert (await local.ended(launch.attempt)).exit_code == 143
    ended, lines = await local.run(
        "sh", "-c", "pwd; echo $HOME; touch x; id -u; stat -c %u /etc/passwd; ls -ld /dev/shm; echo > /dev/shm/x; ls /dev"
    )
    assert ended.exit_code == 0, lines
    assert lines[0] == lines[1]


async def test_what_one_leaves_in_memory_the_next_does_not_find(local: LocalRig) -> None:
    """The same slot each time; what is left keeps its namespaces from being used again."""
    for leaves in ("echo left > /dev/shm/left", "ipcmk -M 4096", "ipcmk -Q", "ipcmk -S 1", "touch /dev/mqueue/left"):
        ended, lines = await local.run("sh", "-c", f"{leaves} && echo done")
        assert ended.exit_code == 0 and lines[-1] == "done", lines
        _, lines = await local.run("sh", "-c", "ls /dev/shm /dev/mqueue; cat /proc/sysvipc/*; ls /dev/shm /dev/mqueue | wc -l")
        assert not any("left" in line or line.strip()[:1].isdigit() for line in lines[:-1]), (leaves, lines)


async def test_a_little_that_is_left_is_removed_and_costs_no_new_namespaces(local: LocalRig) -> None:
    files = "echo x > file; ln -s /etc .link; ln file other; mkfifo pipe; echo y > /tmp/.z; chmod 0 file"
    leaves = f"readlink /proc/self/ns/mnt; {files}; mkdir -p a/b/c 'd e'; ln -s /etc a/b/link; echo x > a/b/x; chmod 500 a/b 'd e'"
    for _ in attempts_in_time():
        ended, before = await local.run("sh", "-c", leaves)
        assert ended.exit_code == 0 and ended.disk_peak_mib
        _, lines = await local.run("sh", "-c", "ls -A; find /tmp -maxdepth 1 ! -type d; readlink /proc/self/ns/mnt; ls -d /etc/passwd")
        assert lines[-1] == "/etc/passwd" and len(lines) == 2, lines
        if lines[0] == before[0] or not AS_ROOT:
            return
    pytest.fail("each job had namespaces of its own")


async def test_what_is_more_than_a_little_is_gone_too(local: LocalRig) -> None:
    for leaves in (
        "mkdir $(seq 70)",
        "mkdir a; touch $(seq 10) $(seq -f a/%.0f 90)",
        "head -c 3000000 /dev/zero > large",
        "touch $(seq 100)",
        "chmod 755 .",
        "echo x > '\n'; mkdir /tmp/d; echo x > /tmp/d/e",
    ):
        ended, _ = await local.run("sh", "-c", leaves)
        assert ended.exit_code == 0
        _, lines = await local.run("sh", "-c", "ls -A; stat -c %a .; ls -d /tmp/d; touch a")
        assert lines[0] == "700" and len(lines) == 2 and "No such file" in lines[1], (leaves, lines)


async def test_namespaces_are_used_again_for_a_job_that_leaves_nothing(local: LocalRig) -> None:
    seen: list[str] = []
    for _ in attempts_in_time():
        seen += (await local.run("readlink", "/proc/self/ns/mnt"))[1]
        if not AS_ROOT and len(seen) == 3:
            assert len(set(seen)) == 3
            return
        if AS_ROOT and any(one == other for one, other in pairwise(seen)):
            return
    pytest.fail("each job had namespaces of its own")


@pytest.mark.skipif(not AS_ROOT, reason="without root nothing is made ahead of need")
async def test_after_a_job_that_leaves_much_the_next_one_finds_new_namespaces_ready(local: LocalRig) -> None:
    for _ in attempts_in_time():
        await local.run("sh", "-c", "chmod 755 .; echo x > left")
        ready = await _ready_for_the_next(local.work)
        _, lines = await local.run("sh", "-c", "readlink /proc/self/ns/mnt; stat -c %a .; ls -A; id -u; stat -c %u .")
        assert lines[1] == "700" and len(lines) == 4 and lines[2] == lines[3], lines
        if lines[0] in ready and ready[lines[0]].exists():
            return
    pytest.fail("what was made ahead of need was never used")


async def _ready_for_the_next(work: Path) -> dict[str, Path]:
    """The mount namespaces that wait for a slot's next job, with who holds them; none if it takes long, as where they were ended again."""
    for _ in range(50):
        await asyncio.sleep(0.02)
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                holds = (place / "cmdline").read_bytes().startswith(b"/bin/sh\0")
                if holds and f"/.slot-0/home {work}" in (place / "mountinfo").read_text(errors="replace"):
                    found[str((place / "ns/mnt").readlink())] = place
        if found:
            return found
    return {}


async def test_they_end_with_the_node(local: LocalRig) -> None:
    launch = local.launch("sh", "-c", "echo go; sleep 600")
    local.provider.carry_out([launch])
    await local.says(launch.attempt)
    mounts = lambda: [place for place in Path("/proc").iterdir() if place.name.isdecimal() and _sees(place, launch.attempt)]  # noqa: E731
    assert mounts()
    os.kill(local.provider.node_pid, signal.SIGKILL)
    await local.eventually(lambda: not mounts(), "everybody in there is gone")


def _sees(place: Path, attempt: str) -> bool:
    try:
        return f"/{attempt}/home " in (place / "mountinfo").read_text(errors="replace")
    except OSError:
        return False
