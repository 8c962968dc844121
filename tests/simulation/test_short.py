"""Fifty seeds through all scenarios: quick enough for every check."""

from __future__ import annotations

import pytest

from batchyard.simulate.many import run_seeds

CHUNK = 10


@pytest.mark.parametrize("first", range(0, 50, CHUNK))
def test_fifty_seeds(first: int) -> None:
    seen = run_seeds(range(first, first + CHUNK))
    assert not seen.failures, "\n\n".join(seen.failures.values())
    assert seen.jobs > 100 and seen.turns > 500
    assert len(seen.fired) >= 10, "so many kinds of faults in ten seeds"
