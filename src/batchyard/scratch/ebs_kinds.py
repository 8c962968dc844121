"""What EBS has on offer, how ours are marked, and what the role of an instance must be allowed to do with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from batchyard.scratch.provision import ScratchError

# What the role of an instance must be allowed to do, and all that the daemon ever calls. CreateTags: tags are part of CreateVolume.
ACTIONS = (
    "ec2:CreateVolume",
    "ec2:CreateTags",
    "ec2:AttachVolume",
    "ec2:ModifyInstanceAttribute",
    "ec2:ModifyVolume",
    "ec2:DescribeVolumes",
    "ec2:DescribeVolumesModifications",
    "ec2:DetachVolume",
    "ec2:DeleteVolume",
)

TAG_VOLUME = "batchyard:scratch-volume"  # the name in the record, one in the world
TAG_INSTANCE = "batchyard:scratch-instance"  # whose it is, from before it is attached
TAG_STORE = "batchyard:scratch-store"  # which record of that instance

# GiB of a volume, least and most: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html, Size
SIZES_GIB = {
    "gp3": (1, 65536),
    "gp2": (1, 16384),
    "io1": (4, 16384),
    "io2": (4, 65536),
    "st1": (125, 16384),
    "sc1": (125, 16384),
    "standard": (1, 1024),
}
VOLUMES_MAX = 16  # of the 27 or so that an instance may have besides the root's; network interfaces count, too

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html
MODIFICATIONS, MODIFICATIONS_WITHIN_S = 4, 24 * 3600.0

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Kind:
    """Of the volumes that are made."""

    type: str = "gp3"
    iops: int | None = None
    throughput_mib: int | None = None
    encrypted: bool = False
    kms_key_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    def check(self) -> None:
        """Refuse what AWS would, before anything is made."""
        if self.type not in SIZES_GIB:
            raise ScratchError(f"there are no EBS volumes of type {self.type}, but of {', '.join(SIZES_GIB)}")
        if self.iops is not None and self.type not in ("gp3", "io1", "io2"):
            raise ScratchError(f"the IOPS of a {self.type} volume are not for choice: leave --iops away, or take gp3, io1 or io2")
        if self.iops is None and self.type in ("io1", "io2"):
            raise ScratchError(f"a {self.type} volume needs --iops")
        if self.throughput_mib is not None and self.type != "gp3":
            raise ScratchError(f"the throughput of a {self.type} volume is not for choice: leave --throughput-mib away, or take gp3")
        if self.kms_key_id and not self.encrypted:
            raise ScratchError("a key (--kms-key-id) is for encrypted volumes: add --encrypted")
        for key, _ in self.tags:
            if key.startswith(("aws:", "batchyard:scratch-")):
                raise ScratchError(f"the tag {key} is not yours to set")


@dataclass(frozen=True, slots=True)
class Waits:
    """The limits of every wait, in seconds; `look_s` is the time between two questions to EC2."""

    create_s: float = 120.0
    attach_s: float = 120.0
    device_s: float = 60.0
    detach_s: float = 120.0
    modify_s: float = 300.0
    unseen_s: float = 5.0  # what was made may not be told of for so long
    look_s: float = 1.0

    def until(self, look: Callable[[], Found | None], what: str, limit_s: float, pause_s: float | None = None) -> Found:
        """What `look` finds, within `limit_s`. ScratchError: `what`, if it finds nothing by then."""
        deadline = time.monotonic() + limit_s
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise ScratchError(f"{what}: not within {limit_s:g} s")
            time.sleep(self.look_s if pause_s is None else pause_s)
        return found
