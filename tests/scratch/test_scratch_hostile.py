"""What nobody wished for: planted files, copies of the folder, clocks that are set, disks that others fill, watchers killed at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from ground import Numbers, Plot, cgroup, is_frozen, plot, running
from served import BTRFS, KINDS, XFS, at_the_disk_s_speed, on, served
from test_scratch_loop import small_disk
from test_scratch_served_losses import kill, kill_all

from batchyard.compute.local.loop import Loop
from batchyard.compute.local.scratching.watcher import Watcher
from batchyard.scratch import loop, mounts, tools, watcher
from batchyard.scratch.btrfs import BtrfsLoop
from batchyard.scratch.daemon import Daemon
from batchyard.scratch.freezer import JobsFreezer
from batchyard.scratch.ledger import read
from batchyard.scratch.policy import MIB, Limits
from batchyard.scratch.watching import STATUS, Orders, Status
from yard import until

ON_BTRFS = [pytest.param("loop-btrfs", marks=BTRFS)]


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_probe_neither_follows_nor_opens_what_a_job_has_planted(kind: str, tmp_path: Path) -> None:
    """Jobs may write where root probes."""
    place, victim = tmp_path / "place", tmp_path / "victim"
    place.mkdir()
    victim.write_text("precious")
    planted = place / ".batchyard-probe"
    planted.symlink_to(victim) if kind == "link" else planted.mkdir()
    tools.probe(place, 30)
    assert victim.read_text() == "precious"
    assert os.path.lexists(planted)
    assert [entry.name for entry in place.iterdir()] == [planted.name], "and nothing of its own is left"


@pytest.mark.parametrize("_", [pytest.param("", marks=BTRFS)])
def test_a_copy_of_a_folder_does_not_take_the_original_away(_: str) -> None:
    """Its record speaks of the place where the original is mounted."""
    with plot() as place:
        ground = BtrfsLoop(place.store, place.mount, 128 * MIB)
        ground.ensure()
        (place.mount / "kept").write_text("kept")
        copy = Plot(place.root / "copy")
        shutil.copytree(place.store, copy.store)
        watcher.clear_others(copy.store, copy.mount, "loop-btrfs", 1 << 40)
        assert read(copy.store) is None and copy.files() == []
        assert (place.mount / "kept").read_text() == "kept"
        ground.probe()
        again = BtrfsLoop(copy.store, copy.mount, 128 * MIB)
        again.ensure()
        again.retire()
        again.close()
        ground.probe()
        ground.close()


@contextlib.contextmanager
def another_root(store: Path) -> Iterator[str]:
    """Another container, in which `store` is another folder of the same name: the device on a file of it."""
    script = (
        f"mount -t tmpfs none {store} && truncate -s 64M {store}/volume-0000.img"
        f" && losetup --find --show {store}/volume-0000.img && exec cat"
    )
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            device = process.stdout.readline().strip()
            assert device.startswith("/dev/loop"), device
            try:
                yield device
            finally:
                subprocess.run(["losetup", "-d", device], check=True, timeout=60)
        finally:
            process.communicate(timeout=60)


@pytest.mark.parametrize("_", [pytest.param("", marks=BTRFS)])
def test_a_device_of_another_container_is_not_ours_for_its_name(_: str) -> None:
    """The kernel shows all loop devices of the machine, each with the name that its file has where it was made."""
    with plot() as place:
        place.store.mkdir()
        with another_root(place.store) as theirs:
            assert loop.attached()[theirs] == str(place.store / "volume-0000.img"), "it looks as if it were ours"
            ground = BtrfsLoop(place.store, place.mount, 128 * MIB)
            ground.ensure()
            ours = mounts.mounted_from(place.mount)
            assert ours is not None and ours != theirs
            ground.retire()
            ground.close()
            watcher.take_away(place.store, place.mount)
            autoclear = Path(f"/sys/block/{Path(theirs).name}/loop/autoclear").read_text().strip()
            assert autoclear == "0", "theirs stays as it is"


def test_a_clock_that_is_set_does_not_make_a_watcher_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wrote a moment ago, by a clock that was an hour behind then, or ahead."""
    made = Watcher(tmp_path, Loop(lambda: None), lambda word, rest: None, lambda: None)
    monkeypatch.setattr(made, "kill", lambda: pytest.fail("a healthy watcher is ended"))
    daemon = Daemon(Numbers(1000 * MIB), Limits(cap_bytes=2000 * MIB, step_bytes=MIB), status=tmp_path / STATUS)
    daemon.start()
    daemon.turn()
    until(lambda: (tmp_path / STATUS).exists() or None, "it tells")
    told = msgspec.json.decode((tmp_path / STATUS).read_bytes(), type=Status)
    for off_s in (-3600, 3600):
        (tmp_path / STATUS).write_bytes(msgspec.json.encode(msgspec.structs.replace(told, at_s=time.time() + off_s)))
        os.utime(tmp_path / STATUS, (time.time() + off_s, time.time() + off_s))
        made.look()
        assert made.trouble() == ""


