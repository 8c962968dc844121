"""How large the scratch space under jobs may become: what the operator said, else most of what is free; sticky in the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

from batchyard.main.settings import Settings, write_private
from batchyard.store.folders import make_folder

_GIB = 1024**3
_MIB = 1024**2
_PART_OF_FREE = 0.8
_INITIAL_PART, _INITIAL_LEAST, _INITIAL_MOST = 64, 1 * _GIB, 16 * _GIB


def node_options(settings: Settings) -> list[str]:
    """What the node is told about the scratch space. The folder has to be there."""
    cap = cap_bytes(settings)
    initial = settings.scratch_initial_gib
    initial_bytes = int(initial * _GIB) if initial is not None else min(max(cap // _INITIAL_PART, _INITIAL_LEAST), _INITIAL_MOST)
    told = {
        "--scratch": settings.scratch,
        "--scratch-cap-bytes": cap,
        "--scratch-initial-bytes": min(initial_bytes, cap) // _MIB * _MIB,
        "--container-scratch": settings.container_scratch,
        "--vcpus": f"{settings.host_room().vcpus:g}",
    }
    return [word for name, value in told.items() for word in (name, str(value))]


def cap_bytes(settings: Settings) -> int:
    """The limit in bytes: as `--scratch-gib` says, else as it was before in this folder, else most of what its disk has free now."""
    kept = settings.data / "scratch" / "cap.json"
    if settings.scratch_gib is not None:
        cap = int(settings.scratch_gib * _GIB) // _MIB * _MIB
    else:
        before = _kept(kept)
        if before is not None:
            return before
        below = os.statvfs(settings.data)
        cap = int(below.f_bavail * below.f_frsize * _PART_OF_FREE) // _MIB * _MIB
    make_folder(kept.parent)
    write_private(kept, {"cap_bytes": cap})
    return cap


def _kept(path: Path) -> int | None:
    """What was kept; None where nothing was, or what cannot be read: then it is decided anew."""
    try:
        return int(json.loads(path.read_bytes())["cap_bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
