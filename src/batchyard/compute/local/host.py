"""What this machine can give: who we are, which cgroups can be used, where jobs may live. Decided once, when the node starts."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NamedTuple

from batchyard.compute.local.cage import Tree
from batchyard.compute.local.slots import DEFAULT_UIDS
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.watched import WatchedTree

__all__ = ["DEFAULT_UIDS", "Ground", "become_subreaper", "clear_work", "facts", "prepare"]

_PR_SET_CHILD_SUBREAPER = 36


class Ground(NamedTuple):
    """What the node stands on."""

    name: str
    work: Path
    tree: Tree
    uids: range | None
    facts: dict[str, Any]


def facts(directory: Path) -> dict[str, Any]:
    raise NotImplementedError


def prepare(directory: Path, options: argparse.Namespace) -> Ground:
    name = directory.name
    work = Path(options.work) if options.work else directory / "work"
    uids = options.uids if os.geteuid() == 0 and not options.same_user else None
    if uids is not None:
        os.setgroups([])
        directory.chmod(0o711)
    work.mkdir(mode=0o711, exist_ok=True)
    (work / "notices").mkdir(mode=0o711, exist_ok=True)
    return Ground(name, work, WatchedTree(), uids, {})


def clear_work(work: Path, sweeper: Sweeper) -> None:
    """Have what earlier attempts left removed."""
    for entry in os.scandir(work):
        if entry.name != "notices":
            sweeper.remove(entry.path)


def become_subreaper() -> None:
    """Let orphaned descendants become our children, so that they can be found and do not stay as zombies."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
