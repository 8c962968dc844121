"""Which loop devices a test has left on the machine, on which other tests and their sandboxes are at work at the same time."""

from __future__ import annotations

from pathlib import Path

from batchyard.compute.local import knobs
from batchyard.scratch import loop


def devices_below(root: Path) -> dict[str, str]:
    """Loop devices on files below a folder, with the names of their files.

    One that was let go of does not count: its file is removed, and the kernel takes it away with its last user, which may be a copy of the
    mount in a sandbox of another service's job.
    """
    found = {}
    for device, backing in loop.attached().items():
        if backing.startswith(f"{root.resolve()}/"):
            is_let_go = knobs.read(Path(f"/sys/block/{Path(device).name}/loop/autoclear")).strip() != "0"
            if not (backing.endswith(" (deleted)") and is_let_go):
                found[device] = backing
    return found
