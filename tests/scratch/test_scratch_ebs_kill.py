"""kill -9 at every step of making, growing and shrinking on EBS, then a restart: no volume that is paid for in vain, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cloud import BTRFS, FILE_SYSTEM, XFS, Cloudy, cloudy, until
from ground import needs, xfs_is_sound

from batchyard.scratch.ledger import read
from batchyard.scratch.policy import GIB, MIB

ON_BTRFS = needs("mkfs.btrfs", "btrfs-progs")
ON_XFS = needs("mkfs.xfs", "xfsprogs")

# For each line: a child that does one verb, prints its steps, and dies of kill -9 right after that of the given number. Steps with the name
# of an action of EC2 come between its answer and whatever is made of it. Children of one process: botocore takes seconds to begin with.
VICTIMS = """
import functools, json, os, signal, sys, traceback
from pathlib import Path
import botocore.session
from batchyard.scratch import ebs
from batchyard.scratch.ec2 import Ec2

botocore.session.create_loader = functools.cache(botocore.session.create_loader)
botocore.session.Session().get_service_model("ec2")

def act(name, store, mount, by_id, verb, number):
    left, armed = number, verb == "ensure"

    def step(done):
        nonlocal left
        if not armed:
            return
        os.write(1, f"{done}\\n".encode())
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    waits = ebs.Waits(create_s=60, attach_s=60, device_s=60, detach_s=60, modify_s=60, unseen_s=0.3, look_s=0.02)
    ec2 = Ec2("us-east-1", limit_s=60, step=step)
    ground = ebs.backend(name, Path(store), Path(mount), 1 << 30, ec2=ec2, waits=waits, by_id=Path(by_id), step=step)
    ground.ensure()
    armed = True
    if verb == "grow":
        ground.grow(2 << 30)
    elif verb == "shrink":
        ground.shrink(len(ground.volumes()) - 1)

for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.environ.update(asked["environment"])
        os.dup2(os.open(asked["said"], os.O_WRONLY | os.O_CREAT), 1)
        try:
            act(*asked["act"])
        except BaseException:
            os.write(1, traceback.format_exc().encode())
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""
_ATTACHED = ["CreateVolume", "{}", "identified", "AttachVolume", "ModifyInstanceAttribute"]
ENSURE = {
    BTRFS: ["recorded-first", *_ATTACHED, "formatted-first", "attached-first", "mounted-first", "set-aside-first", "settled"],
    XFS: ["recorded-first", *_ATTACHED, "formatted-first", "attached-first", "mounted-first", "made"],
}
GROW = {
    BTRFS: ["recorded", *_ATTACHED, "attached", "added", "grown"],
    XFS: ["recorded", "ModifyVolume", "resized", "added", "grown"],
}
SHRINK = ["recorded", "removed", "DetachVolume", "detached", "DeleteVolume", "unlinked", "forgotten"]


def steps(names: list[str], made: str) -> list[str]:
    return [name.format(made) for name in names]


def numbered(kind: str, names: list[str], marks: list[pytest.MarkDecorator]) -> list[object]:
    return [pytest.param(kind, number, marks=marks, id=f"{kind}-{number}-{names[number - 1]}") for number in range(1, len(names) + 1)]


class Victims:
    """The process whose children are killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._said = b""  # and not taken in yet: two lines may come at once

    def start(self, place: Cloudy, name: str, verb: str, number: int) -> int:
        """Its process id."""
        act = [name, str(place.store), str(place.mount), str(place.double.by_id), verb, number]
        environment = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"act": act, "environment": environment, "said": str(place.root / "said")}) + "\n")
        self._process.stdin.flush()
        return self._number()

    def end(self, place: Cloudy) -> list[str]:
        """Wait for it; the steps that were done before it was killed."""
        status, said = self._number(), (place.root / "said").read_text()
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, said
        return said.split()

    def killed(self, place: Cloudy, name: str, verb: str, number: int) -> list[str]:
        """The steps of one that was killed at the step of that number."""
        self.start(place, name, verb, number)
        return self.end(place)

    def _number(self) -> int:
        assert self._process.stdout is not None
        while b"\n" not in self._said:
            ready, _, _ = select.select([self._process.stdout], [], [], 120)
            assert ready, "the victim neither ended nor died"
            said = os.read(self._process.stdout.fileno(), 4096)
            assert said, "the process of the victims has ended"
            self._said += said
        line, _, self._said = self._said.partition(b"\n")
        return int(line)


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with subprocess.Popen(
        [sys.executable, "-u", "-c", VICTIMS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield Victims(process)
        process.kill()


def written(place: Cloudy) -> dict[str, str]:
    """Files to be found again, and their digests."""
    content = {}
    for number in range(4):
        text = os.urandom(4 * MIB)
        (place.mount / f"kept-{number}").write_bytes(text)
        content[f"kept-{number}"] = hashlib.sha256(text).hexdigest()
    os.sync()
    return content


def healthy(place: Cloudy, name: str, content: dict[str, str]) -> tuple[int, ...]:
    """After a restart: whole, and nobody pays for a volume that is on no record. The sizes in GiB of what there is."""
    ground = place.backend(name)
    ground.ensure()
    try:
        record = read(place.store)
        assert record is not None
        assert {one.state for one in record.volumes} == {"member"}
        assert not record.growing_to_bytes
        assert place.in_cloud() == sorted(one.id for one in record.volumes), "an orphaned volume"
        assert len(place.devices()) == len(record.volumes), "an orphaned disk"
        for volume in record.volumes:
            disk = place.double.volumes[volume.id]
            assert disk.size_gib * GIB == volume.size_bytes
            assert disk.goes_with_instance
        for file, digest in content.items():
            assert hashlib.sha256((place.mount / file).read_bytes()).hexdigest() == digest
        ground.probe()
        sizes = tuple(size // GIB for size in ground.volumes())
        ground.grow(GIB)  # and it goes on working
        assert sum(ground.volumes()) == (sum(sizes) + 1) * GIB
    finally:
        ground.close()
    sound(place, FILE_SYSTEM[name])
    return sizes


def sound(place: Cloudy, kind: str) -> None:
    """The file system's own opinion."""
    if kind == "btrfs":
        checked = subprocess.run(["btrfs", "scrub", "start", "-B", str(place.mount)], capture_output=True, text=True, timeout=120)
        assert "no errors found" in checked.stdout, checked.stdout + checked.stderr
        return
    record = read(place.store)
    assert record is not None
    xfs_is_sound(place.mount, place.double.volumes[record.volumes[0].id].loop)


