"""Folders that other users may pass through, and nodes that are gone when the test is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from compute_rig import LocalRig

from batchyard.compute.local import protocol
from batchyard.compute.local.link import LocalProvider


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data directory; pytest's own are closed to others, and jobs as root are others. Whoever is left in it is killed."""
    directory = Path(tempfile.mkdtemp(prefix="yard-"))
    yield directory
    kill_node(directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def local(folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[LocalRig]:
    """A connected local provider with one instance, i-1. Options of the node: @pytest.mark.parametrize("local", [[...]], indirect=True)."""
    provider = LocalProvider(folder, node_options=getattr(request, "param", ()))
    rig = LocalRig(provider, folder)
    await rig.connect()
    await rig.up("i-1")
    yield rig
    await provider.shut_down(0.0)


def node_pid(directory: Path) -> int:
    """The node of a data directory; 0 if there is none."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((directory / protocol.LOCK).read_text())
    return 0


def kill_node(directory: Path) -> None:
    pid = node_pid(directory)
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        if pid and str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
