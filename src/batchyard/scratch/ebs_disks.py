"""EBS volumes as disks of the instance that this runs on: made, attached, found under the kernel, enlarged, given back."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from batchyard.scratch import ebs_modifications, imds, loop, mounts
from batchyard.scratch.ebs_kinds import (
    MODIFICATIONS,
    MODIFICATIONS_WITHIN_S,
    SIZES_GIB,
    TAG_INSTANCE,
    TAG_STORE,
    TAG_VOLUME,
    VOLUMES_MAX,
    Kind,
    Waits,
)
from batchyard.scratch.ec2 import FULL, NO_VOLUME, Ec2, NoRoomAtEc2, Refused, Seen
from batchyard.scratch.ledger import MEMBER, Book, Ledger, Volume
from batchyard.scratch.loop import Step, no_step
from batchyard.scratch.policy import GIB
from batchyard.scratch.provision import NoRoom, ScratchError

log = logging.getLogger(__name__)

_KEY = (
    "an encryption key that may not be used does that, since EC2 looks at it later; with a key of your own the role needs kms:CreateGrant,"
    " kms:GenerateDataKeyWithoutPlaintext, kms:Decrypt and kms:DescribeKey"
)
_NAMES = tuple(f"/dev/xvd{first}{second}" for first in "bc" for second in "abcdefghijklmnopqrstuvwxyz")


class EbsDisks:
    """Volumes of one instance, on record in `ledger`."""

    kind = "ebs"
    unit_bytes = GIB
    volumes_max = VOLUMES_MAX

    def __init__(
        self,
        ledger: Ledger,
        kind: Kind,
        *,
        where: imds.Instance | None = None,
        ec2: Ec2 | None = None,
        waits: Waits | None = None,
        step: Step = no_step,
        by_id: Path = Path("/dev/disk/by-id"),
        devices: Path = Path("/dev"),
    ) -> None:
        """`where` is asked of the metadata service, and the clients are made, when they are needed."""
        kind.check()
        least, most = SIZES_GIB[kind.type]
        self.smallest_bytes, self.largest_bytes = least * GIB, most * GIB
        self._ledger, self._kind, self._waits, self._step = ledger, kind, waits or Waits(), step
        self._where, self._client = where, ec2
        self._by_id, self._devices = by_id, devices
        self._refused: set[str] = set()  # names of volumes that EC2 said no to: certainly not made
        self._taken: set[str] = set()  # names of devices that somebody else has
        self._doubt_s: float | None = None  # when one was not found that may be there
        self._full: list[tuple[int, float]] = []  # with how many of ours the instance could take no other, and when

    @property
    def _here(self) -> imds.Instance:
        if self._where is None:
            self._where = imds.instance()
        return self._where

    @property
    def _ec2(self) -> Ec2:
        if self._client is None:
            self._client = Ec2(self._here.region, step=self._step)
        return self._client

    def owner(self) -> str:
        """See `Disks.owner`: the instance."""
        return self._here.id

    def name(self, book: Book) -> str:
        """See `Disks.name`: also the client token, so that asking twice makes one volume."""
        return f"batchyard-{book.file_system.replace('-', '')[:20]}-{book.number:04}"

    def make(self, volume: Volume) -> Volume:
        """See `Disks.make`."""
        if volume.id:
            return volume
        try:
            self._must_not_be_full()
            told = self._ec2.call("CreateVolume", **self._asked(volume))
        except Refused as error:
            if error.code == "IdempotentParameterMismatch" and (found := self.find(volume)) is not None:
                return replace(found, attached_as=found.attached_as or self._free_name())  # made before a restart, with other options
            self._refused.add(volume.name)
            raise
        return replace(volume, id=told["VolumeId"], attached_as=self._free_name())

    def find(self, volume: Volume) -> Volume | None:
        """See `Disks.find`. What EC2 does not tell of at once is asked for again, for a while: it may have been made just now."""
        if volume.name in self._refused:
            return None
        if self.device_of(volume) is not None:
            return volume
        deadline = time.monotonic() + self._waits.unseen_s
        while True:
            seen = self._look(volume) if volume.id else next(iter(self._ec2.volumes({f"tag:{TAG_VOLUME}": volume.name})), None)
            if seen is not None:
                return replace(volume, id=seen.id)
            if time.monotonic() > deadline:
                self._doubt_s = time.monotonic()
                return None
            time.sleep(min(self._waits.look_s, 1.0))

    def attach(self, volume: Volume) -> str:
        """See `Disks.attach`. It also goes with the instance from now on."""
        device = self.device_of(volume)
        if device is not None and volume.state == MEMBER:
            return device
        seen = self._settled(volume)
        if seen.instance and seen.instance != self._here.id:
            raise ScratchError(f"{volume.id} is attached to {seen.instance}, not to this instance ({self._here.id})")
        if not seen.instance:
            volume = self._attach(volume)
        device = self._appeared(volume)
        self._go_with_instance(volume)
        if loop.size_of(device) < volume.size_bytes:
            raise ScratchError(f"{device} has {loop.size_of(device)} bytes, and is to be {volume.id} with {volume.size_bytes}")
        return device

    def device_of(self, volume: Volume) -> str | None:
        """See `Disks.device_of`: by the serial number that NVMe disks carry, or by name (Xen)."""
        if not volume.id:
            return None
        serial = volume.id.replace("-", "")
        with contextlib.suppress(OSError):
            return str((self._by_id / f"nvme-Amazon_Elastic_Block_Store_{serial}").resolve(strict=True))
        for path in Path("/sys/block").glob("nvme*/device/serial"):  # a machine without udev's rules
            with contextlib.suppress(OSError):
                if path.read_text().strip() == serial:
                    return str(self._devices / path.parents[1].name)
        if volume.attached_as:
            with contextlib.suppress(OSError):
                found = (self._devices / Path(volume.attached_as).name).resolve(strict=True)
                return None if found.name.startswith("nvme") else str(found)  # NVMe disks have numbers: this one has another
        return None

    def detach(self, volume: Volume) -> None:
        """See `Disks.detach`. Nothing may use it any more; EC2 is told to force it when it does not come off."""
        seen = self._look(volume)
        if seen is None or not seen.instance:
            return
        if seen.instance != self._here.id:
            raise ScratchError(f"{volume.id} is attached to {seen.instance}: it is not this instance's to give back")
        for force in (False, True):
            with _unless("IncorrectState", "InvalidAttachment.NotFound", NO_VOLUME):
                self._ec2.call("DetachVolume", VolumeId=volume.id, InstanceId=self._here.id, Force=force)
            try:
                self._waits.until(lambda: self._is_off(volume), f"EC2 has not let go of {volume.id}", self._waits.detach_s / 2)
                return
            except ScratchError:
                if force:
                    raise

    def delete(self, volume: Volume) -> None:
        """See `Disks.delete`."""
        if self._look(volume) is not None:
            self._waits.until(lambda: self._deleted(volume), f"EC2 has not deleted {volume.id}", self._waits.create_s)

    def enlarge(self, volume: Volume, size_bytes: int) -> None:
        """See `Disks.enlarge`. The new size is there when the modification is 'optimizing'."""
        target = size_bytes // GIB
        seen = self._look(volume)
        if seen is None:
            raise ScratchError(f"EC2 has no volume {volume.id} any more")
        if seen.size_gib < target:
            ebs_modifications.enlarge(self._ec2, volume.id, target, self._waits)

        def shows() -> bool | None:
            device = self.device_of(volume)
            return (device is not None and loop.size_of(device) >= size_bytes) or None

        self._waits.until(shows, f"the kernel does not show that {volume.id} has {target} GiB", self._waits.device_s, pause_s=0.05)

    def take_back(self, volume: Volume) -> bool:
        """See `Disks.take_back`: EC2 does not shrink a volume, so only what was never begun is undone."""
        try:
            seen, modification = self._look(volume), ebs_modifications.latest(self._ec2, volume.id)
        except ScratchError:
            return False
        if seen is None or seen.size_gib * GIB > volume.size_bytes:
            return False
        return modification.get("ModificationState", "failed") in ("failed", "completed")

    def grows_left(self, book: Book) -> int | None:
        """See `Disks.grows_left`."""
        since = time.time() - MODIFICATIONS_WITHIN_S
        return max(0, MODIFICATIONS - sum(at_s > since for at_s in book.enlarged_at_s))

    def room_bytes(self) -> int | None:
        """See `Disks.room_bytes`: EC2 says it when it is asked for a volume."""
        return None

    def owes_sweep(self) -> bool:
        """See `Disks.owes_sweep`: EC2's lists are late, but not for ever."""
        return self._doubt_s is not None and time.monotonic() - self._doubt_s > self._waits.settled_s

    def sweep(self, known: Iterable[Volume], in_use: set[str]) -> None:
        """See `Disks.sweep`: volumes with this instance's and this record's tags. What fails is told, and tried at the next sweep."""
        names = {one.name for one in known} | {one.id for one in known}
        filters = {f"tag:{TAG_INSTANCE}": self._here.id, f"tag:{TAG_STORE}": self._store_tag()}
        tells_all = self.owes_sweep()  # before EC2 is asked: its answer may be as old as the question
        try:
            for seen in self._ec2.volumes(filters, limit_s=self._waits.unseen_s * 2):
                lost = Volume(seen.tags.get(TAG_VOLUME, ""), seen.size_gib * GIB, id=seen.id)
                device = self.device_of(lost)
                if lost.name in names or lost.id in names or seen.snapshot or (seen.instance and seen.instance != self._here.id):
                    continue
                if device is not None and (device in in_use or _is_used(device)):
                    log.error("%s (%s) is not on record, but something lies on it: it is left alone", seen.id, device)
                    continue
                log.warning("%s is not on record: it is taken away", seen.id)
                self.detach(lost)
                self.delete(lost)
            if tells_all:
                self._doubt_s = None
        except ScratchError as error:
            log.error("lost volumes could not be looked for: %s", error)
            self._doubt_s = time.monotonic()

    def _asked(self, volume: Volume) -> dict[str, Any]:
        kind = self._kind
        tags = {
            **dict(kind.tags),
            "Name": dict(kind.tags).get("Name", f"scratch of {self._here.id}"),
            TAG_VOLUME: volume.name,
            TAG_INSTANCE: self._here.id,
            TAG_STORE: self._store_tag(),
        }
        return {
            "AvailabilityZone": self._here.zone,
            "Size": volume.size_bytes // GIB,
            "ClientToken": volume.name,
            "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}],
            **kind.asked(volume.size_bytes // GIB),
        }

    def _attach(self, volume: Volume) -> Volume:
        """Ask for it, under a name that is free."""
        deadline = time.monotonic() + self._waits.device_s
        while True:
            try:
                self._ec2.call("AttachVolume", VolumeId=volume.id, InstanceId=self._here.id, Device=volume.attached_as or self._free_name())
            except Refused as error:
                if error.code in ("VolumeInUse", "IncorrectState"):
                    return volume  # an earlier request, whose answer was lost; what becomes of it is waited for
                if error.code == NO_VOLUME and time.monotonic() < deadline:
                    time.sleep(self._waits.look_s)  # it was seen a moment ago: not everything at EC2 knows of it yet
                    continue
                if error.code == FULL:
                    self._full.append((self._attached(), time.monotonic()))
                if error.code != "InvalidDevice.InUse" and "already in use" not in str(error):
                    raise
                self._taken.add(volume.attached_as)
                volume = replace(volume, attached_as=self._free_name())
                if self._ledger.book is not None:
                    self._ledger.write(self._ledger.book.with_volume(volume))
            else:
                return volume

    def _attached(self) -> int:
        """How many volumes of ours are a part of the file system."""
        return sum(one.state == MEMBER for one in self._ledger.book.volumes) if self._ledger.book is not None else 0

    def _must_not_be_full(self) -> None:
        """Raises when EC2 has said so twice, while nothing has changed since, and for a while only: others may have given back theirs."""
        attached, since_s = self._attached(), time.monotonic() - self._waits.full_s
        self._full = [(count, at_s) for count, at_s in self._full if count == attached and at_s > since_s]
        if len(self._full) > 1:
            raise NoRoomAtEc2(FULL, f"{self._here.id} can take no volume beside the {attached} that it has of ours, as EC2 said ({FULL})")

    def _free_name(self) -> str:
        """A name for a device, that neither we nor, as far as the kernel knows, anybody else has."""
        book = self._ledger.book
        ours = {one.attached_as for one in book.volumes} if book is not None else set()
        for name in _NAMES:
            if name not in ours and name not in self._taken and not (self._devices / Path(name).name).exists():
                return name
        raise NoRoom(f"there is no name left for another volume of {self._here.id}: {len(_NAMES)} are taken")

    def _appeared(self, volume: Volume) -> str:
        """The device of a volume that is being attached."""

        def come() -> str | None:
            device = self.device_of(volume)
            if device is None or not loop.size_of(device):
                return None
            return device

        looked_s = ours_s = time.monotonic()

        def look() -> str | None:
            nonlocal looked_s, ours_s
            device = come()
            if device is None and time.monotonic() - looked_s > self._waits.look_s * 3:
                looked_s = time.monotonic()
                seen = self._look(volume)
                if seen is not None and seen.instance == self._here.id:
                    ours_s = looked_s
                elif looked_s - ours_s > self._waits.unseen_s:  # an attachment may be told of late
                    raise ScratchError(f"{volume.id} was taken away while it was being attached")
                if seen is not None and seen.attachment == "attached":
                    return self._waits.until(
                        come, f"{volume.id} is attached, and the kernel shows no disk of it (see dmesg)", self._waits.device_s, 0.05
                    )
            return device

        return self._waits.until(look, f"EC2 has not attached {volume.id}", self._waits.attach_s, 0.05)

    def _go_with_instance(self, volume: Volume) -> None:
        """When the instance ends, so does the volume."""

        def marked() -> bool | None:
            seen = self._look(volume)
            name = (seen.device if seen is not None else "") or volume.attached_as
            mapping = {"DeviceName": name, "Ebs": {"DeleteOnTermination": True, "VolumeId": volume.id}}
            with _unless("InvalidInstanceAttributeValue", "IncorrectState"):  # EC2 does not know yet that it is attached
                self._ec2.call("ModifyInstanceAttribute", InstanceId=self._here.id, BlockDeviceMappings=[mapping])
                return True
            return None

        self._waits.until(marked, f"EC2 does not let {volume.id} end with the instance", self._waits.device_s)

    def _look(self, volume: Volume) -> Seen | None:
        return self._ec2.volume(volume.id)

    def _settled(self, volume: Volume) -> Seen:
        """The volume once it is made; refuses one that will never be."""
        missing_since_s: float | None = None
        was_seen = False

        def look() -> Seen | None:
            nonlocal missing_since_s, was_seen
            seen = self._look(volume)
            if seen is None:
                missing_since_s = missing_since_s or time.monotonic()
                if was_seen and time.monotonic() - missing_since_s > self._waits.unseen_s:
                    raise ScratchError(f"EC2 made {volume.id} and took it away again: {_KEY}")
                return None
            missing_since_s, was_seen = None, True
            if seen.state == "error":
                raise ScratchError(f"EC2 could not make {volume.id}: it is in the state 'error'. {_KEY}")
            return seen if seen.state in ("available", "in-use") else None

        what = f"{volume.id} did not become available"
        return self._waits.until(look, f"{what} ({_KEY})" if self._kind.encrypted else what, self._waits.create_s)

    def _is_off(self, volume: Volume) -> bool | None:
        seen = self._look(volume)
        return True if (seen is None or not seen.instance) and self.device_of(volume) is None else None

    def _deleted(self, volume: Volume) -> bool | None:
        """Ask for it; not yet where it is still being made, or is still told of as attached."""
        try:
            self._ec2.call("DeleteVolume", VolumeId=volume.id)
        except Refused as error:
            if error.code in ("IncorrectState", "VolumeInUse"):  # it has come off, and not everything at EC2 knows of it yet
                return None
            if error.code != NO_VOLUME:
                raise
        return True

    def _store_tag(self) -> str:
        return str(self._ledger.folder.resolve())[-256:]


@contextlib.contextmanager
def _unless(*codes: str) -> Iterator[None]:
    """These refusals are no failure."""
    try:
        yield
    except Refused as error:
        if error.code not in codes:
            raise


def _is_used(device: str) -> bool:
    """Whether a file system that is mounted lies on it."""
    name = Path(device).name
    if any(Path("/sys/fs/btrfs").glob(f"*/devices/{name}")):
        return True
    return any(mount.source == device for mount in mounts.mounts())
