"""A disk bomb in a container: it meets the limit of its own attempt, and the container beside it writes on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from compute.compute_rig import LocalRig
from containers.test_container_scratch import contained, member

MIB = 1024 * 1024
NO_BTRFS = os.geteuid() != 0 or not shutil.which("mkfs.btrfs") or not Path("/dev/loop-control").exists()
CAP_MIB = 640
BTRFS = pytest.param(
    ["--vcpus", "2", "--scratch", "loop-btrfs", "--scratch-cap-bytes", str(CAP_MIB * MIB), "--scratch-initial-bytes", str(160 * MIB)],
    marks=[pytest.mark.system("btrfs-progs"), pytest.mark.skipif(NO_BTRFS, reason="needs root, mkfs.btrfs and loop devices")],
    id="btrfs",
)
DIRECTORY = pytest.param(["--vcpus", "2", "--scratch", "directory", "--scratch-cap-bytes", str(CAP_MIB * MIB)], id="directory")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="without root containers have no part of the scratch space")

BOMB = "n=0; while dd if=/dev/zero of={place}/bomb bs=1M count=8 seek=$n conv=notrunc 2>/dev/null; do n=$((n + 8)); done; echo full; exit 7"
NEIGHBOUR = """
after=0
while [ $after -lt 20 ]; do
    dd if=/dev/urandom of=/scratch/part bs=1M count=2 2>/dev/null && sync || exit 8
    [ ! -e /host/go-home ] || after=$((after + 1))
    sleep 0.05
done
echo written
"""


def _at(ground: Any, place: str) -> Any:
    return pytest.param(*ground.values, place, marks=ground.marks, id=ground.id)


@AS_ROOT
@pytest.mark.parametrize(("local", "place"), [_at(BTRFS, "/scratch"), _at(DIRECTORY, "/tmp")], indirect=["local"])
async def test_a_disk_bomb_meets_its_own_limit_and_its_neighbour_goes_on_writing(local: LocalRig, place: str, tmp_path: Path) -> None:
    host = {"volumes": [{"name": "host", "host": {"sourcePath": str(tmp_path)}}]}
    neighbour = contained(local, "sh", "-c", NEIGHBOUR, **host, mountPoints=[{"sourceVolume": "host", "containerPath": "/host"}])
    bomb = contained(local, "sh", "-c", BOMB.format(place=place))
    local.provider.carry_out([neighbour])
    await local.started(neighbour.attempt)
    local.provider.carry_out([bomb])
    ended = await local.ended(bomb.attempt)
    assert ended.cause == "exited"
    assert ended.reason.startswith("OutOfScratchError: the job ")
    assert ended.exit_code in (7, 137)
    assert ended.disk_peak_mib is not None
    assert ended.disk_peak_mib > CAP_MIB / 2 * 0.9
    (tmp_path / "go-home").touch()
    ended = await local.ended(neighbour.attempt)
    assert (ended.exit_code, ended.reason) == (0, "")
    assert local.log(neighbour.attempt) == ["written"]


@AS_ROOT
@pytest.mark.parametrize("local", [BTRFS], indirect=True)
async def test_the_containers_of_a_task_have_one_limit_together(local: LocalRig) -> None:
    stays = (
        "dd if=/dev/zero of=/tmp/half bs=1M count=200 2>/dev/null && touch /scratch/there; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    )
    first = member("first", stays, essential=False)
    second = member("second", f"until [ -e /scratch/there ]; do sleep 0.1; done; {BOMB.format(place='/tmp')}")
    launch = replace(local.launch("unused", runtime="container"), command=(), containers=(first, second))
    local.provider.carry_out([launch])
    ended = await local.ended(launch.attempt)
    assert ended.exit_code == 7
    assert ended.reason.startswith("OutOfScratchError: the job had reached its limit of scratch space, 304 MiB, when it ended")
