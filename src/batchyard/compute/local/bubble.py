"""What a job sees of this machine where bubblewrap is: the arguments of `bwrap` for the namespaces that a job lives in.

    as it is     the root file system, with everybody's ordinary permissions; the network; /sys
    its own      /tmp and /var/tmp (both are the attempt's own tmp), /proc with its own processes only, /dev with little more than
                 null, random, terminals, an empty /dev/shm and /dev/mqueue, and the GPUs that it was lent
    not there    the server's folder, and of the jobs' directories all but its own
    still there  where they lie below /tmp or /var/tmp: the directory that the server was started in, what lies beside its folder, what
                 the operator exposes, the job's own host volumes, and our own installation

Nothing is read-only that is not so on the host: a job runs as a user of its own, and ordinary permissions hold
(docs/decisions/0039-what-a-job-sees-of-its-machine.md).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from batchyard.compute.local import volumes
from batchyard.model.messages import Launch

PROGRAM = "bwrap"
PRIVATE = ("/tmp", "/var/tmp")
SHM, QUEUES = "/dev/shm", "/dev/mqueue"
READY = b"ready\n"
_PLACES = ("/usr/local/bin", "/usr/bin", "/bin")
# Told that all is mounted, and then nothing until its input ends, which it does with the node.
_HOLDER = ("/bin/sh", "-c", "echo ready; read -r end")
_PASS = "0711"
INFO = 3  # the descriptor that bubblewrap tells about its first process


class View(NamedTuple):
    """What one job sees. Paths are real: without links."""

    hidden: str  # the server's folder
    work: str  # where the directories of all attempts are
    name: str  # this one's, in `work`
    shared: tuple[str, ...] = ()  # directories in `work` that it has in common with other containers of its task
    devices: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()  # what stays although it lies in a directory that is its own
    own_processes: bool = True
    own_memory: bool = True  # System V memory and queues, message queues of POSIX, and /dev/shm
    as_user: bool = False  # made without root: by a user namespace

    @property
    def home(self) -> str:
        """The attempt's directory."""
        return f"{self.work}/{self.name}/home"

    @property
    def temporary(self) -> str:
        """What it sees as /tmp and /var/tmp."""
        return f"{self.work}/{self.name}/tmp"


def program() -> str:
    """Where bubblewrap is installed; "" if it is not."""
    places = (f"{place}/{PROGRAM}" for place in _PLACES)
    return next((place for place in places if os.access(place, os.X_OK)), "")


@cache
def has_queues() -> bool:
    """Whether this kernel knows message queues of POSIX."""
    try:
        return "mqueue" in Path("/proc/filesystems").read_text().split()
    except OSError:
        return False


def arguments(bwrap: str, view: View) -> tuple[str, ...]:
    """The command that makes the namespaces, says READY in them, and holds them until its input ends."""
    words = [bwrap, "--info-fd", str(INFO), "--unshare-uts", "--bind", "/", "/"]
    words += ["--unshare-user"] if view.as_user else ["--cap-drop", "ALL"]
    if view.own_processes:
        words += ["--unshare-pid", "--proc", "/proc"]
    words += ["--dev", "/dev"]
    if view.own_memory:
        words += ["--unshare-ipc", "--perms", "1777", "--tmpfs", SHM, *(("--mqueue", QUEUES) if has_queues() else ())]
    else:
        words += ["--dev-bind", SHM, SHM]
    for device in view.devices:
        words += ["--dev-bind-try", device, device]
    for private in PRIVATE:
        if os.path.realpath(private) == private and os.path.isdir(private):  # noqa: PTH112 - strings all the way
            words += ["--bind", view.temporary, private]
    for path in view.seen:
        words += [*_stairs(path), "--bind-try", path, path]
    words += [*_stairs(view.hidden), "--perms", _PASS, "--tmpfs", view.hidden]
    inside = is_below(view.work, view.hidden)
    words += [*_stairs(view.work), "--perms", _PASS, "--dir" if inside else "--tmpfs", view.work]
    for place in sorted(
        {str(above) for path in (view.home, *view.shared) for above in Path(path).parents if is_below(str(above), view.work)}
    ):
        words += ["--perms", _PASS, "--dir", place]  # or they would be as closed as what is mounted in them
    for path in (view.home, view.temporary, *view.shared):
        words += ["--bind", path, path]
    words += ["--ro-bind-try", f"{view.work}/notices", f"{view.work}/notices"]
    if view.as_user:
        # Its own user may write here: what it wrote would be in memory, and no use to anybody.
        words += ["--remount-ro", view.hidden]
        words += _closed(f"/run/user/{os.geteuid()}")  # a bus on which others do what they are told
    return (*words, "--", *_HOLDER)


def _stairs(path: str) -> list[str]:
    """The way to a path in a job's own /tmp, for everybody to pass: bubblewrap would make it as closed as what is mounted there."""
    above = [str(each) for each in reversed(Path(path).parents) if any(is_below(str(each), p) and str(each) != p for p in PRIVATE)]
    return [word for each in above for word in ("--perms", "0755", "--dir", each)]


def _closed(path: str) -> list[str]:
    return ["--tmpfs", path] if Path(path).is_dir() else []


def is_below(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies in it."""
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def kept_visible(directory: str, exposed: Iterable[str]) -> tuple[str, ...]:
    """What would be hidden, and stays: what an operator exposes, what lies beside the server's folder, and our own installation."""
    ours = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[3]), str(Path(directory).parent))
    return hidden_ones((*exposed, *ours))


def hidden_ones(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of the paths that lie in a directory of which a job has its own, without links, outer ones first."""
    real = {os.path.realpath(path) for path in paths}
    return tuple(sorted(path for path in real if path not in PRIVATE and any(is_below(path, private) for private in PRIVATE)))


def of_volumes(launch: Launch) -> tuple[str, ...]:
    """The host paths that a job's volumes name, where they would be hidden. Not where the way to them is closed to others: a definition is
    no operator, and shall open nothing."""
    named = hidden_ones(path for volume in launch.container.get("volumes") or () if (path := volumes.host_path(volume)))
    return tuple(path for path in named if os.geteuid() or _may_be_reached(path))


def _may_be_reached(path: str) -> bool:
    """Whether everybody may pass to it."""
    try:
        return all(above.stat().st_mode & stat.S_IXOTH for above in Path(path).parents)
    except OSError:
        return False


def of_gpus(numbers: Iterable[int]) -> tuple[str, ...]:
    """What a job needs of /dev to use these GPUs."""
    own = tuple(f"/dev/nvidia{number}" for number in numbers)
    return ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", *own) if own else ()
