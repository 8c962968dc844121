"""Scratch space of services whose folder was removed while everything of them was dead: nobody else would ever clear it.

It is known by what a living one never shows: a file system that is mounted at DIR/work (or at its place below /var/tmp) on loop devices
whose files, DIR/scratch/volume-..., are removed. Whoever takes scratch space away unmounts first.
"""

from __future__ import annotations

import contextlib
import logging
import re
from pathlib import Path

from batchyard.scratch import loop, mounts, tools
from batchyard.scratch.provision import ScratchError

_GONE = " (deleted)"
_ELSEWHERE = re.compile(r"/var/tmp/batchyard-[0-9a-f]{12}")
_QUICK_S = 60.0
log = logging.getLogger(__name__)


def clear() -> list[str]:
    """Unmount what is forsaken and not in use, and let its devices go: the places, for the log."""
    cleared = []
    for device, backing in loop.attached().items():
        store = _store_of(backing)
        if store is None:
            continue
        for place in _mounted(device):
            if place == f"{store.parent}/work" or _ELSEWHERE.fullmatch(place):
                with contextlib.suppress(ScratchError):  # somebody is in there: not forsaken after all
                    tools.run(["umount", place], timeout_s=_QUICK_S)
                    mounts.weigh(Path(place))
                    cleared.append(place)
                    _let_go(store)
    for anchored in map(Path, mounts.anchors()):
        if anchored.name == "work" and not (anchored.parent / "scratch").exists():  # what was on it was unmounted by hand
            with contextlib.suppress(ScratchError):
                mounts.weigh(anchored)
    for place in cleared:
        log.info("%s was left by a service whose folder is gone: cleared", place)
    return cleared


def _store_of(backing: str) -> Path | None:
    """DIR/scratch of a removed volume; None for what is there, or is none."""
    path = Path(backing.removesuffix(_GONE))
    is_volume = path.parent.name == "scratch" and path.name.startswith("volume-") and path.suffix == ".img"
    return path.parent if backing.endswith(_GONE) and is_volume and not path.parent.exists() else None


def _mounted(device: str) -> list[str]:
    return [mount.place for mount in mounts.mounts() if mount.source == device]


def _let_go(store: Path) -> None:
    for device, backing in loop.attached().items():
        if _store_of(backing) == store:
            with contextlib.suppress(ScratchError):
                loop.let_go(device, None)
