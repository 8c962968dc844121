"""The daemon of scratch space: what it calls and what it leaves alone, holding writers, failures, the status file."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from ground import Numbers, cgroup, is_frozen

from batchyard.scratch.daemon import Daemon, Status
from batchyard.scratch.freezer import Freezer, JobsFreezer
from batchyard.scratch.policy import MIB, Limits
from batchyard.scratch.provision import ScratchError

CAP = 10_000 * MIB


class Watch:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def daemon_of(ground: Numbers, watch: Watch, *, freezer: Freezer | None = None, status: Path | None = None, **limits: float) -> Daemon:
    allowed = Limits(cap_bytes=CAP, step_bytes=100 * MIB, calm_s=limits.get("calm_s", 60.0))
    made = Daemon(
        ground, allowed, freezer=freezer, status=status, freeze_limit_s=limits.get("freeze_limit_s", 30.0), assumed_grow_s=0.1, clock=watch
    )
    made.start()
    return made


def turns(daemon: Daemon, watch: Watch, count: int, seconds: float = 0.1) -> None:
    for _ in range(count):
        daemon.turn()
        watch.now_s += seconds


def until(daemon: Daemon, watch: Watch, is_so: Callable[[], bool]) -> None:
    """Turns, until it is so; the clock stands still while something works beside them, for that takes as long as the machine is busy."""
    deadline = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline
        turns(daemon, watch, 1, seconds=0.0 if (work := daemon._work) is not None and not work.is_done else 0.1)
        time.sleep(0.002)


def test_nothing_is_called_while_nothing_is_to_be_done() -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    daemon = daemon_of(ground, watch)
    ground.used = 100 * MIB
    turns(daemon, watch, 500, seconds=1.0)
    assert ground.calls == ["ensure"]
    assert daemon.turn() > 0.01


def test_what_is_mounted_already_is_looked_at_while_a_former_daemons_work_is_finished() -> None:
    """EC2 may take minutes to let go of a volume, and a writer does not wait for that."""
    ground, watch, has_begun, may_end = Numbers(1000 * MIB), Watch(), threading.Event(), threading.Event()
    ground.up, ground.ensuring = True, lambda: (has_begun.set(), wait_for(may_end))[1]
    daemon = Daemon(ground, Limits(cap_bytes=CAP, step_bytes=100 * MIB), assumed_grow_s=0.1, clock=watch)
    daemon.start(settles_beside=True)
    wait_for(has_begun)
    ground.used = 950 * MIB
    turns(daemon, watch, 5)
    assert daemon.counters.looks == 5 and ground.calls == ["ensure"], "one thing after the other"
    may_end.set()
    until(daemon, watch, lambda: len(ground.sizes) > 1)
    assert (daemon.counters.shrinks, daemon.counters.grow_failures, daemon.why_not) == (0, 0, "")


def test_what_cannot_be_finished_is_tried_again_and_no_job_comes_meanwhile() -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    ground.up, ground.ensuring = True, lambda: fail("EC2 gave no answer")
    daemon = Daemon(ground, Limits(cap_bytes=CAP, step_bytes=100 * MIB), assumed_grow_s=0.1, clock=watch)
    daemon.start(settles_beside=True)
    until(daemon, watch, lambda: len(ground.calls) > 2)
    assert set(ground.calls) == {"ensure"}
    assert daemon.why_not == "EC2 gave no answer", "also when it can be written to"
    ground.ensuring = lambda: None
    until(daemon, watch, lambda: daemon.why_not == "")
    assert daemon.counters.shrink_failures == daemon.counters.probes_failed == 0


def fail(why: str) -> None:
    raise ScratchError(why)


def test_it_grows_to_the_cap_and_says_why_no_further() -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    daemon = daemon_of(ground, watch)
    while sum(ground.sizes) < CAP:
        before = len(ground.sizes)
        ground.used = sum(ground.sizes) - 50 * MIB
        until(daemon, watch, lambda before=before: len(ground.sizes) > before)  # type: ignore[misc]
    assert sum(ground.sizes) == CAP
    calls = len(ground.calls)
    ground.used = CAP
    turns(daemon, watch, 50)
    assert len(ground.calls) == calls
    assert daemon.counters.grows == len(ground.sizes) - 1
    assert daemon.counters.grown_bytes == CAP - 1000 * MIB


@pytest.mark.parametrize("what", ["metadata", "inodes"])
def test_metadata_and_inodes_make_it_grow_too(what: str) -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    daemon = daemon_of(ground, watch)
    turns(daemon, watch, 5)
    assert ground.calls == ["ensure"]
    if what == "metadata":
        ground.metadata_free = 50 * MIB
    else:
        ground.inodes, ground.inodes_free = 1000, 10
    until(daemon, watch, lambda: len(ground.sizes) > 1)


def test_a_failed_grow_changes_nothing_and_is_tried_again_later_and_later() -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    daemon = daemon_of(ground, watch)
    ground.failure, ground.used = "no volume today", 900 * MIB
    until(daemon, watch, lambda: daemon.counters.grow_failures == 3)
    first = ground.calls[1]
    assert set(ground.calls[1:]) == {first}, "the same is asked for: nothing was counted"
    asked = len(ground.calls)
    turns(daemon, watch, 3)
    assert len(ground.calls) == asked, "not at once"
    ground.failure = ""
    until(daemon, watch, lambda: daemon.counters.grows == 1)
    assert ground.calls[-1] == first


def test_where_much_is_not_to_be_had_less_is_asked_for() -> None:
    """A zone that has no large volume left may have small ones; who watches has to find out by asking."""
    ground, watch = Numbers(1000 * MIB), Watch()
    daemon = daemon_of(ground, watch)
    ground.most, ground.used = 300 * MIB, 950 * MIB
    until(daemon, watch, lambda: len(ground.sizes) == 2)
    assert ground.calls[1:] == [f"grow {size * MIB}" for size in (1000, 500, 250)]
    ground.used, ground.most = 1200 * MIB, None
    until(daemon, watch, lambda: len(ground.sizes) == 3)
    assert ground.calls[4:] == [f"grow {1250 * MIB}"], "and when that came, as much as ever"


def test_what_the_disk_below_does_not_have_is_not_asked_for() -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    daemon = daemon_of(ground, watch)
    ground.room, ground.used = 300 * MIB, 950 * MIB
    until(daemon, watch, lambda: len(ground.sizes) == 2)
    ground.room, ground.used = 0, 1290 * MIB
    turns(daemon, watch, 20)
    assert ground.calls[1:] == [f"grow {300 * MIB}"]


def test_what_is_not_used_is_given_back_when_all_is_quiet() -> None:
    ground, watch = Numbers(1000 * MIB, 1000 * MIB, 2000 * MIB), Watch()
    daemon = daemon_of(ground, watch)
    ground.used = 100 * MIB
    turns(daemon, watch, 300)
    assert ground.calls == ["ensure"], "not before it is calm"
    until(daemon, watch, lambda: len(ground.sizes) == 1)
    assert ground.calls[1:] == ["shrink 2", "shrink 1"]


def test_giving_room_back_is_given_up_when_a_writer_comes() -> None:
    """What is to be moved may take an hour; the writer gets its volume at once, and nobody calls it a failure."""
    ground, watch = Numbers(1000 * MIB, 1000 * MIB), Watch()
    daemon = daemon_of(ground, watch, calm_s=1.0)
    ground.during = lambda: None if ground.calls[-1].startswith("grow") else wait_for(ground.stopped)
    until(daemon, watch, lambda: "shrink 1" in ground.calls)
    turns(daemon, watch, 20)
    assert "stop shrinking" not in ground.calls, "nobody writes"
    ground.used = 1900 * MIB
    until(daemon, watch, lambda: daemon.counters.grows == 1)
    assert len(ground.sizes) == 3
    assert (daemon.counters.shrinks, daemon.counters.shrink_failures) == (0, 0)
    daemon.close()


def test_room_that_cannot_be_given_back_is_no_reason_to_take_no_job() -> None:
    ground, watch = Numbers(1000 * MIB, 1000 * MIB), Watch()
    daemon = daemon_of(ground, watch, calm_s=1.0)
    ground.failure = "the volume does not come off"
    until(daemon, watch, lambda: daemon.counters.shrink_failures == 2)
    assert daemon.why_not == ""
    daemon.close()


def wait_for(event: threading.Event) -> None:
    assert event.wait(90)


def test_the_status_tells(tmp_path: Path) -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    path = tmp_path / "status.json"
    ground.used = 300 * MIB
    daemon = daemon_of(ground, watch, status=path)

    def told() -> Status | None:
        return msgspec.json.decode(path.read_bytes(), type=Status) if path.exists() else None

    until(daemon, watch, lambda: told() is not None)
    ground.sick = "the disk is gone"
    until(daemon, watch, lambda: (one := told()) is not None and not one.is_healthy)
    seen = told()
    assert seen is not None
    assert (seen.why_not, seen.used_bytes, seen.cap_bytes, seen.volumes) == ("the disk is gone", 300 * MIB, CAP, (1000 * MIB,))
    assert seen.counters["probes_failed"] >= 1
    ground.sick = ""
    until(daemon, watch, lambda: (one := told()) is not None and one.is_healthy)


def test_a_place_that_is_full_takes_no_job_within_seconds() -> None:
    """It is looked at often, as one that is sick is; one that is well each half minute."""
    ground, watch = Numbers(CAP), Watch()
    daemon = daemon_of(ground, watch)

    def after(seconds: float) -> str:
        watch.now_s += seconds
        for _ in range(2):  # one look begins it, if it is due; the next one hears of it
            daemon.turn()
            deadline = time.monotonic() + 60
            while (probing := daemon._probing) is not None and not probing.is_done:
                assert time.monotonic() < deadline
                time.sleep(0.002)
        return daemon.why_not

    assert after(0.1) == ""
    ground.sick = "No space left on device"
    assert after(2.5) == "", "not yet due"
    ground.used = CAP
    assert after(2.5) == ground.sick
    ground.sick, ground.used = "", CAP // 2
    assert after(2.5) == ""
    daemon.close()


def test_a_place_that_is_full_at_the_start_is_made_larger(tmp_path: Path) -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    path = tmp_path / "status.json"
    ground.sick, ground.used = "No space left on device", 1000 * MIB
    daemon = daemon_of(ground, watch, status=path)
    until(daemon, watch, lambda: len(ground.sizes) == 2)
    ground.sick = ""
    until(daemon, watch, lambda: path.exists() and msgspec.json.decode(path.read_bytes(), type=Status).is_healthy)


def becomes_frozen(group: Path) -> bool:
    """Whether its processes stand still soon: on a busy machine that may be after whoever holds them has stopped to wait for it."""
    deadline = time.monotonic() + 60
    while not is_frozen(group):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


@pytest.mark.parametrize("version", [1, 2])
def test_writers_are_held_while_it_grows_and_go_on(version: int) -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    with cgroup(version) as group:
        sleeper = subprocess.Popen(["sleep", "600"])
        try:
            (group / "cgroup.procs").write_text(str(sleeper.pid))
            daemon = daemon_of(ground, watch, freezer=Freezer(group))
            seen: list[bool] = []
            ground.during = lambda: seen.append(becomes_frozen(group))
            turns(daemon, watch, 3)
            assert not is_frozen(group)
            ground.used = 995 * MIB
            until(daemon, watch, lambda: len(ground.sizes) == 2)
            assert seen == [True]
            until(daemon, watch, lambda: not is_frozen(group))
            assert daemon.counters.freezes == 1
            assert daemon.counters.frozen_s > 0
            daemon.close()
        finally:
            sleeper.kill()
            sleeper.wait(90)


def test_writers_are_not_held_for_ever_when_no_room_comes() -> None:
    ground, watch = Numbers(1000 * MIB), Watch()
    with cgroup() as group:
        daemon = daemon_of(ground, watch, freezer=Freezer(group), freeze_limit_s=5.0)
        ground.failure, ground.used = "no volume today", 995 * MIB
        until(daemon, watch, lambda: daemon.counters.grow_failures >= 2)
        assert becomes_frozen(group), "it is tried again meanwhile"
        until(daemon, watch, lambda: not is_frozen(group))
        turns(daemon, watch, 20)
        assert not is_frozen(group)
        daemon.close()


HOLDER = """
import sys, time
from pathlib import Path
from batchyard.scratch.freezer import Freezer
held = Freezer(Path(sys.argv[1]))
held.open()
held.freeze()
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("version", [1, 2])
def test_a_killed_daemon_leaves_nobody_frozen(version: int) -> None:
    with cgroup(version) as group:
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(group)], stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert becomes_frozen(group)
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.communicate(timeout=90)
        until_thawed(group)


