"""A driver that runs, for tests of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from driver_rig import Rig, begin


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / "jobs.db")
    await begin(made)
    yield made
    made.gate.set()
    made.afterwards.set()
    await made.driver.close()
    made.store.close()
