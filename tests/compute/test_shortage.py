"""That memory was short in a cgroup of version 1 is known when it is gone, and that it was not."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loop_rig import outcome

from batchyard.compute.local import cgroups, knobs
from batchyard.compute.local.containers.shortage import Shortage

MEMORY = next((mount.place for mount in knobs.mounts() if mount.kind == "cgroup" and "memory" in mount.options), None)
pytestmark = [
    pytest.mark.system("cgroups"),
    pytest.mark.skipif(
        MEMORY is None or os.geteuid() != 0 or not cgroups.can_make(MEMORY), reason="needs cgroups of version 1 that may be made"
    ),
]
TAKE = "open(sys.argv[1], 'w').write('0'); taken = bytearray(int(sys.argv[2]) << 20); taken[::4096] = b'x' * len(taken[::4096])"


@pytest.fixture
def group() -> Iterator[Path]:
    assert MEMORY is not None
    made = MEMORY / f"batchyard-shortage-{os.getpid()}"
    made.mkdir()
    (made / "memory.limit_in_bytes").write_text(str(30 << 20))
    yield made
    if made.exists():
        made.rmdir()


@pytest.mark.parametrize(("mib", "code", "short"), [(2, 0, False), (100, -9, True)])
def test_it_is_known_when_the_cgroup_is_gone(group: Path, mib: int, code: int, short: bool) -> None:
    told = Shortage(group)
    knobs.write(group / "memory.memsw.limit_in_bytes", str(30 << 20))
    command = [sys.executable, "-I", "-S", "-c", f"import sys; {TAKE}", str(group / "cgroup.procs"), str(mib)]
    assert subprocess.run(command, timeout=100, check=False).returncode == code
    group.rmdir()
    assert answer(told) is short
    told.close()
    told.close()


def test_a_cgroup_that_does_not_go_is_not_waited_for_for_ever(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchyard.compute.local.containers.shortage._GOES_S", 0.1)
    told = Shortage(group)
    assert answer(told) is False
    told.close()


def test_where_there_is_no_such_cgroup_it_says_so_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_eventfds()
    with pytest.raises(OSError, match=r"memory\.usage_in_bytes"):
        Shortage(tmp_path)
    assert open_eventfds() == before


def open_eventfds() -> int:
    """Those of this process; what else is open here, other tests may have left to be collected."""
    found = 0
    for place in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += "eventfd" in os.readlink(place)  # noqa: PTH115 - it names no path
    return found


def answer(told: Shortage) -> bool:
    return outcome(told.was)
