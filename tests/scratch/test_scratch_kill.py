"""kill -9 at every step of a grow and of a shrink, then a restart: no orphaned volume, nothing lost, a sound file system."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ground import Plot, needs, plot, xfs_is_sound

from batchyard.scratch import loop
from batchyard.scratch.btrfs import BtrfsLoop
from batchyard.scratch.ledger import read
from batchyard.scratch.policy import MIB
from batchyard.scratch.provision import ScratchError
from batchyard.scratch.xfs import XfsLoop

BTRFS = needs("mkfs.btrfs", "btrfs-progs")
XFS = needs("mkfs.xfs", "xfsprogs")

# Makes the place, does one verb, and dies of kill -9 right after the step of the given number; prints the steps that it did.
VICTIM = """
import os, signal, sys
from pathlib import Path
from batchyard.scratch.btrfs import BtrfsLoop
from batchyard.scratch.xfs import XfsLoop

kind, store, mount, initial, verb, number = sys.argv[1:]
left = int(number)
armed = verb == "ensure"

def step(name):
    global left
    if not armed:
        return
    print(name, flush=True)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

make = BtrfsLoop if kind == "btrfs" else XfsLoop
ground = make(Path(store), Path(mount), int(initial), step=step)
ground.ensure()
armed = True
if verb == "grow":
    ground.grow(128 << 20)
elif verb == "shrink":
    ground.shrink(len(ground.volumes()) - 1)
"""
INITIAL = {"btrfs": 128 * MIB, "xfs": 300 * MIB}
GROW = {
    "btrfs": ["recorded", "allocated", "attached", "added", "grown"],
    "xfs": ["recorded", "allocated", "resized", "added", "grown"],
}
SHRINK = ["recorded", "removed", "detached", "unlinked", "forgotten"]
ENSURE = {
    "btrfs": ["recorded-first", "allocated-first", "formatted-first", "attached-first", "mounted-first", "set-aside-first", "settled"],
    "xfs": ["recorded-first", "allocated-first", "formatted-first", "attached-first", "mounted-first", "made"],
}


def victim(kind: str, place: Plot, verb: str, number: int) -> list[str]:
    """The steps that were done before it was killed."""
    argv = [sys.executable, "-c", VICTIM, kind, str(place.store), str(place.mount), str(INITIAL[kind]), verb, str(number)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()


def healthy(place: Plot, kind: str, content: dict[str, str]) -> tuple[int, ...]:
    """After a restart: whole. The sizes of the volumes that there are."""
    make = BtrfsLoop if kind == "btrfs" else XfsLoop
    ground = make(place.store, place.mount, INITIAL[kind])
    ground.ensure()
    try:
        sizes = ground.volumes()
        record = read(place.store)
        assert record is not None
        assert {one.state for one in record.volumes} == {"member"}
        assert not record.growing_to_bytes
        names = sorted(one.name for one in record.volumes)
        assert place.files() == names, "an orphaned file"
        assert place.devices() == names, "an orphaned loop device"
        for volume in record.volumes:
            assert (place.store / volume.name).stat().st_size == volume.size_bytes
        for name, digest in content.items():
            assert hashlib.sha256((place.mount / name).read_bytes()).hexdigest() == digest
        ground.probe()
        scrub(kind, place)
        ground.grow(64 * MIB)  # and it goes on working
        assert sum(ground.volumes()) == sum(sizes) + 64 * MIB
        return sizes
    finally:
        ground.close()


def scrub(kind: str, place: Plot) -> None:
    """The file system's own opinion."""
    if kind == "btrfs":
        checked = subprocess.run(["btrfs", "scrub", "start", "-B", str(place.mount)], capture_output=True, text=True, timeout=120)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "no errors found" in checked.stdout
    else:
        device = loop.device_of(place.store / "volume-0000.img")
        assert device is not None
        xfs_is_sound(place.mount, device)
        subprocess.run(["mount", "-o", "noatime", device, str(place.mount)], check=True, timeout=60)


def written(place: Plot) -> dict[str, str]:
    """Files to be found again, and their digests."""
    content = {}
    for number in range(8):
        text = os.urandom(4 * MIB)
        (place.mount / f"kept-{number}").write_bytes(text)
        content[f"kept-{number}"] = hashlib.sha256(text).hexdigest()
    return content


def made(kind: str, place: Plot, grows: int) -> None:
    make = BtrfsLoop if kind == "btrfs" else XfsLoop
    ground = make(place.store, place.mount, INITIAL[kind])
    ground.ensure()
    for _ in range(grows):
        ground.grow(128 * MIB)
    ground.close()


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS), pytest.param("xfs", marks=XFS)])
def test_killed_while_it_grows(kind: str, number: int) -> None:
    with plot() as place:
        made(kind, place, 0)
        content = written(place)
        assert victim(kind, place, "grow", number) == GROW[kind][:number]
        sizes = healthy(place, kind, content)
        assert sum(sizes) in (INITIAL[kind], INITIAL[kind] + 128 * MIB)


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_killed_while_it_shrinks(kind: str, number: int) -> None:
    with plot() as place:
        made(kind, place, 2)
        content = written(place)
        assert victim(kind, place, "shrink", number) == SHRINK[:number]
        sizes = healthy(place, kind, content)
        assert len(sizes) == (3 if number == 1 else 2)


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS), pytest.param("xfs", marks=XFS)])
def test_killed_while_it_is_made(kind: str, number: int) -> None:
    with plot() as place:
        assert victim(kind, place, "ensure", number) == ENSURE[kind][:number]
        assert healthy(place, kind, {}) == (INITIAL[kind],)


@pytest.mark.parametrize("kind", [pytest.param("btrfs", marks=BTRFS)])
def test_a_command_of_a_killed_daemon_is_waited_for(kind: str, tmp_path: Path) -> None:
    """The daemon dies while a command of its works: the next one begins when that has ended, not beside it."""
    script = (
        "import os, signal, sys, threading, time\n"
        "from pathlib import Path\n"
        "from batchyard.scratch import tools\n"
        "from batchyard.scratch.ledger import Ledger\n"
        "held = Ledger(Path(sys.argv[1]))\n"
        "script = 'cd $0; touch begun; until [ -e go ]; do sleep 0.05; done; touch ended'\n"
        "act = lambda: tools.run(['sh', '-c', script, sys.argv[2]], timeout_s=100, holding=held.lock)\n"
        "threading.Thread(target=act, daemon=True).start()\n"
        "while not Path(sys.argv[2], 'begun').exists(): time.sleep(0.02)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with plot() as place:
        place.store.mkdir()
        subprocess.run([sys.executable, "-c", script, str(place.store), str(tmp_path)], timeout=60)
        assert not (tmp_path / "ended").exists()
        with pytest.raises(ScratchError, match="held by another daemon"):
            BtrfsLoop(place.store, place.mount, INITIAL[kind], patience_s=0.3)
        (tmp_path / "go").touch()
        ground = BtrfsLoop(place.store, place.mount, INITIAL[kind], patience_s=90)
        assert (tmp_path / "ended").exists()
        ground.close()
