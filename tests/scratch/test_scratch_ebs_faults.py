"""What EC2 does to whoever uses it: throttling, lost answers, stuck volumes, none to be had; each has an end, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cloud import BTRFS, SHORT, XFS, Cloudy, cloudy, until
from ec2_volumes import Disk
from ground import needs, running

from batchyard.scratch import reaper
from batchyard.scratch.btrfs import Btrfs
from batchyard.scratch.daemon import Daemon
from batchyard.scratch.ebs import ACTIONS, Kind
from batchyard.scratch.ec2 import Ec2
from batchyard.scratch.ledger import read
from batchyard.scratch.policy import GIB, Limits
from batchyard.scratch.provision import Backend, NoRoom, ScratchError

ON_BTRFS = needs("mkfs.btrfs", "btrfs-progs")
ON_XFS = needs("mkfs.xfs", "xfsprogs")


def begun(place: Cloudy, name: str = BTRFS, **settings: Any) -> Backend:
    ground = place.backend(name, **settings)
    ground.ensure()
    place.double.calls.clear()
    return ground


def as_before(place: Cloudy, ground: Backend, sizes: tuple[int, ...] = (1,)) -> None:
    """Nothing was gained, nothing is left behind, and the next grow works."""
    assert ground.volumes() == tuple(size * GIB for size in sizes)
    assert len(place.in_cloud()) == len(place.devices()) == len(sizes)
    place.double.faults.clear()
    ground.grow(GIB)
    assert len(place.in_cloud()) == len(place.devices()) == len(ground.volumes()) == len(sizes) + 1
    ground.probe()
    ground.close()


def marked(function: Any) -> Any:
    for mark in ON_BTRFS:
        function = mark(function)
    return function


@marked
@pytest.mark.parametrize(
    ("code", "status"), [("RequestLimitExceeded", 503), ("Throttling", 400), ("InternalError", 500), ("Unavailable", 503)]
)
def test_what_passes_is_waited_for(code: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        for action in ("CreateVolume", "AttachVolume", "DescribeVolumes"):
            place.double.fail(action, code=code, status=status, times=2)
        ground.grow(GIB)
        assert ground.volumes() == (GIB, GIB)
        assert sum(call["error"] == code for call in place.double.calls) == 6
        ground.close()


def test_the_pauses_grow_differ_and_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of instances that are throttled at once do not come back at once."""
    with cloudy(monkeypatch) as place:
        place.double.fail("DescribeVolumes", code="RequestLimitExceeded", status=503, times=-1)
        slept: list[list[float]] = []
        for _ in range(2):
            pauses: list[float] = []
            now = [0.0]

            def sleep(seconds: float, pauses: list[float] = pauses, now: list[float] = now) -> None:
                pauses.append(seconds)
                now[0] += seconds

            with pytest.raises(ScratchError, match=r"no answer within 60 s.*RequestLimitExceeded"):
                Ec2("us-east-1", limit_s=60, sleep=sleep, clock=lambda now=now: now[0]).volume("vol-1")  # type: ignore[misc]
            slept.append(pauses)
        for pauses in slept:
            assert sum(pauses) <= 60
            assert 5 <= len(pauses) <= 20
            assert max(pauses) > 2
        assert slept[0] != slept[1]


