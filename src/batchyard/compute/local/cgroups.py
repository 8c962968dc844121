"""The cgroups of this machine that a node may use, and its own part of them, in which the cages of its jobs are made."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

from batchyard.compute.local import cgroup1, cgroup2, knobs, proc
from batchyard.compute.local.cage import USUAL, Limits, Tree
from batchyard.compute.local.loop import boot_s
from batchyard.compute.local.slots import claim
from batchyard.compute.local.watched import WatchedTree

_TREE = "batchyard-"
_ASIDE = "-server"
_SWEPT_S = 20.0  # beyond what it takes to remove the cgroups of a dead node
_claims: list[int | None] = []  # kept for as long as this process lives


class Groups(NamedTuple):
    """The cgroups that can be used: of version 1 or 2, or none (0) with the reason."""

    version: int
    places: dict[str, Path]  # where to make our part, by controller; version 2 has all in one
    why_not: str = ""


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
                place = next((place for place in (mount.place, knobs.place_in(mount, own.get(controller, "/"))) if can_make(place)), None)
                if place:
                    places[controller] = place
    if "memory" in places:
        return Groups(1, places)
    for mount in unified:
        for place in (mount.place, _before_stepping_aside(knobs.place_in(mount, own.get("", "/")))):
            if "memory" in knobs.read(place / "cgroup.controllers").split() and can_make(place) and _can_hand_down(place):
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


def can_make(place: Path) -> bool:
    """Whether we may make cgroups below `place`; one is made and removed."""
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
    line = {os.getpid(), *(seen.pid for seen in proc.processes() if seen.parent == os.getpid())}
    pid = os.getpid()
    while pid and (seen := proc.process(pid)):
        line.add(pid)
        pid = seen.parent
    return line


def make_tree(groups: Groups, name: str, limits: Limits = USUAL) -> Tree:
    """The cages that go with the usable cgroups. OSError if they cannot be made after all."""
    if os.geteuid() == 0 and groups.version:
        _claims.append(_claimed(f"{_TREE}{name}"))
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


def _claimed(name: str) -> int | None:
    """The claim on our tree. A node that starts at this moment may hold it, to take away what an earlier one of our name has left."""
    give_up_s = boot_s() + _SWEPT_S
    while (held := claim(name)) is None and boot_s() < give_up_s:
        time.sleep(0.01)
    return held


def remove_dead_trees(place: Path) -> None:
    """Take away what nodes of other data directories left when they died, as far as nobody lives there."""
    for tree in place.glob(f"{_TREE}*"):
        if re.fullmatch(r"[0-9a-f]{12}", tree.name.removeprefix(_TREE)):
            held = claim(tree.name)
            if held is not None:
                if not any(knobs.read(group / "cgroup.procs").strip() for group in cgroup2.with_below(tree)):
                    cgroup2.remove_below(tree)
                os.close(held)
