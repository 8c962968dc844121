"""Rules of EBS that are in the small print: what a size can have, how many an instance can, keys that pass, answers that are behind."""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cloud import BTRFS, WAITS, XFS, Cloudy, cloudy, until
from ec2_double import Pace
from ec2_volumes import Disk
from ground import needs, running

from batchyard.scratch import imds, tools
from batchyard.scratch.daemon import Daemon
from batchyard.scratch.ebs import Kind
from batchyard.scratch.ebs_disks import EbsDisks
from batchyard.scratch.ledger import NAME, Ledger, Volume, read
from batchyard.scratch.policy import GIB, Limits
from batchyard.scratch.provision import Backend, NoRoom, ScratchError

ON_BTRFS = needs("mkfs.btrfs", "btrfs-progs")
ON_XFS = needs("mkfs.xfs", "xfsprogs")
WAITS_NO_LONGER = replace(WAITS, settled_s=0.0)


def marked(function: Any) -> Any:
    for mark in ON_BTRFS:
        function = mark(function)
    return function


def begun(place: Cloudy, name: str = BTRFS, **settings: Any) -> Backend:
    ground = place.backend(name, **settings)
    ground.ensure()
    place.double.calls.clear()
    return ground


def asked(place: Cloudy, action: str) -> list[dict[str, Any]]:
    return [call["params"] for call in place.double.calls if call["action"] == action]


@marked
def test_a_smaller_volume_has_as_many_iops_as_its_size_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 for each GiB of gp3, and MiB/s by these: EC2 refuses more."""
    with cloudy(monkeypatch) as place:
        ground = begun(place, kind=Kind("gp3", iops=4000, throughput_mib=1000), initial_gib=8)
        ground.grow(8 * GIB)
        ground.grow(GIB)
        assert [(made["Iops"], made["Throughput"]) for made in asked(place, "CreateVolume")] == [(4000, 1000), (3000, 750)]
        ground.close()


@marked
@pytest.mark.parametrize(
    ("kind", "initial_gib", "says"),
    [
        (Kind("gp3", iops=2000), 1, "a gp3 volume has 3000 to 80000 IOPS, not 2000"),
        (Kind("io1", iops=65000), 2000, "a io1 volume has 100 to 64000 IOPS, not 65000"),
        (Kind("gp3", iops=4000), 7, r"4000 IOPS need a gp3 volume of 8 GiB or more, not 7: see --iops and --initial-gib"),
        (Kind("gp3", throughput_mib=1000), 1, r"1000 MiB/s of a gp3 volume need 4000 IOPS: see --iops"),
        (Kind("gp3", throughput_mib=2500), 1, "a gp3 volume has 125 to 2000 MiB/s, not 2500"),
    ],
)
def test_what_no_volume_can_have_is_said_before_one_is_made(
    kind: Kind, initial_gib: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloudy(monkeypatch) as place:
        with pytest.raises(ScratchError, match=says):
            place.backend(kind=kind, initial_gib=initial_gib)
        assert not place.double.calls
        assert not place.store.exists()


@marked
def test_an_instance_that_is_full_of_volumes_does_not_make_others_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many there may be depends on its type and its network interfaces, and only attaching tells."""
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail("AttachVolume", code="AttachmentLimitExceeded")
        with pytest.raises(NoRoom, match="AttachmentLimitExceeded"):
            ground.grow(GIB)
        ground.grow(GIB)
        place.double.attachments_max = 2
        for _ in range(2):  # perhaps somebody else's was just coming off
            with pytest.raises(NoRoom, match="AttachmentLimitExceeded"):
                ground.grow(GIB)
        made = len(asked(place, "CreateVolume"))
        for _ in range(3):
            with pytest.raises(NoRoom, match="AttachmentLimitExceeded"):
                ground.grow(GIB)
        assert len(asked(place, "CreateVolume")) == made
        assert len(place.in_cloud()) == len(ground.volumes()) == 2
        ground.shrink(1)
        ground.grow(GIB)
        assert len(place.in_cloud()) == len(ground.volumes()) == 2
        ground.close()


@marked
def test_a_volume_that_attaching_does_not_know_of_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail("AttachVolume", code="InvalidVolume.NotFound", times=2)
        ground.grow(GIB)
        assert ground.volumes() == (GIB, GIB)
        assert len(place.in_cloud()) == 2
        ground.close()


@marked
def test_an_attachment_that_is_not_told_of_yet_is_no_volume_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch, Pace(0.02, 0.5, 0.02, 0.02, 0.02)) as place:
        ground = begun(place)
        place.double.pace.unattached_s = 0.15
        ground.grow(GIB)
        assert ground.volumes() == (GIB, GIB)
        ground.close()


