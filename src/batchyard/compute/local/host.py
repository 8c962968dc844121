"""What this machine can give: who we are, which cgroups can be used, where jobs may live. `facts` tells it to people."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any, NamedTuple

from batchyard.compute.local import cgroup1, cgroup2, knobs
from batchyard.compute.local.cage import USUAL, Limits, Tree
from batchyard.compute.local.slots import claim
from batchyard.compute.local.sweep import LEFT
from batchyard.compute.local.watched import WatchedTree

DEFAULT_UIDS = range(60706, 61184)
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_GET_FLAGS, _SET_FLAGS, _TOP_OF_TREE = 0x80086601, 0x40086602, 0x20000  # what chattr +T does
_MIB = 1024 * 1024
_NAME_FILE = "node.id"
_TREE = "batchyard-"
_ASIDE = "-server"
_claims: list[int | None] = []  # kept for as long as this process lives
_ELSEWHERE = Path("/var/tmp")  # only ever a directory of our own in it, see `_work_elsewhere`


class Groups(NamedTuple):
    """The cgroups that can be used: of version 1 or 2, or none (0) with the reason."""

    version: int
    places: dict[str, Path]  # where to make our part, by controller; version 2 has all in one
    why_not: str = ""


def node_name(directory: Path) -> str:
    """The name of the node of DIR: made once, it marks its processes and its cgroups."""
    path = directory / _NAME_FILE
    found = knobs.read(path).strip()
    if not re.fullmatch(r"[0-9a-f]{12}", found):
        found = os.urandom(6).hex()
        path.write_text(found + "\n")
    return found


# --- cgroups ---


def usable_groups(system: Path = Path("/")) -> Groups:
    """Which cgroups we may use. Only memory has to be there; what else there is, is used too. Looks, but leaves nothing changed."""
    if not sys.platform.startswith("linux"):
        return Groups(0, {}, "this system has no cgroups")
    own = knobs.own_groups(system)
    places: dict[str, Path] = {}
    unified: list[knobs.Mount] = []
    for mount in knobs.mounts(system):
        if mount.kind == "cgroup2":
            unified.append(mount)
        for controller in cgroup1.CONTROLLERS:
            if mount.kind == "cgroup" and controller in mount.options and controller not in places:
                place = next((place for place in (mount.place, knobs.place_in(mount, own.get(controller, "/"))) if _can_make(place)), None)
                if place:
                    places[controller] = place
    if "memory" in places:
        return Groups(1, places)
    for mount in unified:
        for place in (mount.place, _before_stepping_aside(knobs.place_in(mount, own.get("", "/")))):
            if "memory" in knobs.read(place / "cgroup.controllers").split() and _can_make(place) and _can_hand_down(place):
                return Groups(2, {"memory": place})
    if os.geteuid():
        why = "no cgroup is delegated to this user (with systemd: `systemd-run --user --scope -p Delegate=yes batchyard serve`)"
    else:
        why = "no cgroup with a memory controller can be made here"
    return Groups(0, {}, why)


def _before_stepping_aside(place: Path) -> Path:
    """The group that was ours before `make_tree` had the server step aside: it starts the next node from there."""
    stepped_aside = place.name.startswith(_TREE) and place.name.endswith(_ASIDE)
    return place.parent if stepped_aside else place


def _can_make(place: Path) -> bool:
    probe = place / f"batchyard-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


def _can_hand_down(place: Path) -> bool:
    """Whether groups below may have controllers: not where processes live, unless it is the very top or they are our own line."""
    if "memory" in knobs.read(place / "cgroup.subtree_control").split() or not (place / "cgroup.events").exists():
        return True
    return os.access(place / "cgroup.subtree_control", os.W_OK) and _only_our_line(place)


def _only_our_line(place: Path) -> bool:
    members = {int(pid) for pid in knobs.read(place / "cgroup.procs").split()}
    return members <= _our_line()


def _our_line() -> set[int]:
    """We, our ancestors (in a container, up to its first process), and our children: the node has one that removes directories."""
    from batchyard.compute.local import proc

    line = {os.getpid(), *(seen.pid for seen in proc.processes() if seen.parent == os.getpid())}
    pid = os.getpid()
    while pid and (seen := proc.process(pid)):
        line.add(pid)
        pid = seen.parent
    return line


def make_tree(groups: Groups, name: str, limits: Limits = USUAL) -> Tree:
    """The cages that go with the usable cgroups. OSError if they cannot be made after all."""
    if os.geteuid() == 0 and groups.version:
        _claims.append(claim(f"{_TREE}{name}"))
        for place in groups.places.values():
            remove_dead_trees(place)
    if groups.version == 1:
        return cgroup1.Tree1(groups.places, f"{_TREE}{name}", limits)
    if groups.version == 2:
        parent = groups.places["memory"]
        if _only_our_line(parent) and "memory" not in knobs.read(parent / "cgroup.subtree_control").split():
            # A group with processes in it may not hand down controllers: those in this one are ours, and step aside.
            aside = parent / f"{_TREE}{name}{_ASIDE}"
            aside.mkdir(exist_ok=True)
            for pid in knobs.read(parent / "cgroup.procs").split():
                knobs.write(aside / "cgroup.procs", pid)
        return cgroup2.Tree2(parent, f"{_TREE}{name}", limits)
    return WatchedTree(limits)


def remove_dead_trees(place: Path) -> None:
    """Take away what nodes of other data directories left when they died, as far as nobody lives there."""
    for tree in place.glob(f"{_TREE}*"):
        if re.fullmatch(r"[0-9a-f]{12}", tree.name.removeprefix(_TREE)):
            held = claim(tree.name)
            if held is not None:
                if not any(knobs.read(members).strip() for members in tree.rglob("cgroup.procs")):
                    cgroup2.remove_below(tree)
                os.close(held)


# --- directories ---


def make_work(directory: Path, wanted: Path | None, name: str, isolated: bool) -> Path:
    """Make the place for the jobs' directories: `wanted`, or DIR/work, or, if other users cannot get there, one in /var/tmp.

    Isolated jobs have user ids of their own and must get through to it: DIR lets them pass (0711) but not look, and all else in it
    is closed to them.
    """
    work = wanted or directory / "work"
    if isolated and wanted is None:
        close_to_others(directory)
        if closed_ancestor(directory):
            work = _work_elsewhere(name)
    work.mkdir(mode=0o711 if isolated else 0o700, exist_ok=True)
    if not os.path.ismount(work):  # what an earlier node has mounted there may be sick: whoever watches over it sees to that
        furnish(work, isolated)
    return work


def furnish(work: Path, isolated: bool) -> None:
    """Have in the place for the jobs' directories what has to be there, also if something was mounted there just now."""
    if isolated:
        work.chmod(0o711)
    (work / "notices").mkdir(mode=0o711, exist_ok=True)


