"""Cages on this machine: every case of `cage_cases` with the cgroups that there are, of whichever version (see `test_cgroup2_guest`)."""

from __future__ import annotations

import pytest
from cage_cases import CASES, Case
from compute_rig import LocalRig

from batchyard.compute.local import host

pytestmark = [
    pytest.mark.system("cgroups"),
    pytest.mark.skipif(not host.usable_groups().version, reason="no cgroup with a memory controller may be made here"),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
async def test_a_cage_holds(case: Case, local: LocalRig) -> None:
    case.check(await case.play(local))
