"""An EBS volume is made larger: asked for once, waited for, and refused with the way out where AWS allows no more for now."""

from __future__ import annotations

import functools
import time
from typing import Any

from batchyard.scratch.ebs_kinds import Waits
from batchyard.scratch.ec2 import Ec2, Lost, Refused
from batchyard.scratch.provision import NoRoom, ScratchError

_ONE_AT_A_TIME = (
    "AWS makes a volume larger at most four times in 24 hours, and only when the time before is 'completed', which may take hours."
    " ebs-btrfs, which adds volumes, has no such limit"
)


def enlarge(ec2: Ec2, volume_id: str, target_gib: int, waits: Waits) -> None:
    """Have the volume modified, unless that is under way already, and wait until its new size is there ('optimizing').

    NoRoom if AWS takes no modification now, ScratchError if it gives up or takes too long.
    """
    if latest(ec2, volume_id).get("TargetSize", 0) < target_gib:
        _ask(ec2, volume_id, target_gib, waits)
    told_by_s = time.monotonic() + waits.unseen_s
    is_done = functools.partial(_is_done, ec2, volume_id, target_gib, told_by_s)
    waits.until(is_done, f"{volume_id} did not become {target_gib} GiB large", waits.modify_s)


def latest(ec2: Ec2, volume_id: str) -> dict[str, Any]:
    """The volume's latest modification, as EC2 tells it; {} if there was none, or it failed."""
    found = _told(ec2, volume_id)
    return {} if found.get("ModificationState") == "failed" else found


def _told(ec2: Ec2, volume_id: str) -> dict[str, Any]:
    try:
        told = ec2.call("DescribeVolumesModifications", VolumeIds=[volume_id])["VolumesModifications"]
    except Refused as error:
        if error.code == "InvalidVolumeModification.NotFound":
            return {}
        raise
    found: dict[str, Any] = max(told, key=lambda one: one["StartTime"], default={})
    return found


def _ask(ec2: Ec2, volume_id: str, target_gib: int, waits: Waits) -> None:
    """Asked for once: a repetition would be another of the few modifications that there may be. After an answer that was lost it is
    repeated only when the first one should have been told of by now."""
    told_by_s = 0.0

    def asked() -> bool | None:
        nonlocal told_by_s
        if told_by_s:
            looked_s = time.monotonic()
            if latest(ec2, volume_id).get("TargetSize", 0) >= target_gib:
                return True
            if looked_s < told_by_s:
                return None
        try:
            ec2.call("ModifyVolume", is_repeatable=False, VolumeId=volume_id, Size=target_gib)
        except Lost:
            told_by_s = time.monotonic() + waits.unseen_s
            return None
        except Refused as error:
            if error.code in ("IncorrectModificationState", "VolumeModificationRateExceeded"):
                raise NoRoom(f"{error}. {_ONE_AT_A_TIME}") from None
            raise
        return True

    waits.until(asked, f"EC2 does not take the request for {volume_id} with {target_gib} GiB", waits.modify_s)


def _is_done(ec2: Ec2, volume_id: str, target_gib: int, told_by_s: float) -> bool | None:
    """What was asked for a moment ago may not be told of until `told_by_s`, on the clock that only rises."""
    asked_s = time.monotonic()
    found = _told(ec2, volume_id)
    is_ours = found.get("TargetSize", 0) >= target_gib
    if not is_ours and asked_s < told_by_s:
        return None
    if not is_ours or found["ModificationState"] == "failed":
        raise ScratchError(f"EC2 gave up making {volume_id} {target_gib} GiB large")
    return found["ModificationState"] in ("optimizing", "completed") or None
