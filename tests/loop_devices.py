"""Which loop devices a test has left on the machine, on which other tests and their sandboxes are at work at the same time."""

from __future__ import annotations

import subprocess
from pathlib import Path

from batchyard.compute.local import knobs
from batchyard.scratch import loop


def devices_below(root: Path) -> dict[str, str]:
    """Loop devices on files below a folder, with the names of their files.

    One that was let go of does not count: its file is removed, and the kernel takes it away with its last user, which may be a copy of the
    mount in a sandbox of another service's job.
    """
    inside = f"{root.resolve()}/"
    found = {device: backing for device, backing in loop.attached().items() if backing.startswith(inside)}
    return {device: backing for device, backing in found.items() if not (backing.endswith(" (deleted)") and goes_by_itself(device))}


def let_go_below(root: Path) -> None:
    """Detach all loop devices on files below a folder: those that go by themselves may be another test's when they are named."""
    for device, backing in loop.attached().items():
        if backing.startswith(f"{root.resolve()}/") and not goes_by_itself(device):
            subprocess.run(["losetup", "-d", device], check=False, timeout=60)


def goes_by_itself(device: str) -> bool:
    """Whether it is gone, or goes with its last user."""
    return knobs.read(Path(f"/sys/block/{Path(device).name}/loop/autoclear")).strip() != "0"
