"""What containers write to layers of their own, with real daemons: it counts with the rest of what their attempt holds."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.compute.local.containers import layers
from batchyard.compute.local.containers.engine import Engine
from batchyard.compute.local.layers import Layers
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.tasks import Task
from batchyard.model.messages import AttemptEnded, Launch
from batchyard.scratch import mounts
from compute.compute_rig import PATIENCE_S, LocalRig
from containers.conftest import rig_of
from containers.engines import KINDS, Daemon, why_not
from containers.registry import Registry
from containers.test_container_bombs import AS_ROOT, BTRFS, MIB, NEIGHBOUR
from containers.test_container_scratch import contained, left, member, run
from small_disk import fill
from yard import Yard, until

LITTLE_MIB = 200  # for all, and half of it for one who has one of two vCPUs
DIRECTORY = pytest.param(["--vcpus", "2", "--scratch", "directory", "--scratch-cap-bytes", str(LITTLE_MIB * MIB)], id="directory")

# Somebody has to come and look: not as fast as it can.
BOMB = "n=0; while dd if=/dev/zero of={place} bs=1M count=8 seek=$n conv=notrunc 2>/dev/null; do n=$((n + 8)); sleep 0.1; done; exit 7"


def task(rig: LocalRig, *members: Any) -> Launch:
    return replace(rig.launch("unused", runtime="container"), command=(), containers=members)


def layers_of(daemon: Daemon) -> list[str]:
    """What there is of containers below the daemon's root: nothing of it is in use when it has none."""
    places = {"docker": ("containers", "volumes"), "podman": ("overlay-containers", "volumes")}[daemon.kind]
    found = [entry.name for place in places for entry in (daemon.root / "data" / place).glob("*") if entry.is_dir()]
    return sorted(found)


def least_limit(rig: LocalRig) -> int:
    """The least limit of a directory on the scratch space of btrfs, in bytes."""
    device = Path(mounts.mounted_from(rig.directory / "work") or "").name
    ours = [place for place in Path("/sys/fs/btrfs").iterdir() if (place / "devices" / device).exists()]
    return min((int(limit.read_text()) for limit in ours[0].glob("qgroups/1_*/max_referenced")), default=0)


def ended_by_limit(ended: AttemptEnded) -> None:
    assert (ended.cause, ended.exit_code) == ("exited", 137)
    assert ended.reason.startswith("OutOfScratchError: the job held ")
    assert " of that in containers' own layers, and its limit is " in ended.reason
    assert ended.reason.endswith("tag the job definition with batchyard:scratch-gib to ask for more")


@AS_ROOT
@pytest.mark.parametrize("local", [BTRFS, DIRECTORY], indirect=True)
async def test_a_disk_bomb_in_a_layer_is_ended_and_its_neighbour_goes_on_writing(
    local: LocalRig, shared_daemon: Daemon, tmp_path: Path
) -> None:
    host = {"volumes": [{"name": "host", "host": {"sourcePath": str(tmp_path)}}]}
    neighbour = contained(local, "sh", "-c", NEIGHBOUR, **host, mountPoints=[{"sourceVolume": "host", "containerPath": "/host"}])
    bomb = contained(local, "sh", "-c", BOMB.format(place="/bomb"))
    local.provider.carry_out([neighbour])
    await local.started(neighbour.attempt)
    local.provider.carry_out([bomb])
    ended = await local.ended(bomb.attempt)
    ended_by_limit(ended)
    assert ended.disk_peak_mib is not None
    assert ended.disk_peak_mib > LITTLE_MIB / 2
    await local.eventually(lambda: len(shared_daemon.containers()) == 1, "its container is removed")
    places = os.walk(shared_daemon.root / "data")  # which passes over what is being removed
    assert not [place for place, folders, files in places if "bomb" in (*folders, *files)], "and what it wrote with it"
    (tmp_path / "go-home").touch()
    ended = await local.ended(neighbour.attempt)
    assert (ended.exit_code, ended.reason) == (0, "")
    assert local.log(neighbour.attempt) == ["written"]


