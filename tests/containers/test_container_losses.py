"""What the daemon or the node loses is the loss of a host, and nothing is left behind; what lives on is found again."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from batchyard.compute.local.link import LocalProvider
from batchyard.model.messages import AttemptEnded, AttemptStarted
from compute.compute_rig import LocalRig
from containers.conftest import kill_node, rig_of
from containers.engines import Daemon
from containers.test_container_lives import contained, run

TICKS = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done"


async def test_a_container_that_somebody_removes_is_a_lost_host(local: LocalRig, shared_daemon: Daemon) -> None:
    launch = contained(local, "sh", "-c", TICKS)
    local.provider.carry_out([launch])
    await local.says(launch.attempt)
    shared_daemon.call("DELETE", f"/v1.40/containers/{launch.attempt}?force=1")
    ended = await local.ended(launch.attempt)
    assert (ended.cause, ended.exit_code) == ("lost", None)


async def test_a_new_node_ends_what_the_dead_one_left(shared_daemon: Daemon, folder: Path) -> None:
    rig = rig_of(shared_daemon, folder, "--container-scratch", "off")  # volumes of the daemon
    await rig.connect()
    await rig.up()
    launch = contained(rig, "sh", "-c", TICKS, volumes=[{"name": "v"}], mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}])
    rig.provider.carry_out([launch])
    await rig.says(launch.attempt)
    assert shared_daemon.containers() and shared_daemon.volumes()
    kill_node(folder)
    await rig.until(lambda: rig.of(AttemptEnded, attempt=launch.attempt))
    assert rig.of(AttemptEnded, attempt=launch.attempt)[0].cause == "lost"
    assert not shared_daemon.containers()
    assert not shared_daemon.volumes()
    await rig.up("i-2")
    assert (await run(rig, "echo", "again", on="i-2"))[1] == ["again"]
    await rig.provider.shut_down(0.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_end_of_the_daemon(own_daemon: Daemon, folder: Path, number: signal.Signals) -> None:
    """Docker's containers go with it, as when a host goes; Podman's go on, and are followed again when the service is back."""
    rig = rig_of(own_daemon, folder)
    await rig.connect()
    await rig.up()
    launch = contained(
        rig,
        "sh",
        "-c",
        'trap "exit 0" TERM; echo up; while [ ! -e /flag/go ]; do sleep 0.05; done; echo done; exit 4',
        volumes=[{"name": "flag", "host": {"sourcePath": str(folder / "flag")}}],
        mountPoints=[{"sourceVolume": "flag", "containerPath": "/flag"}],
    )
    rig.provider.carry_out([launch])
    await rig.says(launch.attempt)
    own_daemon.stop(number)
    process = rig.launch("true")
    rig.provider.carry_out([process])
    assert (await rig.ended(process.attempt)).exit_code == 0  # the node goes on
    if own_daemon.kind == "docker" and number == signal.SIGTERM:
        assert (await rig.ended(launch.attempt)).cause == "lost"  # before it is back
    own_daemon.start()
    if own_daemon.kind == "docker":
        ended = await rig.ended(launch.attempt)
        assert (ended.cause, ended.exit_code) == ("lost", None)
    else:
        await asyncio.sleep(0.5)
        assert not rig.of(AttemptEnded, attempt=launch.attempt)
        (folder / "flag" / "go").touch()
        ended = await rig.ended(launch.attempt)
        assert (ended.cause, ended.exit_code) == ("exited", 4)
    assert (await run(rig, "echo", "on"))[1] == ["on"]
    await rig.provider.shut_down(0.0)
    assert not own_daemon.containers()


async def test_a_daemon_that_never_answers_holds_up_nobody_else(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(folder / "deaf.sock"))
        deaf.listen(1)
        rig = LocalRig(LocalProvider(folder, node_options=["--container-socket", str(folder / "deaf.sock")]), folder)
        await rig.connect()
        await rig.up()
        waiting = [contained(rig, "true") for _ in range(5)]
        processes = [rig.launch("sh", "-c", "echo quick") for _ in range(5)]
        rig.provider.carry_out([*waiting, *processes])
        for launch in processes:
            assert (await rig.ended(launch.attempt)).exit_code == 0
        assert not any(rig.of(AttemptStarted, attempt=launch.attempt) for launch in waiting)
        await rig.provider.shut_down(0.0)


async def test_a_node_without_a_daemon_says_so(folder: Path) -> None:
    rig = LocalRig(LocalProvider(folder), folder)
    await rig.connect()
    await rig.up()
    ended, _ = await run(rig, "true")
    assert ended.reason.startswith("CannotStartContainerError: this node runs processes only")
    await rig.provider.shut_down(0.0)
