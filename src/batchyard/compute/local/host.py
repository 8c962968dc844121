"""What this machine can give to jobs, told to people (`facts`), and what a node asks of the kernel for its own process."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from batchyard.compute.local import cgroup2, knobs
from batchyard.compute.local.cgroups import Groups, usable_groups
from batchyard.compute.local.workplace import ELSEWHERE, closed_ancestor, is_elsewhere

DEFAULT_UIDS = range(60706, 61184)
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_MIB = 1024 * 1024
_NAME_FILE = "node.id"


def node_name(directory: Path) -> str:
    """The name of the node of DIR: made once, it marks its processes and its cgroups."""
    path = directory / _NAME_FILE
    found = knobs.read(path).strip()
    if not re.fullmatch(r"[0-9a-f]{12}", found):
        found = os.urandom(6).hex()
        path.write_text(found + "\n")
    return found


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

    `no_bubbles`: why jobs have no namespaces (`bubble_trial.why_not`), "" if they do, None if they are not to."""
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
            f"Jobs' directories are made in {ELSEWHERE}, because other users may not pass through "
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
        "work": str(work or (ELSEWHERE if elsewhere else directory.absolute() / "work")),
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
