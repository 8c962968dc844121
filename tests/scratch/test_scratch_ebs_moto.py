"""The same back ends with moto as EC2: a second opinion on what requests look like. moto has no disks, so they are put in here."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from cloud import BTRFS, WAITS, XFS
from ground import Plot, needs, plot
from moto import mock_aws

from batchyard.scratch import ebs, imds, mounts
from batchyard.scratch.ebs_kinds import TAG_INSTANCE
from batchyard.scratch.ec2 import Ec2
from batchyard.scratch.policy import GIB

_LOADER = functools.cache(botocore.session.create_loader)


class Plugging(Ec2):
    """Moto's answers, and what the hardware would do."""

    def __init__(self, region: str, folder: Path) -> None:
        super().__init__(region, limit_s=60)
        self._folder = folder

    def call(self, action: str, *, limit_s: float | None = None, is_repeatable: bool = True, **params: Any) -> dict[str, Any]:
        answer = super().call(action, limit_s=limit_s, is_repeatable=is_repeatable, **params)
        volume = params.get("VolumeId", "")
        file, name = self._folder / f"{volume}.img", self._folder / f"nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"
        if action in ("AttachVolume", "ModifyVolume"):
            seen = self.volume(volume)
            assert seen is not None
            with open(file, "ab") as disk:
                disk.truncate(seen.size_gib * GIB)
            if action == "AttachVolume":
                name.symlink_to(run("losetup", "--find", "--show", str(file)))
            else:
                run("losetup", "--set-capacity", str(name.resolve()))
        elif action == "DetachVolume":
            run("losetup", "--detach", str(name.resolve()))
            name.unlink()
        return answer


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@contextlib.contextmanager
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Plot, imds.Instance]]:
    monkeypatch.setattr(botocore.session, "create_loader", _LOADER)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with mock_aws(), plot() as place:
        ec2 = boto3.client("ec2", region_name="us-east-1")
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
        yield place, imds.Instance(made["InstanceId"], made["Placement"]["AvailabilityZone"], "us-east-1")


@pytest.mark.parametrize(
    "name", [pytest.param(BTRFS, marks=needs("mkfs.btrfs", "btrfs-progs")), pytest.param(XFS, marks=needs("mkfs.xfs", "xfsprogs"))]
)
def test_a_life_with_moto(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with account(monkeypatch) as (place, here):
        client = boto3.client("ec2", region_name="us-east-1")
        kind = ebs.Kind("gp3", iops=3000, throughput_mib=250, encrypted=True, tags=(("project", "p"),))
        ec2 = Plugging("us-east-1", place.root)
        ground = ebs.backend(name, place.store, place.mount, GIB, kind, where=here, ec2=ec2, waits=WAITS, by_id=place.root)
        ground.ensure()
        (place.mount / "kept").write_bytes(b"kept" * 1000)
        ground.grow(2 * GIB)
        assert sum(ground.volumes()) == 3 * GIB
        ours = client.describe_volumes(Filters=[{"Name": f"tag:{TAG_INSTANCE}", "Values": [here.id]}])["Volumes"]
        assert [volume["Size"] for volume in ours] == ([1, 2] if name == BTRFS else [3])
        for volume in ours:
            assert (volume["VolumeType"], volume["Iops"], volume["Throughput"], volume["Encrypted"]) == ("gp3", 3000, 250, True)
            assert {"Key": "project", "Value": "p"} in volume["Tags"]
        if name == BTRFS:
            ground.shrink(1)
            assert ground.volumes() == (GIB,)
        ground.probe()
        assert (place.mount / "kept").read_bytes() == b"kept" * 1000
        ground.retire()
        ground.close()
        assert client.describe_volumes(Filters=[{"Name": "tag-key", "Values": [TAG_INSTANCE]}])["Volumes"] == []
        assert mounts.mounted_from(place.mount) is None
