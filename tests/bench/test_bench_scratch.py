"""The simulation of (g): what its table claims, on a few seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import scratch, scratch_policies, scratch_real


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate_mb_s", [500, 4000])
def test_a_volume_that_can_be_had_is_there_in_time(rate_mb_s: int, seed: int) -> None:
    outcome = scratch_policies.simulate(scratch_policies.ours(), rate_mb_s, seed)
    assert not outcome.was_full
    assert outcome.mb_s > 0.9 * rate_mb_s


def test_levels_lose_against_a_fast_writer() -> None:
    assert scratch_policies.simulate(scratch_policies.by_level(2.0), 4000, 0).was_full


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.system(package), pytest.mark.skipif(bool(why), reason=why)])
        for kind, package in (("btrfs", "btrfs-progs"), ("xfs", "xfsprogs"))
        for why in (scratch_real.why_not(kind),)
    ],
)
def test_a_real_writer_meets_no_full_disk(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice what there is at first, and nothing is left behind."""
    monkeypatch.setattr(scratch_real, "WRITE", 2 * scratch_real.INITIAL)
    with scratch.kept():
        place = scratch.folder()
        outcome = scratch_real.write(kind, "Batchyard", 1000, 0)
        assert not outcome.was_full
        assert str(place.parent) not in Path("/proc/mounts").read_text(errors="replace")
    assert not place.exists()
