"""A back end of numbers, a place for loop volumes that is always cleaned up, and a writer as a job is one."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchyard.scratch import loop, mounts
from batchyard.scratch.daemon import Daemon, hurry
from batchyard.scratch.policy import MIB
from batchyard.scratch.provision import NoRoom, ScratchError, Usage
from loop_devices import devices_below, let_go_below

FREEZER = Path("/sys/fs/cgroup/freezer")
UNIFIED = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]

# At the speed of the disk, with bursts of 64 MiB: see `served.WRITE`.
WRITER = """
import os, sys
place, total, ready = sys.argv[1], int(sys.argv[2]), sys.argv[3]
block = os.urandom(1 << 20)
open(ready, "w").close()
sys.stdin.readline()
written = 0
number = 0
while written < total:
    with open(f"{place}/part-{number}", "wb", buffering=0) as out:
        for _ in range(64):
            done = 0
            while done < len(block):
                done += out.write(block[done:])
            written += done
            if written >= total:
                break
        os.fdatasync(out.fileno())
    number += 1
print("written", written)
"""


class Numbers:
    """A back end that keeps what it was asked, and does as it is told."""

    def __init__(self, *volumes: int, can_shrink: bool = True) -> None:
        self.sizes = list(volumes)
        self.used = 0
        self.metadata_free: int | None = None
        self.inodes, self.inodes_free = 0, 0
        self.can_shrink = can_shrink
        self.volumes_max: int | None = 16
        self.smallest_bytes = 1 * MIB
        self.largest_bytes: int | None = None
        self.unit_bytes = 4096
        self.left: int | None = None
        self.room: int | None = None
        self.most: int | None = None  # a larger one is not to be had
        self.calls: list[str] = []
        self.stopped = threading.Event()
        self.failure = ""
        self.sick = ""
        self.during: Callable[[], None] = lambda: None
        self.ensuring: Callable[[], None] = lambda: None
        self.up = False

    def is_up(self) -> bool:
        return self.up

    def ensure(self) -> None:
        self.calls.append("ensure")
        self.ensuring()

    def usage(self) -> Usage:
        return Usage(self.used, max(0, sum(self.sizes) - self.used), self.metadata_free, self.inodes, self.inodes_free)

    def volumes(self) -> tuple[int, ...]:
        return tuple(self.sizes)

    def grows_left(self) -> int | None:
        return self.left

    def room_bytes(self) -> int | None:
        return self.room

    def grow(self, size_bytes: int) -> None:
        self.calls.append(f"grow {size_bytes}")
        self.during()
        if self.failure:
            raise ScratchError(self.failure)
        if self.most is not None and size_bytes > self.most:
            raise NoRoom("none so large")
        self.sizes.append(size_bytes)

    def stop_shrinking(self) -> None:
        self.calls.append("stop shrinking")
        self.stopped.set()

    def shrink(self, index: int) -> None:
        self.calls.append(f"shrink {index}")
        self.during()
        if self.stopped.is_set():
            self.stopped.clear()
            raise ScratchError("given up")
        if self.failure:
            raise ScratchError(self.failure)
        del self.sizes[index]

    def owes_sweep(self) -> bool:
        return False

    def sweep(self) -> None:
        self.calls.append("sweep")

    def probe(self) -> None:
        if self.sick:
            raise ScratchError(self.sick)

    def retire(self) -> None:
        self.calls.append("retire")

    def close(self) -> None:
        self.calls.append("close")


class Plot:
    """A folder for backing files and a place to mount at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = root / "store"
        self.mount = root / "scratch"

    def files(self) -> list[str]:
        return sorted(path.name for path in self.store.glob("volume*.img"))

    def devices(self) -> list[str]:
        """What the loop devices of this plot stand on."""
        return sorted(Path(backing).name for backing in devices_below(self.root).values())

    def attached(self) -> list[str]:
        """The same, and those that were let go of and are still in use."""
        return sorted(Path(backing).name for backing in loop.attached().values() if backing.startswith(f"{self.root.resolve()}/"))


