"""A clean Debian with a life of its own: a file system over a cached one, its own processes, mounts and devices. All goes at the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from batchyard.scratch import loop
from batchyard.scratch.provision import ScratchError
from yard import until

_NAME = "debian-bookworm-scratch-1"
_PACKAGES = "ca-certificates,python3,python3-venv,btrfs-progs,xfsprogs,kmod"
_LOOPS = 64

# The first process of the new world. Everything that it mounts is seen by nobody else, and goes with it.
_FIRST = """
set -e
mount -t tmpfs none "$over"
mkdir "$over/upper" "$over/work" "$over/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$over/upper,workdir=$over/work" none "$over/root"
cd "$over/root"
mount -t proc none proc
mount -t sysfs -o ro none sys
mount -t tmpfs none run
mount -t tmpfs none dev
for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "loop-control 10 237" "btrfs-control 10 234"; do
  set -- $device
  mknod -m 666 dev/$1 c $2 $3
done
i=0
while [ $i -lt $loops ]; do mknod -m 600 dev/loop$i b 7 $i; i=$((i + 1)); done
mkdir -p dev/disk/by-id dev/shm srv/buckets
mount --bind "$by_id" dev/disk/by-id
mount --bind "$buckets" srv/buckets
mount -t tmpfs none sys/fs/cgroup
mkdir sys/fs/cgroup/ecstasks.slice
mount --bind "$tasks" sys/fs/cgroup/ecstasks.slice
exec chroot . sh -c "echo ready; exec sleep infinity"
"""


def why_not() -> str:
    """Why there can be no such Debian here; empty if there can."""
    try:
        loop.must_be_root()
    except ScratchError as error:
        return str(error)
    missing = [name for name in ("debootstrap", "unshare", "nsenter", "mkfs.btrfs", "mkfs.xfs") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing (make test-systems)"
    return "" if _unified() is not None else "there is no cgroup hierarchy of version 2"


def _unified() -> Path | None:
    """Where cgroups of version 2 are: all of them, or beside those of version 1."""
    return next((path for path in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if (path / "cgroup.controllers").exists()), None)


def _cached() -> Path:
    """The file system as debootstrap makes it; the first time takes a minute or two."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batchyard"
    cache.mkdir(parents=True, exist_ok=True)
    found = cache / _NAME
    with open(cache / f"{_NAME}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            partial = cache / f"{_NAME}.new"
            shutil.rmtree(partial, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(partial), *_mirror()]
            subprocess.run(command, check=True, capture_output=True, timeout=600)
            partial.rename(found)
    return found


def _mirror() -> list[str]:
    """Where this machine has its packages from; else debootstrap knows one."""
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    lines = [line for path in sources if path.is_file() for line in path.read_text().splitlines() if line.startswith(("URIs:", "deb "))]
    return re.findall(r"https?://\S*/debian/?(?=\s|$)", "\n".join(lines))[:1]


class World:
    """The Debian that is there: programs run in it by `nsenter`."""

    def __init__(self, pid: int, root: Path, buckets: Path) -> None:
        self.pid, self.buckets = pid, buckets
        self.root = root  # seen from within its own namespace only: use /proc/PID/root
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

    def path(self, name: str) -> Path:
        """A file of it, as it is found from here."""
        return Path(f"/proc/{self.pid}/root") / name.lstrip("/")

    def begin(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """A program that goes on; its words come on one pipe."""
        entered = ["nsenter", "-t", str(self.pid), "-m", "-p", "-r", "-w", "--", *command]
        environment = {**self.environment, **variables}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            entered, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *command: str, timeout_s: float = 120, **variables: str) -> tuple[int, str]:
        """Exit code and words of a program."""
        process = self.begin(*command, **variables)
        try:
            said, _ = process.communicate(timeout=timeout_s)
        finally:
            end(process)
        return process.returncode, said

    def program(self, name: str, text: str) -> None:
        """Put a program there."""
        path = self.path(name)
        path.write_text(text)
        path.chmod(0o755)


def end(process: subprocess.Popen[str]) -> str:
    """Kill a program and its children; what it said last."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is None or process.stdout.closed:
        return ""
    said, _ = process.communicate(timeout=60)
    return said


@contextlib.contextmanager
def debian(by_id: Path, environment: Mapping[str, str]) -> Iterator[World]:
    """A world in which `by_id` is /dev/disk/by-id, and in whose /srv/buckets lies what is put into `World.buckets`.

    It has the cgroup of ECS's tasks, /sys/fs/cgroup/ecstasks.slice, and no other.
    """
    place = Path(tempfile.mkdtemp(prefix="debian-root-"))
    unified = _unified()
    assert unified is not None
    over, buckets, tasks = place / "over", place / "buckets", unified / f"batchyard-{place.name}"
    for folder in (over, buckets, tasks):
        folder.mkdir()
    by_id.mkdir(parents=True, exist_ok=True)
    settings = {"lower": str(_cached()), "over": str(over), "by_id": str(by_id), "buckets": str(buckets), "loops": str(_LOOPS)}
    settings["tasks"] = str(tasks)
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _FIRST]
    first = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None and first.stdout.readline() == "ready\n"
        (pid,) = (int(word) for word in Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split())
        assert Path(f"/proc/{pid}/root").readlink() != Path("/"), "it would be this machine's own"
        world = World(pid, over / "root", buckets)
        world.environment |= environment
        yield world
    finally:
        first.kill()
        first.wait(60)
        if first.stdout is not None:
            first.stdout.close()
        shutil.rmtree(place, ignore_errors=True)
        until(lambda: not (tasks / "cgroup.procs").read_text() or None, "the last task to end", 90)
        tasks.rmdir()
