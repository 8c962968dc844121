"""(g) The same three policies on real file systems: a writer, loop devices, and disks that take their time, all smaller and faster.

Bytes are a 256th of what the policies are about, times a 64th, and so rates a quarter: 150 GB are 600 MB, 8 to 40 s for a volume are
0.13 to 0.63 s, a look each second is one each 16 ms. The writer syncs every 64 MB, as a machine with some 64 GB of memory would have to (a
256th of 16 GB that are dirty). It dies of the first ENOSPC, as jobs do. TMPDIR=/dev/shm takes the disk of this machine out of it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from batchyard.scratch import loop
from batchyard.scratch.btrfs import Btrfs
from batchyard.scratch.daemon import Daemon
from batchyard.scratch.freezer import Freezer
from batchyard.scratch.ledger import Ledger, Volume
from batchyard.scratch.loop import LoopDisks
from batchyard.scratch.policy import GIB, MIB, Limits
from batchyard.scratch.provision import Backend, ScratchError
from batchyard.scratch.xfs import Xfs
from bench import scratch
from bench.scratch_policies import GROW_S, rung

BYTES, TIMES = 256, 64
INITIAL, CAP, WRITE = 100 * GIB // BYTES, 2000 * GIB // BYTES, 500 * GIB // BYTES
FASTEST = 100_000  # MB/s: no limit but the disk's
_ROUND = 4 * MIB
_FREEZERS = (Path("/sys/fs/cgroup/freezer"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))

WRITER = """
import os, sys, time
place, total, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
block = os.urandom(1 << 20)
sys.stdin.readline()
began = time.monotonic()
written, full = 0, 0
try:
    with open(place + "/written", "wb", buffering=0) as out:
        while written < total:
            written += out.write(block)
            if written % (64 << 20) == 0:
                os.fdatasync(out.fileno())
            ahead = written / rate - (time.monotonic() - began)
            if ahead > 0.002:
                time.sleep(ahead)
except OSError as error:
    if error.errno != 28:
        raise
    full = 1
