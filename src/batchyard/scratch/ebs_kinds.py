"""What EBS has on offer, how ours are marked, and what the role of an instance must be allowed to do with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

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
# IOPS of a volume: least, most, and most for each GiB. https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html
IOPS = {"gp3": (3000, 80_000, 500), "io1": (100, 64_000, 50), "io2": (100, 256_000, 1000)}
THROUGHPUT_MIB, IOPS_PER_MIB = (125, 2000), 4  # of gp3: MiB/s, and the IOPS that each of them needs
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
        if self.iops is not None and self.type not in IOPS:
            raise ScratchError(f"the IOPS of a {self.type} volume are not for choice: leave --iops away, or take gp3, io1 or io2")
        if self.iops is None and self.type in ("io1", "io2"):
            raise ScratchError(f"a {self.type} volume needs --iops")
        if self.iops is not None and not IOPS[self.type][0] <= self.iops <= IOPS[self.type][1]:
            raise ScratchError(f"a {self.type} volume has {IOPS[self.type][0]} to {IOPS[self.type][1]} IOPS, not {self.iops}")
        self._check_throughput()
        if self.kms_key_id and not self.encrypted:
            raise ScratchError("a key (--kms-key-id) is for encrypted volumes: add --encrypted")
        for key, _ in self.tags:
            if key.startswith(("aws:", "batchyard:scratch-")):
                raise ScratchError(f"the tag {key} is not yours to set")

    def check_first(self, size_gib: int) -> None:
        """Refuse IOPS that not even the first volume can have. Later ones may be smaller, and then have fewer."""
        if self.iops is not None and self.iops > self._iops_most(size_gib):
            least_gib = -(-self.iops // IOPS[self.type][2])
            raise ScratchError(
                f"{self.iops} IOPS need a {self.type} volume of {least_gib} GiB or more, not {size_gib}: see --iops and --initial-gib"
            )

    def asked(self, size_gib: int) -> dict[str, Any]:
        """Of a volume of that size, in the words of CreateVolume: never more than EC2 gives to one of that size."""
        iops = self.iops if self.iops is None else min(self.iops, self._iops_most(size_gib))
        throughput = self.throughput_mib
        if throughput is not None:
            throughput = min(throughput, (iops or IOPS[self.type][0]) // IOPS_PER_MIB)
        chosen = {"Iops": iops, "Throughput": throughput, "KmsKeyId": self.kms_key_id, "Encrypted": self.encrypted}
        return {"VolumeType": self.type, **{name: value for name, value in chosen.items() if value}}

    def _iops_most(self, size_gib: int) -> int:
        least, _, per_gib = IOPS[self.type]
        return max(least, per_gib * size_gib)

    def _check_throughput(self) -> None:
        if self.throughput_mib is None:
            return
        if self.type != "gp3":
            raise ScratchError(f"the throughput of a {self.type} volume is not for choice: leave --throughput-mib away, or take gp3")
        least, most = THROUGHPUT_MIB
        if not least <= self.throughput_mib <= most:
            raise ScratchError(f"a gp3 volume has {least} to {most} MiB/s, not {self.throughput_mib}")
        needed = self.throughput_mib * IOPS_PER_MIB
        if needed > (self.iops or IOPS["gp3"][0]):
            raise ScratchError(f"{self.throughput_mib} MiB/s of a gp3 volume need {needed} IOPS: see --iops")


@dataclass(frozen=True, slots=True)
class Waits:
    """The limits of every wait, in seconds; `look_s` is the time between two questions to EC2."""

    create_s: float = 120.0
    attach_s: float = 120.0
    device_s: float = 60.0
    detach_s: float = 120.0
    modify_s: float = 300.0
    unseen_s: float = 5.0  # what was made may not be told of for so long
    settled_s: float = 300.0  # ... for certain: https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
    full_s: float = 600.0  # so long no volume is made in vain for an instance that could not take another
    look_s: float = 1.0

    def until(self, look: Callable[[], Found | None], what: str, limit_s: float, pause_s: float | None = None) -> Found:
        """What `look` finds, within `limit_s`. ScratchError: `what`, if it finds nothing by then."""
        deadline = time.monotonic() + limit_s
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise ScratchError(f"{what}: not within {limit_s:g} s")
            time.sleep(self.look_s if pause_s is None else pause_s)
        return found
