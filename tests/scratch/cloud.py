"""A double of EC2 with a place for scratch space on its volumes, always cleaned up; and back ends that do not wait long."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.session
import pytest
from ec2_double import Double, Pace
from ground import Plot, plot

from batchyard.scratch import ebs
from batchyard.scratch.ebs import BTRFS, XFS, Kind, Waits
from batchyard.scratch.ec2 import Ec2
from batchyard.scratch.policy import GIB
from batchyard.scratch.provision import Backend

WAITS = Waits(create_s=60, attach_s=60, device_s=60, detach_s=60, modify_s=60, unseen_s=0.3, look_s=0.02)
SHORT = Waits(create_s=3, attach_s=3, device_s=2, detach_s=3, modify_s=3, unseen_s=0.3, look_s=0.02)  # for what never comes
QUICK = Pace(0.02, 0.02, 0.02, 0.02, 0.0)  # a volume that was made larger may be again at once
_LOADER = functools.cache(botocore.session.create_loader)  # EC2's model is large: read once
FILE_SYSTEM = {BTRFS: "btrfs", XFS: "xfs"}


class Cloudy(Plot):
    """A place, and the cloud whose volumes it stands on."""

    def __init__(self, root: Path, double: Double) -> None:
        super().__init__(root)
        self.double = double

    def backend(
        self, name: str = BTRFS, *, initial_gib: int = 1, kind: Kind | None = None, waits: Waits = WAITS, limit_s: float = 60
    ) -> Backend:
        """In this process; through the metadata service and botocore's own chain of credentials."""
        client = Ec2(self.double.region, limit_s=limit_s)
        return ebs.backend(
            name, self.store, self.mount, initial_gib * GIB, kind, ec2=client, waits=waits, by_id=self.double.by_id, patience_s=30
        )

    def in_cloud(self) -> list[str]:
        """The ids of the volumes that are paid for."""
        return sorted(disk.id for disk in self.double.alive())


@contextlib.contextmanager
def cloudy(monkeypatch: pytest.MonkeyPatch, pace: Pace = QUICK) -> Iterator[Cloudy]:
    """This machine is an instance of the double's."""
    monkeypatch.setattr(botocore.session, "create_loader", _LOADER)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with plot() as place, Double(place.root / "cloud", by_id=place.root / "by-id", pace=pace) as double:
        for name, value in double.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(place.root / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(place.root / "none"))
        try:
            yield Cloudy(place.root, double)
        finally:
            subprocess.run(["umount", str(place.mount)], capture_output=True, timeout=120)


def until(is_so: Callable[[], bool], what: str, patience_s: float = 90) -> None:
    """Wait for it, not for ever."""
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
