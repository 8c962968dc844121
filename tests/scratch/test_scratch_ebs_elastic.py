"""One EBS volume that is made larger, with an xfs on it: what AWS allows of that, and what is said when it does not."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from cloud import QUICK, SHORT, XFS, Cloudy, cloudy, until
from ec2_double import Pace
from ground import needs

from batchyard.scratch.daemon import Daemon
from batchyard.scratch.ledger import read
from batchyard.scratch.policy import GIB, Limits
from batchyard.scratch.provision import Backend, NoRoom, ScratchError

pytestmark = needs("mkfs.xfs", "xfsprogs")


def begun(place: Cloudy, **settings: Any) -> Backend:
    ground = place.backend(XFS, **settings)
    ground.ensure()
    return ground


def size_gib(place: Cloudy) -> float:
    seen = os.statvfs(place.mount)
    return seen.f_blocks * seen.f_frsize / GIB


def test_it_is_made_larger_only_so_often_and_the_steps_are_large_enough_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        daemon = Daemon(ground, Limits(cap_bytes=21 * GIB, step_bytes=GIB), assumed_grow_s=0.1)
        daemon.start()
        with open(place.mount / "much", "wb") as file:
            for part in range(45):
                os.posix_fallocate(file.fileno(), part * 400 << 20, 400 << 20)
                until(lambda: daemon.turn() > 0 and ground.usage().free_bytes > 500 << 20, "it did not grow")
        assert daemon.counters.grow_failures == 0
        modified = [call for call in place.double.calls if call["action"] == "ModifyVolume"]
        assert 1 < len(modified) <= 4
        assert sum(ground.volumes()) <= 21 * GIB
        assert size_gib(place) > 17
        daemon.close()


def test_a_fifth_time_in_a_day_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        lefts = [ground.grows_left()]
        for _ in range(4):
            ground.grow(GIB)
            lefts.append(ground.grows_left())
        assert lefts == [4, 3, 2, 1, 0]
        with pytest.raises(NoRoom, match="at most four times in 24 hours"):
            ground.grow(GIB)
        assert ground.volumes() == (5 * GIB,)
        record = read(place.store)
        assert record is not None
        assert record.growing_to_bytes == 0, "it is undone, since nothing was begun"
        ground.probe()
        ground.close()


def test_the_next_time_comes_when_the_time_before_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch, Pace(0.02, 0.02, 0.02, 0.02, 3600)) as place:
        ground = begun(place)
        ground.grow(GIB)  # the new size is there when the modification is 'optimizing'
        assert size_gib(place) > 1.9
        with pytest.raises(NoRoom, match="only when the time before is 'completed'"):
            ground.grow(GIB)
        for disk in place.double.alive():
            disk.modifications[-1]["ModificationState"] = "completed"
        ground.grow(GIB)
        assert size_gib(place) > 2.9
        ground.close()


@pytest.mark.parametrize("unmodified_s", [0.0, 0.15])  # a modification may be told of only a while after it was begun
@pytest.mark.parametrize("fault", [{"manner": "lost"}, {"manner": "cut"}, {"code": "InternalError", "status": 500}, {"code": "Throttling"}])
def test_an_answer_that_is_lost_makes_it_larger_once(fault: dict[str, Any], unmodified_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch, replace(QUICK, unmodified_s=unmodified_s)) as place:
        ground = begun(place)
        place.double.fail("ModifyVolume", **fault)
        ground.grow(GIB)
        assert ground.volumes() == (2 * GIB,)
        (disk,) = place.double.alive()
        assert [one["TargetSize"] for one in disk.modifications] == [2]
        ground.close()


def test_one_that_takes_too_long_is_carried_to_its_end_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place, waits=SHORT)
        place.double.fail("ModifyVolume", manner="stuck")
        with pytest.raises(ScratchError, match="did not become 2 GiB large: not within"):
            ground.grow(GIB)
        assert ground.volumes() == (GIB,)
        (disk,) = place.double.alive()
        disk.modifications.clear()  # AWS gave up
        ground.grow(7 * GIB)
        assert ground.volumes() == (2 * GIB,), "the one that was begun, not another on top"
        ground.grow(GIB)
        assert size_gib(place) > 2.9
        ground.close()


def test_one_that_fails_at_aws_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch, Pace(0.02, 0.02, 0.02, 3600, 0.02)) as place:
        ground = begun(place)
        real = place.double.call

        def failing(action: str, given: dict[str, str]) -> Any:
            answer = real(action, given)
            if action == "ModifyVolume":
                place.double.volumes[given["VolumeId"]].modifications[-1]["ModificationState"] = "failed"
            return answer

        monkeypatch.setattr(place.double, "call", failing)
        with pytest.raises(ScratchError, match="gave up making vol-"):
            ground.grow(GIB)
        record = read(place.store)
        assert record is not None
        assert (ground.volumes(), record.growing_to_bytes) == ((GIB,), 0)
        ground.close()


def test_room_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        ground = begun(place)
        place.double.fail("ModifyVolume", code="VolumeLimitExceeded", message="You have exceeded your maximum storage limit")
        with pytest.raises(NoRoom, match="maximum storage limit"):
            ground.grow(GIB)
        with pytest.raises(NoRoom, match="one volume has at most"):
            ground.grow(70_000 * GIB)
        ground.grow(GIB)
        assert ground.volumes() == (2 * GIB,)
        ground.close()
