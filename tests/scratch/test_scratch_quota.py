"""Scratch space without privilege: a directory, its limit, what is counted, and the commands."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchyard.compute.local.sweep import remove_tree
from batchyard.scratch import disk_usage
from batchyard.scratch.disk_usage import bytes_in
from batchyard.scratch.policy import GIB, MIB
from batchyard.scratch.provision import NoRoom, ScratchError
from batchyard.scratch.quota import QuotaDirectory

SCRATCH = [sys.executable, "-m", "batchyard.main", "scratch"]


def test_it_counts_as_du_does(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "deep" / "deeper" / "a").write_bytes(os.urandom(MIB))
    os.link(tmp_path / "deep" / "deeper" / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(100 * MIB)
    os.sync()  # or what is written back meanwhile may take another block for its place
    du = subprocess.run(["du", "-s", "--block-size=1", str(tmp_path)], capture_output=True, text=True, check=True, timeout=60)
    own = tmp_path.stat().st_blocks * 512
    assert bytes_in(tmp_path) + own == int(du.stdout.split()[0])
    assert bytes_in(tmp_path / "not there") == 0


def test_nothing_is_hidden_by_depth_and_no_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job may nest folders as deep as it likes, and put something beside each, so that they cannot be closed on the way."""
    monkeypatch.setattr(disk_usage, "_OPEN_MOST", 20)
    top, outside = tmp_path / "top", tmp_path / "outside"
    for place in (top, outside):
        place.mkdir()
    (outside / "file").write_bytes(bytes(MIB))
    here = os.open(top, os.O_RDONLY)
    for _ in range(60):
        os.symlink(outside, "link", dir_fd=here)
        for name in ("beside", "d" * 200):
            os.mkdir(name, dir_fd=here)
        with open("file", "wb", opener=functools.partial(os.open, dir_fd=here)) as file:
            file.write(bytes(4096))
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert 60 * 4096 <= bytes_in(top, inode_bytes=1) < MIB
    assert not remove_tree(str(top))


def test_what_others_write_to_the_disk_below_does_not_make_it_sick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = QuotaDirectory(tmp_path / "store", tmp_path / "place", 20 * MIB, clock=lambda: 0.0)
    ground.ensure()
    seen = list(os.statvfs(tmp_path))
    seen[3], seen[4] = seen[3] - GIB // seen[1], seen[4] - GIB // seen[1]
    monkeypatch.setattr(os, "statvfs", lambda place: os.statvfs_result(seen))
    assert ground.usage().used_bytes >= GIB, "until the next walk it might have been written here"
    ground.probe()
    ground.close()


def test_the_limit_grows_survives_and_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda place: below)  # nobody else writes to the disk meanwhile
    clock = [0.0]
    place, store = tmp_path / "place", tmp_path / "store"
    ground = QuotaDirectory(store, place, 20 * MIB, clock=lambda: clock[0])
    ground.ensure()
    ground.probe()
    assert ground.volumes() == (20 * MIB,)
    (place / "a").write_bytes(os.urandom(5 * MIB))
    os.sync()
    clock[0] += 60
    assert 5 * MIB <= ground.usage().used_bytes < 6 * MIB
    assert ground.usage().free_bytes <= 15 * MIB
    ground.grow(10 * MIB)
    with pytest.raises(NoRoom, match="bytes to promise"):
        ground.grow(1 << 55)
    with pytest.raises(ScratchError, match="nothing is held"):
        ground.shrink(0)
    ground.close()
    again = QuotaDirectory(store, place, 20 * MIB)
    again.ensure()
    assert again.volumes() == (30 * MIB,)
    (place / "b").write_bytes(os.urandom(30 * MIB))
    os.sync()
    again.ensure()
    with pytest.raises(ScratchError, match="more than its limit"):
        again.probe()
    again.retire()
    again.close()
    assert (place / "b").exists(), "what is there is the user's"


def test_the_record_does_not_lie_in_what_it_watches(tmp_path: Path) -> None:
    ground = QuotaDirectory(tmp_path / "place" / "store", tmp_path / "place", 20 * MIB)
    with pytest.raises(ScratchError, match="another --store"):
        ground.ensure()
    ground.close()


@contextmanager
def watching(tmp_path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    argv = [*SCRATCH, "watch", "--backend", "quota", "--mount", str(tmp_path / "place"), "--store", str(tmp_path / "store"), *options]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("ready:"), line + process.stderr.read()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=90)
    assert process.returncode == 0


def status(tmp_path: Path) -> tuple[int, dict[str, Any]]:
    argv = [*SCRATCH, "status", "--store", str(tmp_path / "store"), "--json"]
    asked = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return asked.returncode, json.loads(asked.stdout) if asked.stdout else {"said": asked.stderr}


def test_the_commands(tmp_path: Path) -> None:
    code, said = status(tmp_path)
    assert code == 1
    assert "nothing was ever watched" in said["said"]
    with watching(tmp_path, "--initial-gib", "0.1", "--max-gib", "0.4"):
        (tmp_path / "place" / "file").write_bytes(os.urandom(95 * MIB))
        deadline = time.monotonic() + 60
        while True:
            code, told = status(tmp_path)
            if code == 0 and told["counters"]["grows"] >= 1:
                break
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
        assert told["capacity_bytes"] <= told["cap_bytes"] == int(0.4 * 2**30)
        assert told["is_watched"]
        shown = subprocess.run([*SCRATCH, "status", "--store", str(tmp_path / "store")], capture_output=True, text=True, timeout=60)
        assert "healthy; watched" in shown.stderr
        held = subprocess.run([*SCRATCH, "retire", "--yes", "--store", str(tmp_path / "store")], capture_output=True, text=True, timeout=60)
        assert held.returncode == 1
        assert "held by another daemon" in held.stderr
    gone = subprocess.run([*SCRATCH, "retire", "--yes", "--store", str(tmp_path / "store")], capture_output=True, text=True, timeout=60)
    assert gone.returncode == 0, gone.stderr
    assert (tmp_path / "place" / "file").exists()


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    argv = [*SCRATCH, "watch", "--backend", "quota", "--mount", str(tmp_path / "p"), "--store", str(tmp_path / "s")]
    asked = subprocess.run([*argv, "--initial-gib", "2", "--max-gib", "1"], capture_output=True, text=True, timeout=60)
    assert asked.returncode == 2
    assert "--initial-gib" in asked.stderr
