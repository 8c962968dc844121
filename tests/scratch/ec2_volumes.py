"""EC2's volumes as they behave, each a sparse file of its full size that shows as a loop device while it is attached."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ec2_query import Refusal, read

GIB = 1024**3
SIZES = {
    "gp2": (1, 16384),
    "gp3": (1, 65536),
    "io1": (4, 16384),
    "io2": (4, 65536),
    "st1": (125, 16384),
    "sc1": (125, 16384),
    "standard": (1, 1024),
}
IOPS = {"gp3": (3000, 80_000, 500), "io1": (100, 64_000, 50), "io2": (100, 256_000, 1000)}  # least, most, for each GiB
MODIFICATIONS_A_DAY = 4


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of `action` (after `skip` that go well).

    `manner`: `error` answers `code` and does nothing; `late` does it, and answers `code`; `lost` does it, and the connection ends without
    an answer; `cut` ends it without doing; `slow` answers after `seconds`; `hold` does it and never answers; `stuck` does it, and it never
    comes to its end; `hidden` attaches a volume whose disk never shows; `withdrawn` makes one that is gone once it was told of.
    """

    action: str
    manner: str = "error"
    code: str = ""
    message: str = "made by the double"
    status: int = 400
    times: int = 1
    skip: int = 0
    seconds: float = 0.0


@dataclass
class Disk:
    """A volume."""

    id: str
    size_gib: int
    type: str
    zone: str
    token: str
    asked: dict[str, Any]
    tags: dict[str, str]
    created_s: float
    state: str = "creating"
    instance: str = ""
    name: str = ""
    attachment: str = ""
    attached_s: float = 0.0
    goes_with_instance: bool = False
    loop: str = ""
    is_stuck: bool = False
    is_withdrawn: bool = False
    snapshot: str = ""
    modifications: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Pace:
    """How long things take."""

    create_s: float = 0.05
    attach_s: float = 0.05
    detach_s: float = 0.05
    modify_s: float = 0.05
    optimize_s: float = 0.05
    unseen_s: float = 0.0  # so long DescribeVolumes does not tell of a new volume
    unattached_s: float = 0.0  # ... of an attachment
    unmodified_s: float = 0.0  # ... DescribeVolumesModifications of a modification


