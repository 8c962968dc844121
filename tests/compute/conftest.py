"""Folders that other users may pass through, and nodes that are gone when the test is."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from compute_rig import LocalRig, kill_node

from batchyard.compute.local.link import LocalProvider


@contextlib.contextmanager
def made_folder() -> Iterator[Path]:
    """pytest's own folders are closed to other users, and jobs as root are others. Whoever is left in it is killed."""
    directory = Path(tempfile.mkdtemp(prefix="yard-"))
    try:
        yield directory
    finally:
        kill_node(directory)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data directory."""
    with made_folder() as directory:
        yield directory


@pytest.fixture(scope="session")
def standing() -> Iterator[Path]:
    """The data directory of a node that many tests share, since they only start jobs."""
    with made_folder() as directory:
        yield directory


@pytest.fixture
async def local(request: pytest.FixtureRequest, standing: Path) -> AsyncIterator[LocalRig]:
    """A connected local provider with one instance, i-1.

    With options, @pytest.mark.parametrize("local", [["--option"]], indirect=True), the node is the test's own.
    """
    options = getattr(request, "param", None)
    with contextlib.ExitStack() as stack:
        directory = standing if options is None else stack.enter_context(made_folder())
        rig = LocalRig(LocalProvider(directory, node_options=options or ()), directory)
        back = await rig.connect()
        assert not back.instances
        await rig.up("i-1")
        yield rig
        if options is None:
            await rig.clear()
            await rig.provider.close()
        else:
            await rig.provider.shut_down(0.0)