def made(place: Cloudy, name: str, grows: int) -> None:
    ground = place.backend(name)
    ground.ensure()
    for _ in range(grows):
        ground.grow(GIB)
    ground.close()


@pytest.mark.parametrize(("name", "number"), numbered(BTRFS, ENSURE[BTRFS], ON_BTRFS) + numbered(XFS, ENSURE[XFS], ON_XFS))
def test_killed_while_it_is_made(name: str, number: int, monkeypatch: pytest.MonkeyPatch, victims: Victims) -> None:
    with cloudy(monkeypatch) as place:
        assert victims.killed(place, name, "ensure", number) == steps(ENSURE[name], "allocated-first")[:number]
        assert healthy(place, name, {}) == (1,)


@pytest.mark.parametrize(("name", "number"), numbered(BTRFS, GROW[BTRFS], ON_BTRFS) + numbered(XFS, GROW[XFS], ON_XFS))
def test_killed_while_it_grows(name: str, number: int, monkeypatch: pytest.MonkeyPatch, victims: Victims) -> None:
    with cloudy(monkeypatch) as place:
        made(place, name, 0)
        content = written(place)
        assert victims.killed(place, name, "grow", number) == steps(GROW[name], "allocated")[:number]
        assert sum(healthy(place, name, content)) in (1, 3)


@pytest.mark.parametrize(("name", "number"), numbered(BTRFS, SHRINK, ON_BTRFS))
def test_killed_while_it_shrinks(name: str, number: int, monkeypatch: pytest.MonkeyPatch, victims: Victims) -> None:
    with cloudy(monkeypatch) as place:
        made(place, name, 2)
        content = written(place)
        assert victims.killed(place, name, "shrink", number) == SHRINK[:number]
        assert healthy(place, name, content) == ((1, 1, 1) if number == 1 else (1, 1))


@pytest.mark.parametrize("action", ["CreateVolume", "AttachVolume", "ModifyInstanceAttribute"])
@pytest.mark.parametrize("name", [pytest.param(BTRFS, marks=ON_BTRFS)])
def test_killed_while_ec2_does_it(name: str, action: str, monkeypatch: pytest.MonkeyPatch, victims: Victims) -> None:
    """EC2 has done what it was asked, and nobody hears the answer: not even the name of the new volume is known."""
    with cloudy(monkeypatch) as place:
        made(place, name, 0)
        content = written(place)
        place.double.fail(action, manner="hold", times=-1)
        before = len(place.double.calls)
        victim = victims.start(place, name, "grow", 99)
        until(lambda: any(call["action"] == action for call in place.double.calls[before:]), f"{action} was not asked")
        os.kill(victim, signal.SIGKILL)
        victims.end(place)
        place.double.faults.clear()
        assert len(place.in_cloud()) == 2
        assert healthy(place, name, content) == (1,)


@pytest.mark.parametrize("name", [pytest.param(BTRFS, marks=ON_BTRFS)])
def test_a_volume_that_ec2_tells_of_late_is_found_by_the_next_sweep(name: str, monkeypatch: pytest.MonkeyPatch, victims: Victims) -> None:
    """EC2's lists are eventually consistent: right after a crash the new volume may be on none."""
    with cloudy(monkeypatch) as place:
        made(place, name, 0)
        place.double.pace.unseen_s = 3600
        assert victims.killed(place, name, "grow", 2)[-1] == "CreateVolume"
        ground = place.backend(name)
        ground.ensure()
        ground.close()
        assert len(place.in_cloud()) == 2, "nobody could know of it"
        place.double.pace.unseen_s = 0
        assert healthy(place, name, {}) == (1,)


@pytest.mark.parametrize("name", [pytest.param(BTRFS, marks=ON_BTRFS)])
def test_an_instance_that_ends_takes_its_volumes_along(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloudy(monkeypatch) as place:
        made(place, name, 2)
        subprocess.run(["umount", str(place.mount)], check=True, timeout=60)
        place.double.terminate(place.double.instance_id)
        assert place.in_cloud() == []