@pytest.mark.parametrize("is_here", [pytest.param(True, marks=ON_XFS)])
def test_a_modification_that_is_not_told_of_yet_was_not_given_up(is_here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place, XFS)
        ground.grow(GIB)
        place.double.pace.unmodified_s = 0.15
        ground.grow(GIB)
        assert ground.volumes() == (3 * GIB,)
        assert len(asked(place, "ModifyVolume")) == 2
        ground.close()


@marked
def test_a_volume_that_is_told_of_late_is_found_without_another_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon died between the request and its answer, and EC2's lists took their time: nobody has it on record any more."""
    with cloudy(monkeypatch) as place:
        begun(place).close()
        (ours,), lost = place.in_cloud(), half_made(place)
        place.double.pace.unseen_s = 3600
        ground = place.backend(waits=replace(WAITS, settled_s=3600))
        daemon = Daemon(ground, Limits(cap_bytes=8 * GIB, step_bytes=GIB), assumed_grow_s=0.1)
        daemon.start()
        assert place.in_cloud() == sorted([ours, lost])
        place.double.pace.unseen_s = 0
        ground._disks._waits = WAITS_NO_LONGER  # type: ignore[attr-defined]
        with running(daemon):
            until(lambda: place.in_cloud() == [ours], "it was not found")
        assert daemon.counters.grow_failures == daemon.counters.shrink_failures == 0


@marked
def test_an_answer_that_is_older_than_what_is_missed_settles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 answers the question by what it knew when that was put; who waits for the answer may wait until all would be told of."""
    with cloudy(monkeypatch) as place:
        begun(place).close()
        (ours,), lost = place.in_cloud(), half_made(place)
        place.double.pace.unseen_s = 3600
        ground = place.backend(waits=replace(WAITS, settled_s=3600))
        ground.ensure()
        real = place.double.call

        def late(action: str, given: dict[str, str]) -> Any:
            answer = real(action, given)
            ground._disks._waits = WAITS_NO_LONGER  # type: ignore[attr-defined]
            return answer

        monkeypatch.setattr(place.double, "call", late)
        ground.sweep()
        place.double.pace.unseen_s = 0
        assert place.in_cloud() == sorted([ours, lost]) and ground.owes_sweep()
        ground.sweep()
        assert place.in_cloud() == [ours] and not ground.owes_sweep()
        ground.close()


@marked
def test_a_daemon_that_starts_again_looks_while_ec2_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        begun(place).close()
        lost = half_made(place)
        release = threading.Event()
        real = place.double.call

        def slow(action: str, given: dict[str, str]) -> Any:
            if action == "DescribeVolumes":
                release.wait(60)
            return real(action, given)

        monkeypatch.setattr(place.double, "call", slow)
        daemon = Daemon(place.backend(), Limits(cap_bytes=8 * GIB, step_bytes=GIB), assumed_grow_s=0.1)
        daemon.start(settles_beside=True)
        with running(daemon):
            until(lambda: daemon.counters.looks > 3, "nobody looks")
            assert lost in place.in_cloud()
            release.set()
            until(lambda: lost not in place.in_cloud(), "it was not taken away")


def half_made(place: Cloudy) -> str:
    """A volume that a daemon made, and did not live to attach: its id."""
    record = read(place.store)
    assert record is not None
    lost = Volume("batchyard-lost-0001", GIB)
    (place.store / NAME).write_bytes(msgspec.json.encode(record.with_volume(lost)))
    (ours,) = place.double.alive()
    tags = ours.tags | {"batchyard:scratch-volume": lost.name}
    place.double.volumes["vol-lost"] = Disk("vol-lost", 1, "gp3", place.double.zone, lost.name, {}, tags, time.time(), "available")
    (place.double.folder / "vol-lost.img").touch()
    return "vol-lost"


@pytest.mark.parametrize(
    ("name", "action"),
    [pytest.param(BTRFS, "CreateVolume", marks=ON_BTRFS), pytest.param(XFS, "ModifyVolume", marks=ON_XFS)],
)
@pytest.mark.parametrize("code", ["RequestExpired", "ExpiredToken"])
def test_keys_that_have_run_out_are_asked_for_again(name: str, action: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place, name)
        place.double.metadata.clear()
        place.double.fail(action, code=code)
        ground.grow(GIB)
        assert sum(ground.volumes()) == 2 * GIB
        assert "/latest/meta-data/iam/security-credentials/scratch-role" in place.double.metadata
        ground.close()


@marked
def test_a_name_that_is_taken_by_the_other_word_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail("AttachVolume", code="InvalidDevice.InUse", message="the device is taken")
        ground.grow(GIB)
        assert sorted(disk.name for disk in place.double.alive()) == ["/dev/xvdba", "/dev/xvdbc"]
        ground.close()


@marked
def test_a_volume_that_has_come_off_meanwhile_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        ground.grow(GIB)
        place.double.fail("DetachVolume", manner="late", code="InvalidAttachment.NotFound")
        ground.shrink(1)
        assert len(place.in_cloud()) == len(place.devices()) == 1
        ground.close()


@marked
def test_a_volume_that_is_off_is_deleted_when_all_of_ec2_knows_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        ground.grow(GIB)
        place.double.fail("DeleteVolume", code="VolumeInUse", times=3)
        ground.shrink(1)
        assert len(place.in_cloud()) == len(place.devices()) == 1
        ground.close()


@marked
def test_a_volume_made_before_a_restart_with_other_options_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Xen it is found by nothing else."""
    with cloudy(monkeypatch) as place:
        place.double.fail("AttachVolume", code="UnauthorizedOperation", status=403)
        first = place.backend()
        with pytest.raises(ScratchError, match="ec2:AttachVolume"):
            first.ensure()
        first.close()
        record = read(place.store)
        assert record is not None
        forgetful = msgspec.structs.replace(record, volumes=(Volume(record.volumes[0].name, GIB),))
        (place.store / NAME).write_bytes(msgspec.json.encode(forgetful))  # as if it had died before it wrote the answer down
        ground = begun(place, kind=Kind(iops=3500), initial_gib=8)
        record = read(place.store)
        assert record is not None
        assert [one.attached_as for one in record.volumes] == [disk.name for disk in place.double.alive()] == ["/dev/xvdba"]
        ground.close()