def clear_the_way(work: Path) -> None:
    """Move aside what lies where something is to be mounted: an attempt's leftovers, which are swept then."""
    if os.path.ismount(work):
        return
    with contextlib.suppress(OSError):
        (work / "notices").rmdir()
    if any(work.iterdir()):
        mode = work.stat().st_mode
        aside = work.with_name(f"{work.name}{LEFT}{os.urandom(4).hex()}")
        try:
            work.rename(aside)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            from batchyard.scratch import mounts  # rarely needed

            mounts.weigh(work)  # what was mounted there was unmounted by somebody, but for its anchor
            work.rename(aside)
        work.mkdir()
        work.chmod(stat.S_IMODE(mode))


def make_logs(directory: Path) -> None:
    """Make the folder of all logs, for us alone, and ask ext4 to put what is made in it where there is much room.

    Each attempt makes a file there. ext4 makes new files near their folder and looks past the number of every file that was removed
    from there in the last minute, one by one: next to a folder that lives a busy life that took ten times as long as anywhere else.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    if sys.platform.startswith("linux"):
        import fcntl

        descriptor = os.open(directory, os.O_RDONLY)
        try:
            flags = int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)), sys.byteorder)
            fcntl.ioctl(descriptor, _SET_FLAGS, (flags | _TOP_OF_TREE).to_bytes(8, sys.byteorder))
        except OSError:
            pass  # another file system: it has no such habit
        finally:
            os.close(descriptor)


def close_to_others(directory: Path) -> None:
    """Let other users pass through DIR, but see nothing in it but `work`."""
    directory.chmod(0o711)
    with os.scandir(directory) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if entry.name != "work" and mode & 0o077 and not stat.S_ISLNK(mode):
                Path(entry.path).chmod(stat.S_IMODE(mode) & 0o700)


def closed_ancestor(directory: Path) -> Path | None:
    """The first directory above that other users may not pass through."""
    for above in reversed(directory.parents):
        if above.exists() and not above.stat().st_mode & stat.S_IXOTH:
            return above
    return None


def is_elsewhere(work: Path) -> bool:
    """Whether the jobs' directories lie outside of DIR because other users cannot get into it."""
    return work.parent == _ELSEWHERE and work.name.startswith(_TREE)