class Cloud:
    """One zone with one or more instances, of which this machine is one."""

    def __init__(self, folder: Path, *, by_id: Path, pace: Pace | None = None) -> None:
        self.folder, self.by_id = folder, by_id
        self.pace = replace(pace or Pace())  # its own: tests change it as they go
        self.region, self.zone = "us-east-1", "us-east-1a"
        self.instance_id = f"i-{secrets.token_hex(8)}0"
        self.instances = {self.instance_id: "running"}
        self.volumes: dict[str, Disk] = {}
        self.faults: list[Fault] = []
        self.calls: list[dict[str, Any]] = []
        self.attachments_max = 27
        self.storage_gib = 50_000
        self.lock = threading.RLock()
        self.closing = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        by_id.mkdir(parents=True, exist_ok=True)

    @property
    def actions(self) -> list[str]:
        """What a policy must allow for the calls so far."""
        seen = {f"ec2:{call['action']}" for call in self.calls}
        if any(call["action"] == "CreateVolume" and call["params"].get("TagSpecifications") for call in self.calls):
            seen.add("ec2:CreateTags")
        return sorted(seen)

    def close(self) -> None:
        """Take all disks away."""
        self.closing.set()
        with self.lock:
            for disk in self.volumes.values():
                self._unplug(disk)

    def alive(self) -> list[Disk]:
        """The volumes that somebody pays for."""
        with self.lock:
            return [disk for disk in self.volumes.values() if disk.state != "deleted"]

    def fail(self, action: str, **what: Any) -> None:
        """Let it go wrong; see `Fault`."""
        with self.lock:
            self.faults.append(Fault(action, **what))

    def terminate(self, instance: str) -> None:
        """An instance ends: its volumes are let go, and those that go with it are deleted."""
        with self.lock:
            self.instances[instance] = "terminated"
            for disk in self.alive():
                if disk.instance == instance:
                    self._unplug(disk)
                    disk.state, disk.instance, disk.attachment = "available", "", ""
                    if disk.goes_with_instance:
                        self._delete(disk)

    def vanish(self, volume: str) -> None:
        """Somebody forces it off and deletes it."""
        with self.lock:
            self._unplug(self.volumes[volume])
            self._delete(self.volumes[volume])

    def call(self, action: str, given: dict[str, str]) -> tuple[dict[str, Any], Fault | None]:
        """Do it. The fault is what is to become of the answer."""
        with self.lock:
            fault = self._fault(action)
            call: dict[str, Any] = {"action": action, "params": dict(given), "error": ""}
            self.calls.append(call)
            try:
                if fault is not None and fault.manner == "error":
                    raise Refusal(fault.code, fault.message, fault.status)
                params = call["params"] = read(action, given)
                if fault is not None and fault.manner == "cut":
                    return {}, fault
                done = self._handler(action)(params, fault)
                if fault is not None and fault.manner == "late":
                    raise Refusal(fault.code, fault.message, fault.status)
                return done, fault
            except Refusal as error:
                call["error"] = error.code
                raise

    def _handler(self, action: str) -> Callable[[dict[str, Any], Fault | None], dict[str, Any]]:
        known: dict[str, Callable[[dict[str, Any], Fault | None], dict[str, Any]]] = {
            "CreateVolume": self._create,
            "DescribeVolumes": self._describe,
            "AttachVolume": self._attach,
            "DetachVolume": self._detach,
            "DeleteVolume": self._remove,
            "ModifyVolume": self._modify,
            "DescribeVolumesModifications": self._modifications,
            "ModifyInstanceAttribute": self._attribute,
            "DescribeInstances": self._describe_instances,
        }
        if action not in known:
            raise Refusal("UnsupportedOperation", f"The double does not know {action}.")
        return known[action]

    def _fault(self, action: str) -> Fault | None:
        for fault in self.faults:
            if fault.action == action and fault.times:
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _later(self, seconds: float, act: Callable[[], None], fault: Fault | None) -> None:
        if fault is not None and fault.manner == "stuck":
            return

        def run() -> None:
            with self.lock:
                if not self.closing.is_set():
                    act()

        timer = threading.Timer(seconds, run)
        timer.daemon = True
        timer.start()

    def _of(self, volume: str) -> Disk:
        disk = self.volumes.get(volume)
        if disk is None or disk.state == "deleted":
            raise Refusal("InvalidVolume.NotFound", f"The volume '{volume}' does not exist.")
        return disk

    def _create(self, params: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        token = params.get("ClientToken", "")
        asked = {name: value for name, value in params.items() if name != "ClientToken"}
        for disk in self.volumes.values():
            if token and disk.token == token:
                if disk.asked != asked:
                    raise Refusal("IdempotentParameterMismatch", "The client token was used with other parameters.")
                return _described(disk)
        kind = params.get("VolumeType", "gp2")
        least, most = SIZES[kind]
        size = params.get("Size", 0)
        if not least <= size <= most:
            raise Refusal("InvalidParameterValue", f"Volume of {size}GiB is invalid for volume type {kind}: {least} to {most} GiB.")
        _check_speed(kind, size, params.get("Iops"), params.get("Throughput"))
        if params.get("AvailabilityZone") != self.zone:
            raise Refusal("InvalidZone.NotFound", f"The zone '{params.get('AvailabilityZone')}' does not exist.")
        if sum(disk.size_gib for disk in self.alive()) + size > self.storage_gib:
            raise Refusal("VolumeLimitExceeded", "You have exceeded your maximum storage limit.")
        tags = {}
        for specification in params.get("TagSpecifications", []):
            if specification.get("ResourceType") != "volume":
                raise Refusal("InvalidParameterValue", "The resource type of these tags is not volume.")
            tags.update({tag["Key"]: tag["Value"] for tag in specification["Tags"]})
        disk = Disk(f"vol-{secrets.token_hex(8)}0", size, kind, self.zone, token, asked, tags, time.time())
        disk.is_withdrawn = fault is not None and fault.manner == "withdrawn"
        with open(self.folder / f"{disk.id}.img", "wb") as file:
            file.truncate(size * GIB)
        self.volumes[disk.id] = disk

        def ready() -> None:
            if disk.state == "creating" and not disk.is_withdrawn:
                disk.state = "available"

        self._later(self.pace.create_s, ready, fault)
        return _described(disk)

    def _describe(self, params: dict[str, Any], _: Fault | None) -> dict[str, Any]:
        found = [self._of(volume) for volume in params["VolumeIds"]] if "VolumeIds" in params else self.alive()
        for one in params.get("Filters", []):
            found = [disk for disk in found if _matches(disk, one["Name"], one["Values"])]
        found = [disk for disk in found if time.time() - disk.created_s >= self.pace.unseen_s]
        if "VolumeIds" in params and len(found) < len(params["VolumeIds"]) and not params.get("Filters"):
            raise Refusal("InvalidVolume.NotFound", f"The volume '{params['VolumeIds'][0]}' does not exist.")
        start, most = int(params.get("NextToken", 0)), params.get("MaxResults", 1000)
        more = {"NextToken": str(start + most)} if len(found) > start + most else {}
        return {"Volumes": [self._told(disk) for disk in found[start : start + most]], **more}

    def _told(self, disk: Disk) -> dict[str, Any]:
        is_behind = disk.instance and time.time() - disk.attached_s < self.pace.unattached_s
        told = _described(disk) | ({"State": "available", "Attachments": []} if is_behind else {})
        if disk.is_withdrawn:
            self._delete(disk)
        return told

    def _attach(self, params: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        disk, instance, name = self._of(params["VolumeId"]), params["InstanceId"], params["Device"]
        if self.instances.get(instance) != "running":
            raise Refusal("InvalidInstanceID.NotFound", f"The instance ID '{instance}' does not exist")
        if disk.instance:
            raise Refusal("VolumeInUse", f"{disk.id} is already attached to an instance")
        if disk.state != "available":
            raise Refusal("IncorrectState", f"Volume '{disk.id}' is not 'available'.")
        mine = [other for other in self.alive() if other.instance == instance]
        if any(other.name == name for other in mine):
            raise Refusal("InvalidParameterValue", f"Invalid value '{name}' for unixDevice. Attachment point {name} is already in use")
        if len(mine) >= self.attachments_max:
            raise Refusal("AttachmentLimitExceeded", "The maximum number of attachments of this instance is reached.")
        disk.state, disk.instance, disk.name, disk.attachment = "in-use", instance, name, "attaching"
        disk.attached_s = time.time()
        disk.is_stuck = fault is not None and fault.manner == "stuck"

        def ready() -> None:
            if disk.attachment != "attaching":
                return
            disk.attachment = "attached"
            if fault is None or fault.manner != "hidden":
                self._plug(disk)

        self._later(self.pace.attach_s, ready, fault)
        return _attachment(disk)

    def _detach(self, params: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        disk = self._of(params["VolumeId"])
        if not disk.instance:
            raise Refusal("IncorrectState", f"Volume '{disk.id}' is in the 'available' state.")
        is_forced = params.get("Force", False)
        disk.attachment = "detaching"

        def ready() -> None:
            if disk.attachment not in ("detaching", "busy") or (disk.is_stuck and not is_forced):
                return
            if _is_used(disk.loop) and not is_forced:
                disk.attachment = "busy"
                self._later(0.2, ready, None)
                return
            self._unplug(disk)
            disk.state, disk.instance, disk.name, disk.attachment, disk.goes_with_instance = "available", "", "", "", False

        self._later(self.pace.detach_s, ready, fault)
        return _attachment(disk)

    def _remove(self, params: dict[str, Any], _: Fault | None) -> dict[str, Any]:
        disk = self._of(params["VolumeId"])
        if disk.instance:
            raise Refusal("VolumeInUse", f"Volume {disk.id} is currently attached to {disk.instance}")
        if disk.state == "creating":
            raise Refusal("IncorrectState", f"The volume '{disk.id}' is 'creating'")
        self._delete(disk)
        return {}

    def _modify(self, params: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        disk, size = self._of(params["VolumeId"]), params["Size"]
        if any(one["ModificationState"] in ("modifying", "optimizing") for one in disk.modifications):
            state = disk.modifications[-1]["ModificationState"].upper()
            raise Refusal("IncorrectModificationState", f"Volume {disk.id} cannot be modified in modification state {state}")
        if len([one for one in disk.modifications if time.time() - one["StartTime"] < 24 * 3600]) >= MODIFICATIONS_A_DAY:
            raise Refusal("VolumeModificationRateExceeded", "You've reached the maximum modification rate per volume limit.")
        if size < disk.size_gib or size > SIZES[disk.type][1]:
            raise Refusal("InvalidParameterValue", f"New size cannot be smaller than existing size, or above the maximum: {size}")
        made = {
            "VolumeId": disk.id,
            "ModificationState": "modifying",
            "OriginalSize": disk.size_gib,
            "TargetSize": size,
            "Progress": 0,
            "StartTime": time.time(),
            "TargetVolumeType": disk.type,
            "OriginalVolumeType": disk.type,
        }
        disk.modifications.append(made)

        def ready() -> None:
            disk.size_gib = size
            with open(self.folder / f"{disk.id}.img", "r+b") as file:
                file.truncate(size * GIB)
            if disk.loop:
                _run("losetup", "--set-capacity", disk.loop)
            made["ModificationState"] = "optimizing"
            if self.pace.optimize_s:
                self._later(self.pace.optimize_s, completed, None)
            else:
                completed()

        def completed() -> None:
            made.update(ModificationState="completed", Progress=100)

        self._later(self.pace.modify_s, ready, fault)
        return {"VolumeModification": dict(made)}

    def _modifications(self, params: dict[str, Any], _: Fault | None) -> dict[str, Any]:
        found = [self._of(volume) for volume in params["VolumeIds"]] if "VolumeIds" in params else self.alive()
        until_s = time.time() - self.pace.unmodified_s
        told = [[one for one in disk.modifications if one["StartTime"] <= until_s][-1:] for disk in found]
        if "VolumeIds" in params and not any(told):
            raise Refusal("InvalidVolumeModification.NotFound", f"Modification for volume '{found[0].id}' does not exist.")
        return {"VolumesModifications": [dict(one) for last in told for one in last]}

    def _attribute(self, params: dict[str, Any], _: Fault | None) -> dict[str, Any]:
        for mapping in params.get("BlockDeviceMappings", []):
            name = mapping["DeviceName"]
            disk = next((one for one in self.alive() if (one.instance, one.name) == (params["InstanceId"], name)), None)
            if disk is None or disk.attachment != "attached":
                raise Refusal("InvalidInstanceAttributeValue", f"No device is currently mapped at {name}")
            disk.goes_with_instance = mapping["Ebs"]["DeleteOnTermination"]
        return {}

    def _describe_instances(self, params: dict[str, Any], _: Fault | None) -> dict[str, Any]:
        wanted = params.get("InstanceIds") or list(self.instances)
        for one in params.get("Filters", []):
            if one["Name"] != "instance-id":
                raise Refusal("InvalidParameterValue", f"The filter '{one['Name']}' is invalid")
            wanted = [instance for instance in one["Values"] if instance in self.instances]
        for instance in wanted:
            if instance not in self.instances:
                raise Refusal("InvalidInstanceID.NotFound", f"The instance ID '{instance}' does not exist")
        found = [{"InstanceId": instance, "State": {"Name": self.instances[instance]}} for instance in wanted]
        return {"Reservations": [{"Instances": found}]}

    def _delete(self, disk: Disk) -> None:
        disk.state, disk.instance, disk.attachment = "deleted", "", ""
        (self.folder / f"{disk.id}.img").unlink(missing_ok=True)

    def _plug(self, disk: Disk) -> None:
        """The disk shows, as NVMe disks do under udev."""
        disk.loop = _run("losetup", "--find", "--show", str(self.folder / f"{disk.id}.img"))
        name = self.by_id / f"nvme-Amazon_Elastic_Block_Store_{disk.id.replace('-', '')}"
        name.unlink(missing_ok=True)
        name.symlink_to(disk.loop)

    def _unplug(self, disk: Disk) -> None:
        (self.by_id / f"nvme-Amazon_Elastic_Block_Store_{disk.id.replace('-', '')}").unlink(missing_ok=True)
        if disk.loop:
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("losetup", "--detach", disk.loop)
            disk.loop = ""


def _check_speed(kind: str, size_gib: int, iops: int | None, throughput: int | None) -> None:
    """EC2's words, as people have met them."""
    if (iops is None) == (kind in ("io1", "io2")) and kind != "gp3":
        raise Refusal("InvalidParameterCombination", f"The parameter iops is not right for {kind} volumes")
    if iops is not None:
        least, most, ratio = IOPS[kind]
        if not least <= iops <= most:
            raise Refusal("InvalidParameterValue", f"Volume iops of {iops} is out of range: {least} to {most}.")
        if iops > max(least if kind == "gp3" else 0, ratio * size_gib):
            raise Refusal("InvalidParameterValue", f"Iops to volume size ratio of {iops / size_gib:f} is too high; maximum is {ratio}")
    if throughput is not None and throughput > (iops or 3000) / 4:
        per_iops = throughput / (iops or 3000)
        raise Refusal(
            "InvalidParameterValue", f"Throughput (MiBps) to iops ratio of {per_iops:f} is too high; maximum is 0.250000 MiBps per iops"
        )


def _described(disk: Disk) -> dict[str, Any]:
    return {
        "VolumeId": disk.id,
        "Size": disk.size_gib,
        "VolumeType": disk.type,
        "AvailabilityZone": disk.zone,
        "State": disk.state,
        "CreateTime": disk.created_s,
        "SnapshotId": disk.snapshot,
        "Encrypted": disk.asked.get("Encrypted", False),
        "Tags": [{"Key": key, "Value": value} for key, value in disk.tags.items()],
        "Attachments": [_attachment(disk)] if disk.instance else [],
    }


def _attachment(disk: Disk) -> dict[str, Any]:
    return {
        "VolumeId": disk.id,
        "InstanceId": disk.instance,
        "Device": disk.name,
        "State": disk.attachment,
        "DeleteOnTermination": disk.goes_with_instance,
    }


def _matches(disk: Disk, name: str, values: list[str]) -> bool:
    if name.startswith("tag:"):
        return disk.tags.get(name.removeprefix("tag:")) in values
    if name == "tag-key":
        return any(value in disk.tags for value in values)
    fields = {"status": disk.state, "attachment.instance-id": disk.instance, "volume-id": disk.id}
    if name not in fields:
        raise Refusal("InvalidParameterValue", f"The filter '{name}' is invalid")
    return fields[name] in values


def _is_used(loop: str) -> bool:
    """Whether a file system lies on it: EC2 cannot take such a disk away from a running instance."""
    name = Path(loop).name
    return bool(loop) and (
        any(Path("/sys/fs/btrfs").glob(f"*/devices/{name}"))
        or any(line.startswith(f"{loop} ".encode()) for line in open("/proc/mounts", "rb"))
    )


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
