"""Subvolumes of a real btrfs as the ground of attempts: limits that the kernel keeps, what is held, and that nothing is left."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import ground
import pytest

from batchyard.compute.local import sweep
from batchyard.compute.local.subvolume_ground import Subvolumes
from batchyard.scratch import subvolumes
from batchyard.scratch.btrfs import BtrfsLoop
from batchyard.scratch.policy import MIB
from batchyard.scratch.subvolumes import FULL, SIMPLE, Groups

pytestmark = ground.needs("mkfs.btrfs", "btrfs-progs")
NOBODY = 65534
MODES = [pytest.param(SIMPLE, id="simple"), pytest.param(FULL, id="full")]


@contextlib.contextmanager
def btrfs(mode: int) -> Iterator[Groups]:
    with ground.plot() as plot:
        plot.mount.mkdir()
        plot.root.chmod(0o711)
        image = plot.root / "volume.img"
        with image.open("wb") as file:
            file.truncate(512 * MIB)
        for argv in (
            ["mkfs.btrfs", "-q", "-d", "single", "-m", "single", str(image)],
            ["mount", "-o", "loop", str(image), str(plot.mount)],
        ):
            subprocess.run(argv, check=True, capture_output=True, timeout=60)
        groups = Groups(str(plot.mount))
        groups.enable((mode,))
        if groups.is_simple != (mode == SIMPLE):
            pytest.skip("this kernel has no simple quotas")
        yield groups


@pytest.fixture(params=MODES)
def groups(request: pytest.FixtureRequest) -> Iterator[Groups]:
    with btrfs(request.param) as made:
        yield made


def eventually(satisfied: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 90
    while not satisfied():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


def a_place(groups: Groups, name: str = "attempt") -> tuple[Subvolumes, str]:
    """A ground, and on it the directory of an attempt of another user."""
    made = Subvolumes(groups)
    path = f"{groups.place}/{name}"
    made.make(path)
    Path(path, "home").mkdir()
    os.chown(f"{path}/home", NOBODY, NOBODY)
    return made, path


def write(path: str, mib: int) -> str:
    """As an ordinary user, so many MiB that cannot be made smaller; what went wrong."""
    argv = ["dd", "if=/dev/urandom", f"of={path}", "bs=128k", f"count={mib * 8}", "status=none"]
    return subprocess.run(argv, user=NOBODY, group=NOBODY, extra_groups=(), capture_output=True, text=True, timeout=120).stderr


def test_a_writer_meets_its_own_limit_and_its_neighbour_does_not(groups: Groups) -> None:
    made, path = a_place(groups)
    made.make(f"{groups.place}/neighbour")
    os.chown(f"{groups.place}/neighbour", NOBODY, NOBODY)
    assert made.limit(path, 20 * MIB)
    assert "Disk quota exceeded" in write(f"{path}/home/bomb", 50)
    held = made.used_bytes(path)
    assert held is not None
    assert 19.5 * MIB <= held <= 20 * MIB, "it is known at once, though nothing was written back yet"
    assert write(f"{groups.place}/neighbour/file", 50) == ""


def test_who_is_full_can_make_room_and_write_again(groups: Groups) -> None:
    made, path = a_place(groups)
    made.limit(path, 20 * MIB)
    write(f"{path}/home/bomb", 50)
    subprocess.run(["rm", f"{path}/home/bomb"], user=NOBODY, group=NOBODY, extra_groups=(), check=True, timeout=60)
    assert write(f"{path}/home/other", 15) == ""


def test_a_limit_can_be_raised_and_lowered_while_somebody_writes(groups: Groups) -> None:
    made, path = a_place(groups)
    made.limit(path, 20 * MIB)
    assert write(f"{path}/home/one", 15) == ""
    made.limit(path, 40 * MIB)
    assert write(f"{path}/home/two", 15) == ""
    made.limit(path, 10 * MIB)
    assert "Disk quota exceeded" in write(f"{path}/home/three", 1)
    assert Path(path, "home", "two").stat().st_size == 15 * MIB, "what it holds stays"


def test_what_is_held_shrinks_with_what_is_removed(groups: Groups) -> None:
    made, path = a_place(groups)
    write(f"{path}/home/file", 30)
    assert (made.used_bytes(path) or 0) >= 30 * MIB
    Path(path, "home", "file").unlink()
    groups.commit_soon()
    eventually(lambda: (made.used_bytes(path) or 0) < 1 * MIB, "the file does not count any more")


def test_a_directory_keeps_its_limit_when_it_is_moved(groups: Groups) -> None:
    made, path = a_place(groups)
    made.limit(path, 20 * MIB)
    made.move(path, f"{groups.place}/.slot-1")
    made.move(f"{groups.place}/.slot-1", f"{groups.place}/another")
    assert "Disk quota exceeded" in write(f"{groups.place}/another/home/bomb", 50)
    assert (made.used_bytes(f"{groups.place}/another") or 0) > 19 * MIB
    assert made.used_bytes(path) is None


def test_files_without_content_are_no_way_out(groups: Groups) -> None:
    made, path = a_place(groups)
    made.limit(path, 4 * MIB)
    script = f"cd {path}/home; number=0; while : > a-file-with-a-rather-long-name-$number; do number=$((number + 1)); done"
    done = subprocess.run(
        ["timeout", "240", "sh", "-c", script], user=NOBODY, group=NOBODY, extra_groups=(), capture_output=True, text=True, timeout=300
    )
    assert "Disk quota exceeded" in done.stderr
    assert (made.used_bytes(path) or 0) <= 4 * MIB


def test_subvolumes_of_a_job_s_own_are_no_way_out() -> None:
    with btrfs(SIMPLE) as groups:
        made, path = a_place(groups)
        made.limit(path, 20 * MIB)
        argv = ["btrfs", "subvolume", "create", f"{path}/home/mine"]
        subprocess.run(argv, user=NOBODY, group=NOBODY, extra_groups=(), check=True, capture_output=True, timeout=60)
        assert "Disk quota exceeded" in write(f"{path}/home/mine/bomb", 50)
        assert made.used_bytes(path) == pytest.approx(20 * MIB, rel=0.05)


def test_subvolumes_of_a_job_s_own_hold_next_to_nothing_where_every_reference_is_counted() -> None:
    with btrfs(FULL) as groups:
        made, path = a_place(groups)
        made.limit(path, 20 * MIB)
        argv = ["btrfs", "subvolume", "create", f"{path}/home/mine"]
        subprocess.run(argv, user=NOBODY, group=NOBODY, extra_groups=(), check=True, capture_output=True, timeout=60)
        made.look()
        assert "Disk quota exceeded" in write(f"{path}/home/mine/bomb", 5)


def test_what_was_given_up_goes_whole_and_leaves_no_group(groups: Groups) -> None:
    made, path = a_place(groups)
    write(f"{path}/home/file", 80)
    made.remove(path)
    assert sweep.remove_tree(path) == []
    assert not Path(path).exists()
    assert made.leaving_bytes() >= 80 * MIB, "it is not cleared yet, and nobody may count on its room"

    def is_clear() -> bool:
        return not made.look() and not groups.numbers(0) and not groups.numbers(1)

    eventually(is_clear, "the kernel has cleared it, and no group is left")
    assert made.leaving_bytes() == 0


def test_what_holds_subvolumes_of_a_job_s_own_is_removed_all_the_same(groups: Groups) -> None:
    made, path = a_place(groups)
    argv = ["btrfs", "subvolume", "create", f"{path}/home/mine"]
    subprocess.run(argv, user=NOBODY, group=NOBODY, extra_groups=(), check=True, capture_output=True, timeout=60)
    write(f"{path}/home/mine/file", 1)
    made.remove(path)
    assert sweep.remove_tree(path) == []
    assert not Path(path).exists()


def test_subvolumes_of_a_job_s_own_are_removed_whatever_is_in_them_and_however_they_were_closed(groups: Groups) -> None:
    made, path = a_place(groups)
    script = """