print(full, written, time.monotonic() - began)
"""


class SlowDisks(LoopDisks):
    """Disks that take as long as a cloud's, and the time of the policy on top; with holes, since a cloud's are there at once as well."""

    def __init__(self, ledger: Ledger, seed: int, more_s: float) -> None:
        super().__init__(ledger)
        self._dice, self._more_s = random.Random(seed), more_s

    def make(self, volume: Volume) -> Volume:
        """The first one is there before anybody writes."""
        if self._folder.joinpath("volume-0000.img").exists():
            self._wait()
        _stretch(self._path(volume), volume.size_bytes)
        return volume

    def enlarge(self, volume: Volume, size_bytes: int) -> None:
        """As long as a volume would take: LVM and resize2fs on the old images, ModifyVolume today."""
        self._wait()
        _stretch(self._path(volume), size_bytes)
        loop.reread_size(self.attach(volume), size_bytes, self._lock)

    def _wait(self) -> None:
        time.sleep((self._dice.uniform(*GROW_S) + self._more_s) / TIMES)


def _stretch(path: Path, size_bytes: int) -> None:
    with open(path, "ab") as file:
        file.truncate(size_bytes)


@dataclass
class Outcome:
    """Of one writer."""

    was_full: bool
    mb_s: float


Keeper = Callable[[Backend, Path, Path | None], contextlib.AbstractContextManager[None]]


def by_level(poll_s: float) -> Keeper:
    """The thresholds on what `df` says; it does not look while it grows."""

    @contextlib.contextmanager
    def kept(ground: Backend, place: Path, _: Path | None) -> Iterator[None]:
        stop = threading.Event()

        def run() -> None:
            added = 1
            while not stop.wait(poll_s / TIMES):
                seen = os.statvfs(place)
                used = seen.f_blocks - seen.f_bfree
                level, size = rung(added)
                if used >= level * (used + seen.f_bavail) and sum(ground.volumes()) < CAP and added < 16:
                    try:
                        ground.grow(size * GIB // BYTES // _ROUND * _ROUND)
                    except ScratchError as error:
                        print(f"  {error}", file=sys.stderr)
                    added += 1  # also when it failed, as they did

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            ground.close()

    return kept


@contextlib.contextmanager
def ours(ground: Backend, place: Path, group: Path | None) -> Iterator[None]:
    """Batchyard's daemon."""
    limits = Limits(cap_bytes=CAP, step_bytes=150 * GIB // BYTES // _ROUND * _ROUND, reserve_bytes=16 * MIB, can_shrink=False)
    daemon = Daemon(ground, limits, freezer=Freezer(group) if group else None, assumed_grow_s=20 / TIMES)
    daemon.start()
    stop = threading.Event()
    thread = threading.Thread(target=daemon.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


POLICIES: dict[str, tuple[Keeper, float]] = {
    "levels of 2018": (by_level(1.0), 0.0),
    "levels of 2022": (by_level(2.0), 3.0),
    "Batchyard": (ours, 0.0),
}


def write(kind: str, policy: str, rate_mb_s: float, seed: int) -> Outcome:
    """One writer on a place of its own, and what became of it."""
    keeper, more_s = POLICIES[policy]
    folder = scratch.folder()
    place = folder / "place"

    def ground(more_s: float) -> Backend:
        ledger = Ledger(folder / "store")
        disks = SlowDisks(ledger, seed, more_s)
        return Btrfs(ledger, disks, place, INITIAL) if kind == "btrfs" else Xfs(ledger, disks, place, INITIAL)

    try:
        with _group() as group, _writer(place, rate_mb_s, group) as process:
            kept = ground(more_s)
            kept.ensure()
            with keeper(kept, place, group):
                said, wrong = process.communicate("\n", timeout=300)
        if process.returncode:
            raise RuntimeError(wrong)
        full, written, seconds = said.split()
        return Outcome(full == "1", int(written) / float(seconds) / 1e6)
    finally:
        _take_away(ground(0.0))


def _take_away(ground: Backend) -> None:
    """Somebody may look at all disks of the machine just now: tried again."""
    try:
        for _ in range(3):
            try:
                ground.retire()
                return
            except ScratchError as error:
                print(f"  again: {error}", file=sys.stderr)
        ground.retire()
    finally:
        ground.close()


@contextlib.contextmanager
def _writer(place: Path, rate_mb_s: float, group: Path | None) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", WRITER, str(place), str(WRITE), str(rate_mb_s * 1e6)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            if group is not None:
                (group / "cgroup.procs").write_text(str(process.pid))
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def _group() -> Iterator[Path | None]:
    """A cgroup whose processes can be held; none where there is none to be had."""
    for parent in _FREEZERS:
        path = parent / f"batchyard-bench-{os.getpid()}"
        try:
            path.mkdir()
        except OSError:
            continue
        if (path / "freezer.state").exists() or (path / "cgroup.freeze").exists():
            try:
                yield path
            finally:
                deadline = time.monotonic() + 10
                while (path / "cgroup.procs").read_text().split() and time.monotonic() < deadline:
                    time.sleep(0.02)
                path.rmdir()
            return
        path.rmdir()
    yield None


def why_not(kind: str) -> str:
    """Why it cannot be run here; empty if it can."""
    try:
        loop.must_be_root()
    except ScratchError as error:
        return str(error)
    if shutil.which(f"mkfs.{kind}") is None:
        return f"mkfs.{kind} is not installed"
    return ""


def run(*, is_quick: bool) -> None:
    """Measure and print."""
    rates = (250, FASTEST) if is_quick else (250, 1000, FASTEST)
    runs = 1 if is_quick else 3
    sizes = f"{WRITE / GIB:.1f} GiB written, beginning with {INITIAL / GIB:.2f}"
    print(f"\n(g) The same on loop devices: {sizes}; bytes / {BYTES}, times / {TIMES}, {runs} run{'s' if runs > 1 else ''} each, in turn")
    print("  runs that met a full disk while a volume could be had; MB/s that the writer came to until then, or until it was done")
    for kind in ("btrfs", "xfs"):
        reason = why_not(kind)
        if reason:
            print(f"  {kind}: not run: {reason}")
            continue
        found: dict[tuple[str, float], list[Outcome]] = {(policy, rate): [] for policy in POLICIES for rate in rates}
        for seed in range(runs):
            for policy, rate in found:
                found[policy, rate].append(write(kind, policy, rate, seed))
        print("  " + f"{f'{kind}, writer MB/s':<20}" + "".join(f"{'no limit' if rate == FASTEST else f'{rate:,}':>24}" for rate in rates))
        for policy in POLICIES:
            print("  " + f"{policy:<20}" + "".join(f"{shown(found[policy, rate]):>24}" for rate in rates), flush=True)


def shown(outcomes: list[Outcome]) -> str:
    """How many of them met a full disk, and the speeds from the slowest to the quickest."""
    full = sum(one.was_full for one in outcomes)
    slow, quick = (f"{pick(one.mb_s for one in outcomes):,.0f}" for pick in (min, max))
    return f"{full} of {len(outcomes)} at {slow if slow == quick else f'{slow}-{quick}'}"