@marked
@pytest.mark.parametrize("action", ["CreateVolume", "AttachVolume", "ModifyInstanceAttribute", "DescribeVolumes"])
@pytest.mark.parametrize("manner", ["lost", "cut"])
def test_an_answer_that_is_lost_makes_no_second_volume(action: str, manner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail(action, manner=manner)
        ground.grow(GIB)
        assert ground.volumes() == (GIB, GIB)
        assert len(place.in_cloud()) == len(place.devices()) == 2
        ground.close()


@marked
@pytest.mark.parametrize("action", ["DetachVolume", "DeleteVolume"])
def test_an_answer_that_is_lost_while_it_shrinks(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        ground.grow(GIB)
        place.double.fail(action, manner="lost")
        ground.shrink(1)
        as_before(place, ground)


@marked
@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("CreateVolume", "InsufficientVolumeCapacity"),
        ("CreateVolume", "VolumeLimitExceeded"),
        ("CreateVolume", "MaxIOPSLimitExceeded"),
        ("AttachVolume", "AttachmentLimitExceeded"),
    ],
)
def test_none_to_be_had_is_said_and_leaves_nothing(action: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail(action, code=code)
        with pytest.raises(NoRoom, match=f"EC2 refuses {action}.*{code}"):
            ground.grow(GIB)
        as_before(place, ground)


@marked
def test_a_role_that_may_not_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail("AttachVolume", code="UnauthorizedOperation", status=403, message="You are not authorized")
        with pytest.raises(ScratchError, match="role of the instance needs ec2:AttachVolume"):
            ground.grow(GIB)
        as_before(place, ground)


@marked
@pytest.mark.parametrize(
    ("action", "manner", "says"),
    [
        ("CreateVolume", "stuck", "did not become available: not within"),
        ("AttachVolume", "stuck", "EC2 has not attached vol-"),
        ("AttachVolume", "hidden", "the kernel shows no disk of it"),
    ],
)
def test_a_volume_that_does_not_come_is_not_waited_for_for_ever(
    action: str, manner: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place, waits=SHORT)
        place.double.fail(action, manner=manner)
        began_s = time.monotonic()
        with pytest.raises(ScratchError, match=says):
            ground.grow(GIB)
        assert time.monotonic() - began_s < 60
        if action == "AttachVolume":  # forced off, and deleted
            as_before(place, ground)
            return
        assert len(place.in_cloud()) == 2, "EC2 deletes none that it is still making"
        (stuck,) = [disk for disk in place.double.alive() if disk.state == "creating"]
        stuck.state = "available"
        ground.grow(GIB)
        assert ground.volumes() == (GIB, GIB)
        assert len(place.in_cloud()) == 2
        ground.close()


@marked
def test_a_volume_that_cannot_be_got_rid_of_does_not_keep_others_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail("AttachVolume", code="AttachmentLimitExceeded")
        place.double.fail("DeleteVolume", code="UnauthorizedOperation", times=-1)
        with pytest.raises(NoRoom):
            ground.grow(GIB)
        record = read(place.store)
        assert record is not None
        assert [one.state for one in record.volumes] == ["member", "making"], "it stays on record: it is still paid for"
        ground.grow(GIB)
        assert len(place.devices()) == 2
        place.double.faults.clear()
        ground.ensure()
        assert ground.volumes() == (GIB, GIB)
        assert len(place.in_cloud()) == 2
        ground.close()


@marked
def test_a_volume_restored_from_a_snapshot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps snapshots may keep the tags of what they were made of: of this very instance and record."""
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        (ours,) = place.double.alive()
        theirs = Disk("vol-restored", 1, "gp3", place.double.zone, "", {}, {**ours.tags}, time.time(), "available", snapshot="snap-1")
        theirs.tags["batchyard:scratch-volume"] = "batchyard-former-0001"
        place.double.volumes[theirs.id] = theirs
        ground.ensure()
        assert theirs.id in place.in_cloud()
        del place.double.volumes[theirs.id]
        ground.close()


@marked
def test_a_large_volume_that_is_not_to_be_had_is_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone, or the account, has room for that."""
    with cloudy(monkeypatch) as place:
        ground = place.backend(initial_gib=4)
        daemon = Daemon(ground, Limits(cap_bytes=16 * GIB, step_bytes=GIB), assumed_grow_s=0.1)
        daemon.start()
        place.double.fail("CreateVolume", code="InsufficientVolumeCapacity", times=2)
        with open(place.mount / "much", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 7 * GIB // 2)
        with running(daemon):
            until(lambda: daemon.counters.grows > 0, "it did not grow")
        asked = [int(call["params"]["Size"]) for call in place.double.calls if call["action"] == "CreateVolume"]
        assert asked[:4] == [4, 4, 2, 1]


@marked
def test_a_name_that_somebody_else_has_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        message = "Invalid value '/dev/xvdbb' for unixDevice. Attachment point /dev/xvdbb is already in use"
        place.double.fail("AttachVolume", code="InvalidParameterValue", message=message)
        ground.grow(GIB)
        assert sorted(disk.name for disk in place.double.alive()) == ["/dev/xvdba", "/dev/xvdbc"]
        record = read(place.store)
        assert record is not None
        assert [one.attached_as for one in record.volumes] == ["/dev/xvdba", "/dev/xvdbc"]
        ground.close()


@marked
def test_a_volume_deleted_behind_our_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is being added: taken for what it is. One with data on it: told, and what is left can be retired."""
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail("AttachVolume", manner="stuck")  # or it would be there before it is taken away
        vanishing = threading.Thread(target=vanish_the_attaching, args=(place,))
        vanishing.start()
        with pytest.raises(ScratchError, match="was taken away while it was being attached"):
            ground.grow(GIB)
        vanishing.join(60)
        as_before(place, ground)

        subprocess.run(["umount", str(place.mount)], check=True, timeout=60)
        gone = place.in_cloud()[0]
        place.double.vanish(gone)
        again = place.backend()
        with pytest.raises(ScratchError, match=rf"{gone} of .* is not there any more.* `batchyard scratch retire` takes away what is left"):
            again.ensure()
        again.retire()
        again.close()
        assert place.in_cloud() == place.devices() == []
        assert read(place.store) is None


def vanish_the_attaching(place: Cloudy) -> None:
    def attaching() -> list[str]:
        return [disk.id for disk in place.double.alive() if disk.attachment == "attaching"]

    until(lambda: bool(attaching()), "nothing is being attached")
    place.double.vanish(attaching()[0])


@marked
def test_while_nothing_is_to_be_done_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = place.backend()
        daemon = Daemon(ground, Limits(cap_bytes=8 * GIB, step_bytes=GIB), status=place.root / "status.json", assumed_grow_s=0.1)
        daemon.start()
        calls, metadata = len(place.double.calls), len(place.double.metadata)
        for _ in range(300):
            daemon.turn()
        ground.probe()  # each half minute
        assert ground.room_bytes() is None and ground.volumes() and ground.grows_left() is None
        assert (len(place.double.calls), len(place.double.metadata)) == (calls, metadata)
        daemon.close()


@marked
def test_the_cap_holds_to_the_byte_in_whole_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a disk that cannot be had is asked for again, until it can be: the writer is not told."""
    with cloudy(monkeypatch) as place:
        ground = place.backend()
        daemon = Daemon(ground, Limits(cap_bytes=int(4.7 * GIB), step_bytes=GIB), assumed_grow_s=0.1)
        daemon.start()
        place.double.fail("CreateVolume", code="InsufficientVolumeCapacity")
        with running(daemon), open(place.mount / "much", "wb", buffering=0) as file:
            for part in range(34):  # room that is reserved counts as used
                os.posix_fallocate(file.fileno(), part * 100 << 20, 100 << 20)
                until(lambda: ground.usage().free_bytes >= 200 << 20, "it did not grow")
        assert sum(disk.size_gib for disk in place.double.alive()) == sum(ground.volumes()) // GIB == 4
        assert daemon.counters.grow_failures == 1


@marked
@pytest.mark.parametrize("name", [BTRFS])
def test_a_record_that_came_with_an_image_is_another_instances(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine image is made of an instance's disk, the record included: its volumes are not touched."""
    with cloudy(monkeypatch) as place:
        begun(place).close()
        subprocess.run(["umount", str(place.mount)], check=True, timeout=60)
        first = place.in_cloud()
        place.double.instances["i-fresh"] = "running"
        place.double.instance_id = "i-fresh"
        ground = place.backend(name)
        ground.ensure()
        assert set(first) < set(place.in_cloud())
        assert ground.volumes() == (GIB,)
        assert isinstance(ground, Btrfs)
        assert len(list(place.store.glob("volumes-of-i-*.json"))) == 1
        ground.retire()
        ground.close()
        assert place.in_cloud() == first


def in_order(place: Cloudy) -> None:
    """Every verb of both back ends."""
    ground = begun(place, kind=Kind("io2", iops=200, encrypted=True, kms_key_id="k", tags=(("project", "p"),)), initial_gib=4)
    ground.grow(4 * GIB)
    ground.shrink(1)
    ground.retire()
    ground.close()
    ground = place.backend(XFS)
    ground.ensure()
    ground.grow(GIB)
    ground.retire()
    ground.close()


@marked
@pytest.mark.parametrize("is_here", [pytest.param(True, marks=ON_XFS)])
def test_the_daemon_makes_the_calls_that_the_policy_names_and_no_other(is_here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        in_order(place)
        assert set(place.double.actions) == set(ACTIONS)
        (created,) = [call["params"] for call in place.double.calls if call["params"].get("VolumeType") == "io2"][:1]
        assert (created["Iops"], created["Encrypted"], created["KmsKeyId"], created["Size"]) == (200, True, "k", 4)
        assert {"Key": "project", "Value": "p"} in created["TagSpecifications"][0]["Tags"]
        assert place.in_cloud() == []


def test_the_page_names_the_actions_of_the_role() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "grow-scratch-on-ec2.md").read_text()
    policy = json.loads(page.split("```json\n")[1].split("```")[0])
    assert tuple(policy["Statement"][0]["Action"]) == ACTIONS
    assert all(action in page for action in reaper.ACTIONS)
