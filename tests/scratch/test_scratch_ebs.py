"""Scratch space on EBS volumes, against a double of EC2 whose volumes are loop devices under real file systems."""

from __future__ import annotations

import os
import subprocess

import pytest
from cloud import BTRFS, XFS, cloudy
from ground import needs

from batchyard.scratch import mounts
from batchyard.scratch.ebs_kinds import TAG_INSTANCE
from batchyard.scratch.policy import GIB

KINDS = [pytest.param(BTRFS, marks=needs("mkfs.btrfs", "btrfs-progs")), pytest.param(XFS, marks=needs("mkfs.xfs", "xfsprogs"))]
ON_BTRFS = needs("mkfs.btrfs", "btrfs-progs")
ON_XFS = needs("mkfs.xfs", "xfsprogs")


@pytest.mark.parametrize("name", KINDS)
def test_it_is_made_grows_survives_and_goes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = place.backend(name)
        ground.ensure()
        ground.ensure()
        ground.probe()
        (place.mount / "kept").write_bytes(b"kept" * 1000)
        ground.grow(2 * GIB)
        assert sum(ground.volumes()) == 3 * GIB
        seen = os.statvfs(place.mount)
        assert seen.f_blocks * seen.f_frsize > 2.9 * GIB
        ground.probe()
        disks = place.double.alive()
        assert [disk.size_gib for disk in disks] == ([1, 2] if name == BTRFS else [3])
        assert all(disk.goes_with_instance for disk in disks)
        assert all(disk.tags[TAG_INSTANCE] == place.double.instance_id for disk in disks)
        ground.close()

        subprocess.run(["umount", str(place.mount)], check=True, timeout=60)  # the instance starts again
        again = place.backend(name)
        calls = len(place.double.calls)
        again.ensure()
        assert (place.mount / "kept").read_bytes() == b"kept" * 1000
        assert {call["action"] for call in place.double.calls[calls:]} == {"DescribeVolumes"}, "the sweep alone"
        again.retire()
        again.close()
        assert place.in_cloud() == []
        assert place.devices() == []
        assert mounts.mounted_from(place.mount) is None