@AS_ROOT
@pytest.mark.parametrize("local", [DIRECTORY], indirect=True)
@pytest.mark.parametrize("place", ["/kept/bomb", "/etc/hosts"])
async def test_volumes_of_the_image_and_files_that_the_daemon_makes_count_too(local: LocalRig, shared_daemon: Daemon, place: str) -> None:
    shared_daemon.load("with-volume", "VOLUME /kept")
    launch = contained(local, "sh", "-c", BOMB.format(place=place))
    launch = replace(launch, container={**launch.container, "image": "with-volume:latest"})
    local.provider.carry_out([launch])
    ended_by_limit(await local.ended(launch.attempt))
    await local.eventually(lambda: not layers_of(shared_daemon), "nothing of it is left")


@AS_ROOT
@pytest.mark.parametrize("local", [BTRFS], indirect=True)
async def test_what_is_in_layers_is_taken_from_what_the_directory_may_hold(local: LocalRig) -> None:
    script = (
        "dd if=/dev/zero of=/layer bs=1M count=200 2>/dev/null; until [ -e /scratch/go ]; do sleep 0.1; done;"
        "dd if=/dev/zero of=/scratch/more bs=1M count=200 2>&1 | grep -c 'Disk quota exceeded'; exit 7"
    )
    launch = contained(local, "sh", "-c", script)
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    await local.eventually(lambda: 0 < least_limit(local) < 105 * MIB, "its directory may hold what its layer leaves over")
    (local.directory / "work" / left(local)[0] / "home" / "go").touch()
    ended = await local.ended(launch.attempt)
    assert (ended.exit_code, local.log(launch.attempt)) == (7, ["1"])
    assert ended.reason.startswith("OutOfScratchError: the job had reached its limit of scratch space, 304 MiB, when it ended")


@AS_ROOT
@pytest.mark.parametrize("local", [DIRECTORY], indirect=True)
async def test_layers_of_the_containers_of_a_task_count_together(local: LocalRig) -> None:
    stays = "dd if=/dev/zero of=/half bs=1M count=60 2>/dev/null; touch /scratch/there; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    first = member("first", stays, essential=False)
    second = member("second", f"until [ -e /scratch/there ]; do sleep 0.1; done; {BOMB.format(place='/bomb')}")
    launch = task(local, first, second)
    local.provider.carry_out([launch])
    ended = await local.ended(launch.attempt)
    ended_by_limit(ended)
    assert ended.disk_peak_mib is not None
    assert ended.disk_peak_mib > LITTLE_MIB / 2


@AS_ROOT
async def test_the_peak_has_what_containers_held_that_are_gone(local: LocalRig, shared_daemon: Daemon) -> None:
    first = member("first", "dd if=/dev/zero of=/first bs=1M count=30 2>/dev/null; touch /scratch/done", essential=False)
    second = member("second", "until [ -e /scratch/go ]; do sleep 0.1; done")
    launch = task(local, first, second)
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    home = local.directory / "work" / left(local)[0] / "home"
    await local.eventually(lambda: (home / "done").exists() and len(shared_daemon.containers()) == 1, "the first one is removed")
    (home / "go").touch()
    ended = await local.ended(launch.attempt)
    assert ended.exit_code == 0
    assert ended.disk_peak_mib is not None
    assert 30 <= ended.disk_peak_mib < 31
    await local.eventually(lambda: left(local) == [], "the directories are removed")


@AS_ROOT
@pytest.mark.parametrize("local", [[], ["--container-scratch", "off"]], indirect=True)
async def test_the_peak_has_what_a_container_wrote_that_was_soon_over(local: LocalRig) -> None:
    ended, _ = await run(local, "dd if=/dev/zero of=/quick bs=1M count=5 2>/dev/null")
    assert ended.exit_code == 0
    assert ended.disk_peak_mib is not None
    assert 5 <= ended.disk_peak_mib < 6
    await local.eventually(lambda: left(local) == [], "the directories are removed")


