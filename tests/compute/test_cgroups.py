"""Cgroups: which ones are used, and version 2, of which most machines for tests have only the part without controllers."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apart import played

from batchyard.compute.local import cgroup2, cgroups, knobs, proc, spawn
from batchyard.compute.local.cage import storage_mib, together
from batchyard.compute.local.cgroup2 import Tree2
from batchyard.compute.local.loop import boot_s
from batchyard.compute.local.watched import WatchedTree
from batchyard.model.capacity import Resources

AS_ROOT = os.geteuid() == 0
WAITED = resource.struct_rusage([0.5, 0.25] + [0] * 7 + [4096, 1024] + [0] * 5)


# --- which ones ---


def machine(root: Path, mountinfo: str, own: str) -> Path:
    """A machine's root directory with what /proc says about cgroups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(mountinfo)
    (root / "proc/self/cgroup").write_text(own)
    return root


def mount(place: str, kind: str, options: str = "rw", seen: str = "/") -> str:
    return f"30 23 0:26 {seen} {place} rw,nosuid shared:9 - {kind} cgroup rw,{options}\n"


def test_version_1_is_used_where_its_memory_controller_is(tmp_path: Path) -> None:
    lines = [mount(f"/sys/fs/cgroup/{name}", "cgroup", name) for name in ("memory", "cpu,cpuacct", "freezer", "devices")]
    system = machine(tmp_path, "".join(lines) + mount("/sys/fs/cgroup/unified", "cgroup2"), "4:memory:/\n3:cpu,cpuacct:/\n")
    for name in ("memory", "cpu,cpuacct", "freezer", "devices", "unified"):
        (tmp_path / "sys/fs/cgroup" / name).mkdir(parents=True)
    place = tmp_path / "sys/fs/cgroup"
    found = {"memory": place / "memory", "cpu": place / "cpu,cpuacct", "cpuacct": place / "cpu,cpuacct", "freezer": place / "freezer"}
    assert cgroups.usable_groups(system) == cgroups.Groups(1, found)


def test_version_2_is_used_at_the_top_or_where_it_is_delegated(tmp_path: Path) -> None:
    own = tmp_path / "sys/fs/cgroup/user.slice/mine.scope"
    own.mkdir(parents=True)
    system = machine(tmp_path, mount("/sys/fs/cgroup", "cgroup2"), "0::/user.slice/mine.scope\n")
    assert cgroups.usable_groups(system).version == 0
    (own / "cgroup.controllers").write_text("cpu memory pids\n")
    assert cgroups.usable_groups(system) == cgroups.Groups(2, {"memory": own})
    (own / "cgroup.events").touch()
    (own / "cgroup.subtree_control").touch()
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n{os.getppid()}\n")
    assert cgroups.usable_groups(system).version == 2, "only we and our parents live here: we can step aside"
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n999999999\n")
    refused = cgroups.usable_groups(system)
    assert refused.version == 0
    assert refused.why_not
    (own / "cgroup.subtree_control").write_text("memory")
    assert cgroups.usable_groups(system).version == 2, "it is handed down already"
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("memory")
    assert cgroups.usable_groups(system) == cgroups.Groups(2, {"memory": tmp_path / "sys/fs/cgroup"})


def delegated(root: Path, own: str) -> Path:
    """A machine of version 2 on which a group is delegated to us; the group."""
    group = root / "sys/fs/cgroup" / own.lstrip("/")
    group.mkdir(parents=True)
    machine(root, mount("/sys/fs/cgroup", "cgroup2"), f"0::{own}\n")
    (group / "cgroup.controllers").write_text("cpu memory pids\n")
    for file in ("cgroup.events", "cgroup.subtree_control", "cgroup.procs"):
        (group / file).touch()
    return group


def test_a_child_of_ours_steps_aside_too(tmp_path: Path) -> None:
    """The node has one already when it makes its groups: it removes what jobs leave behind."""
    own = delegated(tmp_path, "/user.slice/mine.scope")
    with subprocess.Popen(["sleep", "60"]) as child:
        (own / "cgroup.procs").write_text(f"{os.getpid()}\n{child.pid}\n")
        found = cgroups.usable_groups(tmp_path)
        child.kill()
    assert found == cgroups.Groups(2, {"memory": own})