@marked
def test_a_volume_whose_key_may_not_be_used_is_taken_away_again_by_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """CreateVolume succeeds, and then there is none: keys are looked at later."""
    with cloudy(monkeypatch) as place:
        ground = begun(place, kind=Kind(encrypted=True))
        place.double.fail("CreateVolume", manner="withdrawn")
        with pytest.raises(ScratchError, match=r"EC2 made vol-\w+ and took it away again: .*key.*kms:CreateGrant"):
            ground.grow(GIB)
        assert len(place.in_cloud()) == len(ground.volumes()) == 1
        ground.grow(GIB)
        assert len(place.in_cloud()) == len(ground.volumes()) == 2
        ground.close()


@pytest.mark.parametrize(("name", "tool"), [pytest.param(BTRFS, "mkfs.btrfs", marks=ON_BTRFS), pytest.param(XFS, "mkfs.xfs", marks=ON_XFS)])
def test_without_the_tools_nothing_is_made(name: str, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon Linux 2023 has no package of those of btrfs."""
    found = shutil.which
    monkeypatch.setattr(tools.shutil, "which", lambda name, **where: None if name == tool else found(name, **where))
    with cloudy(monkeypatch) as place:
        ground = place.backend(name)
        with pytest.raises(ScratchError, match=f"{tool} is not installed"):
            ground.ensure()
        assert not place.double.calls and read(place.store) is None
        ground.close()


@marked
def test_without_the_file_system_in_the_kernel_nothing_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "filesystems").write_text("nodev\tproc\n\txfs\n")
    (tmp_path / os.uname().release).mkdir()
    monkeypatch.setattr(tools, "FILE_SYSTEMS", tmp_path / "filesystems")
    monkeypatch.setattr(tools, "MODULES", tmp_path)
    monkeypatch.setattr(tools.shutil, "which", lambda name, **where: "/bin/false")
    with cloudy(monkeypatch) as place:
        ground = place.backend(BTRFS)
        with pytest.raises(ScratchError, match="this kernel has no btrfs"):
            ground.ensure()
        assert not place.double.calls and read(place.store) is None
        ground.close()


def test_another_disk_is_not_taken_for_a_volume(tmp_path: Path) -> None:
    """A name may lead to somebody else's NVMe disk: a later volume, or one that is a part of the instance."""
    ledger = Ledger(tmp_path / "store")
    devices, by_id = tmp_path / "dev", tmp_path / "by-id"
    devices.mkdir()
    by_id.mkdir()
    (devices / "nvme7n1").touch()
    (devices / "xvdbb").symlink_to(devices / "nvme7n1")
    (by_id / "nvme-Amazon_EC2_NVMe_Instance_Storage_AWS0123").symlink_to(devices / "nvme7n1")
    disks = EbsDisks(ledger, Kind(), by_id=by_id, devices=devices, where=imds.Instance("i-1", "z", "r"))
    assert disks.device_of(Volume("n", GIB, id="vol-1", attached_as="/dev/xvdbb")) is None
    (by_id / "nvme-Amazon_Elastic_Block_Store_vol1").symlink_to(devices / "nvme7n1")
    assert disks.device_of(Volume("n", GIB, id="vol-1", attached_as="/dev/xvdbb")) == str(devices / "nvme7n1")
    ledger.close()
