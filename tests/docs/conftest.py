"""A reader's service, with what the pages begin from: two compute environments and two queues."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import reader
from yard import Yard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """As if on a machine of 8 vCPUs; spot and on-demand, default and urgent."""
    with reader.started(tmp_path, reader.environment(with_tools=False), "--vcpus", "8", "--memory-mib", "8192") as service:
        service.environment_of("spot", kind="SPOT", max_vcpus=4)
        service.environment_of("on-demand", max_vcpus=4)
        service.queue_of("default", "spot", "on-demand", tags={"batchyard:spill": "idle"})
        service.queue_of("urgent", "on-demand", "spot", priority=100)
        yield service