def test_the_first_process_of_a_container_steps_aside_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = delegated(tmp_path, "/")
    (own / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    parents = {os.getpid(): 1, 1: 0}
    monkeypatch.setattr(proc, "process", lambda pid: proc.Seen(pid, parents[pid], 0, 0, "S", 0, 0) if pid in parents else None)
    assert cgroups.usable_groups(tmp_path) == cgroups.Groups(2, {"memory": own})


def test_who_stepped_aside_before_uses_the_same_group_again(tmp_path: Path) -> None:
    """A server that outlived its node starts the next one from where it stepped aside to."""
    aside = delegated(tmp_path, "/user.slice/mine.scope/batchyard-0123456789ab-server")
    (aside / "cgroup.procs").write_text(f"{os.getpid()}\n")
    own = aside.parent
    (own / "cgroup.controllers").write_text("cpu memory pids\n")
    (own / "cgroup.events").touch()
    (own / "cgroup.subtree_control").write_text("cpu memory pids")
    assert cgroups.usable_groups(tmp_path) == cgroups.Groups(2, {"memory": own})


def test_where_only_a_part_of_the_hierarchy_is_seen() -> None:
    whole = knobs.Mount(Path("/cg"), "/", "cgroup", frozenset())
    part = knobs.Mount(Path("/cg"), "/docker/abc", "cgroup", frozenset())
    assert knobs.place_in(whole, "/docker/abc") == Path("/cg/docker/abc")
    assert knobs.place_in(part, "/docker/abc/below") == Path("/cg/below")
    assert knobs.place_in(part, "/docker/abc") == Path("/cg")
    assert knobs.place_in(part, "/elsewhere") == Path("/cg")


def test_without_any_there_is_watching(tmp_path: Path) -> None:
    groups = cgroups.usable_groups(machine(tmp_path, "", ""))
    assert groups.version == 0
    assert isinstance(cgroups.make_tree(groups, "x"), WatchedTree)


def test_a_group_that_goes_while_another_is_killed_stands_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a job removes groups of its own, on a kernel that kills a whole group by one process after another."""
    for name in ("a", "b", "c"):
        (tmp_path / name / "below").mkdir(parents=True)
    killed = []

    def kill_all(members: Path) -> int:
        killed.append(members.parent)
        for name in ("b", "c"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        return 0

    monkeypatch.setattr(cgroup2, "kill_all", kill_all)
    monkeypatch.setattr(cgroup2, "write", lambda knob, value: knob.name != "cgroup.kill")
    cgroup2.kill(tmp_path)
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "below"} <= set(killed)


def test_dead_trees_are_removed_and_living_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchyard.compute.local import slots

    monkeypatch.setattr(slots, "CLAIMS", tmp_path / "claims")
    groups = tmp_path / "memory"
    for name in ("batchyard-00000000000a", "batchyard-00000000000b", "batchyard-00000000000c", "batchyard-mine"):
        (groups / name / "home").mkdir(parents=True)
    held = slots.claim("batchyard-00000000000b")
    (groups / "batchyard-00000000000c/home/cgroup.procs").write_text("1\n")
    cgroups.remove_dead_trees(groups)
    assert sorted(place.name for place in groups.iterdir()) == ["batchyard-00000000000b", "batchyard-00000000000c", "batchyard-mine"]
    assert held is not None
    os.close(held)


def test_a_tree_that_somebody_sweeps_at_this_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that starts clears away what dead ones left, this one's former self among them: it would clear away what is made now."""
    from batchyard.compute.local import slots

    monkeypatch.setattr(slots, "CLAIMS", tmp_path / "claims")
    swept = slots.claim("batchyard-00000000000a")
    assert swept is not None
    sweeping = threading.Timer(0.3, os.close, [swept])
    sweeping.start()
    held = cgroups._claimed("batchyard-00000000000a")
    sweeping.join(90)
    assert held is not None
    os.close(held)


# --- version 2 ---


def order(*command: str) -> tuple[spawn.Order, int]:
    reading, writing = os.pipe()
    return spawn.Order(command, {}, "/", writing, None), reading


def place_of_version_2() -> Path | None:
    """Where a tree of version 2 may be made."""
    return next((mounted.place for mounted in knobs.mounts() if mounted.kind == "cgroup2" and cgroups.can_make(mounted.place)), None)


@contextlib.contextmanager
def tree_in(place: Path) -> Iterator[Tree2]:
    tree = Tree2(place, f"batchyard-test-{os.getpid()}")
    yield tree
    give_up_s = boot_s() + 60
    while tree.end_orphans() and boot_s() < give_up_s:
        time.sleep(0.01)
    tree.remove()
    assert not tree.place.exists()


@pytest.fixture
def unified(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree2]:
    """A real tree of version 2, with whatever controllers there are. Not by clone3: that is for who has no other threads."""
    place = place_of_version_2()
    if place is None:
        pytest.skip("no cgroup of version 2 may be made here")
    monkeypatch.setattr(cgroup2, "_clone_into_works", False)
    with tree_in(place) as tree:
        yield tree


@pytest.mark.skipif(place_of_version_2() is None, reason="no cgroup of version 2 may be made here")
@pytest.mark.parametrize("way", ["clone3", "fork", "step in"])
def test_a_child_is_in_its_group_from_its_first_moment(way: str) -> None:
    played(is_in_its_group, way)


def is_in_its_group(way: str) -> None:
    place = place_of_version_2()
    assert place is not None
    cgroup2._clone_into_works = way == "clone3"
    with tree_in(place) as unified:
        unified.in_a_burst = lambda: way == "step in"  # type: ignore[method-assign]
        cage = unified.cage(3)
        assert cage.end_all()
        for turn in (1, 2):
            asked, reading = order("grep", "^0:", "/proc/self/cgroup")
            pid = cage.start(asked, Resources(1, 64))
            os.close(asked.output)
            with os.fdopen(reading) as file:
                assert file.read().strip().endswith(f"/{unified.place.name}/3.{turn}")
            os.waitpid(pid, 0)
            assert cage.end_all()
            assert cage.group is not None
            assert cage.group.exists()
            used = cage.usage(WAITED)
            assert used.cpu_s is not None
            assert not used.oom
            group = cage.group
            cage.release()
            assert not group.exists()
            assert f"/{unified.place.name}/home" in Path("/proc/self/cgroup").read_text()
        assert cgroup2._clone_into_works == (way == "clone3"), "clone3 is there on any kernel of these years"


def test_only_starts_in_quick_succession_are_worth_stepping_in(unified: Tree2, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 100.001, 100.5, 100.519, 100.54])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    assert [unified.in_a_burst() for _ in range(5)] == [False, True, False, True, False]


