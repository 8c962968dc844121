"""Scratch space that grows under a writer who may be held for a moment: played on this machine and in the guest (see `cage_cases`).

Not a test module. What must come of it is the same for every kind and on every machine; how often the writer was held is not.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchyard.compute.local import cgroup2, knobs
from batchyard.scratch.btrfs import BtrfsLoop
from batchyard.scratch.daemon import Daemon, hurry
from batchyard.scratch.freezer import Freezer
from batchyard.scratch.policy import MIB, Limits
from batchyard.scratch.rates import Meter
from batchyard.scratch.xfs import XfsLoop

KINDS = {"btrfs": BtrfsLoop, "xfs": XfsLoop}
INITIAL = {"btrfs": 128 * MIB, "xfs": 300 * MIB}
TIMES = {"btrfs": 3, "xfs": 2}  # how often the initial size is written
PESSIMISM_S = 5.0  # so long does the daemon think that its first grow takes: mostly it will hold the writer
VERDICT = {
    "error": "",
    "all_there": True,
    "grew": True,
    "within_cap": True,
    "is_healthy": True,
    "is_held": False,
    "left": [],
}
# At the speed of the disk, with bursts: memory takes all of so small a space in less time than a processor may be away for.
WRITER = """
import os, sys
block, total = os.urandom(1 << 20), int(sys.argv[2])
sys.stdin.readline()
with open(sys.argv[1], "wb", buffering=0) as out:
    for number in range(total):
        out.write(block)
        if number % 32 == 31:
            os.fdatasync(out.fileno())
"""


@contextlib.contextmanager
def freezable_group() -> Iterator[Path]:
    """An empty cgroup with a freezer: of version 1 where there is one, else of version 2."""
    mounts = list(knobs.mounts())
    parents = [mount.place for mount in mounts if mount.kind == "cgroup" and "freezer" in mount.options]
    parents += [mount.place for mount in mounts if mount.kind == "cgroup2"]
    group = Path(tempfile.mkdtemp(prefix="batchyard-scratch-", dir=parents[0]))
    try:
        yield group
    finally:
        deadline = time.monotonic() + 60
        while not cgroup2.remove_below(group) and time.monotonic() < deadline:
            time.sleep(0.02)


def play(root: Path, kind: str, patience_s: float = 120.0) -> dict[str, Any]:
    """Write several times the initial size, as fast as the disk is; then take all of it away again."""
    store, mount, total = root / "store", root / "scratch", TIMES[kind] * INITIAL[kind]
    cap = total + 4 * INITIAL[kind]
    stop = threading.Event()
    with freezable_group() as group:
        backend = KINDS[kind](store, mount, INITIAL[kind])
        limits = Limits(cap_bytes=cap, step_bytes=INITIAL[kind] // 2, calm_s=600.0)
        daemon = Daemon(backend, limits, freezer=Freezer(group), assumed_grow_s=PESSIMISM_S, meter=Meter(1.0))
        daemon.start()
        watching = threading.Thread(target=lambda: (hurry(), daemon.run(stop)))  # in front of the writer, as the watcher is
        watching.start()
        command = [sys.executable, "-I", "-S", "-c", WRITER, str(mount / "part"), str(total // MIB)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
            (group / "cgroup.procs").write_text(str(writer.pid))
            try:
                _, error = writer.communicate("go\n", timeout=patience_s)
            except subprocess.TimeoutExpired:
                writer.kill()
                error = f"not within {patience_s:g} s"
        size = sum(backend.volumes())
        written = (mount / "part").stat().st_size
        stop.set()
        watching.join(60)
        if (probing := daemon._probing) is not None:  # it writes there, and keeps what it writes to from being unmounted
            probing.join(60)
        frozen = "frozen 1" in knobs.read(group / "cgroup.events") or "FROZEN" in knobs.read(group / "freezer.state")
        again = KINDS[kind](store, mount, INITIAL[kind])
        again.ensure()
        again.probe()
        again.retire()
        again.close()
    return {
        "error": error,
        "all_there": written == total,
        "grew": size >= total,
        "within_cap": size <= cap,
        "is_healthy": not daemon.counters.probes_failed,
        "is_held": frozen,
        "left": sorted(path.name for path in store.glob("volume*")),
        "freezes": daemon.counters.freezes,
        "grows": daemon.counters.grows,
    }
