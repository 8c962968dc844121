"""Scratch space of EBS volumes: a btrfs that takes in another volume, or an xfs on one that is made larger."""

from __future__ import annotations

import os
from pathlib import Path

from batchyard.scratch.btrfs import Btrfs
from batchyard.scratch.ebs_disks import EbsDisks
from batchyard.scratch.ebs_kinds import ACTIONS as ACTIONS
from batchyard.scratch.ebs_kinds import SIZES_GIB, Kind, Waits
from batchyard.scratch.ec2 import Ec2
from batchyard.scratch.imds import Instance
from batchyard.scratch.ledger import Ledger
from batchyard.scratch.loop import Step, no_step
from batchyard.scratch.policy import GIB
from batchyard.scratch.provision import Backend, ScratchError
from batchyard.scratch.xfs import Xfs

BTRFS, XFS = "ebs-btrfs", "ebs-xfs"


def backend(
    name: str,
    store: Path,
    mount: Path,
    initial_bytes: int,
    kind: Kind | None = None,
    *,
    where: Instance | None = None,
    ec2: Ec2 | None = None,
    waits: Waits | None = None,
    by_id: Path = Path("/dev/disk/by-id"),
    step: Step = no_step,
    patience_s: float = 60.0,
) -> Backend:
    """The back end `ebs-btrfs` or `ebs-xfs`. The instance and its credentials come from its metadata service unless they are given."""
    if os.geteuid() != 0:
        raise ScratchError("volumes are added to file systems and mounted by root: run it as root")
    kind = kind or Kind()
    kind.check()
    least, most = SIZES_GIB[kind.type]
    if initial_bytes % GIB or not least * GIB <= initial_bytes <= most * GIB:
        raise ScratchError(f"a {kind.type} volume has {least} to {most} whole GiB, not {initial_bytes / GIB:g}: see --initial-gib")
    kind.check_first(initial_bytes // GIB)
    ledger = Ledger(store, patience_s=patience_s)
    disks = EbsDisks(ledger, kind, where=where, ec2=ec2, waits=waits, step=step, by_id=by_id)
    made: type[Btrfs] | type[Xfs] = Btrfs if name == BTRFS else Xfs
    return made(ledger, disks, mount, initial_bytes, step=step)