def test_all_in_a_group_are_ended_whoever_they_became(unified: Tree2) -> None:
    cage = unified.cage(0)
    asked, reading = order("sh", "-c", "setsid sleep 600 & sleep 600 & echo ready; sleep 600")
    pid = cage.start(asked, Resources(1, 64))
    os.close(asked.output)
    with os.fdopen(reading) as file:
        assert file.readline() == "ready\n"
    assert not cage.end_all()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    while not cage.end_all():
        time.sleep(0.01)
    cage.release()


def test_orphans_of_an_earlier_node_are_ended(unified: Tree2) -> None:
    asked, reading = order("sleep", "600")
    pid = unified.cage(0).start(asked, Resources(1, 64))
    os.close(asked.output)
    os.close(reading)
    assert unified.end_orphans() == 1
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree2:
    """A tree on paper: its files are plain files, and jobs are started outside of it."""
    monkeypatch.setattr(cgroup2, "_forked_into", lambda order, group: 4711)
    monkeypatch.setattr(Tree2, "in_a_burst", lambda self: False)
    (tmp_path / "batchyard-x/home").mkdir(parents=True)
    (tmp_path / "batchyard-x/home/cgroup.procs").touch()
    tree = Tree2(tmp_path, "batchyard-x")
    tree.controllers = ("memory", "cpu", "pids")
    return tree


