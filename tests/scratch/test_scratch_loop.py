"""Scratch space over loop devices, for real: it grows under writers, shrinks, and comes back after a restart."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import until
from ground import Plot, cgroup, needs, plot, running, writer

from batchyard.scratch import btrfs, loop, mounts
from batchyard.scratch.btrfs import BtrfsLoop
from batchyard.scratch.daemon import Daemon
from batchyard.scratch.freezer import Freezer
from batchyard.scratch.ledger import MAKING, read
from batchyard.scratch.policy import MIB, Limits
from batchyard.scratch.provision import NoRoom, ScratchError
from batchyard.scratch.rates import Meter
from batchyard.scratch.xfs import XfsLoop
from loop_devices import let_go_below

BTRFS = needs("mkfs.btrfs", "btrfs-progs")
XFS = needs("mkfs.xfs", "xfsprogs")
KINDS = [pytest.param("btrfs", marks=BTRFS), pytest.param("xfs", marks=XFS)]
INITIAL = {"btrfs": 128 * MIB, "xfs": 300 * MIB}


def backend(kind: str, place: Plot) -> BtrfsLoop | XfsLoop:
    if kind == "btrfs":
        return BtrfsLoop(place.store, place.mount, INITIAL[kind], patience_s=5)
    return XfsLoop(place.store, place.mount, INITIAL[kind], patience_s=5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_made_grows_survives_and_goes(kind: str) -> None:
    with plot() as place:
        ground = backend(kind, place)
        ground.ensure()
        ground.ensure()
        ground.probe()
        before = os.statvfs(place.mount)
        (place.mount / "kept").write_bytes(b"kept" * 1000)
        ground.grow(128 * MIB)
        after = os.statvfs(place.mount)
        assert sum(ground.volumes()) == INITIAL[kind] + 128 * MIB
        assert after.f_blocks * after.f_frsize > before.f_blocks * before.f_frsize + 100 * MIB
        assert ground.usage().free_bytes > 150 * MIB
        ground.close()

        again = backend(kind, place)  # another daemon, all mounted
        again.ensure()
        assert sum(again.volumes()) == INITIAL[kind] + 128 * MIB
        again.close()

        subprocess.run(["umount", str(place.mount)], check=True, timeout=60)  # what a restart of the machine leaves
        let_go_below(place.root)
        until(lambda: place.attached() == [], "the devices go")
        after_boot = backend(kind, place)
        after_boot.ensure()
        assert (place.mount / "kept").read_bytes() == b"kept" * 1000
        after_boot.retire()
        after_boot.close()
        assert place.files() == []
        assert place.devices() == []
        assert mounts.mounted_from(place.mount) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_promised_is_had_on_the_disk_below(kind: str) -> None:
    """No holes: a file system on a file breaks if somebody else takes the room. And what cannot be had is refused, with all as before."""
    with plot() as place:
        ground = backend(kind, place)
        ground.ensure()
        ground.grow(64 * MIB)
        on_disk = sum((place.store / name).stat().st_blocks * 512 for name in place.files())
        assert on_disk >= sum(ground.volumes())
        volumes = ground.volumes()
        with pytest.raises(NoRoom, match="has no room for"):
            ground.grow(1 << 50)
        assert ground.volumes() == volumes
        assert len(place.files()) == len(place.devices()) == len(volumes)
        ground.grow(64 * MIB)
        ground.probe()
        ground.close()


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_the_disk_below_has_is_had(kind: str) -> None:
    """It has less than the policy would like to grow by: a writer meets a full disk only when that is full, and the record has room."""
    with plot() as place, small_disk(place, 800 * MIB):
        ground = backend(kind, place)
        daemon = Daemon(ground, Limits(cap_bytes=4096 * MIB, step_bytes=64 * MIB), assumed_grow_s=0.1)
        daemon.start()
        block, written = os.urandom(MIB), 0
        with running(daemon), open(place.mount / "much", "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                written += file.write(block)
                until_free(ground, daemon, place)
        assert daemon.counters.grow_failures == 0, "what is not there is not asked for"
        assert sum(read_volumes(place)) > 640 * MIB
        assert written > 0.85 * sum(read_volumes(place))
        below = os.statvfs(place.store)
        assert below.f_bavail * below.f_frsize > 4 * MIB


def until_free(ground: BtrfsLoop | XfsLoop, daemon: Daemon, place: Plot) -> None:
    """This writer waits for a grow; it is about how much there is, not about how fast."""
    deadline = time.monotonic() + 60
    while ground.usage().free_bytes < 40 * MIB and ((ground.room_bytes() or 0) > 64 * MIB or is_growing(place)):
        assert time.monotonic() < deadline, f"it did not grow: {daemon.counters}"
        time.sleep(0.005)


def is_growing(place: Plot) -> bool:
    book = read(place.store)
    return book is not None and (bool(book.growing_to_bytes) or any(one.state == MAKING for one in book.volumes))


def read_volumes(place: Plot) -> list[int]:
    book = read(place.store)
    return [one.size_bytes for one in book.volumes] if book else []


@contextlib.contextmanager
def small_disk(place: Plot, size_bytes: int) -> Iterator[None]:
    """The store of a plot lies on a disk of its own."""
    disk = place.root / "disk.img"
    disk.touch()
    os.truncate(disk, size_bytes)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(disk)], check=True, timeout=60)
    place.store.mkdir()
    subprocess.run(["mount", "-o", "loop", str(disk), str(place.store)], check=True, timeout=60)
    try:
        yield
    finally:
        with contextlib.suppress(ScratchError):
            ground = XfsLoop(place.store, place.mount, INITIAL["xfs"], patience_s=5)
            mounts.unmount(place.mount, ground._ledger.lock)
            ground.close()
        let_go_below(place.store)
        if subprocess.run(["umount", str(place.store)], capture_output=True, timeout=60).returncode:
            # Whoever looks at all devices of the machine just now keeps those on its files; so does a test that failed half-way.
            subprocess.run(["umount", "--lazy", str(place.store)], check=True, timeout=60)


@pytest.mark.parametrize("kind", KINDS)
def test_what_somebody_elses_namespace_still_holds_goes_with_it(kind: str) -> None:
    """A sandbox that was made meanwhile has a copy of the mount; it is not waited for, and nothing is left when it ends."""
    with plot() as place:
        ground = backend(kind, place)
        ground.ensure()
        sandbox = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read -r end"]
        with subprocess.Popen(sandbox, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "ready\n"
                ground.retire()
                assert (place.files(), read(place.store)) == ([], None)
                assert len(place.attached()) == 1, "the sandbox may read and write there still"
            finally:
                holder.communicate("\n", timeout=60)
        until(lambda: place.attached() == [], "the device goes")
        ground.ensure()
        ground.probe()
        ground.close()


@pytest.mark.parametrize("kind", KINDS)
def test_one_folder_has_one_daemon_and_one_purpose(kind: str) -> None:
    with plot() as place:
        ground = backend(kind, place)
        ground.ensure()
        other: type[BtrfsLoop] | type[XfsLoop] = BtrfsLoop if kind == "btrfs" else XfsLoop
        with pytest.raises(ScratchError, match="held by another daemon"):
            other(place.store, place.mount, INITIAL[kind], patience_s=0.1)
        ground.close()
        elsewhere = other(place.store, place.root / "elsewhere", INITIAL[kind])
        with pytest.raises(ScratchError, match="a --store of its own"):
            elsewhere.ensure()
        elsewhere.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_place_with_something_in_it_is_not_hidden(kind: str) -> None:
    with plot() as place:
        place.mount.mkdir()
        (place.mount / "mine").touch()
        ground = backend(kind, place)
        with pytest.raises(ScratchError, match="is not empty"):
            ground.ensure()
        (place.mount / "mine").unlink()
        ground.ensure()
        ground.probe()
        ground.close()


@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_room_is_given_back_with_nothing_lost(kind: str) -> None:
    with plot() as place:
        ground = BtrfsLoop(place.store, place.mount, 128 * MIB)
        ground.ensure()
        ground.grow(128 * MIB)
        ground.grow(256 * MIB)
        content = {}
        for number in range(6):
            content[number] = os.urandom(20 * MIB)
            (place.mount / str(number)).write_bytes(content[number])
        os.sync()
        with pytest.raises(ScratchError, match="never given back"):
            ground.shrink(0)
        ground.shrink(2)
        assert ground.volumes() == (128 * MIB, 128 * MIB)
        assert len(place.files()) == len(place.devices()) == 2
        for number, text in content.items():
            assert (place.mount / str(number)).read_bytes() == text
        with pytest.raises(ScratchError, match="No space left"):
            ground.shrink(1)  # the data has no other place
        assert ground.volumes() == (128 * MIB, 128 * MIB)
        record = read(place.store)
        assert record is not None
        assert {volume.state for volume in record.volumes} == {"member"}
        ground.probe()
        ground.close()


@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_giving_room_back_can_be_given_up_half_way(kind: str) -> None:
    """Whether it was stopped or done by then: the record and the file system agree, and nothing is lost."""
    with plot() as place:
        ground = BtrfsLoop(place.store, place.mount, 256 * MIB)
        ground.ensure()
        ground.grow(256 * MIB)
        content = [os.urandom(20 * MIB) for _ in range(9)]
        for number, text in enumerate(content):
            (place.mount / str(number)).write_bytes(text)
        os.sync()
        failures: list[str] = []

        def shrink() -> None:
            try:
                ground.shrink(1)
            except ScratchError as error:
                failures.append(str(error))

        thread = threading.Thread(target=shrink)
        thread.start()
        deadline = time.monotonic() + 60
        while thread.is_alive() and time.monotonic() < deadline:
            ground.stop_shrinking()
        thread.join(1)
        assert len(ground.volumes()) == len(place.files()) == len(place.devices()) == (2 if failures else 1)
        assert [(place.mount / str(number)).read_bytes() for number in range(9)] == content
        ground.stop_shrinking()  # when there is none, nothing happens
        ground.grow(64 * MIB)
        ground.close()


@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_what_writers_promised_to_the_page_cache_counts_as_used(kind: str) -> None:
    with plot() as place:
        ground = backend(kind, place)
        ground.ensure()
        before = ground.usage()
        (place.mount / "fresh").write_bytes(bytes(30 * MIB))
        assert ground.usage().used_bytes >= before.used_bytes + 30 * MIB
        assert ground.usage().free_bytes <= before.free_bytes - 30 * MIB
        ground.close()


@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_what_is_written_back_in_the_midst_of_a_look_is_not_missed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of it in several files, which are read one after the other."""
    with plot() as place:
        ground = backend(kind, place)
        ground.ensure()
        before = ground.usage()
        (place.mount / "fresh").write_bytes(os.urandom(30 * MIB))
        real = btrfs._number

        def number(path: Path) -> int:
            told = real(path)
            subprocess.run(["sync", "-f", str(place.mount)], check=True, timeout=60)
            return told

        monkeypatch.setattr(btrfs, "_number", number)
        seen = ground.usage()
        assert seen.used_bytes >= before.used_bytes + 30 * MIB and seen.free_bytes <= before.free_bytes - 30 * MIB
        ground.close()