async def seen(engine: Engine, watched: layers.ContainerLayers, name: str) -> None:
    found = await engine.inspect(name)
    assert found is not None
    await watched.see("attempt", name, found)


def test_a_layer_that_nobody_here_can_look_at_is_asked_for(shared_daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "writable_places", lambda found: [])
    turning = Loop(lambda: None)
    engine, counted = Engine(turning, shared_daemon.socket), Layers()
    watched = layers.ContainerLayers(engine, counted, turning)
    limits = [{"Name": "nofile", "Soft": 1024, "Hard": 1024}, {"Name": "nproc", "Soft": 1024, "Hard": 1024}]
    script = "dd if=/dev/zero of=/layer bs=1M count=5; exec sleep 600"
    body = {"Image": "busybox:latest", "Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "host", "Ulimits": limits}}
    status, made = shared_daemon.call("POST", "/v1.40/containers/create?name=asked", body)
    assert status == 201, made
    try:
        assert shared_daemon.call("POST", "/v1.40/containers/asked/start")[0] == 204
        steps, give_up_s = Task(seen(engine, watched, "asked")), boot_s() + PATIENCE_S
        while counted.held_bytes("attempt") < 5 * MIB:
            assert boot_s() < give_up_s
            turning.wake_at(boot_s() + 0.5)
            turning.once()
        steps.result()
        shared_daemon.call("POST", "/v1.40/containers/asked/kill")
        watched.remove("attempt", "asked")
        assert counted.held_bytes("attempt") == 0
    finally:
        shared_daemon.call("DELETE", "/v1.40/containers/asked?force=1")


@AS_ROOT
def test_where_a_container_writes_is_found_where_its_daemon_does_not_say(shared_daemon: Daemon) -> None:
    limits = [{"Name": "nofile", "Soft": 1024, "Hard": 1024}, {"Name": "nproc", "Soft": 1024, "Hard": 1024}]
    body = {"Image": "busybox:latest", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "host", "Ulimits": limits}}
    assert shared_daemon.call("POST", "/v1.40/containers/create?name=silent", body)[0] == 201
    try:
        assert shared_daemon.call("POST", "/v1.40/containers/silent/start")[0] == 204
        _, found = shared_daemon.call("GET", "/v1.40/containers/silent/json")
        places = layers.writable_places(found)
        assert places[0] == found["GraphDriver"]["Data"]["UpperDir"]
        assert layers.writable_places({**found, "GraphDriver": None}) == places
        assert layers.writable_places({**found, "GraphDriver": None, "State": {"Pid": 1}}) == []
    finally:
        shared_daemon.call("DELETE", "/v1.40/containers/silent?force=1")


@AS_ROOT
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.system(kind)) for kind in KINDS])
def test_nothing_is_started_while_the_disk_of_the_daemon_is_nearly_full(kind: str, tmp_path: Path) -> None:
    with running_on_small_disk(kind) as (daemon, disk):
        yard = Yard(tmp_path / "data", "--runtime", "container", "--container-socket", daemon.socket).start()
        try:
            yard.environment_of("environment")
            yard.queue_of("queue", "environment")
            ok = yard.definition_of("ok", "dd", "if=/dev/zero", "of=/own", "bs=1M", "count=5")
            job = yard.until(yard.submit(ok))
            assert job["status"] == "SUCCEEDED"
            shown = json.loads(yard.cli("job", job["jobId"], "--json", "--data", str(yard.data)).stdout)
            assert 5 <= shown["cost"]["attempts"][-1]["diskPeakMiB"] < 6
            filler = fill(disk, MIB)
            until(lambda: "less than" in yard.cli("scratch", "status", "--data", str(yard.data), check=False).stderr or None, "it is seen")
            until(lambda: "less than" in yard.trouble() or None, "the server has heard of it")
            waiting = yard.submit(ok)
            why = f"the disk of {kind.capitalize()}'s containers ({disk}) has less than 3.2 MiB left"
            until(lambda: why in yard.cli("explain", "--data", str(yard.data), waiting).stdout or None, "explain says why")
            assert yard.job(waiting)["status"] == "RUNNABLE"
            filler.unlink()
            assert yard.until(waiting)["status"] == "SUCCEEDED"
        finally:
            yard.down()


