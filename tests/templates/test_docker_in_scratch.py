"""What user data arranges for containers: Docker's images and containers lie in the scratch space, so a container writes where it grows."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from batchyard.scratch.daemon import Daemon as Watcher
from batchyard.scratch.policy import GIB, MIB, Limits
from containers.engines import Daemon, why_not

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scratch"))

from cloud import BTRFS, XFS, cloudy
from ground import needs

WRITES = "i=0; while [ $i -lt 28 ]; do dd if=/dev/zero of=/tmp/part-$i bs=1M count=64 2>/dev/null || exit 28; sleep 0.1; i=$((i + 1)); done"
KINDS = [pytest.param(BTRFS, marks=needs("mkfs.btrfs", "btrfs-progs")), pytest.param(XFS, marks=needs("mkfs.xfs", "xfsprogs"))]


@pytest.mark.system("docker")
@pytest.mark.skipif(bool(why_not("docker")), reason=why_not("docker"))
@pytest.mark.parametrize("backend", KINDS)
def test_a_container_writes_more_than_there_was_at_first(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in user data: overlay2 with its data root in the space, which has 1 GiB at first; 1.75 GiB go to the container's own /tmp."""
    with cloudy(monkeypatch) as place:
        ground = place.backend(backend)
        watcher = Watcher(ground, Limits(cap_bytes=6 * GIB, step_bytes=256 * MIB), status=place.root / "status.json", assumed_grow_s=0.5)
        watcher.start()
        stop = threading.Event()
        watching = threading.Thread(target=watcher.run, args=(stop,))
        watching.start()
        docker = Daemon("docker")
        try:
            (place.mount / "docker").mkdir(mode=0o710)
            (docker.root / "data").symlink_to(place.mount / "docker")
            docker.start()
            docker.load("busybox")
            told = docker.call("GET", "/v1.40/info")[1]
            assert (told["Driver"], told["DockerRootDir"]) == ("overlay2", str(place.mount / "docker"))
            asked = {"Image": "busybox", "Cmd": ["sh", "-c", WRITES], "HostConfig": {"NetworkMode": "none"}}
            status, made = docker.call("POST", "/v1.40/containers/create", asked)
            assert status == 201, made
            assert docker.call("POST", f"/v1.40/containers/{made['Id']}/start")[0] == 204
            assert docker.call("POST", f"/v1.40/containers/{made['Id']}/wait")[1]["StatusCode"] == 0
            seen = os.statvfs(place.mount)
            assert (seen.f_blocks - seen.f_bfree) * seen.f_frsize > 1.7 * GIB
            assert GIB < sum(ground.volumes()) <= 6 * GIB
            assert json.loads((place.root / "status.json").read_text())["is_healthy"]
        finally:
            docker.remove()
            stop.set()
            watching.join(60)
        ground = place.backend(backend)
        ground.retire()
        ground.close()
        assert place.in_cloud() == []
