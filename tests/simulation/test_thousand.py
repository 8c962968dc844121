"""A thousand seeds through all scenarios, in chunks that can run beside each other; each chunk sees every kind of fault."""

from __future__ import annotations

import pytest

from batchyard.simulate.many import run_seeds

SEEDS, CHUNK = 1000, 50


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_a_thousand_seeds(first: int) -> None:
    seen = run_seeds(range(first, first + CHUNK))
    assert not seen.failures, "\n\n".join(seen.failures.values())
    assert seen.never_fired == []
