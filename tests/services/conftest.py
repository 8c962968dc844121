from __future__ import annotations

import pytest
from batch_bench import Bench, ready_bench


@pytest.fixture
def bench() -> Bench:
    """An empty Batch API."""
    return Bench()


@pytest.fixture
def ready() -> Bench:
    """A Batch API with environment `ce`, queue `queue` and definition `job`."""
    return ready_bench()