def test_limits_are_written_before_the_start(drawn: Tree2) -> None:
    assert (drawn.place.parent / "cgroup.subtree_control").read_text() == "+pids"
    cage = drawn.cage(7)
    asked, _ = order("true")
    assert cage.start(asked, Resources(2, 100)) == 4711
    assert cage.group == drawn.place / "7.1"
    assert (cage.group / "memory.max").read_text() == str(100 << 20)
    assert (cage.group / "memory.swap.max").read_text() == "0"
    assert (cage.group / "cpu.weight").read_text() == "79"
    assert not (cage.group / "memory.oom.group").exists(), "the kernel's victim is enough, as with containers"


def test_while_we_are_in_a_group_it_has_no_limit(drawn: Tree2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tree2, "in_a_burst", lambda self: True)
    seen: list[tuple[str, bool]] = []
    cage = drawn.cage(0)

    def started(_: spawn.Order) -> int:
        assert cage.group is not None
        seen.append(((cage.group / "cgroup.procs").read_text(), (cage.group / "memory.max").exists()))
        return 4712

    monkeypatch.setattr(spawn, "start", started)
    asked, _ = order("true")
    assert cage.start(asked, Resources(1, 4)) == 4712
    assert seen == [("0", False)]
    assert cage.group is not None
    assert (cage.group / "memory.max").read_text() == str(4 << 20)
    assert (drawn.place / "home/cgroup.procs").read_text() == "00", "once when it was made, once after the start"


def test_usage_is_read_from_the_group(drawn: Tree2) -> None:
    cage = drawn.cage(0)
    assert cage.usage(WAITED) == (None, None, False, None, None)
    asked, _ = order("true")
    cage.start(asked, Resources(1, 100))
    assert cage.group is not None
    assert cage.usage(WAITED) == (None, 0.75, False, 2.0, 0.5)
    (cage.group / "memory.peak").write_text("10485760\n")
    (cage.group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1000000\n")
    (cage.group / "memory.events").write_text("low 0\nhigh 0\nmax 31\noom 1\noom_kill 0\n")
    assert cage.usage(WAITED) == (10.0, 1.5, False, 2.0, 0.5)
    (cage.group / "memory.events").write_text("low 0\nhigh 0\nmax 31\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert cage.usage(WAITED) == (10.0, 1.5, True, 2.0, 0.5)


def test_usages_of_processes_are_added() -> None:
    assert together(WAITED, WAITED).ru_utime == 1.0
    assert storage_mib(together(WAITED, WAITED)) == (4.0, 1.0)
    large, small = (resource.struct_rusage([0.0, 0.0, kib] + [0] * 13) for kib in (900, 500))
    assert together(small, large).ru_maxrss == together(large, small).ru_maxrss == 900


def test_a_kernel_without_cgroup_kill_is_helped(drawn: Tree2, monkeypatch: pytest.MonkeyPatch) -> None:
    cage = drawn.cage(0)
    asked, _ = order("true")
    cage.start(asked, Resources(1, 100))
    assert cage.group is not None
    (cage.group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert not cage.end_all()
    assert (cage.group / "cgroup.kill").read_text() == "1"
    (cage.group / "cgroup.kill").unlink()
    (cage.group / "cgroup.kill").mkdir()  # cannot be written
    killed: list[int] = []
    (cage.group / "below").mkdir()
    (cage.group / "cgroup.procs").write_text("12\n")
    (cage.group / "below/cgroup.procs").write_text("13\n")
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    assert not cage.end_all()
    assert sorted(killed) == [12, 13]
    assert (cage.group / "cgroup.freeze").read_text() == "0"


def test_weights_keep_the_proportion_of_shares() -> None:
    assert [cgroup2.weight(vcpus) for vcpus in (0.001, 0.25, 1, 2, 256, 1000)] == [1, 10, 39, 79, 10000, 10000]


def test_what_cannot_be_made_is_a_reason(drawn: Tree2) -> None:
    shutil.rmtree(drawn.place)
    asked, _ = order("true")
    with pytest.raises(spawn.CannotStart, match="CannotStartContainerError: cgroup"):
        drawn.cage(0).start(asked, Resources(1, 1))
