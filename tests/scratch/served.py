"""A service on scratch space of its own, for tests: whatever happens to it, nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ground import needs

from batchyard.scratch import mounts
from loop_devices import devices_below, let_go_below
from yard import Yard, until

BTRFS = needs("mkfs.btrfs", "btrfs-progs")
XFS = needs("mkfs.xfs", "xfsprogs")
KINDS = [pytest.param("loop-btrfs", marks=BTRFS), pytest.param("loop-xfs", marks=XFS)]
INITIAL_MIB = {"loop-btrfs": 128, "loop-xfs": 300}


class Served:
    """A service on scratch space of its own, in a folder that jobs' users may pass through."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        self.yard = Yard(root / "data", "--vcpus", "2", "--memory-mib", "4096", *options)

    @property
    def store(self) -> Path:
        return self.yard.data / "scratch"

    @property
    def work(self) -> Path:
        return self.yard.data / "work"

    def start(self) -> Yard:
        yard = self.yard.start()
        if not yard.batch.describe_job_queues()["jobQueues"]:
            yard.with_queue()
        return yard

    def devices(self) -> list[str]:
        """Loop devices on files of this folder."""
        return sorted(devices_below(self.root))

    def watchers(self) -> list[int]:
        """The watchers of this folder that run now."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
                if b"batchyard.scratch.watcher" in words and any(str(self.store).encode() in word for word in words):
                    found.append(int(entry.name))
        return found

    def served(self) -> dict[str, Any]:
        return json.loads((self.store / "served.json").read_text())  # type: ignore[no-any-return]

    def status(self) -> dict[str, Any]:
        """What the watcher has written down last; nothing as long as it has not."""
        file = self.store / "status.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def story(self) -> str:
        """What the node and the watcher have said, for who wonders why a test failed."""
        return f"{self.status()}\n{(self.yard.data / 'node.log').read_text(errors='replace')[-20_000:]}"

    def rests(self) -> None:
        """Wait until the watcher sleeps, because nothing can write."""
        until(lambda: self.status().get("is_resting") or None, "the watcher rests", 120)

    def nothing_is_left(self) -> None:
        """No mount, no device, no volume; and the folder can be removed."""
        assert str(self.work.resolve()) not in {mount.place for mount in mounts.mounts()}
        until(lambda: None if self.devices() else True, f"{self.devices()} go", 60)
        assert list(self.store.glob("volume*")) == []
        shutil.rmtree(self.yard.data)


@contextlib.contextmanager
def served(*options: str) -> Iterator[Served]:
    """Whatever happens within, nothing is left of it."""
    root = Path(tempfile.mkdtemp(prefix="served-"))
    root.chmod(0o711)
    made = Served(root, *options)
    try:
        yield made
    finally:
        if made.yard.process is not None:
            with contextlib.suppress(AssertionError, subprocess.SubprocessError, OSError):
                made.yard.down()
        for pid in made.watchers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while mounts.mounted_from(made.work) is not None:
            subprocess.run(["umount", "-l", str(made.work)], check=True, timeout=60)
        mounts.weigh(made.work)
        let_go_below(made.root)
        shutil.rmtree(root, ignore_errors=True)


def on(kind: str, cap_mib: int = 6144, *more: str) -> tuple[str, ...]:
    return ("--scratch", kind, "--scratch-gib", f"{cap_mib / 1024}", "--scratch-initial-gib", f"{INITIAL_MIB[kind] / 1024}", *more)


# At the speed of the disk, with bursts of 64 MiB. Memory alone takes several GB/s for a moment: a machine whose processors are taken away
# for a tenth of a second, as those of virtual machines are, has a space of a few hundred MiB full before anybody can look.
WRITE = """
import os
block = os.urandom(1 << 20)
total = {total_mib}
for number in range(total // 64 + 1):
    with open(f"part-{{number}}", "wb", buffering=0) as out:
        for _ in range(64):
            done = 0
            while done < len(block):
                done += out.write(block[done:])
        os.fdatasync(out.fileno())
seen = os.statvfs(".")
print("written", seen.f_blocks * seen.f_frsize >> 20, os.getcwd())
"""


def at_the_disk_s_speed(total_mib: int) -> str:
    """The same for a shell: about so many MiB of zeros in files `big-...`; it fails if one of them cannot be written."""
    return f"for part in $(seq {total_mib // 50}); do head -c 50m /dev/zero > big-$part && sync -d big-$part || exit 9; done"


def writer(yard: Yard, name: str, total_mib: int) -> str:
    return yard.definition_of(name, "python3", "-c", WRITE.format(total_mib=total_mib), memory_mib=1024)