def test_a_start_thaws_what_was_left_frozen() -> None:
    with cgroup() as group:
        Freezer(group).freeze()
        assert becomes_frozen(group)
        again = Freezer(group)
        again.open()
        assert not is_frozen(group)
        again.close()


def test_a_folder_without_a_freezer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScratchError, match="no cgroup whose processes can be held"):
        Freezer(tmp_path)


@pytest.mark.parametrize("version", [1, 2])
def test_all_jobs_of_a_node_are_held_and_not_the_node(version: int) -> None:
    """What lies below the node's cgroup, but for `home`; empty groups are left alone, and the guard finds groups that came later."""
    with cgroup(version) as tree, contextlib.ExitStack() as stack:
        groups = {}
        for name in ("home", "1", "2"):
            groups[name] = tree / name
            groups[name].mkdir()
            stack.callback(groups[name].rmdir)
        for name in ("home", "1"):
            process = subprocess.Popen(["sleep", "600"])
            stack.callback(process.wait, 90)
            stack.callback(process.kill)
            (groups[name] / "cgroup.procs").write_text(str(process.pid))

        freezer = JobsFreezer(tree)
        stack.callback(freezer.thaw)
        freezer.freeze()
        assert becomes_frozen(groups["1"])
        assert [name for name in groups if is_frozen(groups[name])] == ["1"]
        freezer.thaw()
        until_thawed(groups["1"])
        assert not any(is_frozen(group) for group in groups.values())

        program = (
            f"from batchyard.scratch.freezer import JobsFreezer as J; from pathlib import Path as P; f = J(P({str(tree)!r})); f.open();"
        )
        daemon = subprocess.Popen(
            [sys.executable, "-c", program + "f.freeze(); print('held', flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert daemon.stdout is not None and daemon.stdout.readline() == b"held\n"
        assert becomes_frozen(groups["1"])
        daemon.kill()
        daemon.communicate(timeout=60)
        until_thawed(groups["1"])


def until_thawed(group: Path) -> None:
    deadline = time.monotonic() + 90
    while is_frozen(group):
        assert time.monotonic() < deadline, "nobody let it go"
        time.sleep(0.01)
