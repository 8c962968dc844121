"""Cgroups of version 2 for real: the cases of this machine, whose controllers may all be with version 1, in an emulated one."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

import guest_machine
import link_local_case
import pytest
import scratch_case
from cage_cases import AFTER_THE_NODE, CASES, Case
from cage_user import USERS_CASES

pytestmark = [
    pytest.mark.timeout(guest_machine.PATIENCE_S + 60),  # a quiet machine needs a minute and a half
    pytest.mark.system("qemu-system-x86, linux-image-cloud-amd64, busybox-static"),
    pytest.mark.skipif(bool(guest_machine.why_not()), reason=guest_machine.why_not() or "there is all that it takes"),
]
Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the guest said, by name: it is booted once for all, also for those tests that another worker of xdist has taken."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    with open(common / "guest.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = common / "guest.json"
        if not said.exists():
            said.write_text(json.dumps(guest_machine.run(tmp_path_factory.mktemp("guest"))))
    found: Told = json.loads(said.read_text())
    assert "facts" in found, found["console"]["text"]
    return found


def test_the_guest_has_version_2(told: Told) -> None:
    assert "trouble" not in told, told["trouble"]
    assert (told["facts"]["isolation"], told["facts"]["uid_isolation"], told["facts"]["warnings"]) == ("cgroup v2", True, [])
    assert set(told["facts"]["controllers"]) == {"memory", "cpu", "pids"}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_cage_holds(case: Case, told: Told) -> None:
    assert case.name in told, told["console"]["text"]
    assert "failed" not in told[case.name], told[case.name]["failed"]
    case.check(told[case.name]["said"])


def test_a_user_has_a_delegated_cgroup(told: Told) -> None:
    facts = told["user"]["said"]["facts"]
    assert (facts["root"], facts["isolation"], facts["uid_isolation"]) == (False, "cgroup v2", False), facts
    assert told["user"]["said"]["left"]["groups"] == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in USERS_CASES])
def test_a_users_cage_holds(case: Case, told: Told) -> None:
    said = told["user"]["said"].get(case.name)
    assert said, told["user"]["output"]
    assert "failed" not in said, said["failed"]
    case.check(said["said"])


@pytest.mark.parametrize("kind", [*scratch_case.KINDS])
def test_scratch_space_grows_under_a_writer_whom_version_2_may_hold(kind: str, told: Told) -> None:
    said = told[f"scratch {kind}"]
    assert "failed" not in said, said["failed"]
    assert {name: said["said"][name] for name in scratch_case.VERDICT} == scratch_case.VERDICT, said
    assert said["said"]["grows"] > 0


def test_who_asks_is_known_by_the_cgroup_of_its_socket(told: Told) -> None:
    assert told["who asks is known"].get("said") == link_local_case.VERDICT, told["who asks is known"]


def test_nobody_and_nothing_is_left(told: Told) -> None:
    assert told["the node is killed"]["said"] == AFTER_THE_NODE
    assert told["user"]["said"]["the node is killed"]["said"] == AFTER_THE_NODE
    assert told["groups"]["left"] == [], told["end"]["node"]