@contextlib.contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    """It looks and acts, in front of whoever else wants this machine, as a watcher does."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: (hurry(), daemon.run(stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


@contextlib.contextmanager
def plot() -> Iterator[Plot]:
    """Whatever happens within, no mount, loop device or file is left."""
    root = Path(tempfile.mkdtemp(prefix="scratch-test-"))
    made = Plot(root)
    try:
        yield made
    finally:
        while mounts.mounted_from(made.mount) is not None:
            if subprocess.run(["umount", str(made.mount)], capture_output=True, timeout=120).returncode:
                subprocess.run(["umount", "-l", str(made.mount)], check=True, timeout=60)
        mounts.weigh(made.mount)
        let_go_below(root)
        shutil.rmtree(root, ignore_errors=True)


def xfs_is_sound(mount: Path, device: str) -> None:
    """Its own opinion, when nobody has it mounted any more: not even a sandbox of other tests, whose mount namespace was made meanwhile."""
    subprocess.run(["umount", str(mount)], check=True, timeout=60)
    deadline = time.monotonic() + 150
    while True:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
            break
        except OSError as error:
            assert error.errno == errno.EBUSY and time.monotonic() < deadline, f"{device} is mounted somewhere still: {error}"
            time.sleep(0.02)
    # Whoever looked at all disks of the machine meanwhile (blkid does) has left old blocks in the cache of this one.
    subprocess.run(["blockdev", "--flushbufs", device], check=True, timeout=60)
    checked = subprocess.run(["xfs_repair", "-n", device], capture_output=True, text=True, timeout=120)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@functools.cache
def why_no_loop(mkfs: str) -> str:
    """Why volumes of loop devices cannot be made here; empty if they can."""
    try:
        loop.must_be_root()
    except ScratchError as error:
        return str(error)
    if shutil.which(mkfs) is None:
        return f"{mkfs} is not installed (make test-systems)"
    kind = mkfs.removeprefix("mkfs.")
    if f"\t{kind}\n" not in Path("/proc/filesystems").read_text():
        return f"this kernel does not know {kind}"
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(MIB)
        tried = subprocess.run(["losetup", "--find", "--show", file.name], capture_output=True, text=True, timeout=60)
        if tried.returncode:
            return f"loop devices do not work here: {tried.stderr.strip()}"
        subprocess.run(["losetup", "-d", tried.stdout.strip()], check=True, timeout=60)
    return ""


def needs(mkfs: str, package: str) -> list[pytest.MarkDecorator]:
    why = why_no_loop(mkfs)
    return [pytest.mark.system(package), pytest.mark.skipif(bool(why), reason=why)]


@contextlib.contextmanager
def cgroup(version: int = 1) -> Iterator[Path]:
    """A cgroup of our own with a freezer, of a name that nobody else on this machine has, nor had."""
    if version == 1:
        parent = FREEZER if (FREEZER / "cgroup.procs").exists() else None
    else:
        parent = next((place for place in UNIFIED if (place / "cgroup.controllers").exists()), None)
    if parent is None:
        pytest.skip(f"there is no cgroup freezer of version {version} here")
    try:
        path = Path(tempfile.mkdtemp(prefix="batchyard-test-", dir=parent))
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error.strerror}")
    try:
        yield path
    finally:
        for knob, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            if (path / knob).exists():
                (path / knob).write_text(word)
        deadline = time.monotonic() + 90
        while (path / "cgroup.procs").read_text().split() and time.monotonic() < deadline:
            time.sleep(0.02)
        path.rmdir()


def is_frozen(group: Path) -> bool:
    """Whether the processes of a cgroup stand still; False while some of them do not yet."""
    if (group / "freezer.state").exists():
        return (group / "freezer.state").read_text().strip() == "FROZEN"
    return "frozen 1" in (group / "cgroup.events").read_text()


@contextlib.contextmanager
def writer(place: Path, total_bytes: int, group: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that writes so much, as fast as it can, once a line comes in; in `group` from the beginning."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place), str(total_bytes), str(ready)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                assert time.monotonic() < deadline, "the writer did not start"
                time.sleep(0.01)
            if group is not None:
                (group / "cgroup.procs").write_text(str(process.pid))
            yield process
        finally:
            process.kill()
            process.wait(60)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
