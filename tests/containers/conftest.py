"""Daemons that tests share, and nodes that run containers with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from batchyard.compute.local import protocol
from batchyard.compute.local.link import LocalProvider
from compute.compute_rig import LocalRig
from containers.engines import KINDS, Daemon, why_not
from containers.registry import Registry
from yard import Yard, serving


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.fixture(scope="session")
def private_registry() -> Iterator[Registry]:
    with Registry(is_private=True) as running:
        yield running


@pytest.fixture(scope="session")
def token_registry() -> Iterator[Registry]:
    with Registry(is_private=True, gives_tokens=True) as running:
        yield running


@pytest.fixture(scope="session", params=[pytest.param(kind, marks=pytest.mark.system(kind)) for kind in KINDS])
def shared_daemon(
    request: pytest.FixtureRequest, registry: Registry, private_registry: Registry, token_registry: Registry
) -> Iterator[Daemon]:
    """One daemon of each kind for all tests that leave it as it is, with the image busybox:latest."""
    yield from running(request.param, registry.port, private_registry.port, token_registry.port)


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.system(kind)) for kind in KINDS])
def own_daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon for a test that ends it."""
    yield from running(request.param)


def running(kind: str, *registry_ports: int) -> Iterator[Daemon]:
    missing = why_not(kind)
    if missing:
        pytest.skip(f"{kind}: {missing}")
    daemon = Daemon(kind, *registry_ports)
    try:
        daemon.start()
        daemon.load("busybox")
        yield daemon
    finally:
        daemon.remove()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data directory; its node is gone when the test is."""
    directory = Path(tempfile.mkdtemp(prefix="yard-"))
    yield directory
    kill_node(directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def yard(request: pytest.FixtureRequest, shared_daemon: Daemon, folder: Path) -> Iterator[Yard]:
    """A service whose jobs run in containers, with a queue. Further options: indirect parameters."""
    options = ("--runtime", "container", "--container-socket", shared_daemon.socket, *getattr(request, "param", ()))
    with serving(folder / "data", *options) as made:
        yield made.with_queue("ce")
    assert not shared_daemon.containers()


def rig_of(daemon: Daemon, folder: Path, *options: str) -> LocalRig:
    return LocalRig(LocalProvider(folder, node_options=["--container-socket", daemon.socket, *options]), folder)


@pytest.fixture
async def local(request: pytest.FixtureRequest, shared_daemon: Daemon, folder: Path) -> AsyncIterator[LocalRig]:
    """A connected provider with one instance, i-1, whose jobs run in containers. Options: indirect parameters."""
    rig = rig_of(shared_daemon, folder, *getattr(request, "param", ()))
    await rig.connect()
    await rig.up("i-1")
    yield rig
    await rig.provider.shut_down(0.0)
    assert not shared_daemon.containers()
    assert not shared_daemon.volumes()


def kill_node(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int((directory / protocol.LOCK).read_text())
        if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