@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_it_is_told_how_it_is_when_others_have_filled_the_disk_below(kind: str) -> None:
    """Whoever heard nothing would take a healthy place for one that nobody watches."""
    with plot() as place, small_disk(place, 256 * MIB):
        ground = BtrfsLoop(place.store, place.mount, 128 * MIB)
        daemon = Daemon(ground, Limits(cap_bytes=1024 * MIB, step_bytes=64 * MIB), status=place.store / STATUS, assumed_grow_s=0.1)
        daemon.start()
        with running(daemon):
            until(lambda: (place.store / STATUS).exists() or None, "it tells")
            with open(place.store / "others", "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            filled_s = time.time()

            def told() -> Status | None:
                with contextlib.suppress(msgspec.MsgspecError):
                    seen = msgspec.json.decode((place.store / STATUS).read_bytes(), type=Status)
                    return seen if seen.at_s > filled_s and seen.room_bytes == 0 else None
                return None

            assert until(told, "it tells that there is nothing to be had").is_healthy


@pytest.mark.parametrize("kind", ON_BTRFS)
def test_a_lower_limit_holds_from_the_next_start(kind: str) -> None:
    """Nobody needs what an earlier node has left: it does not stand above what the operator allows now."""
    with served(*on(kind, 3072)) as one:
        yard = one.start()
        big = yard.definition_of("big", "sh", "-c", f"{at_the_disk_s_speed(900)}; echo written; exec sleep 600", memory_mib=1024)
        job_id = yard.submit(big)
        until(lambda: True if yard.job(job_id)["status"] == "RUNNING" and "written" in yard.logs(yard.job(job_id)) else None, "written", 90)
        kill_all(one)
        book = read(one.store)
        assert book is not None and sum(volume.size_bytes for volume in book.volumes) > 512 * MIB
        one.yard.options = tuple("0.5" if word == "3.0" else word for word in one.yard.options)
        yard.start()
        assert yard.until(yard.submit(yard.definition_of("ok", "sh", "-c", "echo x > x")))["status"] == "SUCCEEDED"
        book = read(one.store)
        assert book is not None and sum(volume.size_bytes for volume in book.volumes) <= 512 * MIB
        yard.down()
        one.nothing_is_left()


@pytest.mark.parametrize("kind", [pytest.param("loop-xfs", marks=XFS)])
def test_a_limit_that_is_too_low_for_a_file_system_is_not_gone_past(kind: str) -> None:
    with plot() as place:
        orders = Orders(kind, str(place.store), str(place.mount), initial_bytes=100 * MIB, cap_bytes=200 * MIB, fresh=True)
        argv = [sys.executable, "-m", "batchyard.scratch.watcher", msgspec.json.encode(orders).decode()]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert said.returncode == 1
        assert said.stdout == "failed loop-xfs has at least 300 MiB, and may have 200: raise --scratch-gib\n"
        assert place.files() == [] and place.devices() == []


@pytest.mark.parametrize("kind", ON_BTRFS)
def test_a_node_that_answers_late_leaves_nobody_held(kind: str) -> None:
    """It was busy for longer than its new watcher waits for it; meanwhile, and before it heard of that, it has held the writers again."""
    with plot() as place, cgroup() as tree, contextlib.ExitStack() as stack:
        for name in ("home", "1"):
            (tree / name).mkdir()
            stack.callback((tree / name).rmdir)
        job = subprocess.Popen(["sleep", "600"])
        stack.callback(job.wait, 90)
        stack.callback(job.kill)
        (tree / "1" / "cgroup.procs").write_text(str(job.pid))
        freezer = JobsFreezer(tree)
        stack.callback(freezer.thaw)
        orders = Orders(kind, str(place.store), str(place.mount), initial_bytes=128 * MIB, cap_bytes=1024 * MIB, jobs=str(tree))
        argv = [sys.executable, "-m", "batchyard.scratch.watcher", msgspec.json.encode(orders).decode()]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watching:
            stack.callback(watching.kill)
            assert watching.stdout is not None and watching.stdout.readline() == "mounted\n"
            until(lambda: (place.store / STATUS).exists() or None, "it goes on without an answer")
            freezer.freeze()
            assert watching.stdin is not None
            watching.stdin.write("held\n")
            watching.stdin.flush()
            until(lambda: None if is_frozen(tree / "1") else True, "the writers go on")
            watching.kill()


@pytest.mark.parametrize("kind", ON_BTRFS)
def test_a_watcher_that_dies_while_it_takes_all_away_is_followed_by_one_that_does(kind: str) -> None:
    with served(*on(kind)) as one:
        yard = one.start()
        yard.until(yard.submit(yard.definition_of("ok", "sh", "-c", "echo x > x")))
        (pid,) = one.watchers()
        os.kill(pid, signal.SIGSTOP)
        down = threading.Thread(target=yard.down)
        down.start()
        until(lambda: None if (one.store / "served.json").exists() else True, "the node has told it to", 60)
        kill(pid)
        down.join(120)
        assert not down.is_alive()
        one.nothing_is_left()


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_disk_below_does_not_have_is_not_promised(kind: str) -> None:
    """However much the operator allows."""
    with served("--scratch", kind, "--scratch-gib", "100000", "--scratch-initial-gib", "0.3") as one:
        yard = one.start()
        yard.until(yard.submit(yard.definition_of("ok", "true")))

        def is_what_there_is() -> bool | None:
            """By now: others write to this disk, and remove, meanwhile."""
            below = os.statvfs(one.root)
            return True if 0 < one.served()["capacity_bytes"] < below.f_bavail * below.f_frsize + (1 << 30) else None

        until(is_what_there_is, "the promise is what there is")
        yard.down()
        one.nothing_is_left()


@contextlib.contextmanager
def mounted_at_any_name(root: Path) -> Iterator[None]:
    """Names of places are bytes: one that is no UTF-8, and what Python takes for the end of a line."""
    place = os.fsencode(root) + b"/caf\xe9 \xe2\x80\xa8 and so on"
    Path(os.fsdecode(place)).mkdir()
    subprocess.run([b"mount", b"-t", b"tmpfs", b"none", place], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run([b"umount", place], check=True, timeout=60)
        Path(os.fsdecode(place)).rmdir()


@pytest.mark.parametrize("kind", [*KINDS, pytest.param("directory", marks=BTRFS)])
def test_names_of_other_mounts_are_no_matter(kind: str, tmp_path: Path) -> None:
    options = on(kind) if kind != "directory" else ("--scratch", "directory")
    with mounted_at_any_name(tmp_path), served(*options) as one:
        yard = one.start()
        write = yard.definition_of("write", "sh", "-c", at_the_disk_s_speed(300), memory_mib=1024)
        job = yard.until(yard.submit(write))
        assert job["status"] == "SUCCEEDED", yard.logs(job)
        yard.down()
        one.nothing_is_left()
