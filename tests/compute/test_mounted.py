"""What somebody has mounted inside a job's directory is nobody's to remove: an operator's disk, a bucket, another folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAN_MOUNT = os.geteuid() == 0 and not subprocess.run(["unshare", "--mount", "true"], capture_output=True, timeout=60).returncode
pytestmark = [pytest.mark.system, pytest.mark.skipif(not CAN_MOUNT, reason="needs root that may mount, and unshare")]

BEGIN = """
import os, subprocess, sys, time
from pathlib import Path
from batchyard.compute.local import leftovers, mounted, sweep
top = Path(sys.argv[1]) / "an attempt"
inside = top / "home" / "deep" / "disk"
inside.mkdir(parents=True)
(top / "home" / "job").write_text("of the job")
theirs = Path(sys.argv[1]) / "theirs"
theirs.mkdir()
def mount(*words):
    subprocess.run(["mount", *words], check=True, timeout=60)
def unmount(place):
    subprocess.run(["umount", place], check=True, timeout=60)
def until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
"""
TMPFS, SAME_DISK, ON_TOP = (
    'mount("-t", "tmpfs", "none", inside); (inside / "precious").write_text("x")',
    'mount("--bind", theirs, inside); (inside / "precious").write_text("x")',
    'mount("--bind", theirs, top); inside = top; (inside / "precious").write_text("x")',
)


def play(tmp_path: Path, script: str) -> str:
    """What a script said, in a mount namespace of its own: nothing of what it mounts is left."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", BEGIN + script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("how", [TMPFS, SAME_DISK, ON_TOP])
def test_a_directory_with_something_mounted_inside_is_left_alone_until_it_is_not(tmp_path: Path, how: str) -> None:
    said = play(
        tmp_path,
        f"""
{how}
print(sweep.remove_tree(str(top)))
assert (inside / "precious").exists()
unmount(inside)
assert sweep.remove_tree(str(top)) == []
assert not top.exists()
""",
    )
    assert "mounted" in said
    assert str(tmp_path / "an attempt") in said


@pytest.mark.parametrize("how", [TMPFS, SAME_DISK])
def test_what_is_mounted_at_the_last_moment_is_not_entered(tmp_path: Path, how: str) -> None:
    """After it was looked whether anything is mounted, which may be long ago for a large tree."""
    play(
        tmp_path,
        f"""
{how}
mounted.below = lambda directory: ""
failed = sweep.remove_tree(str(top))
assert failed, "it says so"
assert not (top / "home" / "job").exists()
places = [line.split()[4].replace("\\\\040", " ") for line in open("/proc/self/mountinfo", errors="replace")]
(there,) = [Path(place) for place in places if place.startswith(str(top))]
assert (there / "precious").exists()
""",
    )


@pytest.mark.parametrize("how", [TMPFS, SAME_DISK])
def test_the_little_that_is_left_does_not_count_what_is_mounted_there(tmp_path: Path, how: str) -> None:
    """What is little is removed at once, without the sweeper: one file in an operator's folder is no less his."""
    play(
        tmp_path,
        f"""
{how}
home = leftovers.opened(str(top / "home"))
for act in (leftovers.are_little, leftovers.remove):
    try:
        act(["deep"], home)
    except OSError:
        pass
    else:
        raise AssertionError(act)
assert (inside / "precious").exists()
""",
    )


def test_the_sweeper_says_it_once_and_tries_again(tmp_path: Path) -> None:
    said = play(
        tmp_path,
        f"""
{TMPFS}
sweep.AGAIN_S = 0.05
sweeper = sweep.Sweeper()
sweeper.remove(str(top))
(top.parent / "another").mkdir()
sweeper.remove(str(top.parent / "another"))
until(lambda: not (top.parent / "another").exists())
time.sleep(0.3)  # some tries
assert (inside / "precious").exists()
unmount(inside)
until(lambda: not top.exists())
sweeper.close()
os.waitpid(sweeper.pid, 0)
""",
    )
    assert said.count("something is mounted") == 1
