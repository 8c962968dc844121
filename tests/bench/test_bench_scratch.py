"""The simulation of (g): what its table claims, on a few seeds."""

from __future__ import annotations

import pytest

from bench import scratch_policies


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate_mb_s", [500, 4000])
def test_a_volume_that_can_be_had_is_there_in_time(rate_mb_s: int, seed: int) -> None:
    outcome = scratch_policies.simulate(scratch_policies.ours(), rate_mb_s, seed)
    assert not outcome.was_full
    assert outcome.mb_s > 0.9 * rate_mb_s


def test_levels_lose_against_a_fast_writer() -> None:
    assert scratch_policies.simulate(scratch_policies.by_level(2.0), 4000, 0).was_full