def watched(kind: str, place: Plot, cap: int, group: Path | None, **limits: float) -> tuple[Daemon, BtrfsLoop | XfsLoop]:
    ground = backend(kind, place)
    allowed = Limits(cap_bytes=cap, step_bytes=INITIAL[kind] // 2, calm_s=limits.get("calm_s", 600.0))
    daemon = Daemon(ground, allowed, status=place.store / "status.json", freezer=Freezer(group) if group else None, meter=Meter(1.0))
    daemon.start()
    return daemon, ground


@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_files_can_be_made_when_data_has_taken_all_chunks(kind: str) -> None:
    """Large files that are written back take chunks faster than a disk can come; those that hold nothing any more are no room for names."""
    with plot() as place:
        ground = BtrfsLoop(place.store, place.mount, 512 * MIB, patience_s=5)
        ground.ensure()
        block, number = os.urandom(8 * MIB), 0
        with pytest.raises(OSError, match="No space left"):
            while True:
                (place.mount / f"fill-{number}").write_bytes(block)
                number += 1
        os.sync()
        assert number > 40
        for each in range(0, number, 2):
            (place.mount / f"fill-{each}").unlink()
        os.sync()
        for each in range(30):
            (place.mount / f"large-{each}").write_bytes(block[: 2 * MIB])
            for name in range(50):
                (place.mount / f"small-{each}-{name}").touch()
        assert ground.usage().free_bytes > 64 * MIB
        ground.close()


@pytest.mark.timeout(700)  # it writes gigabytes to a disk to which others write, too
@pytest.mark.parametrize("kind", KINDS)
def test_a_job_writes_twenty_times_the_initial_size_at_full_speed(kind: str) -> None:
    """The writer is never told to wait by anybody but the disk, and the freezer; it never sees ENOSPC."""
    total = 20 * INITIAL[kind]
    cap = total + INITIAL[kind] * 4
    with plot() as place, cgroup() as group:
        needed = os.statvfs(place.root)
        if needed.f_bavail * needed.f_frsize < 2 * cap:
            pytest.skip(f"{place.root} has no room for {2 * cap // MIB} MiB")
        watching = subprocess.Popen(
            [
                *(sys.executable, "-m", "batchyard.main", "scratch", "watch", "--mount", str(place.mount), "--backend", f"loop-{kind}"),
                *("--store", str(place.store), "--initial-gib", str(INITIAL[kind] / 2**30), "--max-gib", str(cap / 2**30)),
                *("--cgroup", str(group)),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert watching.stderr is not None
            for line in watching.stderr:
                if line.startswith("ready"):
                    break
            else:
                raise AssertionError("not ready")
            with writer(place.mount, total, group) as process:
                said, wrong = process.communicate("\n", timeout=500)
            assert process.returncode == 0, wrong
            assert said.split() == ["written", str(total)]
            record = read(place.store)
            assert record is not None
            assert total < sum(one.size_bytes for one in record.volumes) <= cap
            assert sum(path.stat().st_size for path in place.mount.glob("part-*")) == total
        finally:
            watching.terminate()
            try:
                _, rest = watching.communicate(timeout=120)  # a grow that is under way comes to its end
            except subprocess.TimeoutExpired:
                watching.kill()
                watching.wait(60)
        print(rest)  # noqa: T201
        assert watching.returncode == 0


@pytest.mark.timeout(500)
@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_room_comes_back_by_itself_when_the_job_has_ended(kind: str) -> None:
    with plot() as place:
        daemon, ground = watched(kind, place, 2048 * MIB, None, calm_s=1.0)
        with running(daemon):
            for number in range(10):
                until(lambda: ground.usage().free_bytes > 24 * MIB, "it did not grow")
                (place.mount / str(number)).write_bytes(bytes(20 * MIB))
            assert len(ground.volumes()) > 1
            for number in range(10):
                (place.mount / str(number)).unlink()
            os.sync()
            # The kernel gives back chunks that are empty when it has discarded what they held, which it does at leisure.
            until(lambda: len(place.files()) == len(place.devices()) == 1, "room did not come back", 300)


@pytest.mark.parametrize("kind", KINDS)
def test_the_idle_path_runs_no_command(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with plot() as place:
        daemon, _ = watched(kind, place, 2048 * MIB, None)
        started = []
        real = subprocess.Popen
        monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: (started.append(a), real(*a, **k))[1])
        for _ in range(200):
            daemon.turn()
        assert started == []
        daemon.close()


@pytest.mark.parametrize("kind", KINDS[:1])
def test_a_device_on_a_removed_file_is_not_taken_for_that_of_a_new_one(kind: str) -> None:
    with plot() as place:
        place.store.mkdir()
        path = place.store / "volume-0000.img"
        lock = os.open(place.store / "lock", os.O_RDWR | os.O_CREAT)
        path.write_bytes(bytes(MIB))
        former = loop.attach(path, lock)
        path.unlink()
        assert loop.device_of(path) == former
        path.write_bytes(bytes(MIB))
        new = loop.attach(path, lock)
        assert new != former
        loop.detach(path, lock)
        until(lambda: place.attached() == ["volume-0000.img (deleted)"], "the new one goes, and the former stays")
        os.close(lock)