@AS_ROOT
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.system(kind)) for kind in KINDS])
async def test_who_fills_the_disk_of_the_daemon_is_ended_before_it_is_full(kind: str, folder: Path) -> None:
    with running_on_small_disk(kind) as (daemon, disk):
        fill(disk, 10 * MIB)
        rig = rig_of(daemon, folder, "--vcpus", "2")  # a plain directory: nobody has a limit
        await rig.connect()
        await rig.up("i-1")
        neighbour = contained(rig, "sh", "-c", "until [ -e /scratch/go ]; do echo here >> /little; sleep 0.1; done")
        bomb = contained(rig, "sh", "-c", "dd if=/dev/zero of=/bomb bs=1M count=8 2>/dev/null; sleep 600")
        rig.provider.carry_out([neighbour])
        await rig.started(neighbour.attempt)
        (home,) = (rig.directory / "work").glob("*/home")
        rig.provider.carry_out([bomb])
        ended = await rig.ended(bomb.attempt)
        assert (ended.cause, ended.exit_code) == ("exited", 137)
        assert ended.reason.startswith(
            f"OutOfScratchError: the disk of {kind.capitalize()}'s containers ({disk}) has less than 3.2 MiB left, "
        )
        assert ended.reason.endswith(" MiB there in containers' own layers, more than any other; write large files to /scratch or /tmp")
        (home / "go").touch()
        ended = await rig.ended(neighbour.attempt)
        assert (ended.exit_code, ended.reason) == (0, "")
        await rig.provider.shut_down(0.0)


@AS_ROOT
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.system(kind)) for kind in KINDS])
async def test_images_that_nobody_uses_go_before_anybody_is_ended_or_has_to_wait(kind: str, folder: Path) -> None:
    with Registry() as registry, running_on_small_disk(kind, registry.port) as (daemon, disk):
        rig = rig_of(daemon, folder, "--vcpus", "2")
        await rig.connect()
        await rig.up("i-1")
        image = registry.name("unused")
        launch = replace(contained(rig, "true"), container={"image": image})
        rig.provider.carry_out([launch])
        assert (await rig.ended(launch.attempt)).exit_code == 0
        assert any(tag.startswith(image) for tag in daemon.images())
        fill(disk, 2 * MIB)
        await rig.eventually(lambda: not any(tag.startswith(image) for tag in daemon.images()), "it is removed")
        assert any("busybox" in tag for tag in daemon.images()), "which is not ours"
        ended, lines = await run(rig, "echo there is room")
        assert (ended.exit_code, lines) == (0, ["there is room"])
        await rig.provider.shut_down(0.0)


@contextlib.contextmanager
def running_on_small_disk(kind: str, *registry_ports: int) -> Iterator[tuple[Daemon, Path]]:
    """A daemon whose containers lie on a disk of 64 MiB; where that is mounted."""
    missing = why_not(kind)
    if missing:
        pytest.skip(f"{kind}: {missing}")
    daemon = Daemon(kind, *registry_ports)
    disk = daemon.root / "data"
    try:
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=711", "tmpfs", str(disk)], check=True, timeout=60)
        daemon.start()
        daemon.load("busybox")
        yield daemon, disk
    finally:
        daemon.remove()  # with what is mounted in its folder
