"""What happens to the ground under a service's jobs when its watcher, its node or its folder is lost: nothing leaks, and it is mended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from served import BTRFS, INITIAL_MIB, KINDS, Served, at_the_disk_s_speed, on, served, writer

from batchyard.scratch import mounts
from yard import until

pytestmark = BTRFS  # most of them


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _has_none(folder: Path, beginning: str) -> bool:
    """Whether no file there is called so. While things are being removed: `rglob` would trip over a folder that has just gone."""
    return not any(name.startswith(beginning) for _, _, names in os.walk(folder) for name in names)


def kill_all(one: Served) -> None:
    """Server, node and watcher, at the same moment."""
    pids = [one.yard.node_pid, *one.watchers()]
    one.yard.kill()
    for pid in pids:
        kill(pid)
    until(lambda: True if not one.watchers() else None, "the watcher is dead")


@pytest.mark.timeout(700)  # it writes gigabytes to a disk to which others write, too
@pytest.mark.parametrize("kind", KINDS)
def test_a_job_does_not_notice_that_its_watcher_is_killed(kind: str) -> None:
    """While nobody watches, the node holds the writers if little room is left."""
    with served("--scratch", kind, "--scratch-gib", "8", "--scratch-initial-gib", "1") as one:
        yard = one.start()
        job_id = yard.submit(writer(yard, "writer", 3500))
        yard.until(job_id, "RUNNING")
        killed: set[int] = set()
        for _ in range(3):
            pid = until(lambda: next((pid for pid in one.watchers() if pid not in killed), None), "a watcher")
            time.sleep(0.2)
            kill(pid)
            killed.add(pid)
        job = yard.until(job_id, patience_s=500)
        assert job["status"] == "SUCCEEDED", yard.logs(job)
        assert int(yard.logs(job)[-1].split()[1]) > 3500, "it has grown"
        until(lambda: one.watchers() or None, "another has taken over")
        yard.down()
        one.nothing_is_left()


def test_a_node_that_is_killed_is_followed_by_one_that_mends_and_clears() -> None:
    with served(*on("loop-btrfs")) as one:
        yard = one.start()
        big = yard.definition_of("big", "sh", "-c", f"{at_the_disk_s_speed(400)}; echo written; exec sleep 600", memory_mib=1024)
        lost = yard.submit(big)
        job = yard.until(lost, "RUNNING")
        until(lambda: True if "written" in yard.logs(yard.job(lost)) else None, "it has written", 120)
        kill(yard.node_pid)
        job = yard.until(lost)
        assert job["status"] == "FAILED" and job["statusReason"].startswith("Host EC2"), job
        again = yard.until(yard.submit(yard.definition_of("ok", "sh", "-c", "echo x > x; stat -f -c %T .")))
        assert again["status"] == "SUCCEEDED"
        assert yard.logs(again) == ["btrfs"]
        until(lambda: _has_none(one.work, "big-") or None, "what the lost job wrote is removed", 60)
        yard.down()
        one.nothing_is_left()


def test_down_clears_what_a_killed_service_has_left() -> None:
    with served(*on("loop-btrfs")) as one:
        yard = one.start()
        yard.until(yard.submit(yard.definition_of("ok", "true")))
        kill_all(one)
        assert mounts.mounted_from(one.work) is not None, "nobody could clear it"
        said = yard.cli("down", "--data", str(yard.data))
        assert "Down" in said.stdout + said.stderr
        one.nothing_is_left()


@pytest.mark.parametrize("then", ["directory", pytest.param("loop-xfs", marks=KINDS[1].marks)])
def test_another_choice_takes_the_place_of_what_a_killed_service_has_left(then: str) -> None:
    with served(*on("loop-btrfs")) as one:
        yard = one.start()
        yard.until(yard.submit(yard.definition_of("ok", "sh", "-c", "echo x > x; df -m . | tail -n 1")))
        kill_all(one)
        one.yard.options = tuple(then if word == "loop-btrfs" else word for word in yard.options)
        one.yard.options = tuple(f"{INITIAL_MIB['loop-xfs'] / 1024}" if word == "0.125" else word for word in one.yard.options)
        yard.start()
        job = yard.until(yard.submit("ok"))
        assert job["status"] == "SUCCEEDED"
        assert one.served()["kind"] == then
        left = 0 if then == "directory" else 1
        until(lambda: True if len(one.devices()) == left else None, "the former devices go", 60)
        yard.down()
        one.nothing_is_left()


def test_a_folder_that_was_removed_under_a_killed_service_can_be_used_again() -> None:
    with served(*on("loop-btrfs")) as one:
        yard = one.start()
        yard.until(yard.submit(yard.definition_of("ok", "sh", "-c", "echo x > x")))
        kill_all(one)
        shutil.rmtree(yard.data, ignore_errors=True)  # what is mounted cannot be removed, but by a service of another test that starts now
        assert not one.store.exists()
        one.start()
        job = yard.until(yard.submit(yard.definition_of("again", "sh", "-c", "echo x > x; df -m . | tail -n 1")))
        assert job["status"] == "SUCCEEDED"
        until(lambda: True if len(one.devices()) == 1 else None, "the old one goes", 60)
        yard.down()
        one.nothing_is_left()


def test_what_a_removed_folder_has_left_is_cleared_by_the_next_service_of_the_machine() -> None:
    with served(*on("loop-btrfs")) as one:
        yard = one.start()
        yard.until(yard.submit(yard.definition_of("ok", "sh", "-c", "echo x > x")))
        kill_all(one)
        shutil.rmtree(yard.data, ignore_errors=True)
        assert not one.store.exists()
        with served(*on("loop-btrfs")) as other:
            other.start()
            until(lambda: True if mounts.mounted_from(one.work) is None else None, "it is unmounted", 60)
            until(lambda: None if one.devices() else True, "its devices go", 60)
            until(lambda: mounts.mounted_from(other.work), "the other has its own (somebody else on the machine may have cleared)", 60)
            other.yard.down()
            other.nothing_is_left()


def test_a_folder_that_others_may_not_enter_has_its_scratch_space_elsewhere() -> None:
    with served(*on("loop-btrfs")) as one:
        one.root.chmod(0o700)
        yard = one.start()
        job = yard.until(yard.submit(yard.definition_of("where", "sh", "-c", "pwd; stat -f -c %T .")))
        home, seen = yard.logs(job)
        assert home.startswith("/var/tmp/batchyard-") and seen == "btrfs"
        place = Path(*Path(home).parts[:4])
        assert mounts.mounted_from(place) in one.devices()
        yard.down()
        assert not place.exists()
        one.nothing_is_left()


def test_space_that_is_not_healthy_takes_no_job_and_says_why() -> None:
    with served(*on("loop-btrfs")) as one:
        yard = one.start()
        ok = yard.definition_of("ok", "sh", "-c", "echo x > x")
        yard.until(yard.submit(ok))
        until(lambda: made_read_only(one.work), "nobody writes there: what the job left is removed, and no probe is under way")
        until(lambda: True if "Read-only" in one.served()["why_not"] else None, "the node has seen it")
        assert not one.served()["is_ready"]
        until(lambda: "Read-only" in yard.trouble() or None, "the server has heard of it")  # or the job would be on its way to the node
        waiting = yard.submit(ok)
        said = until(
            lambda: s if "Read-only" in (s := yard.cli("explain", "--data", str(yard.data), waiting).stdout) else None,
            "explain says why",
        )
        assert "scratch" in said
        assert yard.job(waiting)["status"] == "RUNNABLE"
        status = yard.cli("scratch", "status", "--data", str(yard.data), check=False)
        assert status.returncode == 1 and "NOT healthy" in status.stderr and "Read-only" in status.stderr
        subprocess.run(["mount", "-o", "remount,rw", str(one.work)], check=True, timeout=60)
        assert yard.until(waiting)["status"] == "SUCCEEDED"
        yard.down()
        one.nothing_is_left()


def made_read_only(place: Path) -> bool | None:
    """None if somebody is in the midst of writing there: the kernel takes that for a reason not to."""
    done = subprocess.run(["mount", "-o", "remount,ro", str(place)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 or "busy" in done.stderr, done.stderr
    return True if done.returncode == 0 else None