set -e
cd "$1"; mkdir -p home/deep/deeper; cd home/deep/deeper
btrfs subvolume create one; mkdir -p one/a/b; touch one/a/b/file one/file
btrfs subvolume create one/a/b/two; mkdir -p one/a/b/two/c/d; touch one/a/b/two/c/d/file
btrfs subvolume create one/three
chmod 0 one/a/b/two/c
for each in one/a/b/two one/three one; do btrfs property set "$each" ro true; done
"""
    words = ["sh", "-c", script, "script", path]
    subprocess.run(words, user=NOBODY, group=NOBODY, extra_groups=(), check=True, capture_output=True, timeout=60)
    made.remove(path)
    assert sweep.remove_tree(path) == []
    assert not Path(path).exists()


def test_a_later_node_counts_on_and_clears_what_an_earlier_one_left(groups: Groups) -> None:
    _, path = a_place(groups)
    write(f"{path}/home/file", 1)
    groups.enable()
    later = Subvolumes(Groups(groups.place))
    later.make(f"{groups.place}/next")
    assert later.limit(f"{groups.place}/next", 20 * MIB)
    assert not later.limit(path, 20 * MIB), "it is nobody's any more"
    assert sweep.remove_tree(path) == []

    def is_clear() -> bool:
        groups.commit_soon()  # or it would be half a minute
        return not later.look()

    eventually(is_clear, "the groups of the earlier node are gone")
    assert len(groups.numbers(1)) == 1


def test_what_is_no_subvolume_is_left_to_whoever_walks(groups: Groups) -> None:
    folder = Path(groups.place) / "plain"
    folder.mkdir()
    assert not subvolumes.remove(str(folder))
    assert folder.exists()
    assert not subvolumes.remove(f"{groups.place}/not-there")


def test_making_one_twice_names_the_path(groups: Groups) -> None:
    made, path = a_place(groups)
    with pytest.raises(FileExistsError) as raised:
        made.make(path)
    assert raised.value.filename == path


@pytest.mark.parametrize("mode", MODES)
def test_limits_and_counts_outlive_growing_and_giving_back(mode: int) -> None:
    """Data is moved to another device under the quota: what is held stays the same, and so does the limit."""
    with ground.plot() as plot:
        plot.root.chmod(0o711)
        disks = BtrfsLoop(plot.store, plot.mount, 160 * MIB, patience_s=5)
        try:
            disks.ensure()
            groups = Groups(str(plot.mount))
            groups.enable((mode,))
            made, path = a_place(groups)
            made.limit(path, 300 * MIB)
            disks.grow(320 * MIB)
            assert write(f"{path}/home/file", 200) == ""
            content = sha256(Path(path, "home", "file").read_bytes()).digest()
            disks.grow(320 * MIB)
            disks.shrink(1)
            assert sha256(Path(path, "home", "file").read_bytes()).digest() == content
            groups.commit_soon()
            eventually(lambda: made.used_bytes(path) == pytest.approx(200 * MIB, rel=0.02), "it counts as before")
            assert not groups.is_unsure
            assert "Disk quota exceeded" in write(f"{path}/home/more", 150)
        finally:
            disks.retire()
            disks.close()
