"""Volumes of scratch space whose instance is gone: for an operator, since no instance is left to take them away."""

from __future__ import annotations

from typing import Any

from batchyard.scratch.ebs_kinds import TAG_INSTANCE
from batchyard.scratch.ec2 import NO_VOLUME, Ec2, Refused, Seen

# What an operator needs for it, beside what the daemon does.
ACTIONS = ("ec2:DescribeVolumes", "ec2:DescribeInstances", "ec2:DeleteVolume")
_AT_ONCE = 200


def lost(ec2: Ec2, before_s: float) -> list[Seen]:
    """Volumes with our tag, made before `before_s` (seconds since 1970), attached to nothing, whose instance is not there any more.

    One that was restored from a snapshot is somebody's, though it came with the tags.
    """
    free = [one for one in ec2.volumes({"tag-key": TAG_INSTANCE, "status": "available"}) if one.created_s < before_s and not one.snapshot]
    instances = sorted({instance_of(one) for one in free})
    alive: set[str] = set()
    for start in range(0, len(instances), _AT_ONCE):
        alive |= _alive(ec2, instances[start : start + _AT_ONCE])
    return [one for one in free if instance_of(one) not in alive]


def delete(ec2: Ec2, volumes: list[Seen]) -> None:
    """Delete them; one that went meanwhile is none the worse."""
    for one in volumes:
        try:
            ec2.call("DeleteVolume", VolumeId=one.id)
        except Refused as error:
            if error.code != NO_VOLUME:
                raise


def instance_of(volume: Seen) -> str:
    """The instance that it was made for."""
    return volume.tags.get(TAG_INSTANCE, "")


def _alive(ec2: Ec2, instances: list[str]) -> set[str]:
    """Those that are not terminated. As a filter, since an id that EC2 has forgotten is an error otherwise."""
    found: set[str] = set()
    more: dict[str, Any] = {}
    while True:
        answer = ec2.call("DescribeInstances", Filters=[{"Name": "instance-id", "Values": instances}], **more)
        for reservation in answer.get("Reservations", []):
            found |= {one["InstanceId"] for one in reservation["Instances"] if one["State"]["Name"] not in ("terminated", "shutting-down")}
        if not answer.get("NextToken"):
            return found
        more = {"NextToken": answer["NextToken"]}
