"""The scratch case of the guest (`compute/scratch_case`) on this machine: a writer who may be held, by the freezer that is here."""

from __future__ import annotations

from pathlib import Path

import pytest
from ground import needs, plot

from compute import scratch_case

KINDS = [pytest.param(kind, marks=needs(f"mkfs.{kind}", package)) for kind, package in (("btrfs", "btrfs-progs"), ("xfs", "xfsprogs"))]


@pytest.mark.parametrize("kind", KINDS)
def test_it_grows_under_a_writer_who_may_be_held(kind: str) -> None:
    with plot() as place:
        said = scratch_case.play(Path(place.root), kind)
    assert {name: said[name] for name in scratch_case.VERDICT} == scratch_case.VERDICT, said
    assert said["grows"] > 0
