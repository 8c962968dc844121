"""Mounting scratch space: other mount namespaces do not keep it alive, and the place is as it was before when it is gone."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Plot, needs, plot

from batchyard.compute.local import workplace
from batchyard.scratch import mounts
from batchyard.scratch.btrfs import BtrfsLoop
from batchyard.scratch.policy import MIB
from batchyard.scratch.provision import Backend
from batchyard.scratch.xfs import XfsLoop
from yard import until

BTRFS = needs("mkfs.btrfs", "btrfs-progs")
XFS = needs("mkfs.xfs", "xfsprogs")
KINDS = [pytest.param("btrfs", marks=BTRFS), pytest.param("xfs", marks=XFS)]

SANDBOXES = {
    "bubblewrap": ["bwrap", "--dev-bind", "/", "/"],
    "a slave namespace": ["unshare", "--mount", "--propagation", "slave"],
    "a namespace as it comes": ["unshare", "--mount", "--propagation", "unchanged"],
}


def made(kind: str, place: Plot) -> Backend:
    return BtrfsLoop(place.store, place.mount, 128 * MIB) if kind == "btrfs" else XfsLoop(place.store, place.mount, 300 * MIB)


@contextlib.contextmanager
def sandbox(argv: list[str]) -> Iterator[Path]:
    """A process with mounts of its own, which it has when this begins: where they are told of."""
    process = subprocess.Popen([*argv, "sh", "-c", "echo $$; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Path(f"/proc/{int(process.stdout.readline())}/mountinfo")
    finally:
        process.kill()
        process.communicate(timeout=60)


def copies(inside: Path, place: Plot, source: str | None) -> int:
    """How often a namespace has what is mounted there; the device may be another test's by now, and seen in there for that."""
    lines = inside.read_text(errors="replace").split("\n")
    return sum(f" {place.mount.resolve()} " in line and f" {source} " in line for line in lines)


@pytest.mark.parametrize("name", SANDBOXES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sandbox_made_meanwhile_does_not_keep_the_volumes(kind: str, name: str) -> None:
    argv = SANDBOXES[name]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    with plot() as place:
        ground = made(kind, place)
        ground.ensure()
        ground.grow(64 * MIB)
        source = mounts.mounted_from(place.mount)
        with sandbox(argv) as inside:
            assert copies(inside, place, source) == 1
            ground.retire()
            ground.close()
            # Not by its device, which namespaces of other tests may have besides.
            until(
                lambda: True if not copies(inside, place, source) else None,
                "the copy goes while the sandbox lives",
                60,
            )
        assert [mount for mount in mounts.mounts() if mount.place == str(place.mount.resolve())] == [], "not even the anchor"
        place.mount.rmdir()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_sandbox_mounts_in_there_stays_in_there(kind: str) -> None:
    """The anchor is shared, what jobs write to is not."""
    with plot() as place:
        ground = made(kind, place)
        ground.ensure()
        if mounts.at(str(place.mount.resolve()))[-1].is_shared:
            pytest.skip("on this machine all mounts are shared")
        (place.mount / "inner").mkdir()
        script = f"mount --bind /tmp {place.mount}/inner && echo ready && exec cat"
        argv = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            assert mounts.at(f"{place.mount.resolve()}/inner") == []
            process.kill()
        ground.retire()
        ground.close()


@pytest.mark.parametrize("kind", [KINDS[0]])
def test_an_anchor_that_a_killed_daemon_left_is_used_and_taken_away(kind: str) -> None:
    """Killed between the anchor and the mount; and between the making of the anchor and its being shared."""
    with plot() as place:
        place.mount.mkdir()
        for words in (["--bind"], ["--bind", "--make-shared"]):
            subprocess.run(["mount", *words, str(place.mount), str(place.mount)], check=True, timeout=60)
            assert mounts.mounted_from(place.mount) is None, "an anchor is nothing that is mounted"
            ground = made(kind, place)
            ground.ensure()
            ground.probe()
            again = [mount for mount in mounts.mounts() if mount.place == str(place.mount.resolve())]
            assert len(again) == 2, "one anchor, one file system"
            ground.retire()
            ground.close()
            assert [mount for mount in mounts.mounts() if mount.place == str(place.mount.resolve())] == []


@pytest.mark.parametrize("kind", [KINDS[0]])
def test_what_somebody_else_has_mounted_there_is_no_anchor(kind: str) -> None:
    with plot() as place:
        other = place.root / "other"
        place.mount.mkdir()
        other.mkdir()
        subprocess.run(["mount", "--bind", str(other), str(place.mount)], check=True, timeout=60)
        assert mounts.mounted_from(place.mount) is not None
        ground = made(kind, place)
        with pytest.raises(Exception, match="something else is mounted"):
            ground.ensure()
        ground.close()


IN_CHROOT = """
import os, sys
from pathlib import Path
import msgspec, batchyard.scratch.loop, batchyard.scratch.xfs, batchyard.scratch.watcher  # all that is needed, before it is out of reach
from batchyard.scratch.btrfs import BtrfsLoop
from batchyard.scratch import mounts
os.chroot(sys.argv[1])
os.chdir("/")
for _ in range(2):
    ground = BtrfsLoop(Path("/store"), Path("/scratch"), 128 << 20)
    ground.ensure()
    ground.grow(64 << 20)
    ground.probe()
    ground.retire()
    ground.close()
    assert mounts.at("/scratch") == [] and mounts.mounted_from(Path("/scratch")) is None
print("fine")
"""


@pytest.mark.parametrize("kind", [KINDS[0]])
def test_in_a_chroot_it_is_not_told_what_a_place_lies_on(kind: str) -> None:
    with plot() as place:
        names = [name for name in ("bin", "sbin", "usr", "lib", "lib64", "etc", "dev", "proc", "sys") if Path("/", name).exists()]
        for name in names:
            (place.root / name).mkdir()
        # In a namespace of its own: nothing of the machine is ever mounted below what the test removes at its end.
        script = " && ".join(f"mount --rbind /{name} {place.root}/{name}" for name in names) + ' && exec "$@"'
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
        argv += [sys.executable, "-c", IN_CHROOT, str(place.root)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize("name", ["a b", "tab\there", "back\\slash", "weird ü"])
@pytest.mark.parametrize("kind", [KINDS[0]])
def test_names_that_the_kernel_escapes(kind: str, name: str) -> None:
    with plot() as outer:
        place = Plot(outer.root / name)
        ground = made(kind, place)
        ground.ensure()
        ground.grow(64 * MIB)
        ground.probe()
        ground.retire()
        ground.close()
        assert mounts.mounted_from(place.mount) is None
        assert place.files() == []


@pytest.mark.parametrize("_", [pytest.param("", marks=BTRFS)])
def test_the_way_is_cleared_on_an_anchor_too(_: str) -> None:
    """Somebody has unmounted the scratch space by hand, and jobs' leftovers lie on the anchor, which cannot be renamed."""
    with plot() as place:
        place.mount.mkdir()
        subprocess.run(["mount", "--bind", "--make-shared", str(place.mount), str(place.mount)], check=True, timeout=60)
        (place.mount / "notices").mkdir()
        (place.mount / "left").mkdir()
        (place.mount / "left" / "file").write_text("of a job")
        workplace.clear_the_way(place.mount)
        assert list(place.mount.iterdir()) == []
        (aside,) = [entry for entry in place.root.iterdir() if entry.name.startswith("scratch.")]
        assert (aside / "left" / "file").read_text() == "of a job"
        mounts.weigh(place.mount)