def _work_elsewhere(name: str) -> Path:
    """A directory that is certainly ours in a place where everybody may write."""
    work = _ELSEWHERE / f"{_TREE}{name}"
    work.mkdir(mode=0o711, exist_ok=True)
    found = work.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{work} belongs to somebody else: choose another data directory")
    return work


# --- this process ---


def become_subreaper() -> None:
    """Let orphaned descendants become our children, so that they can be found and do not stay as zombies."""
    _prctl(_PR_SET_CHILD_SUBREAPER)


def renounce_privileges() -> None:
    """No job gains anything by a set-user-id program: ids of their own are worth little on a machine where `sudo` might know better."""
    _prctl(_PR_SET_NO_NEW_PRIVS)


def _prctl(option: int) -> None:
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(option, 1, 0, 0, 0)


# --- facts ---


def facts(
    directory: Path, *, groups: Groups | None = None, same_user: bool = False, work: Path | None = None, no_bubbles: str | None = None
) -> dict[str, Any]:
    """What jobs get here: `root`, `isolation` ("cgroup v1", "cgroup v2", "watching"), `controllers`, `uid_isolation`, `bubblewrap`,
    `vcpus`, `memory_mib`, `gpus`, `work`, and `warnings`, each a sentence that says what is lost and how to get it.

    `no_bubbles`: why jobs have no namespaces (`bubbles.why_not`), "" if they do, None if they are not to."""
    groups = groups or usable_groups()
    root = os.geteuid() == 0
    isolated = root and not same_user
    elsewhere = isolated and (is_elsewhere(work) if work else closed_ancestor(directory.absolute()) is not None)
    warnings: list[str] = []
    if not groups.version:
        warnings.append(
            f"Memory limits are kept by watching, four times a second, because {groups.why_not}: a job that allocates quickly can "
            "exceed its limit for a moment."
        )
    if no_bubbles:
        warnings.append(
            f"Jobs see this machine's /tmp and each other's processes, because {no_bubbles}: with it each gets a /tmp and a list of "
            "processes of its own (install bubblewrap and allow what it needs, or say --bubblewrap off)."
        )
    if not root and no_bubbles == "":
        warnings.append(
            "Without root all jobs run as the user that started Batchyard. They cannot see its data and keys, but can read and change "
            "this user's other files: run only jobs that you trust (trusted user)."
        )
    elif not root:
        warnings.append(
            "Without root all jobs run as the user that started Batchyard and can read its files, keys included: run only jobs that "
            "you trust (trusted user)."
        )
    elif same_user:
        warnings.append("Jobs run as root, as asked for by --same-user: every job owns this machine.")
    if elsewhere:
        warnings.append(
            f"Jobs' directories are made in {_ELSEWHERE}, because other users may not pass through "
            f"{closed_ancestor(directory.absolute())}: choose another data directory."
        )
    controllers = list(groups.places) if groups.version == 1 else _controllers2(groups)
    return {
        "root": root,
        "isolation": f"cgroup v{groups.version}" if groups.version else "watching",
        "controllers": controllers,
        "uid_isolation": isolated,
        "bubblewrap": no_bubbles == "",
        "vcpus": _vcpus(),
        "memory_mib": _memory_mib(),
        "gpus": len(gpu_devices()),
        "work": str(work or (_ELSEWHERE if elsewhere else directory.absolute() / "work")),
        "warnings": warnings,
    }


def _controllers2(groups: Groups) -> list[str]:
    if not groups.version:
        return []
    there = knobs.read(groups.places["memory"] / "cgroup.controllers").split()
    return [controller for controller in cgroup2.CONTROLLERS if controller in there]


def _vcpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_mib() -> int:
    """The machine's memory, or less if our own cgroup is limited."""
    total = _physical_memory_bytes()
    own = knobs.own_groups()
    for mount in knobs.mounts():
        if mount.kind == "cgroup2" or "memory" in mount.options:
            place = knobs.place_in(mount, own.get("" if mount.kind == "cgroup2" else "memory", "/"))
            for above in (place, *place.parents):
                limit = (knobs.read(above / "memory.max") or knobs.read(above / "memory.limit_in_bytes")).strip()
                if limit.isdecimal():
                    total = min(total, int(limit))
                if above == mount.place:
                    break
    return total // _MIB


def _physical_memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except ValueError:  # not known by that name on every macOS
        import subprocess

        return int(subprocess.run(["sysctl", "-n", "hw.memsize"], capture_output=True, text=True, check=True).stdout)


def gpu_devices() -> list[int]:
    """The numbers of NVIDIA's devices."""
    return sorted(int(path.name[6:]) for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdecimal())
