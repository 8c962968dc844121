"""A container's part of the scratch space, with real daemons: where it is bound, what it is, and that nothing of it is left."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.model.messages import AttemptEnded, Launch, StopAttempt
from batchyard.model.task import TaskContainer
from batchyard.scratch import mounts
from compute.compute_rig import GROUP, LocalRig
from containers.engines import IMAGE
from loop_devices import devices_below

MIB = 1024 * 1024
NO_BTRFS = os.geteuid() != 0 or not shutil.which("mkfs.btrfs") or not Path("/dev/loop-control").exists()
LOOP = ["--scratch", "loop-btrfs", "--scratch-cap-bytes", str(3072 * MIB), "--scratch-initial-bytes", str(160 * MIB)]


def contained(rig: LocalRig, *command: str, **properties: Any) -> Launch:
    return rig.launch(*command, runtime="container", container={"image": IMAGE, **properties})


def member(name: str, script: str, *, essential: bool = True) -> TaskContainer:
    return TaskContainer(
        name=name,
        image=IMAGE,
        command=("sh", "-c", script),
        memory_mib=64,
        vcpus=1.0,
        essential=essential,
        log_group=GROUP,
        log_stream=f"definition/default/{name}",
        container={"image": IMAGE},
    )


async def run(rig: LocalRig, script: str, **properties: Any) -> tuple[AttemptEnded, list[str]]:
    launch = contained(rig, "sh", "-c", script, **properties)
    rig.provider.carry_out([launch])
    return await rig.ended(launch.attempt), rig.log(launch.attempt)


def left(rig: LocalRig) -> list[str]:
    """Directories of attempts."""
    return sorted(entry.name for entry in (rig.directory / "work").iterdir() if entry.name != "notices")


async def test_a_container_has_a_part_of_its_own_as_scratch_and_tmp(local: LocalRig) -> None:
    launch = contained(
        local, "sh", "-c", "echo mine > /scratch/a; echo too > /tmp/b; stat -c %a /scratch /tmp; echo here; sleep 600", user="worker"
    )
    local.provider.carry_out([launch])
    assert await local.says(launch.attempt)
    await local.eventually(lambda: "here" in local.log(launch.attempt), "it has written")
    assert local.log(launch.attempt) == ["1777", "1777", "here"]
    place = local.directory / "work" / left(local)[0]
    assert (place / "home" / "a").read_text() == "mine\n"
    assert (place / "tmp" / "b").read_text() == "too\n"
    assert place.stat().st_mode & 0o777 == 0o700, "nobody else gets there"

    ended, lines = await run(local, "ls /scratch /tmp")
    assert (ended.exit_code, lines) == (0, ["/scratch:", "/tmp:"]), "another attempt sees nothing of it"
    local.provider.carry_out([StopAttempt(launch.attempt, 0.0)])
    await local.ended(launch.attempt)
    await local.eventually(lambda: left(local) == [], "the directories are removed")


async def test_what_the_definition_mounts_there_goes_before(local: LocalRig, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host\n")
    host = {"name": "host", "host": {"sourcePath": str(tmp_path)}}
    script = "cat /tmp/given; touch /tmp/no 2>/dev/null || echo read-only; echo x > /scratch/x && echo scratch"
    _, lines = await run(local, script, volumes=[host], mountPoints=[{"sourceVolume": "host", "containerPath": "/tmp", "readOnly": True}])
    assert lines == ["from the host", "read-only", "scratch"]
    _, lines = await run(
        local,
        "cat /scratch/given; echo x > /tmp/x && echo tmp",
        volumes=[host],
        mountPoints=[{"sourceVolume": "host", "containerPath": "/scratch"}],
    )
    assert lines == ["from the host", "tmp"]
    _, lines = await run(local, "df /tmp | grep -c tmpfs", linuxParameters={"tmpfs": [{"containerPath": "/tmp", "size": 5}]})
    assert lines == ["1"]
    _, lines = await run(local, "echo x > /scratch/x && echo scratch; touch /no 2>/dev/null || echo read-only", readonlyRootFilesystem=True)
    assert lines == ["scratch", "read-only"]


async def test_host_volumes_at_and_below_scratch_mean_the_attempts_own(local: LocalRig) -> None:
    volumes = [
        {"name": "whole", "host": {"sourcePath": "/scratch/"}},
        {"name": "part", "host": {"sourcePath": "/scratch/reads/raw"}},
        {"name": "empty"},
        {"name": "elsewhere", "host": {"sourcePath": "/scratch/../etc"}},
    ]
    points = [
        {"sourceVolume": "whole", "containerPath": "/all"},
        {"sourceVolume": "part", "containerPath": "/raw"},
        {"sourceVolume": "empty", "containerPath": "/empty"},
        {"sourceVolume": "elsewhere", "containerPath": "/host-etc", "readOnly": True},
    ]
    script = (
        "echo 1 > /raw/one; cat /all/reads/raw/one /scratch/reads/raw/one; echo 2 > /all/two; cat /scratch/two; echo 3 > /empty/three;"
        "ls /scratch; test -e /host-etc/hostname && echo host"
    )
    was_there = Path("/scratch").exists()
    ended, lines = await run(local, script, volumes=volumes, mountPoints=points)
    assert ended.exit_code == 0, lines
    assert lines == ["1", "1", "2", "reads", "two", "host"]
    assert Path("/scratch").exists() == was_there
    await local.eventually(lambda: left(local) == [], "the directories are removed")


async def test_the_containers_of_a_task_share_scratch_and_not_tmp(local: LocalRig) -> None:
    first = member("first", "echo shared > /scratch/s; echo own > /tmp/o; until [ -e /scratch/seen ]; do sleep 0.1; done")
    second = member("second", "until [ -e /scratch/s ]; do sleep 0.1; done; test -e /tmp/o && exit 9; touch /scratch/seen", essential=False)
    launch = replace(local.launch("unused", runtime="container"), command=(), containers=(first, second))
    local.provider.carry_out([launch])
    ended = await local.ended(launch.attempt)
    assert ended.exit_code == 0
    await local.eventually(lambda: left(local) == [], "the directories are removed")


@pytest.mark.parametrize("local", [["--container-scratch", "off"]], indirect=True)
async def test_it_can_be_switched_off(local: LocalRig) -> None:
    _, lines = await run(local, "ls -d /scratch 2>&1; touch /tmp/x && echo tmp")  # two streams would come in any order
    assert lines[-1] == "tmp"
    assert "No such file" in lines[0]
    await local.eventually(lambda: left(local) == [], "the directory that it only counts by is removed")


@pytest.mark.system("btrfs-progs")
@pytest.mark.skipif(NO_BTRFS, reason="needs root, mkfs.btrfs and loop devices")
@pytest.mark.parametrize("local", [LOOP], indirect=True)
async def test_what_a_container_writes_is_on_space_that_grows(local: LocalRig) -> None:
    work = local.directory / "work"
    ended, lines = await run(
        local, "dd if=/dev/zero of=/scratch/big bs=1M count=600 2>/dev/null && df -m /scratch | tail -n 1; ls -l /scratch | wc -l"
    )
    assert (ended.exit_code, lines[-1]) == (0, "2")
    assert int(" ".join(lines[:-1]).split()[-5]) > 600, "it has grown while the container wrote"
    assert mounts.mounted_from(work) is not None
    assert ended.disk_peak_mib is not None and ended.disk_peak_mib > 500
    await local.eventually(lambda: left(local) == [], "the directories are removed")
    await local.provider.shut_down(0.0)
    assert mounts.mounted_from(work) is None
    assert not devices_below(local.directory)
    subprocess.run(["rm", "-r", str(work)], check=True, timeout=60)
